"""docs/driving/index.md says what the code does: vehicles, actions, sensors and parameters are compared."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.envs import make_shift
from undrift.envs.driving.base import SENSORS
from undrift.envs.driving.physics import action_ranges
from undrift.envs.driving.plant import PARAMETERS
from undrift.envs.driving.vehicle import CARS, GRAVITY, load_car

from ..conftest import CAR_SHIFTS, DOCS, quoted, rows, section

INDEX = (DOCS / "driving" / "index.md").read_text()


@pytest.mark.parametrize("name", CARS)
def test_the_vehicles_figures_are_those_of_its_file(name):
    car, column = load_car(name), 1 + CARS.index(name)
    told = {row[0]: row[column] for row in rows(section(INDEX, "Vehicles"))}
    power = f"{car.max_power / 1000:g} kW" if car.max_power >= 1000 else f"{car.max_power:g} W"
    assert told == {
        "mass": f"{car.mass:.4g} kg",
        "yaw inertia": f"{car.yaw_inertia:g} kg m²",
        "wheelbase": f"{car.wheelbase:g} m",
        "weight on the front axle": f"{100 * car.rear_axle / car.wheelbase:.0f} %",
        "height of the centre of mass": f"{1000 * car.mass_height:g} mm",
        "friction of the tyres, front and rear": f"{car.friction_front:g}, {car.friction_rear:g}",
        "understeer gradient": f"{np.degrees(car.understeer_gradient * GRAVITY):.2f} °/g",
        "steering lag and rate": f"{1000 * car.steering_lag:g} ms, {car.steering_rate:g} rad/s",
        "drive power": power,
        "driven wheels' share in front": f"{100 * car.drive_front:g} %",
    }


@pytest.mark.parametrize("name", CARS)
def test_what_an_action_of_one_asks_for_is_the_vehicles(name):
    ranges, column = action_ranges(load_car(name)), 2 + CARS.index(name)
    told = [(quoted(row[0])[0], row[column]) for row in rows(section(INDEX, "Action"))]
    brake, _, drive, unit = ranges["drive"]
    assert told == [
        ("steering", f"±{ranges['steering'][2]:g} rad"),
        ("drive", f"{drive:g} {unit}"),
        ("drive", f"{-brake:g} {unit}"),
    ]


def test_the_sensors_are_all_told():
    told = {quoted(row[0])[0]: (float(row[2]), float(row[3])) for row in rows(section(INDEX, "Sensors"))}
    assert told == SENSORS


def test_the_shifts_of_cars_are_told_with_what_they_do_by_default():
    told = {quoted(row[0])[0]: row[2] for row in rows(section(INDEX, "Shifts"))}
    assert told == {name: make_shift(name).label for name in CAR_SHIFTS}


def test_the_parameters_are_all_told():
    told = {quoted(row[0])[0]: (row[1], row[2], float(row[3])) for row in rows(section(INDEX, "Parameters"))}
    assert told == {name: (str(max(p.count, 1)), p.unit, p.nominal) for name, p in PARAMETERS.items()}
