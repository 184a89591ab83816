"""Canvas: what is drawn stands where it should, and a machine that cannot draw is told what to install."""

from __future__ import annotations

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from undrift.envs.drawing import Canvas, DrawingUnavailable

BLUE, RED = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


@pytest.fixture
def canvas():
    try:
        with Canvas(mujoco.MjModel.from_xml_string("<mujoco/>"), (120, 80), samples=0) as canvas:
            yield canvas
    except DrawingUnavailable as error:
        pytest.skip(str(error))


def begin(canvas: Canvas) -> None:
    """From 5 m behind the origin, looking along x, nothing in view."""
    camera = mujoco.MjvCamera()
    camera.distance, camera.azimuth, camera.elevation = 5.0, 0.0, 0.0
    canvas.begin(mujoco.MjData(canvas.model), camera)


def at(canvas: Canvas, picture: np.ndarray, point: list[float]) -> np.ndarray:
    x, y = canvas.project(np.array(point))
    return picture[int(y), int(x)].astype(int)


def test_a_shape_covers_the_pixel_its_place_projects_to(canvas):
    begin(canvas)
    canvas.shape(mujoco.mjtGeom.mjGEOM_SPHERE, [0.2, 0, 0], np.array([0.0, 1.0, 0.5]), np.eye(3), (*BLUE, 1))
    red, green, blue = at(canvas, canvas.picture(), [0.0, 1.0, 0.5])
    assert blue > 60 and max(red, green) < blue / 2


def test_left_is_left_and_up_is_up(canvas):
    begin(canvas)
    middle, left_above = canvas.project(np.zeros(3)), canvas.project(np.array([0.0, 1.0, 0.5]))
    assert middle == pytest.approx((60, 40), abs=1e-3)
    assert left_above[0] < 60 and left_above[1] < 40


def test_an_arrow_points_from_start_to_end_and_grows_wider_there(canvas):
    begin(canvas)
    canvas.arrow(np.array([0.0, 1.5, 0.0]), np.array([0.0, -1.5, 0.0]), (*RED, 1), 0.1)
    red = canvas.picture()[..., 0] > 100
    start, end = (round(canvas.project(np.array([0.0, y, 0.0]))[0]) for y in (1.5, -1.5))
    columns = np.flatnonzero(red.any(axis=0))
    assert start < end and (columns[0], columns[-1]) == (pytest.approx(start, abs=5), pytest.approx(end, abs=5))
    assert red[:, 60:end].sum(axis=0).max() > red[:, start + 5].sum()


def test_lines_fade_with_their_alpha(canvas):
    begin(canvas)
    points = np.array([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [0.0, -1.5, 0.0]])
    canvas.lines(points, RED, np.array([1.0, 1.0, 0.3]), 30.0)
    picture = canvas.picture()
    bright, dim = (at(canvas, picture, [0.0, y, 0.0])[0] for y in (0.75, -0.75))
    assert bright > 200 and 40 < dim < 160


def test_a_new_picture_starts_empty(canvas):
    begin(canvas)
    empty = canvas.picture()
    canvas.lines(np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]), RED, np.ones(2), 30.0)
    drawn = canvas.picture()
    begin(canvas)
    np.testing.assert_array_equal(canvas.picture(), empty)
    assert (drawn != empty).any()


def test_without_opengl_the_error_names_the_reason_and_the_command():
    environment = {name: text for name, text in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    environment |= {"MUJOCO_EGL_DEVICE_ID": "99"}  # no machine has so many
    code = (
        "import gymnasium, undrift.envs\n"
        "from undrift.envs.drawing import DrawingUnavailable\n"
        "env = gymnasium.make('undrift/DroneHover-v0', render_mode='rgb_array')\n"
        "env.reset(seed=0)\n"
        "try:\n    env.render()\nexcept DrawingUnavailable as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "EGL answers" in done.stdout
    assert "apt-get install libegl1" in done.stdout


def test_a_canvas_left_open_is_freed_at_exit_without_complaint():
    code = (
        "import mujoco\nfrom undrift.envs.drawing import Canvas, DrawingUnavailable\n"
        "try:\n    left = Canvas(mujoco.MjModel.from_xml_string('<mujoco/>'), (8, 8))\n"
        "except DrawingUnavailable:\n    pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
