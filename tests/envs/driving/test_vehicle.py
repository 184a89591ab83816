"""Cars: data with sources, checked field by field."""

import json

import numpy as np
import pytest

from undrift.envs.driving.vehicle import CARS, Car, load_car


@pytest.mark.parametrize("name", CARS)
def test_every_figure_of_a_car_has_a_source(name):
    car = load_car(name)
    assert car.name == name
    assert set(car.sources) == set(car.to_dict()) - {"name", "sources"}


@pytest.mark.parametrize("name", CARS)
def test_a_car_survives_the_trip_through_a_file(name, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(load_car(name).to_dict()))
    assert load_car(file) == load_car(str(file)) == load_car(name)


def test_the_passenger_cars_masses_and_lengths_are_commonroads_bmw():
    foot, slug = 0.3048, 14.593902937
    car = load_car("sedan")
    wanted = {
        "mass": 74.91452 * slug,
        "yaw_inertia": 1321.416 * slug * foot**2,
        "front_axle": 3.793293 * foot,
        "rear_axle": 4.667707 * foot,
        "track": 0.5 * (4.55 + 4.475) * foot,
        "mass_height": 1.886053 * foot,
    }
    for field, value in wanted.items():
        assert getattr(car, field) == pytest.approx(value, rel=1e-3), field


@pytest.mark.parametrize("name", CARS)
def test_the_weight_rests_within_the_wheels(name):
    car = load_car(name)
    x, y = car.wheel_positions.T
    assert np.ptp(x) == pytest.approx(car.wheelbase)
    assert x.min() < 0 < x.max() and y.sum() == 0
    assert car.understeer_gradient > 0


def test_a_car_of_ones_own_drives_and_is_remembered_whole(plane):
    values = load_car("f1tenth").to_dict() | {"name": "mine", "mass": 4.2, "drag": [0.02, 0.03]}
    env = plane(vehicle=values)
    env.step(np.array([[0.1, 0.5]]))
    assert load_car(env.kwargs["vehicle"]) == Car(**values) == env.vehicle
    json.dumps(env.kwargs)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mass", -1.0, "mass is -1.0 kg: it must be above 0"),
        ("yaw_inertia", float("nan"), "yaw_inertia is nan: give one number in kg m²"),
        ("wheel_radius", "large", "one number in m"),
        ("drag", [0.1], "2 numbers in N s²/m²"),
        ("drive_front", 1.2, "drive_front is 1.2 share: it must be at most 1"),
        ("rolling_resistance", -0.1, "at least 0"),
        ("tyre_shape", 1.0, "above 1"),
        ("steering_range", 0.5, "steering_range is 0.5 rad: the wheels stop at max_steering, 0.42 rad"),
        ("mass_height", 0.2, "mass_height is 0.2 m: the car would roll over"),
        ("colour", "red", "no field 'colour'; its fields are name, mass"),
    ],
)
def test_a_bad_figure_is_named_with_its_unit(field, value, message):
    with pytest.raises(ValueError, match=message):
        load_car(load_car("f1tenth").to_dict() | {field: value})


def test_a_missing_figure_is_named_with_file_and_unit(tmp_path):
    values = load_car("sedan").to_dict()
    del values["steering_rate"]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"mine.json: the field 'steering_rate' \(rad/s\) is missing"):
        load_car(file)


def test_an_unknown_car_names_the_known_ones():
    with pytest.raises(ValueError, match="f1tenth, sedan, or the path"):
        load_car("carriage")
