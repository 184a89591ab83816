"""Controller: a policy, its memory, an adapter and a guard, as deployed. Imports neither torch nor SB3."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .adaptation import Adapter, Guard, State, Transition
from .adaptation.adapter import choose_rows
from .files import write_atomically


class Policy(Protocol):
    """What a controller needs of a policy; `undrift.policies.DeployedPolicy` is one."""

    action_size: int

    def initial_state(self, batch_size: int) -> np.ndarray: ...

    def step(self, obs: np.ndarray, h: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class ControllerState:
    """All that a controller remembers of N vehicles; arrays of N rows.

    hidden [N, H] the policy's memory; own_action [N, A] its own last action; sent [N, A] the last action sent, and
    where the wish exceeded the bounds (saturated); observation [N, O] the last one, repaired; dt [N] s; steps [N]
    since the reset; acted [N] whether a transition is open; adapter, its state; kept, the last of its states known to
    be good; worse [N] for how many steps it has predicted worse than without it.
    """

    hidden: np.ndarray
    own_action: np.ndarray
    sent: np.ndarray
    saturated: np.ndarray
    observation: np.ndarray
    dt: np.ndarray
    steps: np.ndarray
    acted: np.ndarray
    adapter: State
    kept: State
    worse: np.ndarray


class Controller:
    """Flies N vehicles with one policy; each has a memory and an adaptation of its own.

    `reset`, then `act` and `learn` in turn. SB3's `evaluate_policy(controller, env)` works through `predict`: a
    transition is then learned when the next observation arrives, so an episode's last one is not, and elapsed time is
    the channel "step_duration" of the observation, or else the configured `dt`. Arrays may be of one vehicle ([O]) or of
    N ([N, O]).

    Args:
        policy: the trained policy.
        adapter: what keeps it up to date.
        guard: stands behind the adapter; None makes one of default limits.
        dt: nominal control period in s; None is the one at which the nominal model was learned.
    """

    def __init__(self, policy: Policy, adapter: Adapter, guard: Guard | None = None, dt: float | None = None) -> None:
        self.policy, self.adapter = policy, adapter
        self.guard = Guard() if guard is None else guard
        self.dt = adapter.nominal.dt if dt is None else dt
        self._previous_action = adapter.nominal.reader.previous_action_index
        names = adapter.nominal.observation_names
        self._channels = len(names)
        self._sampled = adapter.nominal.sampled_index
        self._step_duration = names.index("step_duration") if "step_duration" in names else None
        self.state = self._fresh(1)

    def reset(self, n: int = 1) -> None:
        """Begin with `n` vehicles that have no memory and have learned nothing."""
        self.state = self._fresh(n)
        self.guard.events.clear()

    def act(self, observation: np.ndarray, dt: float | np.ndarray | None = None) -> np.ndarray:
        """The action to send, within [-1, 1] and finite whatever the observation holds.

        Args:
            observation: [N, O] or [O].
            dt: time in s since the last step, one for all or [N]; None takes it from the observation's channel
                "step_duration", or is the nominal period where there is none.

        Raises:
            ValueError: wrong number of channels, or rows unlike those of `reset`.
        """
        single = np.ndim(observation) == 1
        s = self.state
        measured, _ = self.guard.repair(self._rows(observation), s.observation, self._sampled, s.steps)
        if dt is None:
            dt = self.dt if self._step_duration is None else measured[:, self._step_duration]
        elapsed = np.full(s.acted.shape, dt, dtype=np.float64)
        shown, adapter_state = self.adapter.see(s.adapter, measured)
        shown = self.guard.admit_view(measured, shown, s.steps)
        # The policy is shown what it did itself, not what was made of it: it was trained on its own actions.
        shown = shown.copy()
        shown[:, self._previous_action] = s.own_action
        own, s.hidden = self.policy.step(shown, s.hidden, elapsed)
        proposed, adapter_state = self.adapter.correct(adapter_state, measured, own, elapsed)
        wish = self.guard.admit_action(own, proposed, s.sent, s.steps)
        s.adapter = self.guard.admit_state(s.adapter, adapter_state, s.steps)
        s.own_action = np.where(np.isfinite(own), own, s.sent)
        s.sent, s.saturated = np.minimum(np.maximum(wish, -1.0), 1.0), np.abs(wish) > 0.98
        s.observation, s.dt = measured, elapsed
        s.steps, s.acted = s.steps + 1, np.ones_like(s.acted)
        return s.sent[0] if single else s.sent

    def learn(
        self,
        next_observation: np.ndarray,
        reward: float | np.ndarray | None = None,
        terminated: bool | np.ndarray = False,
        truncated: bool | np.ndarray = False,
    ) -> None:
        """Let the adapter learn from what followed the last `act`.

        Args:
            next_observation: [N, O] or [O].
            reward: [N]; only adapters of the regime `reward` use it.
            terminated: [N] bool; the state after a terminal one teaches nothing about this one.
            truncated: [N] bool; a truncated transition is a transition like any other.
        """
        s = self.state
        following, fresh = self.guard.repair(self._rows(next_observation), s.observation, self._sampled, s.steps)
        usable = s.acted & fresh & ~np.asarray(terminated, dtype=bool)
        transition = Transition(s.observation, s.sent, s.saturated, following, usable, s.dt)
        learned = self.guard.admit_state(s.adapter, self.adapter.learn(s.adapter, transition), s.steps)
        if not s.acted.all():
            learned = {key: choose_rows(s.acted, new, s.adapter[key]) for key, new in learned.items()}
        s.adapter, s.kept, s.worse = self.guard.review(learned, s.kept, s.worse, self.adapter.loss(learned), s.steps)
        s.acted = np.zeros_like(s.acted)

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """SB3's interface: the action and the state to hand back at the next call.

        Args:
            observation: [N, O] or [O].
            state: what the last call returned; None begins anew.
            episode_start: [N] bool, rows whose memory and adaptation begin anew.
            deterministic: a deployed controller always is.

        Raises:
            ValueError: the adapter learns from reward, which `predict` does not see.
        """
        if "reward" in self.adapter.regimes:
            raise ValueError(
                f"adapter {self.adapter.name!r} learns from the reward, which predict() never sees: "
                "use undrift.agents.rollout, or call act() and learn() yourself."
            )
        rows = 1 if np.ndim(observation) == 1 else len(observation)
        if state is None:
            self.reset(rows)
        else:
            self.state = state
            if episode_start is not None and np.any(episode_start):
                self._reset_rows(np.atleast_1d(episode_start).astype(bool))
            self.learn(observation)
        return self.act(observation).copy(), self.state

    def save(self, path: str | Path) -> None:
        """Write the whole state, so that a deployment goes on after a restart where it was."""
        file = io.BytesIO()
        np.savez(file, **_flat(self.state))  # type: ignore[arg-type]
        write_atomically(Path(path), file.getvalue())

    def load(self, path: str | Path) -> None:
        """Go on with the state that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or was written by a controller of another policy or adapter.
        """
        try:
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no saved controller ({error}): begin anew with reset().") from error
        expected = {name: (value.shape[1:], value.dtype) for name, value in _flat(self._fresh(1)).items()}
        if {name: (value.shape[1:], value.dtype) for name, value in arrays.items()} != expected:
            raise ValueError(
                f"{path} was saved by a controller of another policy or adapter than {self.adapter.name!r}: "
                "load it there, or begin anew with reset()."
            )
        self.state = _unflat(arrays)

    def estimate(self) -> np.ndarray:
        """The adapter's present belief, [N, E]; `adapter.estimate_names` names the columns."""
        if not self.adapter.estimate_names:
            return np.zeros((len(self.state.steps), 0))
        return self.adapter.estimate(self.state.adapter)

    def _rows(self, observation: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(observation))
        expected = (len(self.state.steps), self._channels)
        if rows.shape != expected:
            raise ValueError(f"observation has shape {rows.shape}, this controller was reset for {expected}.")
        return rows

    def _fresh(self, n: int) -> ControllerState:
        actions = self.policy.action_size
        return ControllerState(
            hidden=self.policy.initial_state(n),
            own_action=np.zeros((n, actions)),
            sent=np.zeros((n, actions)),
            saturated=np.zeros((n, actions), dtype=bool),
            observation=np.zeros((n, self._channels), dtype=np.float32),
            dt=np.full(n, self.dt),
            steps=np.zeros(n, dtype=np.int64),
            acted=np.zeros(n, dtype=bool),
            adapter=self.adapter.initial_state(n),
            kept=self.adapter.initial_state(n),
            worse=np.zeros(n, dtype=np.int64),
        )

    def _reset_rows(self, rows: np.ndarray) -> None:
        fresh, old = _flat(self._fresh(len(rows))), _flat(self.state)
        self.state = _unflat({name: choose_rows(rows, new, old[name]) for name, new in fresh.items()})


def _flat(state: ControllerState) -> dict[str, np.ndarray]:
    """Every array of the state by name, the adapter's as "adapter/d"."""
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in vars(state).items()}
    return {f"{name}/{key}".rstrip("/"): value for name, part in parts.items() for key, value in part.items()}


def _unflat(arrays: Mapping[str, np.ndarray]) -> ControllerState:
    """The state that `_flat` took apart."""
    values: dict[str, Any] = {"adapter": {}, "kept": {}}
    for name, value in arrays.items():
        part, _, key = name.partition("/")
        if key:
            values[part][key] = value
        else:
            values[part] = value
    return ControllerState(**values)
