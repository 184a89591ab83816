"""Every shift: contract, physics against a freshly compiled model, and invisibility."""

from dataclasses import fields

import mujoco
import numpy as np
import pytest

from undrift.envs import SHIFTS, Abrupt, Always, MotorLoss, Payload, Scenario, Wind, make_batch, make_shift
from undrift.envs.drone import physics
from undrift.envs.drone.model import drone_spec
from undrift.envs.drone.vehicle import GRAVITY, load_vehicle
from undrift.envs.shift import PlantShift

from .conftest import NATIVE_SHIFTS, at_home


@pytest.mark.parametrize("name", [name for name in NATIVE_SHIFTS if issubclass(SHIFTS[name], PlantShift)])
def test_every_shift_of_the_plant_acts_from_its_onset_only_and_is_undone_by_a_reset(name):
    shift = make_shift(name, schedule=Abrupt(0.2))
    env = at_home(name, 3, shift)
    env.reset([0, 1, 2])
    nominal = {key: env.plant[key].copy() for key in shift.changes}
    for step in range(15):
        info = env.step(np.zeros((3, len(env.action_names))))[4]
        acts = step * env.dt >= 0.2 - 1e-9
        assert (info["shift"] == acts).all()
        assert any((env.plant[key] != value).any() for key, value in nominal.items()) == acts
    env.reset([0, 1, 2])
    for key, value in nominal.items():
        np.testing.assert_array_equal(env.plant[key], value)


@pytest.mark.parametrize("name", [name for name in NATIVE_SHIFTS if SHIFTS[name].site != "appearance"])
def test_the_controller_sees_nothing_of_a_shift_until_the_world_has_moved(name):
    shifted, plain = at_home(name, 1, make_shift(name, schedule=Abrupt(0.1))), at_home(name, 1)
    rng, seen, expected = np.random.default_rng(0), shifted.reset([3]), plain.reset([3])
    for _ in range(6):
        np.testing.assert_array_equal(seen, expected)
        action = rng.uniform(-0.3, 0.3, (1, len(plain.action_names)))
        seen, expected = shifted.step(action)[0], plain.step(action)[0]
    for _ in range(20):  # what is left to chance may not happen at once
        if not np.array_equal(seen, expected):
            return
        action = rng.uniform(-0.3, 0.3, (1, len(plain.action_names)))
        seen, expected = shifted.step(action)[0], plain.step(action)[0]
    pytest.fail("nothing has changed")


@pytest.mark.parametrize("name", SHIFTS)
def test_every_shift_survives_the_trip_through_json(name):
    scenario = Scenario("s", "DroneTrack", {"noise": 0.0}, (make_shift(name, schedule=Abrupt(2.5)),))
    assert Scenario.from_dict(scenario.to_dict()) == scenario


@pytest.mark.parametrize("name", SHIFTS)
def test_every_shift_has_a_label_with_its_magnitude(name):
    shift = make_shift(name)
    assert any(character.isdigit() for character in shift.label) or not any(f.metadata for f in fields(shift))


def test_shifts_of_the_same_quantity_add_up():
    env = make_batch("DroneTrack", 1, shifts=(wind(3.0), wind(2.0), wind(0.0)))
    env.reset([0])
    np.testing.assert_allclose(env.record()["wind"], [[5.0, 0.0, 0.0]])


def test_a_payload_in_mid_episode_flies_as_a_freshly_compiled_model_does():
    env = make_batch("DroneTrack", 2, shifts=(Payload(fraction=0.6, spread=0.0, schedule=Abrupt(0.1)),))
    env.reset([0, 1])
    for _ in range(5):
        env.step(np.zeros((2, 4)))
    model = heavier_model(0.6)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.act[:] = env.qpos[1], env.qvel[1], env.batch.act[1]
    action = np.array([[0.2, 0.1, -0.1, 0.3]])
    for _ in range(10):
        for _ in range(env.substeps):
            drive(action, data)
            mujoco.mj_step(model, data)
        env.step(np.repeat(action, 2, axis=0))
    np.testing.assert_allclose(env.qpos[1], data.qpos, rtol=0, atol=1e-12)


def test_a_payload_lowers_the_hover_acceleration_as_newton_says():
    env = make_batch("DroneTrack", 1, noise=0.0, shifts=(Payload(fraction=0.5, spread=0.0, schedule=Always()),))
    env.reset([0])
    hover(env)
    speed = env.qvel[0, 2]
    env.step(np.zeros((1, 4)))
    expected = GRAVITY * (1 / 1.5 - 1)
    assert (env.qvel[0, 2] - speed) / env.dt == pytest.approx(expected, rel=2e-3)


def test_wind_pushes_with_the_documented_drag():
    env = make_batch("DroneTrack", 1, shifts=(wind(8.0),))
    env.reset([0])
    hover(env)
    env.step(np.zeros((1, 4)))
    expected = (env.vehicle.linear_drag + env.vehicle.quadratic_drag * 8.0) * 8.0 / env.vehicle.mass
    assert env.qvel[0, 0] / env.dt == pytest.approx(expected, rel=0.02)


def test_a_lost_motor_gives_less_thrust_and_turns_the_drone():
    env = make_batch("DroneTrack", 1, shifts=(MotorLoss(fraction=0.5, motor=0, schedule=Always()),))
    env.reset([0])
    hover(env)
    env.step(np.zeros((1, 4)))
    # Rotor 0 is front left: the drone rolls left and pitches nose down.
    assert env.qvel[0, 3] < -0.1 and env.qvel[0, 4] > 0.1


def test_one_motor_is_drawn_per_episode():
    env = make_batch("DroneTrack", 40, shifts=(MotorLoss(fraction=0.3, motor="one", schedule=Always()),))
    env.reset(list(range(40)))
    lost = env.record()["motor_effectiveness"] < 1
    assert (lost.sum(1) == 1).all() and lost.any(0).all()


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("payload", {"fraction": -1.0}, "Payload.fraction"),
        ("wind", {"speed": -3.0}, "at least 0 m/s"),
        ("wind", {"spread": 1.5}, r"in \[0, 1\)"),
        ("motor_loss", {"fraction": 40}, r"in \[0, 1\] share \(0.4 loses 40 %\)"),
        ("wind", {"sped": 3.0}, "its fields are: heading, schedule, speed, spread"),
        ("storm", {}, "the shifts are: .*motor_loss.*payload.*wind"),
    ],
)
def test_bad_shifts_are_refused_with_what_is_valid(name, fields, message):
    with pytest.raises(ValueError, match=message):
        make_shift(name, **fields)


@pytest.mark.parametrize("motor", [4, "left"])
def test_a_motor_the_vehicle_does_not_have_is_refused(motor):
    with pytest.raises(ValueError, match="one of rotor_0, rotor_1, rotor_2, rotor_3, or an index from 0 to 3"):
        make_batch("DroneTrack", 1, shifts=(MotorLoss(motor=motor),))


def wind(speed):
    return Wind(speed=speed, heading=0.0, spread=0.0, schedule=Always())


def hover(env):
    env.qpos[:, 3:7] = [1.0, 0.0, 0.0, 0.0]
    env.qvel[:] = 0.0


def heavier_model(fraction):
    spec = drone_spec(load_vehicle("racer"))
    body = spec.body("drone")
    body.mass *= 1 + fraction
    body.inertia = np.array(body.inertia) * (1 + 0.5 * fraction)
    return spec.compile()


def drive(action, data):
    vehicle = physics.constants(load_vehicle("racer"))
    plant = make_batch("DroneTrack", 1).plant.values
    state = (data.qpos[None], data.qvel[None], data.act[None], plant, np.zeros((1, 3)), np.ones(1))
    written = (data.ctrl[None], data.qfrc_applied[None])
    physics.drive(np.array([0]), physics.RATES, action, vehicle, *state, 0.004, False, False, *written)
