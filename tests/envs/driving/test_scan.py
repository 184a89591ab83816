"""Range scan: closed forms, and MuJoCo's own rays on a model of the same borders and boxes."""

import mujoco
import numpy as np
import pytest
from scipy.optimize import linprog

from undrift.envs.driving.road import Road, Roads
from undrift.envs.driving.scan import Borders, fan, overlap

NOTHING = np.zeros((1, 0, 5))


def road(position, heading, half_width, closed):
    points = len(position)
    spacing = float(np.linalg.norm(position[1] - position[0]))
    one = np.ones(points)
    return Road(position, heading, 0 * one, half_width * one, one, one, spacing, closed)


def straight(half_width=2.0, points=101):
    along = np.linspace(0.0, 100.0, points)
    return road(np.stack([along, 0 * along], axis=1), 0 * along, half_width, closed=False)


def ring(radius=10.0, half_width=1.0, points=2000):
    angle = 2 * np.pi * np.arange(points) / points
    return road(
        radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), angle + np.pi / 2, half_width * np.ones(points), True
    )


def wavy(points=300):
    """A closed road with bends to both sides and a width that changes."""
    angle = 2 * np.pi * np.arange(points) / points
    radius = 5.0 + 1.2 * np.cos(3 * angle)
    slope = -3.6 * np.sin(3 * angle)
    tangent = np.stack([slope * np.cos(angle) - radius * np.sin(angle), slope * np.sin(angle) + radius * np.cos(angle)])
    position = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return road(position, np.arctan2(tangent[1], tangent[0]), 0.7 + 0.2 * np.sin(5 * angle), True)


def scan(borders, pose, angles, limit=1000.0, boxes=NOTHING, nearest=0):
    ids, at = np.array([0]), np.array([nearest])
    pose = np.asarray(pose, dtype=float)[None]
    return borders.scan(ids, np.zeros(1, dtype=int), at, pose, np.asarray(angles, dtype=float), limit, boxes)[0]


def in_mujoco(lines, closed, boxes):
    """The same borders as walls one micrometre thick, and the boxes, as a MuJoCo model."""
    spec = mujoco.MjSpec()
    for line in lines:
        ends = np.roll(line, -1, axis=0)
        for start, end in list(zip(line, ends, strict=True))[: None if closed else -1]:
            (x, y), (dx, dy) = (start + end) / 2, end - start
            _add_box(spec, [x, y, np.arctan2(dy, dx), np.hypot(dx, dy) / 2, 1e-6])
    for box in boxes:
        _add_box(spec, box)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def _add_box(spec, box):
    x, y, yaw, half_length, half_width = box
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[x, y, 0],
        quat=[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)],
        size=[half_length, half_width, 1],
    )


def ray(world, origin, angle, limit):
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    found = mujoco.mj_ray(*world, np.array([*origin, 0.0]), direction, None, 1, -1, np.zeros(1, dtype=np.int32), None)
    return limit if found < 0 else min(found, limit)


def test_on_a_straight_road_every_beam_measures_the_border_it_points_at():
    angles = np.radians([-90, -60, -30, 30, 60, 90, 150, -150])
    seen = scan(Borders(Roads([straight()])), [50.0, 0.5, 0.0], angles)
    np.testing.assert_allclose(seen, np.where(angles > 0, 1.5, 2.5) / np.abs(np.sin(angles)), rtol=1e-12)


def test_the_ends_of_an_open_road_are_open_and_the_range_is_limited():
    borders = Borders(Roads([straight()]))
    np.testing.assert_array_equal(scan(borders, [50.0, 0.0, 0.0], [0.0, np.pi], limit=80.0), 80.0)
    assert scan(borders, [50.0, 0.0, 0.0], [np.pi / 2], limit=1.5) == 1.5


def test_on_a_ring_every_beam_measures_the_circle_it_points_at():
    """From (r, 0) along the angle a: the outer circle R at -r cos a + sqrt(R² - r² sin² a), the inner one where it is met."""
    angles, r, inner, outer = np.linspace(0, 2 * np.pi, 37)[:-1], 9.6, 9.0, 11.0
    expected = -r * np.cos(angles) + np.sqrt(outer**2 - (r * np.sin(angles)) ** 2)
    meets = (np.cos(angles) < 0) & (r * np.abs(np.sin(angles)) < inner)
    nearer = -r * np.cos(angles) - np.sqrt(np.maximum(inner**2 - (r * np.sin(angles)) ** 2, 0))
    expected[meets] = nearer[meets]
    # The borders are polygons of 2000 sides: inside the circles by at most R (1 - cos(pi / 2000)), over the slant of a ray.
    np.testing.assert_allclose(scan(Borders(Roads([ring()])), [r, 0.0, 0.0], angles), expected, atol=2e-4)


def test_a_scan_equals_mujocos_rays_among_borders_and_boxes():
    centre = wavy()
    borders, rng, n, limit = Borders(Roads([ring(points=300), centre])), np.random.default_rng(0), 12, 6.0
    at = rng.integers(0, 300, n)
    qpos = np.column_stack([centre.position[at] + rng.uniform(-0.3, 0.3, (n, 2)), rng.uniform(-3, 3, n)])
    boxes = np.concatenate([rng.uniform(-6, 6, (5, 2)), rng.uniform(-3, 3, (5, 1)), rng.uniform(0.1, 0.4, (5, 2))], 1)
    angles = fan(16, np.radians(270))
    away = (at + rng.integers(-5, 6, n)) % 300
    seen = borders.scan(
        np.arange(n), np.ones(n, dtype=int), away, qpos, angles, limit, np.broadcast_to(boxes, (n, 5, 5)).copy()
    )
    world = in_mujoco((borders.left[1], borders.right[1]), True, boxes)
    for pose, row in zip(qpos, seen, strict=True):
        np.testing.assert_allclose(row, [ray(world, pose[:2], pose[2] + a, limit) for a in angles], atol=1e-4)


def test_a_box_hides_what_is_behind_it_and_an_absent_one_does_not():
    borders = Borders(Roads([straight()]))
    box = np.array([[[60.0, 0.0, 0.3, 0.5, 0.25]]])
    assert scan(borders, [50.0, 0.0, 0.0], [0.0], boxes=box)[0] == pytest.approx(10.0 - 0.5 / np.cos(0.3))
    box[..., 3] = 0.0
    assert scan(borders, [50.0, 0.0, 0.0], [0.0], limit=40.0, boxes=box)[0] == 40.0


def test_beyond_a_border_beams_outwards_read_nothing():
    assert scan(Borders(Roads([straight()])), [50.0, 2.5, 0.0], [np.pi / 2])[0] == 0.0


def test_simulations_on_other_roads_do_not_matter():
    borders = Borders(Roads([ring(points=400), ring(radius=20.0, points=400)]))
    qpos = np.array([[10.0, 0.0, 0.0], [20.5, 0.0, 0.0]])
    rest = (np.array([0, 1]), np.zeros(2, dtype=int), qpos, fan(9, 4.0), 30.0, np.zeros((2, 0, 5)))
    both = borders.scan(np.arange(2), *rest)
    np.testing.assert_array_equal(borders.scan(np.array([1]), *rest)[0], both[1])
    assert not np.array_equal(both[0], both[1])


@pytest.mark.parametrize(("lateral", "yaw", "touches"), [(0.0, 0.0, False), (1.4, 0.0, False), (1.6, 0.0, True)])
def test_a_box_touches_a_border_with_its_side(lateral, yaw, touches):
    box = np.array([[50.0, lateral, yaw, 1.0, 0.5]])
    assert Borders(Roads([straight()])).touched(np.zeros(1, dtype=int), np.array([40]), box)[0] == touches


@pytest.mark.parametrize("yaw", np.linspace(0, 2 * np.pi, 9))
def test_a_turned_box_touches_a_border_with_its_corner(yaw):
    reach = abs(np.sin(yaw)) * 1.0 + abs(np.cos(yaw)) * 0.5
    for gap in (0.01, -0.01):
        box = np.array([[50.0, -(2.0 - reach - gap), yaw, 1.0, 0.5]])
        assert Borders(Roads([straight()])).touched(np.zeros(1, dtype=int), np.array([50]), box)[0] == (gap < 0)


def test_a_box_touches_the_inner_border_of_a_bend_between_its_corners():
    borders, at = Borders(Roads([ring()])), np.zeros(1, dtype=int)
    # Its long side is a chord whose middle is nearest to the centre; the corners are well outside the inner circle of 9 m.
    boxes = [np.array([[x, 0.0, np.pi / 2, 1.5, 0.3]]) for x in (9.31, 9.29)]
    assert [bool(borders.touched(at, at, box)[0]) for box in boxes] == [False, True]


def test_a_border_that_folds_over_itself_is_refused():
    with pytest.raises(ValueError, match="road 1 folds over itself.*radius of the bend"):
        Borders(Roads([ring(), ring(radius=0.9)]))


def test_boxes_overlap_where_no_line_separates_them():
    """Against the separation found by linear programming: two convex sets are apart if they share no point."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(60):
        first, second = np.column_stack([rng.uniform(-1, 1, (2, 3)) * [1.5, 1.5, 3], rng.uniform(0.1, 1, (2, 2))])
        sides, bounds = [], []
        for x, y, yaw, *half in (first, second):
            for axis, size in zip((yaw, yaw + np.pi / 2), half, strict=True):
                direction = np.array([np.cos(axis), np.sin(axis)])
                for sign in (1, -1):
                    sides.append(sign * direction)
                    bounds.append(size + sign * direction @ [x, y])
        shared = linprog(np.zeros(2), A_ub=sides, b_ub=bounds, bounds=(None, None)).status == 0
        assert overlap(first, second) == overlap(second, first) == shared
        found.append(shared)
    assert 10 < sum(found) < 50


def test_a_fan_is_symmetric_denser_ahead_and_repeats_no_direction_all_around():
    for beams in (9, 32):
        angles = fan(beams, 2 * np.pi)
        np.testing.assert_allclose(angles, -angles[::-1], atol=1e-15)
        steps = np.diff(angles)
        assert steps.min() > 0 and steps.argmin() in (beams // 2 - 1, beams // 2) and angles[-1] < np.pi
    assert fan(9, 3.0)[-1] == pytest.approx(1.5 * (8 / 9) ** 2)


@pytest.mark.parametrize(("arguments", "what"), [((1, 2.0), "at least 2"), ((9, 7.0), "at most 2 pi")])
def test_a_fan_that_cannot_be_is_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        fan(*arguments)
