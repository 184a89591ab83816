"""Vehicles: data with sources, checked field by field."""

import json

import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.drone.vehicle import VEHICLES, Vehicle, load_vehicle


@pytest.mark.parametrize("name", VEHICLES)
def test_every_figure_of_a_vehicle_has_a_source(name):
    vehicle = load_vehicle(name)
    assert vehicle.name == name
    assert set(vehicle.sources) == set(vehicle.to_dict()) - {"name", "sources"}


@pytest.mark.parametrize("name", VEHICLES)
def test_a_vehicle_survives_the_trip_through_a_file(name, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(load_vehicle(name).to_dict()))
    assert load_vehicle(file) == load_vehicle(str(file)) == load_vehicle(name)


@pytest.mark.parametrize("name", VEHICLES)
def test_the_mixer_inverts_what_the_rotors_do(name):
    vehicle = load_vehicle(name)
    thrust = np.array([0.1, 0.4, 0.2, 0.3])
    x, y = np.array(vehicle.rotor_positions).T
    total = thrust.sum()
    roll, pitch = (y * thrust).sum(), (-x * thrust).sum()
    yaw = (np.array(vehicle.rotor_spin) * vehicle.torque_per_thrust * thrust).sum()
    wanted = np.array([total, roll / vehicle.arm, pitch / vehicle.arm, yaw / vehicle.torque_per_thrust])
    np.testing.assert_allclose(vehicle.mixer @ wanted / 4, thrust, rtol=1e-12)


def test_a_vehicle_of_uneven_arms_flies_and_is_remembered_whole():
    values = load_vehicle("racer").to_dict() | {"name": "deadcat"}
    values["rotor_positions"] = [[0.08, 0.14], [-0.12, 0.1], [-0.12, -0.1], [0.08, -0.14]]
    env = make_batch("DroneTrack", 1, vehicle=values, noise=0.0, crash_distance=1e9)
    env.reset([0])
    for _ in range(20):
        env.step(np.array([[0.0, 0.1, -0.1, 0.2]]))
    np.testing.assert_allclose(env.qvel[0, 3:], env.vehicle.max_rates * np.array([0.1, -0.1, 0.2]), atol=0.1)
    assert load_vehicle(env.kwargs["vehicle"]) == Vehicle(**values)
    json.dumps(env.kwargs)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mass", -1.0, "mass is -1.0 kg: it must be above 0"),
        ("mass", float("nan"), "mass is nan: give one number in kg"),
        ("mass", "heavy", "one number in kg"),
        ("inertia", [1.0, 2.0], "3 numbers in kg m²"),
        ("inertia", [1.0, 2.0, 0.0], "kg m².*above 0"),
        ("linear_drag", -0.1, "N s/m.*at least 0"),
        ("rotor_positions", [[0.1, 0.1]], "4 x 2 numbers in m"),
        ("rotor_positions", [[0.1, 0.1]] * 4, "cannot turn the vehicle about every axis"),
        ("rotor_spin", [1, 1, 1, 1], "cannot turn the vehicle about every axis"),
        ("rotor_spin", [2, -1, 1, -1], r"\+1 or -1"),
        ("max_rotor_thrust", 1.0, "0.64 times the weight"),
        ("empty_voltage", 1.2, "at most 1"),
        ("max_tilt", 2.0, "below pi/2"),
        ("colour", "red", "no field 'colour'; its fields are name, mass"),
    ],
)
def test_a_bad_figure_is_named_with_its_unit(field, value, message):
    with pytest.raises(ValueError, match=message):
        load_vehicle(load_vehicle("racer").to_dict() | {field: value})


def test_a_missing_figure_is_named_with_file_and_unit(tmp_path):
    values = load_vehicle("racer").to_dict()
    del values["motor_time_constant"]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"mine.json: the field 'motor_time_constant' \(s\) is missing"):
        load_vehicle(file)


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_file_that_holds_no_vehicle_is_refused(text, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"mine.json holds no JSON object with a vehicle's fields"):
        load_vehicle(file)


def test_an_unknown_vehicle_names_the_known_ones():
    with pytest.raises(ValueError, match="crazyflie, racer, x500, or the path"):
        make_batch("DroneTrack", vehicle="zeppelin")
