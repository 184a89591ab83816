"""Slope, bank, gusty wind and worn brakes, measured on how the car moves; and all that may change of a car in one batch."""

import numpy as np
import pytest

from undrift.envs import (
    Abrupt,
    ActuatorBias,
    ActuatorLag,
    Always,
    Bank,
    BrakeLoss,
    FlatTyre,
    Friction,
    FrictionPatches,
    GustyWind,
    MotorLoss,
    Payload,
    Slope,
    make_batch,
)
from undrift.envs.driving.vehicle import load_car
from undrift.envs.vehicle import GRAVITY

from ..driving.conftest import Plane


def car(*shifts, num_envs=1, **arguments):
    env = Plane(num_envs, noise=0.0, shifts=shifts, **arguments)
    env.reset(list(range(num_envs)))
    return env


def go(env, steering, drive, seconds):
    for _ in range(round(seconds / env.dt)):
        env.step(np.tile([steering, drive], (env.num_envs, 1)))
    return env


def on_ice(*shifts):
    """A car that the ground lets go and that air and wheels do not hold."""
    return car(Friction(factor=0.0, spread=0.0, schedule=Always()), *shifts)


SURE = {"spread": 0.0, "schedule": Abrupt(0.1)}


def test_slopes_pull_downhill_from_their_onset_on_and_add_up_as_vectors():
    env = on_ice(Slope(angle=0.2, direction=0.0, **SURE), Slope(angle=-0.1, direction=np.pi / 2, **SURE))
    go(env, 0.0, 0.0, 0.1)
    np.testing.assert_allclose(env.qvel, 0.0, atol=1e-9)
    go(env, 0.0, 0.0, 0.2)
    expected = -GRAVITY * 0.2 * np.sin([0.2, -0.1])
    np.testing.assert_allclose(env.qvel[0, :2], expected, atol=0.001 * GRAVITY)
    env.reset([1])
    np.testing.assert_array_equal(env.plant["slope"], 0.0)


def test_a_slope_is_drawn_in_any_direction():
    env = car(Slope(angle=0.1, schedule=Always()), num_envs=60)
    rise = env.plant["slope"]
    assert (np.abs(np.hypot(*rise.T) / np.sin(0.1) - 1) < 0.075).all()
    assert len({(x > 0, y > 0) for x, y in rise}) == 4


def test_a_bank_pulls_to_the_low_side_of_the_road_wherever_it_goes():
    env = on_ice(Bank(angle=0.14, either_side=False, **SURE))
    env.qpos[0, 2] = 0.4  # the road goes on along x, the car does not look that way
    go(env, 0.0, 0.0, 0.3)
    assert env.qvel[0, 1] == pytest.approx(-0.2 * GRAVITY * np.sin(0.14), abs=0.001 * GRAVITY)
    assert abs(env.qvel[0, 0]) < 0.001 * GRAVITY
    sides = np.sign(car(Bank(schedule=Always()), num_envs=40).plant["bank"])
    assert set(sides) == {-1.0, 1.0} and abs(sides.sum()) < 25


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_worn_brakes_slow_the_car_by_what_is_left_of_them(fraction):
    nothing = load_car("f1tenth").to_dict() | {"rolling_resistance": 0.0, "drag": [0.0, 0.0]}
    env = car(BrakeLoss(fraction=fraction, schedule=Abrupt(0.3)), vehicle=nothing, speed=6.0)
    go(env, 0.0, -0.5, 0.2)
    speeds = [env.body_velocity[0, 0]]
    for seconds in (0.1, 0.2, 0.1):
        speeds.append(go(env, 0.0, -0.5, seconds).body_velocity[0, 0])
    before, after = speeds[0] - speeds[1], speeds[2] - speeds[3]
    assert after == pytest.approx((1 - fraction) * before, abs=0.02 * before)


def test_a_gusty_wind_swells_and_abates_about_its_mean_and_pushes_as_the_drag_says():
    wind = GustyWind(speed=6.0, depth=0.8, frequency=0.5, heading=0.3, spread=0.0, schedule=Abrupt(0.1))
    env = on_ice(wind)
    speeds = []
    for _ in range(205):
        env.step(np.zeros((1, 2)))
        x, y, z = env.record()["wind"][0]
        assert z == 0.0 and (len(speeds) < 5 or np.arctan2(y, x) == pytest.approx(0.3))
        speeds.append(np.hypot(x, y))
        if len(speeds) in (5, 7):
            pace = env.qvel[0, :2].copy()
            if len(speeds) == 5:
                np.testing.assert_array_equal(pace, 0.0)
                continue
            blown, drag = np.array([x, y]), np.array(env.vehicle.drag)
            force = drag * np.hypot(*blown) * blown
            np.testing.assert_allclose(pace / 0.04, force / env.vehicle.mass, atol=0.002 * GRAVITY)
    speeds = np.array(speeds)
    assert (speeds[:5] == 0).all()
    time = 0.1 + env.dt * np.arange(100)  # two seconds, one period
    swell = speeds[5:105] / 6.0 - 1.0
    phase = np.arctan2((swell * np.cos(np.pi * time)).sum(), (swell * np.sin(np.pi * time)).sum())
    np.testing.assert_allclose(swell, 0.8 * np.sin(np.pi * time + phase), atol=1e-12)
    np.testing.assert_allclose(speeds[105:205], speeds[5:105], atol=1e-12)


def test_a_batch_of_different_scenarios_equals_single_drives_to_the_bit():
    always = {"schedule": Always()}
    scenarios = [
        [Friction(factor=0.6, **always), Payload(forward=-0.05, schedule=Abrupt(0.2))],
        [],
        [
            FrictionPatches(**always),
            FlatTyre(schedule=Abrupt(0.3)),
            Bank(**always),
            GustyWind(schedule=Abrupt(0.1)),
            ActuatorLag(lag=0.1, **always),
        ],
        [Slope(angle=(0.0, 0.1), **always), BrakeLoss(**always), MotorLoss(motor="steering", **always)],
        [ActuatorBias(bias=(-0.2, 0.2), actuator="steering", **always), Friction(where="rear", schedule=Abrupt(0.4))],
    ]
    seeds = list(range(5))
    batch = make_batch("CarTrack", 5, shifts=scenarios)
    singles = [make_batch("CarTrack", 1, shifts=shifts) for shifts in scenarios]
    rows = batch.reset(seeds)
    others = [single.reset([seed]) for single, seed in zip(singles, seeds, strict=True)]
    rng = np.random.default_rng(0)
    for _ in range(60):
        np.testing.assert_array_equal(rows, np.concatenate(others))
        actions = rng.uniform(-0.4, 0.6, (5, 2))
        rows = batch.step(actions)[0]
        others = [single.step(actions[i : i + 1])[0] for i, single in enumerate(singles)]
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(batch.batch.state[i], single.batch.state[0])
    assert len({tuple(pose) for pose in batch.qpos}) == 5
