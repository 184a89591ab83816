"""Episodes made by hand: the error over time is given, the rest is plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from undrift.agents.episode import Episode

DT = 0.02


def make_episode(
    error: Any,
    onset_s: float | None = 5.0,
    crashed: bool = False,
    planned: int | None = None,
    ends_s: tuple[float, ...] = (),
    **meta: Any,
) -> Episode:
    """An episode with the given error [T] m; a shift named as its scenario sets in at ``onset_s``, or none does.

    It goes off and on again at the times ``ends_s``, in turn.
    """
    error = np.asarray(error, dtype=np.float64)
    steps = len(error)
    facts: dict[str, Any] = {
        "env_id": "undrift/DroneTrack-v0",
        "scenario": "wind" if onset_s is not None else "no shift",
        "adapter": "frozen",
        "training_seed": 0,
        "seed": 10_000,
        "dt": DT,
        "planned_steps": planned or steps,
        "crashed": crashed,
        "versions": {"undrift": "0.1.0", "mujoco": "3.17.0", "machine": "a test machine, 2 cores"},
        "policy_sha256": "ab12" * 16,
    }
    facts |= meta
    facts["shifts"] = [] if onset_s is None else [{"name": facts["scenario"], "kind": "wind", "onset_s": onset_s}]
    time = (np.arange(steps) + 1) * DT
    angle = time + facts["seed"] % 7
    zeros = np.zeros((steps, 4))
    turns = () if onset_s is None else (onset_s, *ends_s)
    on = sum((np.arange(steps) * DT >= turn - 1e-9 for turn in turns), np.zeros(steps)) % 2
    return Episode(
        meta=facts,
        time=time,
        observation=np.zeros((steps, 34)),
        policy_action=zeros,
        action=zeros,
        reward=np.zeros(steps),
        terminated=np.arange(steps) == (steps - 1 if crashed else -1),
        truncated=np.arange(steps) == (-1 if crashed else steps - 1),
        qpos=np.zeros((steps, 7)),
        qvel=np.zeros((steps, 6)),
        reference=np.stack([2 * np.cos(angle), 2 * np.sin(angle), np.full(steps, 3.0)], axis=1),
        error=error,
        shift=on[:, None] if turns else np.zeros((steps, 0)),
        wind=np.zeros((steps, 3)),
        payload=np.zeros(steps),
        motor_effectiveness=np.ones((steps, 4)),
        estimate=np.zeros((steps, 0)),
        step_time=np.full(steps, 2e-5),
    )


def make_flight(
    scenario: str, adapter: str, seed: int, training_seed: int = 0, crash_share: float = 0.0, steps: int = 600
) -> Episode:
    """A lifelike flight: noise before the shift, a step after it that the adapting controllers take back."""
    rng = np.random.default_rng([seed, training_seed, *map(ord, scenario)])
    size = {"no shift": 0.0, "payload +60 %": 0.075, "motors -40 %": 0.09, "wind 8 m/s": 0.18}.get(scenario, 0.12)
    size *= rng.lognormal(0, 0.2)
    since = np.maximum(np.arange(steps) * DT - 5.0, 0.0)
    left = {"frozen": 1.0, "integral": 0.25, "observer": 0.06}.get(adapter, 0.5)
    shape = (1 - np.exp(-since / 0.25)) * (
        left + (1 - left) * np.exp(-since / (1.2 if adapter == "integral" else 0.35))
    )
    wobble = np.abs(np.convolve(rng.normal(0, 0.06, steps + 24), np.ones(25) / 25, "valid"))
    error = 0.008 + wobble + size * shape + (0.001 if adapter != "frozen" else 0.0)
    crashed = bool(rng.uniform() < crash_share) and adapter == "frozen"
    if crashed:
        error = np.append(error[:320], np.geomspace(0.2, 2.2, 30))
    onset = None if scenario == "no shift" else 5.0
    return make_episode(
        error, onset, crashed, planned=steps, scenario=scenario, adapter=adapter, seed=seed, training_seed=training_seed
    )


def make_steady(adapter: str, after: list[float], onset_s: float | None = 5.0, **meta: Any) -> list[Episode]:
    """Flights with an error of 1/64 m before the onset and a given one after it, on seeds that count up."""
    before = np.full(250, 1 / 64)
    return [
        make_episode(np.append(before, np.full(250, error)), onset_s, adapter=adapter, seed=10_000 + index, **meta)
        for index, error in enumerate(after)
    ]


@pytest.fixture(name="make_episode", scope="session")
def _make_episode() -> Callable[..., Episode]:
    return make_episode


@pytest.fixture(name="make_flight", scope="session")
def _make_flight() -> Callable[..., Episode]:
    return make_flight


@pytest.fixture(name="make_steady", scope="session")
def _make_steady() -> Callable[..., list[Episode]]:
    return make_steady


@pytest.fixture(scope="session")
def flown() -> list[Episode]:
    """Two shifts and none, two adapters, two training seeds; the frozen policy crashes now and then in wind."""
    return [
        make_flight(scenario, adapter, 10_000 + seed, training_seed, crash_share=0.2 * (scenario == "wind 8 m/s"))
        for scenario in ("no shift", "payload +60 %", "wind 8 m/s")
        for adapter in ("frozen", "integral", "observer")
        for training_seed in (0, 1)
        for seed in range(8)
    ]
