"""The picture holds what the episode recorded, where it recorded it."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents.film import FilmUnavailable, Take, scene
from undrift.agents.film.scene import Stage
from undrift.envs.drawing import DrawingUnavailable

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
            x, y = stage.canvas.project(stage.position(index, step))
            near = coloured(picture)[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
            assert near.mean() > 0.3


def test_positions_are_the_recorded_ones_in_lanes_beside_each_other(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    with Stage(take, SIZE) as stage:
        apart = stage.position(1, AFTER) - stage.position(0, AFTER)
        recorded = take.episodes[1].qpos[AFTER, :3] - take.episodes[0].qpos[AFTER, :3]
        np.testing.assert_allclose(apart - recorded, stage.lanes[1] - stage.lanes[0], atol=1e-6)
        stage.draw(AFTER)
        (left, _), (right, _) = (stage.canvas.project(take.episodes[0].reference[AFTER] + lane) for lane in stage.lanes)
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
        x, y = stage.canvas.project(stage.position(0, step) - [0, 0, 0.1])
        brown = picture[round(y), round(x)]
        assert brown[0] > brown[1] > brown[2]
    (empty,) = pictures(bare, step)
    assert np.abs(picture - empty).max(axis=2).astype(bool).sum() > 300


def test_wind_draws_streaks_and_calm_air_none(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"),))
    with Stage(take, SIZE) as stage:
        stage.draw(BEFORE)
        calm = stage.canvas.scene.ngeom
        stage.draw(AFTER)
        assert stage.canvas.scene.ngeom > calm + 30


def test_pictures_are_the_same_each_time(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    first, moved, again = pictures(take, AFTER, AFTER + 2, AFTER)
    assert np.array_equal(first, again)
    assert (first != moved).mean() > 0.05


def test_without_opengl_there_is_no_film_and_the_error_says_what_to_do(
    fly: Fly, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DrawingUnavailable("no OpenGL. Install it with `apt-get install libegl1`")

    monkeypatch.setattr(scene, "Canvas", refuse)
    with pytest.raises(FilmUnavailable, match="libegl1`, then film the saved episodes with `undrift render`"):
        Stage(Take((fly("none", "frozen"),)), SIZE)
