"""Films of any environment as it runs, and of a policy while it trains."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from undrift.agents.film import FilmUnavailable, Recorder
from undrift.agents.film import callback as callback_module
from undrift.agents.film.callback import FilmCallback


class Lamp(gymnasium.Env):
    """Grows brighter for six steps; the observation is the brightness. Its pictures have odd sizes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - declared mutable by gymnasium.Env
    observation_space = spaces.Box(0.0, 300.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = "rgb_array") -> None:
        self.render_mode, self.level = render_mode, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level = 0
        return self._observe(), {}

    def step(self, action):
        self.level += 1
        return self._observe(), 0.0, False, self.level == 6, {}

    def render(self):
        return np.full((33, 49, 3), 40 * self.level, np.uint8)

    def _observe(self) -> np.ndarray:
        return np.array([40.0 * self.level], np.float32)


def decoded(path: Path) -> tuple[dict, np.ndarray]:
    reader = imageio_ffmpeg.read_frames(path)
    facts = next(reader)
    width, height = facts["size"]
    return facts, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


def play(env: gymnasium.Env, episodes: int) -> None:
    for episode in range(episodes):
        env.reset(seed=episode)
        while not env.step(np.zeros(1, np.float32))[3]:
            pass
    env.close()


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9"), (".gif", "gif")])
def test_every_format_holds_every_picture_of_every_nth_episode(tmp_path: Path, suffix: str, codec: str) -> None:
    env = Recorder(Lamp(), tmp_path, every=2, suffix=suffix)
    play(env, 3)
    assert env.films == [tmp_path / f"episode-0{suffix}", tmp_path / f"episode-2{suffix}"]
    assert sorted(tmp_path.iterdir()) == env.films
    facts, frames = decoded(env.films[1])
    assert facts["codec"].strip(",") == codec and facts["size"] == (48, 32) and facts["fps"] == 10
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 40 * np.arange(7), atol=8)


def test_an_episode_that_is_cut_short_is_kept_up_to_there(tmp_path: Path) -> None:
    env = Recorder(Lamp(), tmp_path)
    env.reset()
    env.step(np.zeros(1, np.float32))
    env.close()
    assert len(decoded(tmp_path / "episode-0.mp4")[1]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"suffix": ".avi"}, r"\.mp4, \.webm, \.gif"), ({"every": 0}, "every tenth with 10")],
)
def test_a_film_that_cannot_be_is_refused_at_once(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder(Lamp(), tmp_path, **arguments)
    with pytest.raises(ValueError, match='render_mode="rgb_array"'):
        Recorder(Lamp(render_mode=None), tmp_path)


def model(**kwargs) -> PPO:
    env = VecNormalize(make_vec_env(Lamp, n_envs=2), norm_reward=False)
    return PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu", seed=0, **kwargs)


def test_training_is_filmed_at_intervals_and_at_its_end(tmp_path: Path) -> None:
    films = FilmCallback(Lamp, tmp_path, every=20, episodes=2)
    seen = []
    trained = model()
    predict = trained.predict
    trained.predict = lambda observation, *rest: seen.append(observation.copy()) or predict(observation, *rest)
    trained.learn(48, callback=films)
    names = [f"steps-{steps}-{k}.mp4" for steps in (20, 40, 48) for k in (0, 1)]
    assert [film.name for film in films.films] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all(len(decoded(film)[1]) == 7 for film in films.films)
    assert np.abs(seen).max() <= 10.0  # normalised as in training


def test_training_goes_on_where_nothing_can_be_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FilmUnavailable("install something")

    monkeypatch.setattr(callback_module, "Recorder", refuse)
    films = FilmCallback(Lamp, tmp_path, every=8)
    trained = model().learn(48, callback=films)
    assert trained.num_timesteps == 48 and films.films == []
    assert capsys.readouterr().out.count("no films of this training: install something") == 1
