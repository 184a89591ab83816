"""What a drone's plant changes, against models that were compiled with the change in them."""

import numpy as np
import pytest

from undrift.envs import Always, Gravity, LinkLength, Payload, make_batch
from undrift.envs.drone.vehicle import GRAVITY, load_vehicle

from ..shifts.flights import aloft, fly, fly_compiled

ACCELEROMETER = {"specific_force": {}}
ACTIONS = np.random.default_rng(0).uniform(-0.5, 0.5, (25, 4))


@pytest.mark.parametrize("place", [(0.05, 0.0, 0.0), (0.0, -0.04, -0.08), (0.03, 0.02, 0.1)])
def test_a_payload_off_the_centre_flies_as_a_second_body_does(place):
    share, vehicle = 0.4, load_vehicle("racer")

    def carry(spec):
        inertia = 0.5 * share * np.array(vehicle.inertia)
        spec.body("drone").add_body(
            pos=place, ipos=(0, 0, 0), mass=share * vehicle.mass, inertia=inertia, explicitinertial=True
        )

    forward, left, up = place
    env = aloft(Payload(fraction=share, forward=forward, left=left, up=up, spread=0.0, schedule=Always()))
    poses = fly(env, ACTIONS)
    np.testing.assert_allclose(poses, fly_compiled(carry, ACTIONS), rtol=0, atol=1e-9)
    assert np.abs(poses - fly(aloft(), ACTIONS)).max() > 0.1


def test_longer_arms_fly_as_those_of_a_vehicle_that_has_them():
    vehicle = load_vehicle("racer").to_dict()
    longer = vehicle | {"rotor_positions": (1.3 * np.array(vehicle["rotor_positions"])).tolist()}
    shifted, built = (
        aloft(*shifts, vehicle=of, ground_effect=True)
        for shifts, of in (((LinkLength(factor=1.3, schedule=Always()),), vehicle), ((), longer))
    )
    for env in (shifted, built):
        env.place(0, [0.0, 0.0, 0.2])  # low enough for the floor to be felt, each rotor at its own height
        env.qpos[0, 3:7] = [np.cos(0.1), np.sin(0.1), 0.0, 0.0]
    up = np.abs(ACTIONS)
    np.testing.assert_allclose(fly(shifted, up), fly(built, up), rtol=0, atol=1e-9)


def test_the_accelerometer_feels_thrust_and_not_gravity_from_the_first_observation_on():
    env = make_batch(
        "DroneTrack", shifts=(Gravity(acceleration=15.0, schedule=Always()),), sensors=ACCELEROMETER, noise=0.0
    )
    upward = env.observation_names.index("specific_force_z")
    for seed in (0, 1):
        first = env.reset([seed])[0, upward]
        env.step(np.zeros((1, 4)))
        assert first == pytest.approx(GRAVITY, rel=1e-3)  # hovering thrust over the mass
    env.place(0, [0.0, 0.0, 50.0])
    env.batch.act[:] = 0.0
    falling = env.step(np.array([[-1.0, 0.0, 0.0, 0.0]]))[0][0, upward]
    assert abs(falling) < 0.1
    assert env.qvel[0, 2] / env.dt == pytest.approx(-15.0, rel=0.01)
