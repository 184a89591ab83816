"""What one film shows: episodes flown on the same reference, put on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...envs import ENVIRONMENTS, BatchEnv, make_batch
from ...envs.shifts import shift_from_dict
from ..episode import Episode

SAME = ("env_id", "env_kwargs", "scenario", "seed", "dt", "planned_steps")
TRACK = "undrift/DroneTrack-v0"
"""Its reference is the same for every controller, so that two drones can share one scene."""
WARNING_S, AFTERMATH_S = 0.3, 1.0
"""Before and after the shift, what is shown in slow motion."""

_ERRORS = {
    "undrift/DroneHover-v0": "distance from the point",
    "undrift/DroneGates-v0": "distance to the next gate",
    "undrift/DroneReach-v0": "distance to the target",
    "undrift/CarLidar-v0": "distance from the middle",
    "undrift/CarTraffic-v0": "distance from the middle",
}
_TRACED = ("wind", "gusts", "gusty_wind", "turbulence", "oscillating_wind", "payload", "motor_loss")
"""Shifts that an episode's arrays of wind, payload and motors tell of."""


@dataclass(frozen=True)
class Take:
    """One or two episodes of the same flight.

    The clock is the control step k; an episode that ended in a crash stays where it was.

    Args:
        episodes: one, or two that differ in nothing but the controller. Frozen before adapting.

    Raises:
        ValueError: no episode or more than two, an environment that has no film, or two episodes that differ in
            environment, scenario, seed, control period or reference.
    """

    episodes: tuple[Episode, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.episodes) <= 2:
            raise ValueError(f"a film shows one or two episodes, got {len(self.episodes)}")
        first, last = self.episodes[0], self.episodes[-1]
        if first.meta["env_id"] not in ENVIRONMENTS:
            raise ValueError(
                f"no film of {first.meta['env_id']!r}; filmed are {', '.join(ENVIRONMENTS)}. "
                "Record other environments as they run, with `undrift.agents.film.Recorder`"
            )
        pairs = {key: (first.meta.get(key), last.meta.get(key)) for key in SAME}
        differing = [f"{key} ({a!r} and {b!r})" for key, (a, b) in pairs.items() if a != b]
        if differing:
            raise ValueError(f"the episodes are no pair: they differ in {', '.join(differing)}")
        shared = min(first.steps, last.steps)
        if first.meta["env_id"] == TRACK and not np.allclose(
            first.reference[:shared], last.reference[:shared], atol=1e-4
        ):
            raise ValueError("the episodes are no pair: their reference paths differ; record both with one version")

    @cached_property
    def env(self) -> BatchEnv:
        """The environment at the start of the episodes, with their shifts."""
        return environment(self.episodes[0])

    @property
    def of_cars(self) -> bool:
        """Whether it is cars that are filmed, not drones."""
        return "steering" in self.env.action_names

    @property
    def vehicle_mass(self) -> float:
        """Mass of the bare vehicle in kg."""
        return float(self.env.plant.nominal("mass")[0, self.env.plant.body])

    @property
    def tracks(self) -> bool:
        """Whether the task is to hold the recorded error at zero."""
        return bool(self.env.signals.tracking)

    @property
    def error_name(self) -> str:
        """What the recorded error is."""
        return _ERRORS.get(self.episodes[0].meta["env_id"], "distance from the path")

    @property
    def dt(self) -> float:
        """Control period in s."""
        return self.episodes[0].dt

    @property
    def steps(self) -> int:
        """Control steps of the longer episode."""
        return max(episode.steps for episode in self.episodes)

    @property
    def longest(self) -> Episode:
        """The episode that flew longest; it carries the reference and the wind to the end."""
        return max(self.episodes, key=lambda episode: episode.steps)

    @property
    def onset_s(self) -> float | None:
        """Time in s at which the first shift sets in; None without a shift."""
        return self.episodes[0].onset_s

    @property
    def same_policy(self) -> bool:
        """Whether one and the same policy flew all episodes."""
        return len({episode.meta.get("policy_sha256") for episode in self.episodes}) == 1

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each episode: frozen and adapting, or the adapters' names where those would not tell them apart."""
        adapters = [str(episode.meta["adapter"]) for episode in self.episodes]
        plain = tuple("frozen" if adapter == "frozen" else "adapting" for adapter in adapters)
        return plain if len(set(plain)) == len(plain) else tuple(adapters)

    def error_unit(self, largest: float) -> tuple[float, str]:
        """How many of the unit a metre is, and its name: cm where errors up to `largest` m are small or to be small, else m."""
        return (100.0, "cm") if self.tracks or largest < 1 else (1.0, "m")

    def frames(self, before: float, after: float, fps: float, slow: float = 1.0) -> list[int]:
        """The control step of every frame of `window`; around the shift each advances `slow` times less."""
        span = self.window(before, after, fps)
        at, steps = float(span.start), []
        while at < span.stop:
            steps.append(int(at))
            at += span.step / (slow if self.is_slow(int(at)) else 1.0)
        return steps

    def is_slow(self, step: int) -> bool:
        """Whether slow motion is for this control step."""
        return self.onset_s is not None and -WARNING_S <= (step + 1) * self.dt - self.onset_s < AFTERMATH_S

    def window(self, before: float, after: float, fps: float) -> range:
        """Control steps of the frames from ``before`` s ahead of the shift to ``after`` s behind it.

        Without a shift the window opens 2 s into the episode. Every n-th control step is shown, at about ``fps`` frames
        per second of flight.
        """
        onset = 2.0 + before if self.onset_s is None else self.onset_s
        stop = min(self.steps, round((onset + after) / self.dt))
        first = min(round((onset - before) / self.dt), stop - round(before / self.dt))
        return range(max(0, first), stop, max(1, round(1 / (fps * self.dt))))

    def row(self, episode: Episode, step: int) -> int:
        """The row of an episode's arrays to show at a control step: the last before a crash that has a position."""
        return min(step, int(np.flatnonzero(np.isfinite(episode.qpos).all(axis=1))[-1]))

    def crashed(self, episode: Episode, step: int) -> bool:
        """Whether an episode has ended in a crash by this control step."""
        return episode.crashed and step >= episode.steps

    @property
    def untraced(self) -> list[tuple[int, str]]:
        """Column in `Episode.shift` and name of every shift that wind, payload and motors do not tell of."""
        shifts = enumerate(self.episodes[0].meta["shifts"])
        return [(k, shift["name"]) for k, shift in shifts if shift["kind"] not in _TRACED]

    @cached_property
    def changes(self) -> list[str]:
        """What the shift changes, one sentence each, read from the recorded arrays."""
        if self.onset_s is None:
            return []
        episode = self.longest
        after = episode.time > self.onset_s + 1e-9
        sentences = [
            *_wind_sentence(episode.wind, after),
            *_payload_sentence(episode.payload, after, self.vehicle_mass),
            *_motor_sentences(episode.motor_effectiveness, after),
            *(f"{name[0].upper()}{name[1:]}" for _, name in self.untraced),
        ]
        return sentences or [shift["name"] for shift in self.episodes[0].meta["shifts"]]


def environment(episode: Episode) -> BatchEnv:
    """The environment at the start of an episode, with its shifts."""
    shifts = [shift_from_dict(_fields(shift)) for shift in episode.meta["shifts"]]
    env = make_batch(episode.meta["env_id"], 1, shifts=shifts, **episode.meta["env_kwargs"])
    env.reset([episode.meta["seed"]])
    return env


def _fields(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A shift as `shift_to_dict` describes it, from how an episode records it."""
    kept = {name: value for name, value in recorded.items() if name not in ("kind", "onset_s")}
    return kept | {"name": recorded["kind"]}


def _wind_sentence(wind: np.ndarray, after: np.ndarray) -> list[str]:
    speed = np.linalg.norm(wind, axis=1)
    grown = speed[after].max(initial=0) > speed[~after].max(initial=0) + 0.1
    return [f"Wind {speed[after].max():.2g} m/s arrives"] if grown else []


def _payload_sentence(payload: np.ndarray, after: np.ndarray, vehicle_mass: float) -> list[str]:
    change = (payload[after].mean() - payload[~after].mean()) if after.any() and not after.all() else payload.mean()
    return [f"Payload {100 * change / vehicle_mass:+.0f} % arrives"] if abs(change) > 1e-3 else []


def _motor_sentences(effectiveness: np.ndarray, after: np.ndarray) -> list[str]:
    lost = 1 - effectiveness[after].min(axis=0, initial=1)
    weak = lost > 0.01
    if not weak.any():
        return []
    which = "All motors" if weak.all() else "One motor" if weak.sum() == 1 else f"{weak.sum()} motors"
    which = "The motor" if weak.size == 1 else which
    plural = weak.sum() > 1
    if lost.max() > 0.99:
        return [f"{which} fail" if plural else f"{which} fails"]
    return [f"{which} {'lose' if plural else 'loses'} {100 * lost.max():.0f} %"]
