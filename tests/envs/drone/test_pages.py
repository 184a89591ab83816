"""docs/drone/index.md says what the code does: vehicles, actions, wind and sensors are compared."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.envs import VEHICLES, load_vehicle
from undrift.envs.drone.physics import INTERFACES
from undrift.envs.drone.sensors import Sensors
from undrift.envs.drone.vehicle import GRAVITY
from undrift.envs.drone.wind import WIND_FIELDS

from ..conftest import DOCS, quoted, rows, section

INDEX = (DOCS / "drone" / "index.md").read_text()


@pytest.mark.parametrize("name", VEHICLES)
def test_the_vehicles_figures_are_those_of_its_file(name):
    v = load_vehicle(name)
    column = 1 + VEHICLES.index(name)
    told = {row[0]: row[column] for row in rows(section(INDEX, "Vehicles"))}
    expected = {
        "mass": f"{1000 * v.mass:.0f} g",
        "inertia": ", ".join(f"{1e6 * i:.5g}" for i in v.inertia) + " kg mm²",
        "between opposite rotors": f"{2000 * np.linalg.norm(v.rotor_positions[0]):.0f} mm",
        "propeller radius": f"{1000 * v.rotor_radius:.0f} mm",
        "thrust of a rotor": f"{v.max_rotor_thrust:.3g} N",
        "thrust to weight": f"{v.thrust_to_weight:.2f}",
        "torque per thrust": f"{1000 * v.torque_per_thrust:.3g} mm",
        "motor time constant": f"{1000 * v.motor_time_constant:.3g} ms",
        "body drag, linear": f"{v.linear_drag:g} N s/m",
        "body drag, quadratic": f"{v.quadratic_drag:g} N s²/m²",
        "rotor drag": ", ".join(f"{1e6 * d:.3g}" for d in v.rotor_drag) + " mg/rad",
        "hovers for": f"{v.hover_endurance / 60:.0f} min",
    }
    assert told == expected


@pytest.mark.parametrize("name", VEHICLES)
def test_what_an_action_of_one_asks_for_is_the_vehicles(name):
    v = load_vehicle(name)
    column = 2 + VEHICLES.index(name)
    told = [(quoted(row[0])[0], row[1], row[column]) for row in rows(section(INDEX, "Action"))]
    most, rates = f"{v.mass * GRAVITY * (1 + v.thrust_range):.3g} N", [f"±{r:g} rad/s" for r in v.max_rates]
    expected = [
        ("motors", "each rotor's thrust", f"{v.max_rotor_thrust:.3g} N"),
        ("rates", "collective thrust", most),
        ("rates", "roll and pitch rate", rates[0]),
        ("rates", "yaw rate", rates[2]),
        ("attitude", "collective thrust", most),
        ("attitude", "roll, pitch", f"±{v.max_tilt:g} rad"),
        ("attitude", "yaw rate", rates[2]),
        ("velocity", "velocity along x, y", f"±{v.max_velocity[0]:g} m/s"),
        ("velocity", "velocity along z", f"±{v.max_velocity[2]:g} m/s"),
        ("velocity", "yaw rate", rates[2]),
    ]
    assert told == expected
    assert rates[0] == rates[1] and v.max_velocity[0] == v.max_velocity[1]
    assert set(INTERFACES) == {interface for interface, _, _ in told}


def test_the_wind_fields_and_the_sensors_are_all_told():
    assert [quoted(row[0])[0] for row in rows(section(INDEX, "Wind"))] == list(WIND_FIELDS)
    sensors = Sensors()
    told = [(quoted(row[0])[0], row[2]) for row in rows(section(INDEX, "Sensors"))]
    assert told == [
        (name, f"{getattr(sensors, name).noise:g}" if getattr(sensors, name) else "none")
        for name in ("position", "velocity", "attitude", "body_rates", "specific_force")
    ]
