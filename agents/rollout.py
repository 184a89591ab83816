"""The one episode loop: a controller flies a batch of seeds, and everything is recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..envs import BatchEnv, Scenario, make_batch
from ..envs.shifts import shift_to_dict
from .controller import Controller
from .episode import ARRAYS, OPTIONAL, Episode, versions


def rollout(
    scenario: Scenario,
    controller: Controller,
    seeds: Sequence[int],
    *,
    meta: Mapping[str, Any] | None = None,
) -> list[Episode]:
    """Fly one episode per seed, all in one batch, with a controller that begins afresh.

    An episode depends on its seed alone, not on the others in the batch.

    Args:
        scenario: what is flown.
        controller: policy, adapter and guard; it is reset.
        seeds: one per episode.
        meta: further facts to record (policy_sha256, training_seed, ...).

    Returns:
        One Episode per seed, in order; one that crashed ends at the crash.
    """
    env = make_batch(scenario.env_id, len(seeds), shifts=scenario.shifts, **scenario.env_kwargs)
    observation = env.reset(list(seeds))
    controller.reset(env.num_envs)
    alive = np.ones(env.num_envs, dtype=bool)
    length = np.zeros(env.num_envs, dtype=int)
    rows: list[dict[str, np.ndarray]] = []
    for _ in range(env.max_episode_steps):
        row: dict[str, np.ndarray] = {"observation": observation}
        began = time.perf_counter()
        action = controller.act(observation, env.step_duration)
        row["step_time"] = np.full(env.num_envs, (time.perf_counter() - began) / env.num_envs)
        row["view"] = controller.shown - observation
        # What was flown is scored before the adapter learns from it.
        observation, reward, terminated, truncated, info = env.step(action)
        row |= env.record() | {
            "time": env.time,
            "qvel": env.qvel.copy(),
            "policy_action": controller.state.own_action,
            "action": action,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "reference": info["reference_position"],
            "error": info["position_error"],
            "shift": info["shift"],
            "estimate": controller.estimate(),
        }
        rows.append(row)
        began = time.perf_counter()
        controller.learn(observation, reward, terminated, truncated)
        row["step_time"] += (time.perf_counter() - began) / env.num_envs
        length[alive] += 1
        alive &= ~(terminated | truncated)
        if not alive.any():
            break
    columns = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    facts = _facts(scenario, env, controller) | dict(meta or {})
    onsets = env.drift.onsets()
    return [
        _episode(
            columns, i, int(length[i]), controller, facts | {"seed": int(seed), "shifts": _shifts(scenario, onsets[i])}
        )
        for i, seed in enumerate(seeds)
    ]


def _shifts(scenario: Scenario, onsets: np.ndarray) -> list[dict[str, Any]]:
    """What an episode shows of its shifts, each with the onset that it had there, s."""
    return [
        shift_to_dict(shift) | {"name": shift.label, "kind": shift.name, "onset_s": float(onset)}
        for shift, onset in zip(scenario.shifts, onsets, strict=True)
    ]


def _facts(scenario: Scenario, env: BatchEnv, controller: Controller) -> dict[str, Any]:
    return {
        "env_id": env.id,
        "env_kwargs": env.kwargs,
        "scenario": scenario.name,
        "scenario_label": scenario.label,
        "adapter": controller.adapter.name,
        "guard": controller.guard.enabled,
        "training_seed": None,
        "dt": env.dt,
        "planned_steps": env.max_episode_steps,
        "estimate_names": list(controller.adapter.estimate_names),
        "versions": versions(),
    }


def _episode(
    columns: Mapping[str, np.ndarray],
    i: int,
    length: int,
    controller: Controller,
    facts: Mapping[str, Any],
) -> Episode:
    arrays = {key: column[:length, i] for key, column in columns.items()}
    scene = {key: arrays.pop(key) for key in columns if key not in ARRAYS | OPTIONAL}
    crashed = bool(arrays["terminated"][-1])
    meta = dict(facts) | {
        "crashed": crashed,
        "crash_time_s": float(arrays["time"][-1]) if crashed else None,
        "guard_events": [
            {"step": event.step, "last": event.last, "count": event.count, "reason": event.reason}
            for event in controller.guard.events
            if event.row == i and event.step <= length
        ],
    }
    return Episode(meta=meta, **arrays, scene=scene)
