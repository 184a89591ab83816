"""Roads through a user's points."""

import numpy as np
import pytest

from undrift.envs.driving.roads import from_csv, through


def on_circle(count=24, radius=8.0):
    angle = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def written(tmp_path, text):
    path = tmp_path / "road.csv"
    path.write_text(text)
    return path


def rows(points):
    return "".join(f"{x},{y}\n" for x, y in points)


def test_points_on_a_circle_make_a_circle():
    road = through(on_circle(), half_width=0.5)
    assert road.closed and road.length == pytest.approx(2 * np.pi * 8, rel=1e-4)
    assert road.spacing == pytest.approx(0.1, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(road.position, axis=1), 8.0, atol=1e-3)
    np.testing.assert_allclose(road.curvature, 1 / 8, rtol=0.01)
    np.testing.assert_allclose(np.diff(road.heading), road.spacing / 8, rtol=0.01)
    steps = np.linalg.norm(np.diff(road.position, axis=0, append=road.position[:1]), axis=1)
    np.testing.assert_allclose(steps, road.spacing, rtol=1e-3)


def test_an_open_road_meets_its_points_and_ends_with_the_last():
    points = np.array([[0, 0], [10, 1], [20, -2], [30, 0], [41, 3]], float)
    road = through(points, closed=False, spacing=0.05)
    np.testing.assert_allclose(road.position[[0, -1]], points[[0, -1]], atol=1e-9)
    for point in points:
        assert np.linalg.norm(road.position - point, axis=1).min() <= 0.03
    assert road.length == pytest.approx(road.station[-1])


def test_a_file_gives_the_road_of_its_columns_in_any_order(tmp_path):
    points = on_circle()
    lines = "".join(f"{3 + k % 2},{y},{x},{0.4 + 0.01 * k}\n" for k, (x, y) in enumerate(points))
    road = from_csv(written(tmp_path, "speed, y, x, half_width\n\n" + lines))
    np.testing.assert_allclose(road.position, through(points).position)
    assert road.half_width.min() == pytest.approx(0.4) and road.half_width.max() == pytest.approx(0.63, abs=0.005)
    assert road.speed.min() == pytest.approx(3.0, abs=0.05) and road.speed.max() == pytest.approx(4.0, abs=0.05)


def test_a_last_row_that_repeats_the_first_closes_the_road(tmp_path):
    points = on_circle()
    again = from_csv(written(tmp_path, "x,y\n" + rows([*points, points[0]])), half_width=0.7)
    assert again.to_dict() == through(points, 0.7).to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,z\n1,2\n", "unknown column 'z' in row 1"),
        ("x,speed\n1,2\n", "row 1 names no column 'y'"),
        ("x,y\n0,0\n1,two\n", "row 3, column 'y' is 'two'"),
        ("x,y\n0,0\n\n1,nan\n", "row 4, column 'y' is 'nan'"),
        ("x,y\n0,0\n1\n", "row 3 has 1 values for the 2 columns x, y"),
        ("x,y,half_width\n0,0,1\n1,0,-2\n", "row 3, column 'half_width' is -2: it must be above 0"),
        ("x,y\n0,0\n1,0\n1,1\n", "has 3 points"),
        ("x,y\n0,0\n1,0\n1,0\n1,1\n0,1\n", "row 4 repeats"),
    ],
)
def test_a_bad_file_is_refused_with_row_and_column(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        from_csv(written(tmp_path, text))


def test_points_that_repeat_are_refused():
    points = on_circle()
    with pytest.raises(ValueError, match="point 3 of the centreline repeats"):
        through(np.insert(points, 3, points[2], axis=0))
    with pytest.raises(ValueError, match="point 0 of the centreline repeats"):
        through(np.concatenate([points, points[:1]]))
