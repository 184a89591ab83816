"""A road, where on it a car is, and how fast it is to be driven."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.envs.driving import road
from undrift.envs.driving.road import Limits, Road, Roads, speed_profile
from undrift.envs.driving.roads import circuit, lane

LIMITS = Limits(lateral=8.0, drive=3.5, brake=5.0, top=6.0)


def circle(radius=10.0, points=200, clockwise=False):
    side = -1.0 if clockwise else 1.0
    angle = 2 * np.pi * np.arange(points) / points
    position = radius * np.stack([np.cos(angle), side * np.sin(angle)], axis=1)
    ones = np.ones(points)
    spacing = 2 * np.pi * radius / points
    return Road(position, side * (angle + np.pi / 2), side * ones / radius, ones, ones, ones, spacing, True)


def straight(length=100.0, points=101):
    position = np.stack([np.linspace(0, length, points), np.zeros(points)], axis=1)
    zeros, ones = np.zeros(points), np.ones(points)
    return Road(position, zeros, zeros, ones, ones, ones, length / (points - 1), False)


def projected(roads, qpos, nearest=None, road_index=None):
    """nearest, station, lateral and heading error of poses [N, 3]."""
    n = len(qpos)
    nearest = np.full(n, -1) if nearest is None else nearest
    index = np.zeros(n, dtype=int) if road_index is None else road_index
    out = np.empty((3, n))
    road.project(np.arange(n), roads.table, roads.spacing, roads.closed, index, np.asarray(qpos, float), nearest, *out)
    return nearest, *out


def poses(roads, station, lateral, index=0):
    return np.array(
        [
            road.pose_at(roads.table, roads.spacing, roads.closed, index, s, e)
            for s, e in zip(station, lateral, strict=True)
        ]
    )


@pytest.mark.parametrize("clockwise", [False, True])
def test_on_a_circle_a_place_is_known_in_closed_form(clockwise):
    rng = np.random.default_rng(0)
    side = -1.0 if clockwise else 1.0
    angle, radius, turned = rng.uniform(0, 2 * np.pi, 300), rng.uniform(7, 13, 300), rng.uniform(-3, 3, 300)
    x, y = radius * np.cos(angle), side * radius * np.sin(angle)
    qpos = np.stack([x, y, side * (angle + np.pi / 2) + turned], axis=1)
    _, station, lateral, heading = projected(Roads([circle(clockwise=clockwise)]), qpos)
    np.testing.assert_allclose(station, 10 * angle, atol=1e-9)
    np.testing.assert_allclose(lateral, side * (10 - radius), atol=1e-9)  # the centre is on the left of a left bend
    np.testing.assert_allclose(heading, turned, atol=1e-9)


def test_on_a_straight_a_place_is_its_coordinates_even_before_and_beyond_the_ends():
    qpos = [[x, y, 0.5] for x in (-3.0, 0.2, 50.0, 104.0) for y in (-2.0, 0.0, 1.5)]
    _, station, lateral, heading = projected(Roads([straight()]), qpos)
    np.testing.assert_allclose(np.stack([station, lateral], axis=1), np.array(qpos)[:, :2], atol=1e-12)
    np.testing.assert_allclose(heading, 0.5)


@pytest.mark.parametrize("made", [circuit(3), lane(3)], ids=["circuit", "lane"])
def test_a_pose_on_the_road_is_found_where_it_was_put(made):
    roads, rng = Roads([made]), np.random.default_rng(1)
    station, lateral = rng.uniform(0, made.length, 400), rng.uniform(-1, 1, 400) * 0.9 * made.half_width[0]
    _, found, error, heading = projected(roads, poses(roads, station, lateral))
    # The arc of the nearest point is followed for half a step: what the curvature changes within it is left.
    np.testing.assert_allclose(found, station, atol=2e-3 * made.spacing)
    np.testing.assert_allclose(error, lateral, atol=2e-3 * made.spacing)
    np.testing.assert_allclose(heading, 0.0, atol=2e-3)


def test_walking_on_from_the_last_point_finds_what_a_search_of_the_whole_road_finds():
    roads = Roads([circuit(4)])
    rng = np.random.default_rng(2)
    nearest = np.full(1, -1)
    station = np.cumsum(rng.uniform(-0.1, 0.3, 900))  # some laps, forwards on the whole
    for pose in poses(roads, station, rng.uniform(-0.8, 0.8, 900)):
        walked = projected(roads, pose[None], nearest)
        searched = projected(roads, pose[None])
        np.testing.assert_array_equal(np.concatenate(walked[1:]), np.concatenate(searched[1:]))
    assert station[-1] > 1.5 * roads.length[0]


def test_a_batch_of_projections_and_previews_is_as_many_single_ones_to_the_bit():
    roads = Roads([circuit(seed) for seed in range(5)])
    rng = np.random.default_rng(3)
    index, qpos = np.arange(5), rng.uniform(-6, 6, (5, 3))
    nearest, *batch = projected(roads, qpos, road_index=index)
    seen, ahead = np.empty((5, 4)), np.array([0.0, 0.7, 3.0, 40.0])
    road.preview(index, roads.table, roads.spacing, True, index, batch[0], ahead, road.CURVATURE, seen)
    for k in range(5):
        alone = Roads([roads[k]])
        own, *single = projected(alone, qpos[[k]])
        assert own[0] == nearest[k]
        np.testing.assert_array_equal(np.concatenate(single), [rows[k] for rows in batch])
        row = np.empty((1, 4))
        zero = np.zeros(1, int)
        road.preview(zero, alone.table, alone.spacing, True, zero, single[0], ahead, road.CURVATURE, row)
        np.testing.assert_array_equal(row[0], seen[k])


def test_values_between_points_are_linear_go_round_a_lap_and_end_with_an_open_road():
    closed, opened = Roads([circuit(5)]), Roads([lane(5)])
    for roads in (closed, opened):
        own = roads[0]
        for station in (0.0, 0.3 * own.spacing, 7.25 * own.spacing, own.length - 0.4 * own.spacing):
            value = road.value_at(roads.table, roads.spacing, roads.closed, 0, station, road.CURVATURE)
            beyond = own.length if own.closed else own.length + own.spacing
            places = np.append(own.station, beyond)
            expected = np.interp(station, places, np.append(own.curvature, own.curvature[0 if own.closed else -1]))
            assert value == pytest.approx(expected, abs=1e-12)

    def curvature(roads, station):
        return road.value_at(roads.table, roads.spacing, roads.closed, 0, station, road.CURVATURE)

    lap = closed.length[0]
    assert curvature(closed, 2.0) == pytest.approx(curvature(closed, 2.0 + 3 * lap))
    assert curvature(closed, -1e-18) == closed[0].curvature[0]
    assert curvature(opened, -50.0) == opened[0].curvature[0]
    assert curvature(opened, opened.length[0] + 50.0) == opened[0].curvature[-1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 1.0), closed=st.booleans())
def test_the_profile_keeps_within_the_friction_ellipse_everywhere(seed, share, closed):
    made = circuit(seed) if closed else lane(seed, min_radius=20.0, length=400.0)
    limits = LIMITS._replace(lateral=share * 9.81, top=9.0)
    v = made.driven_within(limits).speed
    assert (v > 0).all() and v.max() <= limits.top
    bend = np.abs(made.curvature)
    assert (v**2 * bend).max() <= limits.lateral * (1 + 1e-12)
    after = np.roll(v, -1) if closed else v[1:]
    before = v[: len(after)]
    along = (after**2 - before**2) / (2 * made.spacing)
    used = (
        np.where(along > 0, before**2 * bend[: len(after)], after**2 * np.roll(bend, -1)[: len(after)]) / limits.lateral
    )
    longitudinal = np.where(along > 0, along / limits.drive, along / limits.brake)
    assert (used**2 + longitudinal**2).max() <= 1 + 1e-9


def test_the_profile_is_at_one_of_its_bounds_everywhere():
    made = circuit(6).driven_within(LIMITS)
    faster = speed_profile(made.curvature, made.spacing, True, LIMITS, 1.01 * made.speed)
    np.testing.assert_allclose(faster, made.speed, rtol=1e-12)
    np.testing.assert_allclose(made.driven_within(LIMITS).speed, made.speed, rtol=1e-12)


def test_on_a_circle_the_profile_is_the_root_of_lateral_times_radius():
    np.testing.assert_allclose(speed_profile(np.full(50, -0.4), 0.3, True, LIMITS), np.sqrt(8.0 / 0.4), rtol=1e-12)


def test_braking_for_a_bend_takes_the_distance_of_mechanics():
    curvature = np.zeros(200)
    curvature[150:] = 2.0  # 2 m/s
    v = speed_profile(curvature, 0.1, False, LIMITS)
    assert v[150] == pytest.approx(2.0)
    begins = (149 - np.flatnonzero(v >= LIMITS.top)[-1]) * 0.1
    # The last step before the bend shares its grip with it.
    assert begins == pytest.approx((LIMITS.top**2 - 2.0**2) / (2 * LIMITS.brake), abs=0.11)


def test_a_road_goes_through_json_and_through_the_table():
    made = circuit(7).driven_within(LIMITS)
    for again in (Road.from_dict(json.loads(json.dumps(made.to_dict()))), Roads([made])[0]):
        for name, value in made.to_dict().items():
            assert again.to_dict()[name] == value, name


def test_what_is_no_road_is_refused_with_its_name():
    made = circle()
    values = made.to_dict()
    with pytest.raises(ValueError, match=r"curvature has shape \(3,\), not \(200,\)"):
        Road.from_dict(values | {"curvature": [0.0] * 3})
    with pytest.raises(ValueError, match="half_width is 0.0 at point 4"):
        Road.from_dict(values | {"half_width": [1.0] * 4 + [0.0] + [1.0] * 195})
    with pytest.raises(ValueError, match="not finite at point 2"):
        Road.from_dict(values | {"heading": [0.0, 0.0, np.nan] + [0.0] * 197})
    with pytest.raises(ValueError, match="open, among roads of 200, closed"):
        Roads([made, straight(points=200)])
