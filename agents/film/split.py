"""The split screen: each episode of a take as its environment's own camera saw it, side by side."""

from __future__ import annotations

from typing import Self

import numpy as np

from ...envs import BatchEnv
from ...envs.drawing import DrawingUnavailable
from ...envs.rendering import View
from ..episode import Episode
from .scene import FilmUnavailable, colours
from .take import Take, environment

_BODIES = ("paint", "accent")
"""Materials of vehicles that take the colour of their episode."""


class SplitScreen:
    """Draws a take as `Stage` does, of any task. Close it, or use it as a context manager.

    Nothing is simulated: every picture puts an environment where the episode was (`BatchEnv.recall`).

    Args:
        take: the episodes.
        size: width and height in pixels; two episodes share the width.
        camera: one of `envs.rendering.CAMERAS`.

    Raises:
        FilmUnavailable: there is no OpenGL context to be had.
        ValueError: an unknown camera, or an episode lacks what the pictures of its environment need.
    """

    def __init__(self, take: Take, size: tuple[int, int], camera: str = "chase") -> None:
        self.take, self.camera = take, camera
        self.width = size[0] // len(take.episodes)
        self.envs = [environment(episode) for episode in take.episodes]
        for env, episode in zip(self.envs, take.episodes, strict=True):
            _check_scene(set(env.record()) - set(vars(episode)) - set(episode.scene))
        self._views: list[View] = []
        try:
            for env, colour in zip(self.envs, colours(take), strict=True):
                for material in range(env.model.nmat):
                    if env.model.mat(material).name in _BODIES:
                        env.model.mat(material).rgba[:3] = colour
                self._views.append(View(env, camera, self.width, size[1], insets=False))
        except DrawingUnavailable as error:
            raise FilmUnavailable(f"no film: {error}, then film the saved episodes with `undrift render`") from error

    @property
    def across(self) -> np.ndarray:
        """[2, 3] the world vectors that point right and away in the first vehicle's last picture."""
        return self._views[0].across

    @property
    def legend(self) -> str:
        """What the marks in the pictures mean."""
        if self.camera == "first_person":
            return "seen from the vehicle"
        if not self.take.of_cars:
            return "green: the next gate" if "passed" in self.take.longest.scene else "green ghost: where it should be"
        slippery = any(np.abs(episode.scene["friction"] - 1).max() > 0.01 for episode in self.take.episodes)
        marks = "white line: the path to follow" * self.take.tracks, "blue ground is slippery" * slippery
        return ", ".join(filter(None, marks))

    def draw(self, step: int) -> np.ndarray:
        """The picture after a control step: uint8 [height, width, 3]."""
        for env, episode in zip(self.envs, self.take.episodes, strict=True):
            _recall(env, episode, self.take.row(episode, step))
        return np.concatenate([view.draw() for view in self._views], axis=1)

    def tags(self, step: int) -> list[tuple[float, float]]:
        """Pixel (x, y) just above each vehicle, in the picture last drawn; none where the camera is on the vehicle."""
        if self.camera == "first_person":
            return []
        places = []
        for index, (env, view) in enumerate(zip(self.envs, self._views, strict=True)):
            above = (
                view.across[1] * 0.5 if self.camera == "top" else np.array([0, 0, 0.3 if self.take.of_cars else 0.15])
            )
            x, y = view.pixel(env.position(0) + env.picture_scale * above)
            places.append((index * self.width + x, y))
        return places

    def close(self) -> None:
        """Free the OpenGL contexts."""
        for view in self._views:
            view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _recall(env: BatchEnv, episode: Episode, row: int) -> None:
    began = float(episode.time[row - 1]) if row else 0.0
    arrays = {
        "qpos": episode.qpos,
        "qvel": episode.qvel,
        "wind": episode.wind,
        "payload": episode.payload,
        "motor_effectiveness": episode.motor_effectiveness,
    }
    moment = {name: array[row].astype(float) for name, array in (arrays | episode.scene).items()}
    env.recall(began, float(episode.time[row]), moment)


def _check_scene(missing: set[str]) -> None:
    if missing:
        raise ValueError(
            f"no film: the episode does not record {', '.join(sorted(missing))}; record it again with this version"
        )
