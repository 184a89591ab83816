"""Friction of tyres, of the whole car and by wheel, in patches, and of a flat tyre: measured on how the car slides."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, FlatTyre, Friction, FrictionPatches, Ramp
from undrift.envs.driving.vehicle import load_car
from undrift.envs.vehicle import GRAVITY

from ..driving.conftest import Plane, straight

WHEELS = {
    "all": [1, 1, 1, 1],
    "front": [1, 1, 0, 0],
    "rear": [0, 0, 1, 1],
    "rear_left": [0, 0, 1, 0],
}


def car(*shifts, num_envs=1, **arguments):
    env = Plane(num_envs, noise=0.0, shifts=shifts, **arguments)
    env.reset(list(range(num_envs)))
    return env


def go(env, steering, drive, seconds):
    """Speeds [T] forward, m/s, after each control step."""
    speeds = []
    for _ in range(round(seconds / env.dt)):
        env.step(np.tile([steering, drive], (env.num_envs, 1)))
        speeds.append(env.body_velocity[0, 0])
    return np.array(speeds)


def locked(**changes):
    """A car whose brakes lock every wheel at once, which air and rolling do not slow."""
    vehicle = load_car("f1tenth")
    brakes = {"max_brake_force": 10 * vehicle.weight, "rolling_resistance": 0.0, "drag": [0.0, 0.0]}
    return vehicle.to_dict() | brakes | changes


@pytest.mark.parametrize("factor", [0.8, 0.5, 0.35])
def test_from_its_onset_on_the_sliding_tyres_hold_that_share(factor):
    env = car(Friction(factor=factor, spread=0.0, schedule=Abrupt(0.3)), vehicle=locked(), speed=9.0)
    speeds = go(env, 0.0, -1.0, 0.6)
    before, after = speeds[5] - speeds[14], speeds[20] - speeds[29]
    # Sliding at s near 1 the tyre holds sin(C atan(B s)) of its peak, B = B0 / sqrt(factor).
    shape, stiffness = env.vehicle.tyre_shape, (env.vehicle.stiffness_front + env.vehicle.stiffness_rear) / 2
    held = [f * np.sin(shape * np.arctan(stiffness / np.sqrt(f))) for f in (1.0, factor)]
    assert before / (9 * env.dt * GRAVITY) == pytest.approx(held[0], rel=0.02)
    assert after / (9 * env.dt * GRAVITY) == pytest.approx(held[1], rel=0.02)
    assert speeds[13] - speeds[14] > 1.1 * (speeds[15] - speeds[16])


@pytest.mark.parametrize("where", WHEELS)
def test_it_concerns_the_wheels_that_are_named(where):
    env = car(Friction(factor=0.4, where=where, spread=0.0, schedule=Always()))
    expected = np.where(np.array(WHEELS[where]) == 1, 0.4, 1.0)
    np.testing.assert_allclose(env.record()["friction"][0], expected, rtol=1e-12)


def test_factors_multiply_in_any_order_and_are_gone_with_the_episode():
    front = Friction(factor=0.5, where="front", spread=0.0, schedule=Always())
    worn = Friction(factor=0.8, spread=0.0, schedule=Abrupt(0.1))
    one, other = car(worn, front), car(front, worn)
    for env in (one, other):
        go(env, 0.1, 0.2, 0.2)
        np.testing.assert_allclose(env.record()["friction"], [[0.4, 0.4, 0.8, 0.8]])
    np.testing.assert_allclose(one.qpos, other.qpos, rtol=0, atol=1e-12)
    one.reset([1])
    np.testing.assert_allclose(one.record()["friction"], [[0.5, 0.5, 1.0, 1.0]])


@pytest.mark.parametrize(("factor", "low", "high"), [(0.5, 0.465, 0.535), ((0.3, 0.9), 0.279, 0.963)])
def test_each_episode_draws_its_factor_within_spread_and_range(factor, low, high):
    drawn = car(Friction(factor=factor, schedule=Always()), num_envs=50).record()["friction"]
    assert (drawn == drawn[:, :1]).all() and len(np.unique(drawn)) == 50
    assert drawn.min() > low and drawn.max() < high and np.ptp(drawn) > 0.8 * (high - low)


def test_a_ramp_lowers_it_gradually():
    env = car(Friction(factor=0.4, spread=0.0, schedule=Ramp(at=0.0, duration=0.2)))
    found = []
    for _ in range(15):
        env.step(np.zeros((1, 2)))
        found.append(env.record()["friction"][0, 0])
    np.testing.assert_allclose(found, 1.0 - 0.6 * np.minimum(np.arange(15) * env.dt / 0.2, 1.0), atol=1e-12)


def test_a_place_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="one of all, front, rear, front_left, front_right, rear_left, rear_right"):
        car(Friction(where="left"))
    with pytest.raises(ValueError, match="one of all, front, rear"):
        car(FlatTyre(wheel="spare"))


def test_patches_lie_at_the_beginning_of_each_sixth_of_the_road_under_one_axle_after_the_other():
    shift = FrictionPatches(factor=0.5, share=0.4, spread=0.0, schedule=Abrupt(0.1))
    env = car(shift, road=straight(length=120), speed=6.0)
    sixth, axles = 119.0 / 6, np.array([env.vehicle.front_axle, -env.vehicle.rear_axle])
    seen = set()
    for step in range(200):
        env.step(np.array([[0.0, 0.05]]))
        place = (env.station[0] + axles) % sixth / sixth
        expected = np.where((place < 0.4) & (step >= 5), 0.5, 1.0)
        if np.abs(np.stack([place, place - 0.4, place - 1.0])).min() > 1e-9:
            np.testing.assert_array_equal(env.record()["friction"][0], np.repeat(expected, 2))
        seen.add(tuple(expected))
    assert seen == {(1.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 0.5)}


def test_on_a_patch_the_locked_wheels_hold_less():
    road = straight(length=601)  # patches of 50 m from 100 m on
    patches = FrictionPatches(factor=0.5, share=0.5, spread=0.0, schedule=Always())
    everywhere = Friction(factor=0.5, spread=0.0, schedule=Always())
    slippery, dry, patched = (car(*shifts, road=road, vehicle=locked()) for shifts in ((everywhere,), (), (patches,)))
    for station, like in ((110.0, slippery), (170.0, dry)):
        for env in (patched, like):
            env.reset([0])
            env.place(0, station, speed=6.0)
            env._locate(np.array([0]))
            go(env, 0.0, -1.0, 0.3)
        np.testing.assert_array_equal(patched.qvel, like.qvel)
    assert slippery.body_velocity[0, 0] > dry.body_velocity[0, 0] + 1.0


def test_a_flat_tyre_resists_rolling_and_pulls_to_its_side():
    env = car(FlatTyre(wheel="front_left", friction=0.4, rolling=20.0, schedule=Always()), speed=4.0)
    sound = car(speed=4.0)
    vehicle = env.vehicle
    for each in (env, sound):
        go(each, 0.0, 0.0, 0.1)
    force = 19.0 * vehicle.rolling_resistance * env.wheel_load[0, 0]
    mass = vehicle.mass + 4 * vehicle.wheel_inertia / vehicle.wheel_radius**2
    slowed = (sound.body_velocity - env.body_velocity)[0, 0] / 0.1
    # The carcass gives first.
    assert 0.75 * force / mass < slowed < 1.02 * force / mass
    np.testing.assert_allclose(env.record()["friction"], [[0.4, 1.0, 1.0, 1.0]])
    go(env, 0.0, 0.0, 0.4)
    assert env.qpos[0, 2] > 0.005


def test_which_tyre_of_an_axle_is_flat_is_drawn_per_episode():
    env = car(FlatTyre(wheel="rear", friction=0.5, schedule=Always()), num_envs=40)
    flat = env.record()["friction"] == 0.5
    assert (flat.sum(1) == 1).all() and not flat[:, :2].any() and flat[:, 2:].any(0).all()
    np.testing.assert_allclose(env.plant["rolling_resistance"], np.where(flat, 0.25 / 0.015, 1.0))
