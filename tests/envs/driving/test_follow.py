"""What CarTrack and CarLane have in common: what they show, what they reward, which roads they take."""

import json

import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.driving import follow
from undrift.envs.driving.follow import speed_limits
from undrift.envs.driving.road import CURVATURE, SPEED, value_at
from undrift.envs.driving.roads import circuit, lane, through
from undrift.envs.driving.vehicle import load_car

TASKS = ("CarTrack", "CarLane")


def straight(length):
    return through(np.stack([np.linspace(0, length, 5), np.zeros(5)], axis=1), 1.0, closed=False, spacing=0.5)


def channel(env, seen, name):
    return seen[:, env.observation_names.index(name)]


def at(env, index, station, column):
    roads = env.roads
    return value_at(roads.table, roads.spacing, roads.closed, env.road_index[index], station, column)


@pytest.mark.parametrize("task", TASKS)
def test_observation_channels_hold_what_their_names_say(task):
    env = make_batch(task, 4, noise=0.0, pace=0.9)
    env.reset([0, 1, 2, 3])
    env.speed_scale[:] = [1.0, 0.9, 0.8, 0.7]
    for _ in range(10):
        seen, _, _, _, info = env.step(np.full((4, 2), [0.05, 0.2]))
    tight = {"rtol": 1e-5, "atol": 1e-6}
    for name in ("lateral_error", "heading_error", "speed_error"):
        np.testing.assert_allclose(channel(env, seen, name), info[name], **tight)
    np.testing.assert_allclose(channel(env, seen, "forward_velocity"), env.body_velocity[:, 0], **tight)
    np.testing.assert_allclose(channel(env, seen, "lateral_velocity"), env.body_velocity[:, 1], **tight)
    np.testing.assert_allclose(channel(env, seen, "yaw_rate"), env.qvel[:, 2], **tight)
    np.testing.assert_allclose(channel(env, seen, "previous_action_steering"), 0.05, **tight)
    np.testing.assert_allclose(channel(env, seen, "previous_action_drive"), 0.2, **tight)
    for ahead in env.PREVIEW:
        for n in range(4):
            place = env.station[n] + ahead
            curvature = channel(env, seen, f"curvature_{ahead:g}m")[n]
            speed = channel(env, seen, f"reference_speed_{ahead:g}m")[n]
            assert curvature == pytest.approx(at(env, n, place, CURVATURE), rel=1e-5, abs=1e-7)
            assert speed == pytest.approx(0.9 * env.speed_scale[n] * at(env, n, place, SPEED), rel=1e-5)
    expected = channel(env, seen, "forward_velocity") - channel(env, seen, "reference_speed_0m")
    np.testing.assert_allclose(channel(env, seen, "speed_error"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_reward_is_bounded_and_is_the_sum_of_its_named_terms(task):
    env = make_batch(task, 32)
    env.reset(list(range(32)))
    rng = np.random.default_rng(0)
    for _ in range(100):
        _, reward, terminated, _, info = env.step(rng.uniform(-1, 1, (32, 2)))
        terms = sum(value for key, value in info.items() if key.startswith("reward/"))
        np.testing.assert_allclose(reward, terms)
        assert (reward <= 1.0).all() and (reward >= -11.2).all()
        assert (reward[terminated] <= -9.0).all()


def test_on_the_line_at_the_reference_speed_the_reward_is_whole_and_falls_with_every_error():
    env = make_batch("CarTrack", 6, road=straight(100.0))
    env.reset(list(range(6)))
    reference = env.top_speed
    for n in range(6):
        env.place(n, 5.0, speed=reference)
    env.place(1, 5.0, lateral_error=0.2, speed=reference)
    env.place(2, 5.0, heading_error=0.2, speed=reference)
    env.place(3, 5.0, speed=reference - 1.0)
    env.place(4, 5.0, speed=reference + 1.0)
    env.station[:] = 5.0
    coasting = np.zeros((6, 2))
    coasting[5, 1] = 0.5
    _, reward, _, _, info = env.step(coasting)
    assert reward[0] == pytest.approx(1.0, abs=0.01)
    assert (reward[1:] < reward[0] - 0.02).all()
    assert info["reward/tracking"][1] == pytest.approx(0.25 * np.exp(-0.2 / 0.05) + 0.25 * np.exp(-0.2 / 0.3), abs=0.01)
    assert info["reward/heading"][2] == pytest.approx(0.1 * np.exp(-0.2 / 0.5), abs=0.005)
    assert info["reward/progress"][3] == pytest.approx(0.4 * (reference - 1.0) / reference, abs=0.005)
    assert info["reward/progress"][4] == 0.4
    assert info["reward/overspeed"][4] == pytest.approx(0.4 * (np.exp(-1.0) - 1.0), abs=0.01)
    assert info["reward/smoothness"][5] == pytest.approx(-0.1 * 0.5**2)


def test_a_lower_speed_scale_lowers_what_is_asked_for():
    env = make_batch("CarTrack", 2, road=straight(100.0), noise=0.0)
    env.reset([0, 0])
    for n in range(2):
        env.place(n, 5.0, speed=0.5 * env.top_speed)
    env.station[:] = 5.0
    env.speed_scale[1] = 0.5
    seen, _, _, _, info = env.step(np.zeros((2, 2)))
    assert info["reward/progress"][0] == pytest.approx(0.2, abs=0.01)
    assert info["reward/progress"][1] == pytest.approx(0.4, abs=0.01)
    np.testing.assert_allclose(
        channel(env, seen, "reference_speed_0m"), [env.top_speed, 0.5 * env.top_speed], rtol=1e-6
    )


def test_an_episodes_road_depends_on_its_seed_alone():
    together, alone = make_batch("CarTrack", 3, seed=1), make_batch("CarTrack", 1, seed=2)
    together.reset([5, 6, 7])
    alone.reset([6])
    np.testing.assert_array_equal(together.roads.table[1], alone.roads.table[0])
    alone.reset([10_006])
    assert not np.array_equal(together.roads.table[1], alone.roads.table[0])
    first = together.roads.table[1].copy()
    together.reset(ids=np.array([1]))  # the next episode of a stream has another road
    assert not np.array_equal(together.roads.table[1], first)


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_starts_within_the_stated_offsets(task):
    env = make_batch(task, 50, pace=0.8)
    env.reset(list(range(50)))
    aside, turned, slowest = env.START
    assert (np.abs(env.lateral_error) <= aside * env.half_width + 1e-3).all()
    assert (np.abs(env.heading_error) <= turned + 1e-3).all()
    share = env.body_velocity[:, 0] / env.speed_reference
    assert (share >= slowest - 1e-3).all() and (share <= 1 + 1e-3).all()
    assert np.ptp(share) > 0.5 * (1 - slowest) and np.ptp(env.heading_error) > turned


def drive_straight(env, steps):
    """Hold the reference speed; the last step's info."""
    for _ in range(steps):
        drive = np.clip(0.5 * (env.speed_reference - env.body_velocity[:, 0]) + 0.05, -1, 1)
        _, _, _, truncated, info = env.step(np.stack([np.zeros(env.num_envs), drive], axis=1))
        if truncated.all():
            break
    return info


def test_success_is_keeping_near_the_line_and_up_with_the_speed():
    env = make_batch("CarTrack", 3, road=straight(200.0), episode_s=30.0)
    env.reset([0, 0, 0])
    for n, aside in enumerate((0.015, 0.03, 0.0)):
        env.place(n, 1.0, lateral_error=aside, speed=env.top_speed)
    assert not drive_straight(env, 100)["success"].any()  # nothing is counted yet
    env.speed_scale[2] = 0.5
    info = drive_straight(env, 50)
    np.testing.assert_allclose(info["lateral_rmse"][:2], [0.015, 0.03], atol=1e-6)
    assert info["success"].tolist() == [True, False, True]
    env.speed_scale[2] = 1.0  # asked to be fast again, it stays behind
    for _ in range(100):
        info = env.step(np.zeros((3, 2)))[4]
    assert not info["success"][2]


def test_where_an_open_road_ends_the_episode_is_truncated_not_terminated():
    env = make_batch("CarTrack", 1, road=straight(20.0))
    env.reset([0])
    env.place(0, 10.0, speed=env.top_speed)
    ends = [env.step(np.zeros((1, 2)))[2:4] for _ in range(110)]
    first = next(k for k, (_, truncated) in enumerate(ends) if truncated[0])
    assert not any(terminated[0] for terminated, _ in ends[: first + 1])
    assert first * env.dt * env.top_speed == pytest.approx(10.0, rel=0.1)


def test_a_road_of_ones_own_goes_through_the_recorded_arguments(tmp_path):
    own = circuit(3, half_width=0.6)
    path = tmp_path / "track.csv"
    path.write_text("x,y,half_width\n" + "".join(f"{x},{y},0.6\n" for x, y in own.position[::8]))
    for road in (own, own.to_dict(), str(path)):
        env = make_batch("CarTrack", 2, road=road, patches=[{"start": 0.5, "length": 3.0, "factor": 0.4}])
        assert len(env.roads) == 1 and env.roads.closed and env.roads.length[0] == pytest.approx(own.length, rel=1e-3)
        assert env.roads[0].friction.min() == 0.4
        again = make_batch("CarTrack", 2, **json.loads(json.dumps(env.kwargs)))
        np.testing.assert_array_equal(again.roads.table, env.roads.table)
        np.testing.assert_array_equal(again.reset([1, 2]), env.reset([1, 2]))


def test_patches_lie_on_every_random_road_and_leave_its_speed():
    slippery = [{"start": 0.1, "length": 2.0, "factor": 0.5}]
    icy, dry = make_batch("CarTrack", 3, patches=slippery), make_batch("CarTrack", 3)
    icy.reset([1, 2, 3])
    dry.reset([1, 2, 3])
    for k in range(3):
        assert icy.roads[k].friction.min() == 0.5 and dry.roads[k].friction.min() == 1.0
        np.testing.assert_array_equal(icy.roads[k].speed, dry.roads[k].speed)


@pytest.mark.parametrize(("name", "share", "top"), [("f1tenth", 0.85, 5.2), ("sedan", 0.5, 33.0), ("sedan", 1.0, 20.0)])
def test_the_profiles_limits_leave_load_on_both_axles_and_power_in_the_motor(name, share, top):
    car = load_car(name)
    limits = speed_limits(car, share, top)
    assert limits.lateral == pytest.approx(share * car.friction_front * 9.81)
    for force, front, sign in ((limits.drive, car.drive_front, 1), (limits.brake, car.brake_front, -1)):
        force /= share  # at the limit itself, no axle asks for more than it holds
        shifted = sign * force * car.mass_height / (9.81 * car.wheelbase)
        loads = car.rear_axle / car.wheelbase - shifted, car.front_axle / car.wheelbase + shifted
        for asked, load in zip((front, 1 - front), loads, strict=True):
            assert asked * force <= car.friction_front * 9.81 * load * (1 + 1e-9)
    assert limits.drive * car.mass * top <= car.max_power


def test_bad_arguments_are_named_with_what_is_valid():
    for kwargs, message in (
        ({"share": 1.2}, "share of the friction limit"),
        ({"top_speed": 12.0}, "below 9"),
        ({"road": "nowhere.csv"}, "no road 'nowhere.csv'"),
        ({"vehicle": "sedan"}, "road bends down to 0.909 m"),
        ({"road": circuit(0, max_curvature=1.8, half_width=0.4)}, "turns on a radius of at least 0.739 m"),
        ({"patches": [{"start": 2.0, "length": 1.0, "factor": 1.0}]}, "a patch starts at 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_batch("CarTrack", **kwargs)


def test_success_and_settling_are_those_of_the_pages():
    assert (follow.SETTLED_S, follow.SPEED_KEPT) == (2.0, 0.95)


def test_an_open_random_road_is_long_enough_for_an_episode():
    env = make_batch("CarLane", 30)
    env.reset(list(range(30)))
    left = env.roads.length - env.station
    assert (left >= env.top_speed * 20.0).all()
    assert not env.roads.closed and lane(0).length == env.roads.length[0]
