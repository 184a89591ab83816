"""What one film shows: episodes flown on the same reference, put on one clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..episode import Episode

CARS = tuple(f"undrift/Car{task}-v0" for task in ("Track", "Lane", "Lidar", "Traffic"))
FILMED = ("undrift/DroneTrack-v0", *CARS)
SAME = ("env_id", "env_kwargs", "scenario", "seed", "dt", "planned_steps")


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
        if first.meta["env_id"] not in FILMED:
            raise ValueError(f"no film of {first.meta['env_id']!r}; filmed are {', '.join(FILMED)}")
        pairs = {key: (first.meta.get(key), last.meta.get(key)) for key in SAME}
        differing = [f"{key} ({a!r} and {b!r})" for key, (a, b) in pairs.items() if a != b]
        if differing:
            raise ValueError(f"the episodes are no pair: they differ in {', '.join(differing)}")
        shared = min(first.steps, last.steps)
        # A car's reference is the place on its road that is nearest to it.
        if not self.of_cars and not np.allclose(first.reference[:shared], last.reference[:shared], atol=1e-4):
            raise ValueError("the episodes are no pair: their reference paths differ; record both with one version")

    @property
    def of_cars(self) -> bool:
        """Whether it is cars that are filmed, not drones."""
        return self.episodes[0].meta["env_id"] in CARS

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

    def changes(self, vehicle_mass: float) -> list[str]:
        """What the shift changes, one sentence each, read from the recorded arrays; ``vehicle_mass`` in kg."""
        if self.onset_s is None:
            return []
        episode = self.longest
        after = episode.time > self.onset_s + 1e-9
        sentences = [
            *_wind_sentence(episode.wind, after),
            *_payload_sentence(episode.payload, after, vehicle_mass),
            *_motor_sentences(episode.motor_effectiveness, after),
        ]
        return sentences or [f"{shift['name']} sets in" for shift in self.episodes[0].meta["shifts"]]


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
