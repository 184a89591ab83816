"""Films of evaluation episodes while Stable-Baselines3 trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import unwrap_vec_normalize

from ...envs.drawing import DrawingUnavailable
from .recorder import Recorder
from .scene import FilmUnavailable


class FilmCallback(BaseCallback):
    """Every `every` environment steps, and at the end, films episodes of the policy as it is then, in an environment of its own.

    Where training normalises (`VecNormalize`), so does it. Where no film can be made it says so once, and training goes on.

    Args:
        make_env: makes one environment with ``render_mode="rgb_array"``.
        folder: where the films go, as ``steps-50000-0.mp4``: after so many steps, by number of the episode.
        every: steps of training between two films.
        episodes: filmed each time.
        seed: of the first episode; the same ones are filmed each time.
        deterministic: whether the policy acts without its exploration.
        suffix: one of ``.mp4``, ``.webm``, ``.gif``.
        verbose: 1 says which film was written.
    """

    def __init__(
        self,
        make_env: Callable[[], gymnasium.Env],
        folder: str | Path,
        *,
        every: int = 50_000,
        episodes: int = 1,
        seed: int = 0,
        deterministic: bool = True,
        suffix: str = ".mp4",
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if every < 1 or episodes < 1:
            raise ValueError(f"every is {every} and episodes {episodes}: give at least 1 of each.")
        self.make_env, self.folder, self.every = make_env, Path(folder), every
        self.episodes, self.seed, self.deterministic, self.suffix = episodes, seed, deterministic, suffix
        self.films: list[Path] = []
        """Those that were written, in order."""
        self._next = every
        self._works = True

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self.every * (1 + (self.num_timesteps - self._next) // self.every)
            self._film()
        return True

    def _on_training_end(self) -> None:
        self._film()

    def _film(self) -> None:
        if not self._works:
            return
        try:
            films = self._fly()
        except (FilmUnavailable, DrawingUnavailable, gymnasium.error.DependencyNotInstalled) as error:
            self._works = False
            print(f"no films of this training: {error}")
            return
        self.films += films
        if self.verbose:
            print("\n".join(f"film {film}" for film in films))

    def _fly(self) -> list[Path]:
        env = Recorder(self.make_env(), self.folder, name=f"steps-{self.num_timesteps}", suffix=self.suffix)
        try:
            for episode in range(self.episodes):
                self._episode(env, self.seed + episode)
        finally:
            env.close()
        return env.films

    def _episode(self, env: Recorder, seed: int) -> None:
        normalised = unwrap_vec_normalize(self.training_env)
        observation, _ = env.reset(seed=seed)
        state, start, done = None, np.ones(1, dtype=bool), False
        while not done:
            if normalised is not None:
                observation = normalised.normalize_obs(observation)
            shown = {k: np.asarray(v)[None] for k, v in observation.items()} if isinstance(observation, dict) else None
            actions, state = self.model.predict(
                np.asarray(observation)[None] if shown is None else shown, state, start, self.deterministic
            )
            observation, _, terminated, truncated, _ = env.step(actions[0])
            start, done = np.zeros(1, dtype=bool), terminated or truncated
