"""Films of cars: the recorded actions bring back the recorded drive."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from undrift.agents.film import Take, render_pair
from undrift.agents.film.replay import Replay
from undrift.agents.film.take import CARS
from undrift.envs import ENVIRONMENTS
from undrift.envs.driving.base import CarEnv

from .conftest import ONSET_S, Fly, changed

SIZE = (480, 270)
AFTER = round(ONSET_S / 0.02) + 40
pytestmark = pytest.mark.usefixtures("opengl")


def test_all_car_tasks_are_filmed_by_replay() -> None:
    assert set(CARS) == {env_id for env_id, kind in ENVIRONMENTS.items() if issubclass(kind, CarEnv)}


def test_a_replay_is_the_recorded_drive_to_the_bit_in_any_order(drive: Fly) -> None:
    take = Take((drive("payload", "frozen"), drive("payload", "integral")))
    with Replay(take, SIZE) as replay:
        for step in (10, AFTER, 40):
            replay.draw(step)
            for env, episode in zip(replay.envs, take.episodes, strict=True):
                np.testing.assert_array_equal(env.qpos[0].astype(np.float32), episode.qpos[step])


def test_the_frozen_car_is_orange_on_the_left_and_the_adapting_one_cyan_on_the_right(drive: Fly) -> None:
    with Replay(Take((drive("none", "frozen"), drive("none", "integral"))), SIZE) as replay:
        picture = replay.draw(AFTER).astype(int)
        tags = replay.tags(AFTER)
    assert picture.shape == (270, 480, 3)
    left, right = (picture[110:170, round(x) - 40 : round(x) + 40] for x, _ in tags)
    assert ((left[..., 0] > left[..., 2] + 90) & (left[..., 0] > 150)).sum() > 50
    assert ((right[..., 2] > right[..., 0] + 60) & (right[..., 2] > 120)).sum() > 50
    assert tags[0][0] < 240 < tags[1][0]


def test_an_episode_that_does_not_replay_is_refused(drive: Fly) -> None:
    other = changed(drive("none", "frozen"))
    other.qpos[AFTER:, 0] += 0.2
    with Replay(Take((other,)), SIZE) as replay, pytest.raises(ValueError, match="record the episode again"):
        replay.draw(AFTER)


def test_a_film_of_two_cars_is_written(drive: Fly, tmp_path: Path) -> None:
    path = render_pair(drive("wind", "frozen"), drive("wind", "integral"), tmp_path / "cars.mp4", size=SIZE, fps=10)
    reader = imageio_ffmpeg.read_frames(path)
    assert next(reader)["size"] == SIZE
    frames = np.stack([np.frombuffer(frame, np.uint8) for frame in reader]).astype(int)
    assert len(frames) >= 25 and frames.mean(axis=1).min() > 20
    assert (np.abs(np.diff(frames, axis=0)).mean(axis=1) > 0.3).all()
