"""The loop of a deployed vehicle, an adapter and a guard around a policy, and the controller, which has all in one.

Imports neither torch nor SB3.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .adaptation import Adapter, Guard, State, Transition
from .adaptation.at_once import LIMITS, MOST_VEHICLES, AtOnce, send, write_columns
from .adaptation.state import Layout
from .files import write_atomically


class Policy(Protocol):
    """What a controller needs of a policy; `undrift.policies.DeployedPolicy` is one."""

    action_size: int

    def initial_state(self, batch_size: int) -> np.ndarray: ...

    def step(self, obs: np.ndarray, h: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class ControllerState:
    """All that a controller remembers of N vehicles; arrays of N rows.

    hidden [N, H] the policy's memory, [N, 0] where it keeps that itself; own_action [N, A] its own last action; wish [N, A]
    what was last to be sent, and sent [N, A] what was, within bounds; activity [N] how much commands change of late;
    observation [N, O] the last one, repaired; dt [N] s; steps [N] since the reset; acted [N] whether a transition is open;
    adapter, its state; worse [N] for how many steps it has predicted worse than its shadow. `Loop` writes activity,
    steps, acted and worse in place: who keeps a moment copies them.
    """

    hidden: np.ndarray
    own_action: np.ndarray
    sent: np.ndarray
    wish: np.ndarray
    activity: np.ndarray
    observation: np.ndarray
    dt: np.ndarray
    steps: np.ndarray
    acted: np.ndarray
    adapter: State
    worse: np.ndarray


class Loop:
    """An adapter and a guard around a policy that is asked elsewhere: `show`, the policy, `send`, then `learn`, in turn.

    Args:
        adapter: what keeps the policy up to date.
        guard: stands behind the adapter; None makes one of default limits.
        dt: nominal control period in s; None is the one at which the nominal model was learned.
    """

    def __init__(self, adapter: Adapter, guard: Guard | None = None, dt: float | None = None) -> None:
        self.adapter = adapter
        self.guard = Guard() if guard is None else guard
        self.dt = adapter.nominal.dt if dt is None else dt
        self._previous_action = adapter.nominal.reader.previous_action_index
        names = adapter.nominal.observation_names
        self._channels, self._actions = len(names), adapter.nominal.reader.actions
        self._sampled = adapter.nominal.sampled_index
        self._step_duration = names.index("step_duration") if "step_duration" in names else None
        self.state = self._fresh(1)
        self._prepare()
        self.shown = self.state.observation
        """[N, O] what the policy was shown last."""

    def reset(self, n: int = 1) -> None:
        """Begin with `n` vehicles that have no memory and have learned nothing."""
        self.state = self._fresh(n)
        self._prepare()
        self.guard.clear()
        if self.adapter.notice:
            self.guard.announce(self.adapter.notice, n)

    def restart(self, rows: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """Let the vehicles `rows` [K] (indices) begin anew; what the policy is to see of their first `observation` [K, O]."""
        whole, self.state = self.state, self._fresh(len(rows))
        shown = self.show(observation)
        self.state = _with_rows(whole, rows, self.state)
        return shown

    def show(self, observation: np.ndarray, dt: float | np.ndarray | None = None) -> np.ndarray:
        """What the policy is to see, [N, O].

        Args:
            observation: [N, O] or [O].
            dt: time in s since the last step, one for all or [N]; None takes it from the observation's channel
                "step_duration", or is the nominal period where there is none.

        Raises:
            ValueError: wrong number of channels, or rows unlike those of `reset`.
        """
        s = self.state
        measured, _ = self.guard.repair(self._rows(observation), s.observation, self._sampled, s.steps)
        seen, after = self.adapter.see(s.adapter, measured)
        seen, s.adapter = self.guard.admit_view(measured, seen, self.adapter, s.adapter, after, s.steps)
        # The policy is shown what it did itself, not what was made of it: it was trained on its own actions.
        self.shown = seen.copy()
        write_columns(s.own_action, self._previous_action, self.shown)
        s.observation, s.dt = measured, self._elapsed(measured, dt)
        return self.shown

    def send(self, own: np.ndarray) -> np.ndarray:
        """The action to send [N, A], within [-1, 1] and finite, where the policy would send `own` [N, A]."""
        s = self.state
        proposed, after = self.adapter.correct(s.adapter, s.observation, own, s.dt)
        s.own_action, s.wish, s.adapter = self.guard.admit_action(own, proposed, s.sent, s.adapter, after, s.steps)
        last, s.sent = s.sent, np.empty(s.wish.shape)
        send(s.wish, last, s.sent, s.activity, s.steps, s.acted)
        return s.sent

    def learn(
        self,
        next_observation: np.ndarray,
        reward: float | np.ndarray | None = None,
        terminated: bool | np.ndarray = False,
        truncated: bool | np.ndarray = False,
    ) -> None:
        """Let the adapter learn from what followed the last `send`.

        Args:
            next_observation: [N, O] or [O].
            reward: [N]; only adapters of the regime `reward` use it.
            terminated: [N] bool; the state after a terminal one teaches nothing about this one.
            truncated: [N] bool; a truncated transition is a transition like any other.
        """
        s, following = self.state, self._rows(next_observation)
        if not self._learn_at_once(following, terminated):
            following, usable, permitted = self.guard.admit_sample(
                following, s.observation, self._sampled, terminated, s.wish, s.activity, s.steps
            )
            transition = Transition(s.observation, s.sent, permitted[0], following, usable, s.dt, *permitted[1:])
            learned = self.adapter.learn(s.adapter, transition)
            s.adapter, s.worse = self.guard.admit_learned(self.adapter, s.adapter, learned, s.acted, s.worse, s.steps)
            s.acted.fill(False)

    def _learn_at_once(self, following: np.ndarray, terminated: bool | np.ndarray) -> bool:
        """`learn` in one compiled call; whether that was possible."""
        s, calls = self.state, self._calls()
        if calls is None:
            return False
        if not isinstance(terminated, np.ndarray) or terminated.shape != s.acted.shape:
            terminated = np.full(s.acted.shape, terminated)
        after = s.adapter.rows.copy()
        flown = s.wish, s.sent, s.dt, s.steps, s.activity, s.acted, s.worse
        if not calls.learn(s.adapter.rows, after, s.observation, following, terminated, *flown):
            return False
        s.adapter = s.adapter.at(after)
        return True

    def estimate(self) -> np.ndarray:
        """The adapter's present belief, [N, E]; `adapter.estimate_names` names the columns."""
        if not self.adapter.estimate_names:
            return np.zeros((len(self.state.steps), 0))
        return self.adapter.estimate(self.state.adapter)

    def _prepare(self) -> None:
        """Find the compiled calls for states such as the present one, by what the guard allows now; there are none where the guard
        is off or of another kind, which may look otherwise."""
        self._layout: Layout = self.state.adapter.layout
        self._at_once: AtOnce | None = None
        single = self._single_step()
        self._callable = single is not None
        if self.guard.enabled and type(self.guard) is Guard:
            step, policy = single or (0, np.zeros(0))
            known = {"sampled": self._sampled, "previous_action": self._previous_action, "policy": policy, "step": step}
            limits = {name: getattr(self.guard, name) for name in LIMITS}
            self._at_once = self.adapter.at_once(self.state.adapter, known | limits)

    def _calls(self) -> AtOnce | None:
        """The compiled calls for the present state, which may have been another controller's."""
        if self.state.adapter.layout is not self._layout:
            self._prepare()
        return self._at_once if len(self.state.steps) <= MOST_VEHICLES else None

    def _single_step(self) -> tuple[int, np.ndarray] | None:
        """Of a policy that kernels can call (`DeployedPolicy.single_step`)."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        # Addresses are those of this process.
        return vars(self) | {"_at_once": None, "_layout": None}

    def _elapsed(self, observation: np.ndarray, dt: float | np.ndarray | None) -> np.ndarray:
        """Time in s since the last step, [N], from `dt` or, where that is None, observation [N, O]."""
        if dt is None:
            dt = self.dt if self._step_duration is None else observation[:, self._step_duration]
        last = self.state.dt
        if len(last) == 1 and isinstance(dt, float) and last[0] == dt:
            return last  # nobody writes into it
        elapsed = np.empty(len(observation))
        elapsed[:] = dt
        return elapsed

    def _rows(self, observation: np.ndarray) -> np.ndarray:
        rows = np.array(observation, dtype=np.float64, order="C", ndmin=2)
        expected = self.state.observation.shape
        if rows.shape != expected:
            raise ValueError(f"observation has shape {rows.shape}, this controller was reset for {expected}.")
        return rows

    def _fresh(self, n: int) -> ControllerState:
        actions = self._actions
        return ControllerState(
            hidden=np.zeros((n, 0), dtype=np.float32),
            own_action=np.zeros((n, actions)),
            sent=np.zeros((n, actions)),
            wish=np.zeros((n, actions)),
            activity=np.full(n, 1.0),
            observation=np.zeros((n, self._channels)),
            dt=np.full(n, self.dt),
            steps=np.zeros(n, dtype=np.int64),
            acted=np.zeros(n, dtype=bool),
            adapter=self.adapter.initial_state(n),
            worse=np.zeros(n, dtype=np.int64),
        )


class Controller(Loop):
    """Flies N vehicles with one policy; each has a memory and an adaptation of its own.

    `reset`, then `act` and `learn` in turn. SB3's `evaluate_policy(controller, env)` works through `predict`: a
    transition is then learned when the next observation arrives, so an episode's last one is not, and elapsed time is
    the channel "step_duration" of the observation, or else the configured `dt`. Arrays may be of one vehicle ([O]) or of
    N ([N, O]).

    Args:
        policy: the trained policy.
        adapter, guard, dt: as `Loop`.
    """

    def __init__(self, policy: Policy, adapter: Adapter, guard: Guard | None = None, dt: float | None = None) -> None:
        self.policy = policy
        super().__init__(adapter, guard, dt)

    def act(self, observation: np.ndarray, dt: float | np.ndarray | None = None) -> np.ndarray:
        """The action to send, within [-1, 1] and finite whatever the observation holds; arguments and errors as `show`."""
        rows = self._rows(observation)
        if not self._act_at_once(rows, dt):
            shown = self.show(rows, dt)
            own, self.state.hidden = self.policy.step(shown, self.state.hidden, self.state.dt)
            self.send(own)
        return self.state.sent[0] if np.ndim(observation) == 1 else self.state.sent

    def _single_step(self) -> tuple[int, np.ndarray] | None:
        return getattr(self.policy, "single_step", None)

    def _act_at_once(self, observation: np.ndarray, dt: float | np.ndarray | None) -> bool:
        """`show`, the policy and `send` in one compiled call; whether that was possible."""
        s, calls = self.state, self._calls()
        if calls is None or not self._callable:
            return False
        after, hidden, shown = s.adapter.rows.copy(), s.hidden.copy(), observation.copy()
        elapsed, actions = self._elapsed(observation, dt), np.empty((3, len(observation), self._actions))
        before = s.observation, s.own_action, s.sent, elapsed
        if not calls.act(after, observation, *before, s.steps, s.activity, s.acted, hidden, shown, actions):
            return False
        s.adapter = s.adapter.at(after)
        s.hidden, s.observation, s.dt, self.shown = hidden, observation, elapsed, shown
        s.own_action, s.wish, s.sent = actions[0], actions[1], actions[2]
        return True

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
                begin = np.flatnonzero(episode_start)
                self.state = _with_rows(state, begin, self._fresh(len(begin)))
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

    def _fresh(self, n: int) -> ControllerState:
        return replace(super()._fresh(n), hidden=self.policy.initial_state(n))


def _with_rows(whole: ControllerState, rows: np.ndarray, part: ControllerState) -> ControllerState:
    """The state `whole` with that of the vehicles `rows` [K] (indices) replaced by `part`."""
    arrays = _flat(whole)
    for name, new in _flat(part).items():
        arrays[name] = arrays[name].copy()
        arrays[name][rows] = new
    return _unflat(arrays)


def _flat(state: ControllerState) -> dict[str, np.ndarray]:
    """Every array of the state by name, the adapter's as "adapter/d"."""
    parts = {name: value if isinstance(value, State) else {"": value} for name, value in vars(state).items()}
    return {f"{name}/{key}".rstrip("/"): value for name, part in parts.items() for key, value in part.items()}


def _unflat(arrays: Mapping[str, np.ndarray]) -> ControllerState:
    """The state that `_flat` took apart."""
    values: dict[str, Any] = {"adapter": {}}
    for name, value in arrays.items():
        part, _, key = name.partition("/")
        if key:
            values[part][key] = value
        else:
            values[part] = value
    return ControllerState(**values | {"adapter": State(values["adapter"])})
