"""Crowd: other vehicles that keep their lanes and drive by the intelligent-driver model."""

import numpy as np
import pytest

from undrift.envs.driving.crowd import LANE_WIDTH, Crowd
from undrift.envs.driving.intelligent_driver import Driver, desired_acceleration
from undrift.envs.driving.road import Road, Roads

SIZE = (4.5, 1.6)
FAR = np.array([-1e6]), np.zeros(1), np.zeros(1)
"""An own vehicle that nobody meets."""


def crowd(*vehicles, lanes=3):
    """One simulation with vehicles (lane, station, speed, wish)."""
    out = Crowd(1, len(vehicles), lanes, SIZE)
    for values, array in zip(np.array(vehicles).T, (out.lane, out.station, out.speed, out.wish), strict=True):
        array[0] = values
    return out


def acceleration_of(out, k, own=FAR, dt=0.01):
    before = out.speed[0, k]
    out.drive(np.array([dt]), *own)
    return (out.speed[0, k] - before) / dt


def follow(speed, wish, gap, approach):
    return desired_acceleration(Driver(), speed, wish, gap, approach)


def test_a_vehicle_follows_the_nearest_ahead_in_its_own_lane_only():
    others = [
        (1, 0.0, 20.0, 25.0),
        (1, 90.0, 10.0, 25.0),
        (1, 40.0, 15.0, 25.0),
        (0, 10.0, 5.0, 25.0),
        (1, -5.0, 5.0, 25.0),
    ]
    assert acceleration_of(crowd(*others), 0) == pytest.approx(follow(20.0, 25.0, 40.0 - SIZE[0], 5.0))


def test_a_vehicle_alone_in_its_lane_drives_as_on_a_free_road():
    assert acceleration_of(crowd((2, 0.0, 20.0, 25.0), (1, 10.0, 5.0, 25.0)), 0) == pytest.approx(
        follow(20.0, 25.0, np.inf, 0.0)
    )


@pytest.mark.parametrize(
    ("lateral", "blocks"), [(0.0, True), (-1.5, True), (1.75 + 0.79, True), (1.75 + 0.81, False), (-LANE_WIDTH, False)]
)
def test_the_own_vehicle_blocks_each_lane_that_it_reaches_into(lateral, blocks):
    own = np.array([30.0]), np.array([lateral]), np.array([12.0])
    expected = follow(20.0, 25.0, 30.0 - SIZE[0], 8.0) if blocks else follow(20.0, 25.0, np.inf, 0.0)
    assert acceleration_of(crowd((1, 0.0, 20.0, 25.0)), 0, own) == pytest.approx(expected)


def test_a_crowd_at_rest_behind_a_blocked_lane_does_not_collide():
    """The own vehicle stops in the middle lane; whoever comes there stops behind it, the other lanes flow past."""
    out = crowd(*[(lane, -40.0 * k - 10.0 * lane, 20.0, 22.0) for lane in range(3) for k in range(4)])
    own = np.array([300.0]), np.zeros(1), np.zeros(1)
    for _ in range(3000):
        out.drive(np.array([0.02]), *own)
        for lane in range(3):
            queue = np.sort(out.station[0, out.lane[0] == lane])
            assert np.diff(queue).min() > SIZE[0]
    middle = out.lane[0] == 1
    assert out.station[0, middle].max() < 300.0 - SIZE[0] and out.speed[0, middle].max() < 1.0
    assert out.station[0, ~middle].min() > 600.0


def test_neighbours_are_the_nearest_ahead_and_behind_in_three_lanes():
    out = crowd(
        (1, 50.0, 12.0, 25.0), (1, 80.0, 9.0, 25.0), (1, -20.0, 21.0, 25.0),
        (2, 3.0, 18.0, 25.0), (2, -200.0, 18.0, 25.0), (0, -30.0, 16.0, 25.0),
    )  # fmt: skip
    ids, own = np.array([0]), (np.zeros(1), np.zeros(1), np.array([15.0]))
    seen = out.neighbours(ids, *own, 100.0)[0]
    left, mine, right = seen
    np.testing.assert_allclose(left, [[0.0, 3.0], [100.0, 0.0]])
    np.testing.assert_allclose(mine, [[50.0 - SIZE[0], -3.0], [20.0 - SIZE[0], 6.0]])
    np.testing.assert_allclose(right, [[100.0, 0.0], [30.0 - SIZE[0], 1.0]])


def test_a_lane_that_does_not_exist_has_no_room():
    out = crowd((0, 50.0, 12.0, 25.0), lanes=2)
    leftmost = np.zeros(1), np.array([1.75]), np.zeros(1)
    np.testing.assert_array_equal(out.neighbours(np.array([0]), *leftmost, 100.0)[0, 0], 0.0)
    assert (out.neighbours(np.array([0]), *leftmost, 100.0)[0, 2, :, 0] > 0).all()


def test_the_own_lane_is_that_of_the_centre():
    assert crowd((0, 0.0, 1.0, 1.0)).lanes_of(np.array([-9.0, -3.5, -1.8, -1.7, 0.0, 1.7, 1.8, 9.0])).tolist() == [
        0, 0, 0, 1, 1, 1, 2, 2,
    ]  # fmt: skip


def test_a_crowd_is_drawn_with_room_and_as_dense_as_asked():
    out, rng = Crowd(40, 24, 3, SIZE), np.random.default_rng(0)
    for n in range(40):
        own_lane = n % 3
        out.place(n, 200.0, own_lane, 60.0, (15.0, 20.0), rng)
        assert np.abs(out.station[n, out.lane[n] == own_lane] - 200.0).min() >= 0.6 * 60.0 - 1e-9
        for lane in range(3):
            steps = np.diff(np.sort(out.station[n, out.lane[n] == lane]))
            assert steps.min() >= 0.6 * 60.0 - 1e-9
    assert out.wish.min() >= 15.0 and out.wish.max() <= 20.0
    assert len(np.unique(out.wish)) == out.wish.size
    reach = out.station.max(axis=1) - out.station.min(axis=1)
    assert np.mean(24 * 60.0 / 3 / reach) == pytest.approx(1.0, abs=0.15)


def test_vehicles_stand_in_the_middle_of_their_lanes():
    along = np.linspace(0.0, 100.0, 101)
    one = np.ones(101)
    roads = Roads([Road(np.stack([along, 0 * along], 1), 0 * one, 0 * one, 5.25 * one, one, one, 1.0, False)])
    out = crowd((0, 12.3, 0.0, 1.0), (2, 55.0, 0.0, 1.0))
    out.stand(np.array([0]), roads, np.zeros(1, dtype=np.int64))
    np.testing.assert_allclose(
        out.boxes[0], [[12.3, -LANE_WIDTH, 0.0, 2.25, 0.8], [55.0, LANE_WIDTH, 0.0, 2.25, 0.8]], atol=1e-12
    )
