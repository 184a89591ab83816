"""The filmed drive: what was recorded is driven again, and each car's chase camera stands beside the other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ...envs import BatchEnv, make_batch
from ...envs.drawing import DrawingUnavailable
from ...envs.rendering import View
from ...envs.shifts import shift_from_dict
from ..episode import Episode
from .scene import FilmUnavailable, colours
from .take import Take

ASTRAY = 0.05
"""A replay that leaves the recorded way by more than so many lengths of the car is none."""


class Replay:
    """Draws a take of cars, as `Stage` does one of drones. Close it, or use it as a context manager.

    The recorded actions are sent to the environment once more, from the recorded seed and under the recorded shifts: that
    gives the road and its grip, the wheels, the marks of sliding tyres and all other vehicles as they were.

    Args:
        take: the episodes.
        size: width and height in pixels; two episodes share the width.

    Raises:
        FilmUnavailable: there is no OpenGL context to be had.
    """

    def __init__(self, take: Take, size: tuple[int, int]) -> None:
        self.take = take
        self.width = size[0] // len(take.episodes)
        self.envs = [_environment(episode) for episode in take.episodes]
        self._done = [0] * len(self.envs)
        self._views: list[View] = []
        try:
            for env, colour in zip(self.envs, colours(take), strict=True):
                env.model.material("paint").rgba[:3] = colour
                self._views.append(View(env, "chase", self.width, size[1], insets=False))
        except DrawingUnavailable as error:
            raise FilmUnavailable(f"no film: {error}, then film the saved episodes with `undrift render`") from error

    @property
    def vehicle_mass(self) -> float:
        """Mass of the bare car in kg."""
        return float(self.envs[0].model.body("car").mass[0])

    @property
    def across(self) -> np.ndarray:
        """[2, 3] the world vectors that point right and away in the first car's last picture."""
        x, y = self.envs[0].outlook(0)
        return np.array([[y, -x, 0.0], [x, y, 0.0]])

    def draw(self, step: int) -> np.ndarray:
        """The picture after a control step: uint8 [height, width, 3].

        Raises:
            ValueError: the replay leaves the recorded way, as it may where another version recorded it.
        """
        for index, episode in enumerate(self.take.episodes):
            self._drive(index, episode, min(step + 1, episode.steps))
        return np.concatenate([view.draw() for view in self._views], axis=1)

    def tags(self, step: int) -> list[tuple[float, float]]:
        """Pixel (x, y) just above each car, in the picture last drawn."""
        places = []
        for index, (env, view) in enumerate(zip(self.envs, self._views, strict=True)):
            x, y = view.pixel(env.position(0) + [0.0, 0.0, env.picture_scale * 0.3])
            places.append((index * self.width + x, y))
        return places

    def _drive(self, index: int, episode: Episode, steps: int) -> None:
        """Bring one car to where it was after so many control steps."""
        env = self.envs[index]
        if steps < self._done[index]:
            env.reset([episode.meta["seed"]])
            self._done[index] = 0
        for action in episode.action[self._done[index] : steps]:
            env.step(action[None])
        self._done[index] = steps
        if np.linalg.norm(env.qpos[0, :2] - episode.qpos[steps - 1, :2]) > ASTRAY * env.picture_scale:
            raise ValueError(
                f"no film: {episode.time[steps - 1]:.1f} s into the episode its replay has left the recorded way; "
                "record the episode again with this version"
            )

    def close(self) -> None:
        """Free the OpenGL contexts."""
        for view in self._views:
            view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _environment(episode: Episode) -> BatchEnv:
    """The environment at the start of an episode."""
    shifts = [shift_from_dict(_fields(shift)) for shift in episode.meta["shifts"]]
    env = make_batch(episode.meta["env_id"], 1, shifts=shifts, **episode.meta["env_kwargs"])
    env.reset([episode.meta["seed"]])
    return env


def _fields(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A shift as `shift_to_dict` describes it, from how an episode records it."""
    kept = {name: value for name, value in recorded.items() if name not in ("kind", "onset_s")}
    return kept | {"name": recorded["kind"]}
