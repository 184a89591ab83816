"""Films of environments as they run: any Gymnasium environment with `rgb_array` pictures."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from .encode import FORMATS, encoder


class Recorder(gymnasium.Wrapper):
    """Films every `every`-th episode of an environment, one file each; frames stream to the encoder.

    An episode's film is there when it has ended; one that is cut short by `close` or `reset` is kept up to there.

    Args:
        env: one whose `render` gives uint8 pictures [height, width, 3] (`render_mode="rgb_array"`).
        folder: where the films go, as ``NAME-0.mp4``, ``NAME-10.mp4``, ... by number of the episode.
        every: films episodes 0, every, 2 every, ...
        name: first part of the file names.
        suffix: one of ``.mp4``, ``.webm``, ``.gif``.
        fps: frames per second; None is the environment's own (``metadata["render_fps"]``), or 30.

    Raises:
        ValueError: the environment gives no pictures, or the format is unknown.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        folder: str | Path,
        *,
        every: int = 1,
        name: str = "episode",
        suffix: str = ".mp4",
        fps: float | None = None,
    ) -> None:
        super().__init__(env)
        if env.render_mode != "rgb_array":
            raise ValueError(
                f"the environment has render_mode {env.render_mode!r} and gives no pictures: "
                'make it with render_mode="rgb_array".'
            )
        if suffix not in FORMATS:
            raise ValueError(f"unknown format {suffix!r}; the formats are {', '.join(FORMATS)}.")
        if every < 1:
            raise ValueError(f"every is {every}: film each episode with 1, every tenth with 10.")
        self.folder, self.every, self.name, self.suffix = Path(folder), every, name, suffix
        self.fps = float(fps or env.metadata.get("render_fps") or 30)
        self.films: list[Path] = []
        """Those that are whole, in order."""
        self._episode = -1
        self._film = ExitStack()
        self._send: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._end()
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode += 1
        if self._episode % self.every == 0:
            self._begin()
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._send is not None:
            self._send(self._picture())
        if terminated or truncated:
            self._end()
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        self._end()
        super().close()

    def _begin(self) -> None:
        picture = self._picture()
        path = self.folder / f"{self.name}-{self._episode}{self.suffix}"
        self._send = self._film.enter_context(encoder(path, (picture.shape[1], picture.shape[0]), self.fps))
        self._film.callback(self.films.append, path)
        self._send(picture)

    def _end(self) -> None:
        self._send = None
        self._film.close()

    def _picture(self) -> np.ndarray:
        """The present picture, without a last row or column that would make its size odd: films have even ones."""
        picture = np.asarray(self.env.render(), dtype=np.uint8)
        height, width = (length - length % 2 for length in picture.shape[:2])
        return picture[:height, :width, :3]
