"""Flights to film: the real drone under a small geometric controller, with and without an integral of its error; drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.episode import ARRAYS, Episode
from undrift.agents.film import FilmUnavailable, Take
from undrift.agents.film.scene import Stage
from undrift.agents.rollout import rollout
from undrift.envs import Abrupt, BatchEnv, FrictionPatches, MotorLoss, Payload, Scenario, Shift, Wind, make_batch
from undrift.envs.driving.controllers import PreviewController, StanleyController
from undrift.envs.shifts import shift_to_dict

ONSET_S = 1.5
SHIFTS: dict[str, tuple[Shift, ...]] = {
    "wind": (Wind(speed=8.0, heading=1.0, spread=0.0, schedule=Abrupt(ONSET_S)),),
    "payload": (Payload(fraction=0.6, spread=0.0, schedule=Abrupt(ONSET_S)),),
    "motor": (MotorLoss(fraction=0.4, motor=1, schedule=Abrupt(ONSET_S)),),
    "dead motor": (MotorLoss(fraction=1.0, motor=1, schedule=Abrupt(ONSET_S)),),
    "patches": (FrictionPatches(factor=0.5, share=0.6, spread=0.0, schedule=Abrupt(ONSET_S)),),
    "none": (),
}
Fly = Callable[..., Episode]


@pytest.fixture(scope="session")
def fly() -> Fly:
    """``fly(scenario, adapter, seed=0, seconds=4.0)`` returns the Episode of one real flight."""
    flown: dict[tuple[str, str, int, float], Episode] = {}

    def once(scenario: str, adapter: str, seed: int = 0, seconds: float = 4.0) -> Episode:
        key = scenario, adapter, seed, seconds
        if key not in flown:
            flown[key] = _flight(*key)
        return flown[key]

    return once


@pytest.fixture(scope="session")
def opengl(fly: Fly) -> None:
    """Skip where nothing can be drawn."""
    try:
        Stage(Take((fly("none", "frozen"),)), (64, 36)).close()
    except FilmUnavailable as error:
        pytest.skip(str(error))


def changed(episode: Episode, steps: int | None = None, **meta: Any) -> Episode:
    """A copy with other facts, or cut short."""
    arrays = {
        field.name: getattr(episode, field.name)[:steps].copy()
        for field in fields(Episode)
        if field.name not in ("meta", "scene")
    }
    scene = {name: array[:steps].copy() for name, array in episode.scene.items()}
    return Episode(meta=episode.meta | meta, **arrays, scene=scene)


@pytest.fixture(scope="session")
def learned() -> Episode:
    """2 s of the reference run with the adapter auto, in a wind from 1 s on."""
    wind = Wind(speed=8.0, heading=0.0, spread=0.0, schedule=Abrupt(1.0))
    run = Run.reference()
    scenario = Scenario("wind", run.env_id, {"episode_s": 2.0}, (wind,))
    return rollout(scenario, run.controller("auto"), [100], meta={"policy_sha256": run.policy.sha256})[0]


@pytest.fixture(scope="session")
def drive() -> Fly:
    """``drive(scenario, adapter)`` returns the Episode of 3 s of a real car."""
    driven: dict[tuple[str, str], Episode] = {}

    def once(scenario: str, adapter: str) -> Episode:
        if (scenario, adapter) not in driven:
            env = make_batch("CarTrack", 1, shifts=SHIFTS[scenario], episode_s=3.0, pace=0.8)
            driver = (StanleyController if adapter == "frozen" else PreviewController)(env)
            driven[scenario, adapter] = _record(env, scenario, adapter, 3, lambda row: driver.predict(row)[0])
        return driven[scenario, adapter]

    return once


def _flight(scenario: str, adapter: str, seed: int, seconds: float) -> Episode:
    env = make_batch("DroneTrack", 1, shifts=SHIFTS[scenario], episode_s=seconds, noise=0.0)
    integral = np.zeros(3)

    def act(observation: np.ndarray) -> np.ndarray:
        integral[:] += observation[0, :3] * env.dt * (adapter != "frozen")
        return _action(observation[0].astype(float), integral)[None]

    return _record(env, scenario, adapter, seed, act)


def _record(env: BatchEnv, scenario: str, adapter: str, seed: int, act: Callable[[np.ndarray], np.ndarray]) -> Episode:
    observation, rows = env.reset([seed]), []
    for _ in range(env.max_episode_steps):
        action = act(observation)
        row = {"observation": observation, "policy_action": action, "action": action}
        observation, reward, terminated, truncated, info = env.step(action)
        row |= env.record() | {
            "qvel": env.qvel,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "shift": info["shift"],
        }
        row |= {"reference": info["reference_position"], "error": info["position_error"]}
        rows.append({name: value[0].copy() for name, value in row.items()})
        if terminated[0]:
            break
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    meta = {
        "env_id": env.id,
        "env_kwargs": env.kwargs,
        "scenario": scenario,
        "shifts": [
            shift_to_dict(shift) | {"name": shift.label, "kind": shift.name, "onset_s": ONSET_S}
            for shift in SHIFTS[scenario]
        ],
        "adapter": adapter,
        "training_seed": 0,
        "seed": seed,
        "dt": env.dt,
        "planned_steps": env.max_episode_steps,
        "crashed": bool(arrays["terminated"][-1]),
    }
    scene = {name: arrays.pop(name) for name in rows[0] if name not in ARRAYS}
    idle = {"estimate": np.zeros((len(rows), 0)), "step_time": np.zeros(len(rows))}
    return Episode(meta=meta, time=(np.arange(len(rows)) + 1) * env.dt, **arrays, **idle, scene=scene)


def _action(observation: np.ndarray, integral: np.ndarray) -> np.ndarray:
    """Accelerate against position, velocity and integrated error; turn the thrust axis to where that points."""
    wanted = -9.0 * observation[:3] - 6.0 * observation[3:6] - 12.0 * integral + [0.0, 0.0, 9.81]
    rotation = observation[6:15].reshape(3, 3)
    turn = rotation.T @ np.cross(rotation[:, 2], wanted / np.linalg.norm(wanted))
    thrust = (wanted @ rotation[:, 2] / 9.81 - 1) / 1.5
    return np.clip([thrust, *(turn[:2] * 10 / 8), -rotation[1, 0]], -1, 1)
