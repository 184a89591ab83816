"""Random closed roads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.envs.driving.roads import circuit


def border(road, side):
    normal = np.stack([-np.sin(road.heading), np.cos(road.heading)], axis=1)
    return road.position + side * road.half_width[:, None] * normal


def crosses_itself(line):
    """Whether any two segments of a closed line [P, 2], not next to each other, intersect."""
    a, b = line, np.roll(line, -1, axis=0)

    def left(p, q, r):
        (px, py), (qx, qy), (rx, ry) = np.moveaxis(p, -1, 0), np.moveaxis(q, -1, 0), np.moveaxis(r, -1, 0)
        return (qx - px) * (ry - py) - (qy - py) * (rx - px)

    a1, b1, a2, b2 = a[:, None], b[:, None], a[None], b[None]
    crossing = (left(a1, b1, a2) * left(a1, b1, b2) < 0) & (left(a2, b2, a1) * left(a2, b2, b1) < 0)
    return bool(crossing.any())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**63))
def test_neither_the_centreline_nor_a_border_crosses_itself(seed):
    road = circuit(seed)
    assert not crosses_itself(road.position)
    for side in (1, -1):
        assert not crosses_itself(border(road, side))
    # Nor does one reach over another stretch's border.
    apart = np.linalg.norm(border(road, 1)[:, None] - border(road, -1)[None], axis=2)
    assert apart.min() >= 0.9 * 2 * road.half_width[0] * (1 - road.half_width[0] * np.abs(road.curvature).max())


def test_the_test_of_crossing_finds_a_figure_eight():
    t = np.linspace(0, 2 * np.pi, 100, endpoint=False) + 0.01
    assert crosses_itself(np.stack([np.sin(t), np.sin(2 * t)], axis=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**63))
def test_length_and_curvature_are_within_their_bounds(seed):
    road = circuit(seed, length=(30.0, 46.0), max_curvature=1.1)
    assert road.closed and 30 <= road.length <= 46
    assert 0.7 * 1.1 * 0.99 <= np.abs(road.curvature).max() <= 1.1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**63))
def test_it_closes_smoothly_in_equal_steps(seed):
    road = circuit(seed)
    steps = np.diff(road.position, axis=0, append=road.position[:1])
    length = np.linalg.norm(steps, axis=1)
    np.testing.assert_allclose(length, road.spacing, rtol=2e-3)  # a chord is shorter than its arc
    turn = np.sign(road.heading[-1] - road.heading[0]) * 2 * np.pi
    heading = np.append(road.heading, road.heading[0] + turn)
    bend = np.append(road.curvature, road.curvature[0])
    # Position, heading and curvature belong together, across the end of the lap as well.
    direction = np.arctan2(steps[:, 1], steps[:, 0])
    off = direction - (heading[1:] + heading[:-1]) / 2
    np.testing.assert_allclose(np.sin(off), 0.0, atol=3e-3)
    np.testing.assert_allclose(np.diff(heading) / road.spacing, (bend[1:] + bend[:-1]) / 2, atol=0.02)


def test_the_seed_decides():
    assert circuit(5).to_dict() == circuit(5).to_dict() == circuit(np.random.default_rng(5)).to_dict()
    assert circuit(5).length != circuit(6).length


def test_half_of_them_go_each_way_round():
    left = sum(circuit(seed).heading[-1] > 0 for seed in range(60))
    assert 18 <= left <= 42


def test_wide_roads_are_laid_out_with_room_between_their_stretches():
    # As narrow as this, most first draws overlap.
    for seed in range(5):
        road = circuit(seed, length=(16.0, 16.0), half_width=0.85, max_curvature=1.1)
        between = np.linalg.norm(road.position[:, None] - road.position[None], axis=2)
        lag = np.abs(np.arange(512)[:, None] - np.arange(512))
        along = np.minimum(lag, 512 - lag) * road.spacing
        assert between[along > np.pi / 1.1 + 0.1].min() >= 2 * 0.85


def test_impossible_circuits_are_refused():
    with pytest.raises(ValueError, match="make it longer or narrower"):
        circuit(0, length=(5.0, 5.0))
    with pytest.raises(ValueError, match="product is below 1"):
        circuit(0, half_width=1.0, max_curvature=1.2)
    with pytest.raises(ValueError, match="the least and the greatest length"):
        circuit(0, length=(40.0, 30.0))
