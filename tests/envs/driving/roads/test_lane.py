"""Random open roads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.envs.driving.roads import lane

seeds = st.integers(0, 2**63)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([30.0, 120.0, 400.0]))
def test_bends_are_no_tighter_than_asked_and_the_road_never_turns_back(seed, min_radius):
    road = lane(seed, min_radius=min_radius)
    assert not road.closed and road.length == pytest.approx(1200.0)
    assert np.abs(road.curvature).max() <= 1 / min_radius + 1e-12
    assert (np.diff(road.position[:, 0]) > 0).all()  # so it cannot cross itself
    assert np.abs(road.heading).max() <= 1.2 + 1e-9


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_heading_and_curvature_are_the_derivatives_of_the_centreline(seed):
    road = lane(seed, points=2401)
    steps = np.diff(road.position, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), road.spacing, rtol=1e-6)
    middle = (road.heading[1:] + road.heading[:-1]) / 2
    np.testing.assert_allclose(np.arctan2(steps[:, 1], steps[:, 0]), middle, atol=2e-4)
    mean = (road.curvature[1:] + road.curvature[:-1]) / 2
    np.testing.assert_allclose(np.diff(road.heading) / road.spacing, mean, atol=5e-4)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_curvature_changes_as_along_a_clothoid_never_at_once(seed):
    road = lane(seed, min_radius=120.0)
    # The steepest clothoid is R / 9 long.
    assert np.abs(np.diff(road.curvature)).max() <= 9 / 120.0**2 * road.spacing * (1 + 1e-9)


def test_the_seed_decides():
    assert lane(5).to_dict() == lane(5).to_dict() == lane(np.random.default_rng(5)).to_dict()
    assert lane(5).to_dict() != lane(6).to_dict()


def test_what_is_no_lane_is_refused():
    with pytest.raises(ValueError, match="length is -1"):
        lane(0, length=-1)
    with pytest.raises(ValueError, match="min_radius is 1.0 m"):
        lane(0, min_radius=1.0)
