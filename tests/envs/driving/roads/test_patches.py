"""Stretches of other grip."""

import numpy as np
import pytest

from undrift.envs.driving.roads import Patch, circuit, lane, with_patches


def test_a_patch_covers_its_stretch_and_nothing_else():
    road = with_patches(lane(0), [Patch(start=0.25, length=60.0, factor=0.4)])
    inside = (road.station >= 300) & (road.station < 360)
    assert (road.friction[inside] == 0.4).all() and (road.friction[~inside] == 1.0).all()


def test_on_a_closed_road_a_patch_goes_on_through_the_end_of_the_lap():
    road = with_patches(circuit(0), [Patch(start=0.9, length=0.2 * circuit(0).length, factor=0.5)])
    slippery = road.friction == 0.5
    assert slippery[-1] and slippery[0] and slippery.mean() == pytest.approx(0.2, abs=0.01)


def test_the_later_patch_lies_upon_the_earlier_and_the_speed_stays():
    plain = circuit(0)
    road = with_patches(plain, [Patch(0.0, 1000.0, 0.7), Patch(0.5, 1.0, 0.3)])
    assert set(road.friction) == {0.7, 0.3}
    np.testing.assert_array_equal(road.speed, plain.speed)


def test_what_is_no_patch_is_refused():
    with pytest.raises(ValueError, match="starts at 1.0"):
        Patch(1.0, 1.0, 0.5)
    with pytest.raises(ValueError, match="factor is 0"):
        Patch(0.0, 1.0, 0)
