"""The split screen shows each environment where its episode was, and simulates nothing."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents.film import Take
from undrift.agents.film.split import SplitScreen
from undrift.envs import BatchEnv
from undrift.envs.rendering import CAMERAS

from .conftest import ONSET_S, Fly, changed

SIZE = (480, 270)
AFTER = round(ONSET_S / 0.02) + 40
pytestmark = pytest.mark.usefixtures("opengl")


def test_every_picture_is_of_the_recorded_place_in_any_order_and_nothing_is_stepped(
    drive: Fly, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Take((drive("payload", "frozen"), drive("payload", "integral")))
    monkeypatch.setattr(BatchEnv, "step", None)
    with SplitScreen(take, SIZE) as split:
        for step in (10, AFTER, 40):
            split.draw(step)
            for env, episode in zip(split.envs, take.episodes, strict=True):
                np.testing.assert_array_equal(env.qpos[0].astype(np.float32), episode.qpos[step])
                assert env.record()["payload"][0] == pytest.approx(episode.payload[step], abs=1e-6)
                np.testing.assert_allclose(env.record()["wheel_speed"][0], episode.scene["wheel_speed"][step])


def test_the_frozen_car_is_orange_on_the_left_and_the_adapting_one_cyan_on_the_right(drive: Fly) -> None:
    with SplitScreen(Take((drive("none", "frozen"), drive("none", "integral"))), SIZE) as split:
        picture = split.draw(AFTER).astype(int)
        tags = split.tags(AFTER)
    assert picture.shape == (270, 480, 3)
    left, right = (picture[110:170, round(x) - 40 : round(x) + 40] for x, _ in tags)
    assert ((left[..., 0] > left[..., 2] + 90) & (left[..., 0] > 150)).sum() > 50
    assert ((right[..., 2] > right[..., 0] + 60) & (right[..., 2] > 120)).sum() > 50
    assert tags[0][0] < 240 < tags[1][0]


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_camera_gives_a_picture_of_its_own(fly: Fly, camera: str) -> None:
    with SplitScreen(Take((fly("wind", "frozen"),)), (160, 120), camera) as split:
        picture = split.draw(AFTER)
        assert picture.shape == (120, 160, 3) and picture.std() > 8
        assert len(split.tags(AFTER)) == (camera != "first_person")
        assert split.legend


def test_an_episode_without_what_its_pictures_need_is_refused(drive: Fly) -> None:
    bare = changed(drive("none", "frozen"))
    bare.scene.clear()
    with pytest.raises(ValueError, match="does not record friction, slip, steering, wheel_speed; record it again"):
        SplitScreen(Take((bare,)), SIZE)
