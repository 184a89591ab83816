"""CarTraffic: a road with several lanes and slower vehicles on it."""

import numpy as np
import pytest

from undrift.envs.driving.crowd import LANE_WIDTH
from undrift.envs.driving.road import Road
from undrift.envs.driving.scan import BOX
from undrift.envs.driving.traffic import RANGE_NOISE, SIGHT, SPEED_NOISE, SUCCESS_SHARE, WISHES, CarTraffic


def straight(half_width=1.5 * LANE_WIDTH, length=2000.0):
    along = np.linspace(0.0, length, 501)
    one = np.ones(501)
    position = np.stack([along, 0 * along], axis=1)
    return Road(position, 0 * one, 0 * one, half_width * one, one, np.inf * one, length / 500, False)


def among(*vehicles, own=(200.0, 0.0, 25.0), **kwargs):
    """A car at (station, lateral, speed) on a straight road among vehicles (lane, station, speed)."""
    env = CarTraffic(1, **{"road": straight(), "noise": 0.0, "vehicles": len(vehicles)} | kwargs)
    env.reset([0])
    for k, (lane, station, speed) in enumerate(vehicles):
        env.crowd.lane[0, k], env.crowd.station[0, k] = lane, station
        env.crowd.speed[0, k] = env.crowd.wish[0, k] = speed
    station, lateral, speed = own
    env.place(0, station, lateral, 0.0, speed)
    env._ahead_at_first[0] = sum(there > station for _, there, _ in vehicles)
    env._locate(env._all)
    env._look(env._all)
    return env


def keep_lane(env, speed, steps, lateral=0.0):
    """Drive in the lane whose middle is `lateral` m left of the centreline; the infos."""
    infos = []
    for _ in range(steps):
        steering = -0.01 * (env.lateral_error - lateral) - 0.3 * env.heading_error
        drive = 0.3 * (speed - env.body_velocity[:, 0])
        infos.append(env.step(np.stack([steering / env.vehicle.steering_range, drive], axis=1))[4])
        if infos[-1]["crashed"][0]:
            break
    return infos


def channel(env, name):
    return env.observation_names.index(name)


def test_the_neighbours_view_names_gap_and_relative_speed_of_six():
    env = among((1, 250.0, 15.0), (2, 190.0, 18.0))
    seen = env._observe(np.array([0]))[0]
    length = env.vehicle.length
    middle = 200.0 + (env.vehicle.front_axle - env.vehicle.rear_axle) / 2
    shown = {name: seen[channel(env, name)] for name in env.observation_names if "_gap" in name or "_speed" in name}
    expected = {
        "left_ahead_gap": SIGHT,
        "left_behind_gap": middle - 190.0 - length,
        "left_behind_speed": 18.0 - 25.0,
        "own_ahead_gap": 250.0 - middle - length,
        "own_ahead_speed": 15.0 - 25.0,
        "own_behind_gap": SIGHT,
        "right_ahead_gap": SIGHT,
        "right_behind_speed": 0.0,
    }
    assert {name: shown[name] for name in expected} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("lateral", "offset"), [(0.0, 0.0), (1.0, 1.0), (2.5, -1.0), (-4.0, -0.5)])
def test_the_offset_is_that_from_the_nearest_lane(lateral, offset):
    env = among(own=(200.0, lateral, 25.0))
    assert env._observe(np.array([0]))[0][channel(env, "lane_offset")] == pytest.approx(offset, abs=1e-5)


def test_the_rays_view_measures_vehicles_and_borders():
    env = among((1, 250.0, 15.0), view="rays", rays=33)
    seen = env._observe(np.array([0]))[0][channel(env, "range_0") :]
    assert seen[16] == pytest.approx(50.0 - env.vehicle.length / 2, abs=1e-4)
    beside = np.flatnonzero(np.abs(np.abs(env.angles) - np.pi / 2) < 0.6)
    expected = np.minimum(1.5 * LANE_WIDTH / np.abs(np.sin(env.angles[beside])), SIGHT)
    np.testing.assert_allclose(seen[beside], expected, rtol=1e-4)


def test_what_is_seen_of_others_is_noisy():
    env = among((1, 250.0, 15.0), noise=1.0)
    gap, speed = channel(env, "own_ahead_gap"), channel(env, "own_ahead_speed")
    seen = np.array([env._observe(np.array([0]))[0] for _ in range(500)])
    assert seen[:, gap].std() == pytest.approx(RANGE_NOISE, rel=0.15)
    assert seen[:, speed].std() == pytest.approx(SPEED_NOISE, rel=0.15)


def test_driving_into_the_vehicle_ahead_is_a_crash_and_driving_past_it_is_not():
    info = keep_lane(among((1, 230.0, 10.0)), 25.0, 200)[-1]
    assert info["crashed"][0] and info["reward/crash"][0] == -10.0
    beside = keep_lane(among((0, 230.0, 10.0)), 25.0, 200)
    assert len(beside) == 200 and not beside[-1]["crashed"][0]


def test_overtaken_counts_who_was_ahead_and_is_behind():
    env = among((0, 230.0, 10.0), (2, 240.0, 10.0), (0, 900.0, 10.0), (2, 150.0, 10.0))
    assert [info["overtaken"][0] for info in keep_lane(env, 25.0, 250)[::249]] == [0, 2]


def test_the_others_brake_behind_the_own_car():
    env = among((1, 140.0, 25.0), own=(200.0, 0.0, 10.0))
    assert not keep_lane(env, 10.0, 500)[-1]["crashed"][0]
    assert env.crowd.speed[0, 0] < 12.0
    free = among((0, 140.0, 25.0), own=(200.0, 0.0, 10.0))
    keep_lane(free, 10.0, 500)
    assert free.crowd.speed[0, 0] > 24.0


def test_following_closely_costs_and_keeping_distance_does_not():
    costs = [
        keep_lane(among((1, 200.0 + gap + 4.508, 25.0)), 25.0, 1)[0]["reward/headway"][0] for gap in (3.0, 25.0, 75.0)
    ]
    np.testing.assert_allclose(costs, -0.4 * np.exp(-np.array([3.0, 25.0, 75.0]) / 25.0 / 0.5), atol=0.01)


def test_closing_in_costs_by_the_braking_that_it_takes_and_following_does_not():
    """15 m/s faster, 50 m behind: 2.25 m/s²."""
    length = 4.508
    closing = keep_lane(among((1, 200.0 + 50.0 + length, 10.0)), 25.0, 1)[0]["reward/approach"][0]
    assert closing == pytest.approx(0.4 * (np.exp(-2.25 / 3.0) - 1.0), abs=0.01)
    assert keep_lane(among((1, 200.0 + 50.0 + length, 26.0)), 25.0, 1)[0]["reward/approach"][0] == 0.0


def test_between_lanes_earns_less_than_in_the_middle_of_one():
    rewards = [keep_lane(among(own=(200.0, y, 25.0)), 25.0, 1, y)[0]["reward/lane"][0] for y in (0.0, 1.7, 3.5)]
    assert rewards[0] == pytest.approx(0.2, abs=0.01) == rewards[2] and rewards[1] < 0.02


def test_who_stays_behind_does_not_succeed_and_who_makes_way_does():
    assert max(WISHES) < SUCCESS_SHARE
    behind = keep_lane(among((1, 240.0, 0.7 * 30.0), own=(200.0, 0.0, 0.7 * 30.0)), 0.7 * 30.0, 300)[-1]
    assert not behind["success"][0] and not behind["crashed"][0]
    assert keep_lane(among((0, 240.0, 0.7 * 30.0)), 30.0, 300)[-1]["success"][0]


def test_vehicles_stand_apart_at_the_start_and_differ_between_episodes():
    env = CarTraffic(20)
    env.reset(list(range(20)))
    assert not env.step(np.zeros((20, 2)))[2].any()
    assert env.crowd.boxes.shape == (20, 24, len(BOX))
    assert len(np.unique(env.crowd.station[:, 0])) == 20
    own_lane = env.crowd.lanes_of(env.lateral_error)
    assert set(own_lane) == {0, 1, 2}
    np.testing.assert_allclose(env.lane_offset, 0.0, atol=0.1)


def test_where_the_road_ends_the_episode_is_truncated():
    env = among(own=(1999.0, 0.0, 25.0))
    ends = [env.step(np.zeros((1, 2)))[2:4] for _ in range(5)]
    assert not any(terminated[0] for terminated, _ in ends) and ends[-1][1][0]


@pytest.mark.parametrize(
    ("kwargs", "what"),
    [
        ({"lanes": 1}, "2 to 5"),
        ({"vehicles": 100}, "0 to 60"),
        ({"view": "radar"}, "neighbours, rays"),
        ({"view": "rays", "rays": 1}, "at least 2"),
        ({"road": straight(half_width=3.0)}, "half-width of at least 5.25"),
    ],
)
def test_a_road_that_cannot_be_is_refused(kwargs, what):
    with pytest.raises(ValueError, match=what):
        CarTraffic(1, **kwargs)
