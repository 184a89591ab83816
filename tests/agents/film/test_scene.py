"""The picture holds what the episode recorded, where it recorded it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from undrift.agents.film import Take
from undrift.agents.film.scene import Stage

from .conftest import ONSET_S, Fly

SIZE = (480, 270)
BEFORE, AFTER = round(ONSET_S / 0.02) - 20, round(ONSET_S / 0.02) + 60
pytestmark = pytest.mark.usefixtures("opengl")


def pictures(take: Take, *steps: int) -> list[np.ndarray]:
    with Stage(take, SIZE) as stage:
        return [stage.draw(step).astype(int) for step in steps]


def orange(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 150) & (picture[..., 0] > picture[..., 2] + 90) & (picture[..., 1] > 70)


def cyan(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 2] > 150) & (picture[..., 2] > picture[..., 0] + 90) & (picture[..., 1] > 120)


def red(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 150) & (picture[..., 1] < 70) & (picture[..., 2] < 110)


def test_the_frozen_drone_is_orange_on_the_left_and_the_adapting_one_cyan_on_the_right(fly: Fly) -> None:
    (picture,) = pictures(Take((fly("none", "frozen"), fly("none", "integral"))), BEFORE)
    left, right = np.nonzero(orange(picture))[1], np.nonzero(cyan(picture))[1]
    assert min(len(left), len(right)) > 150
    assert np.median(left) < SIZE[0] / 2 < np.median(right)


@pytest.mark.parametrize("step", [BEFORE, AFTER])
def test_drones_are_drawn_where_their_position_projects_to(fly: Fly, step: int) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    with Stage(take, SIZE) as stage:
        picture = stage.draw(step).astype(int)
        for index, coloured in enumerate((orange, cyan)):
            x, y = stage.project(stage.position(index, step))
            near = coloured(picture)[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
            assert near.mean() > 0.3


def test_positions_are_the_recorded_ones_in_lanes_beside_each_other(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    with Stage(take, SIZE) as stage:
        apart = stage.position(1, AFTER) - stage.position(0, AFTER)
        recorded = take.episodes[1].qpos[AFTER, :3] - take.episodes[0].qpos[AFTER, :3]
        np.testing.assert_allclose(apart - recorded, stage.lanes[1] - stage.lanes[0], atol=1e-6)
        stage.draw(AFTER)
        (left, _), (right, _) = (stage.project(take.episodes[0].reference[AFTER] + lane) for lane in stage.lanes)
        assert right - left > SIZE[0] / 5


def test_the_shift_drives_the_frozen_drone_outwards(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    with Stage(take, SIZE) as stage:
        pushed = (take.episodes[0].qpos[AFTER:, :3] - take.episodes[0].reference[AFTER:]).mean(axis=0)
        assert pushed @ stage.right < -0.05


def test_a_dead_motor_turns_red(fly: Fly) -> None:
    before, after = pictures(Take((fly("dead motor", "frozen"),)), BEFORE, round(ONSET_S / 0.02) + 5)
    assert red(before).sum() < 5
    assert red(after).sum() > 80


def test_a_payload_hangs_below_the_drone(fly: Fly) -> None:
    loaded, bare = Take((fly("payload", "frozen"),)), Take((fly("none", "frozen"),))
    step = round(ONSET_S / 0.02)
    with Stage(loaded, SIZE) as stage:
        picture = stage.draw(step).astype(int)
        x, y = stage.project(stage.position(0, step) - [0, 0, 0.1])
        brown = picture[round(y), round(x)]
        assert brown[0] > brown[1] > brown[2]
    (empty,) = pictures(bare, step)
    assert np.abs(picture - empty).max(axis=2).astype(bool).sum() > 300


def test_wind_draws_streaks_and_calm_air_none(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"),))
    with Stage(take, SIZE) as stage:
        stage.draw(BEFORE)
        calm = stage.scene.ngeom
        stage.draw(AFTER)
        assert stage.scene.ngeom > calm + 30


def test_pictures_are_the_same_each_time(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    first, moved, again = pictures(take, AFTER, AFTER + 2, AFTER)
    assert np.array_equal(first, again)
    assert (first != moved).mean() > 0.05


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [("MUJOCO_EGL_DEVICE_ID", "99", "EGL answers"), ("PYOPENGL_PLATFORM", "glx", "EGL answers")],
)
def test_without_an_opengl_context_the_error_names_the_reason_and_the_command(
    variable: str, value: str, reason: str
) -> None:
    environment = {name: text for name, text in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    code = (
        "from undrift.agents.film.scene import FilmUnavailable, _gl_context\n"
        "try:\n    _gl_context((64, 36))\nexcept FilmUnavailable as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {variable: value}, capture_output=True, text=True, check=True
    )
    assert reason in done.stdout
    assert "apt-get install libegl1" in done.stdout
