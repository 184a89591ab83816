"""The adapter's contract as a function: run over every registered adapter, and for one of your own."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from .adapter import REGIMES, Adapter, Transition
from .nominal import NominalModel
from .state import State


def check_adapter(make: Callable[[NominalModel], Adapter], nominal: NominalModel, seed: int = 0) -> None:
    """Fly random signals through an adapter and hold it to the contract of `Adapter`.

    Its regimes are known ones; its state is a `State` of one row per vehicle; no call changes its arguments; what it
    shows and sends is finite; rows do not influence each other; its state saves to npz and goes on from there alike;
    a transition that is not fresh is survived.

    Args:
        make: builds the adapter.
        nominal: the vehicle.
        seed: of the random signals.

    Raises:
        AssertionError: the contract is broken; the message says where.
    """
    adapter = make(nominal)
    unknown = set(adapter.regimes) - set(REGIMES)
    assert not unknown, f"regime {sorted(unknown)} is unknown; the regimes are: {', '.join(REGIMES)}"
    assert isinstance(adapter.initial_state(3), State), 'initial_state returns no State: State({"d": np.zeros((n, 3))})'
    signals = _signals(nominal, 3, 30, seed)
    states = _fly(adapter, adapter.initial_state(3), signals)
    assert len(states[-1].rows) == 3 or not states[-1], f"the state has {len(states[-1].rows)} rows for 3 vehicles"
    if adapter.estimate_names:
        shape = adapter.estimate(states[-1]).shape
        assert shape == (3, len(adapter.estimate_names)), f"estimate is {shape}, named otherwise"
    alone = [_row(observation_and_transition, 1) for observation_and_transition in signals]
    _assert_equal(_rows(states[-1], 1), _fly(adapter, adapter.initial_state(1), alone)[-1], "rows influence each other")
    resumed = _fly(make(nominal), _through_npz(states[14]), signals[15:])
    _assert_equal(states[-1], resumed[-1], "a saved state does not go on as the original does")


def _fly(adapter: Adapter, state: State, signals: list[tuple[np.ndarray, np.ndarray, Transition]]) -> list[State]:
    states = []
    for own_action, dt, transition in signals:
        before, given = state.copy(), [np.copy(value) for value in transition]
        shown, seen_state = adapter.see(state, transition.observation)
        proposed, corrected = adapter.correct(seen_state, transition.observation, own_action, dt)
        assert np.isfinite(shown).all() and np.isfinite(proposed).all(), "a view or an action is not finite"
        learned = adapter.learn(corrected, transition)
        _assert_equal(before, state, "a call changed the state it was given")
        assert all(map(np.array_equal, given, transition)), "a call changed the transition it was given"
        state = learned
        states.append(state)
    return states


def _signals(nominal: NominalModel, n: int, steps: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, Transition]]:
    rng = np.random.default_rng(seed)
    channels, actions = len(nominal.observation_names), nominal.reader.actions
    observations = rng.standard_normal((steps + 1, n, channels)) * 0.3
    signals = []
    for step in range(steps):
        action = rng.uniform(-1, 1, (n, actions))
        fresh = rng.random(n) < 0.9
        saturated = rng.random((n, actions)) < 0.1
        dt = np.full(n, nominal.dt)
        permitted = rng.random(n) < 0.9, rng.uniform(0, 1, n), 0.1, 0.5
        transition = Transition(observations[step], action, saturated, observations[step + 1], fresh, dt, *permitted)
        signals.append((rng.uniform(-1, 1, (n, actions)), dt, transition))
    return signals


def _row(signal: tuple[np.ndarray, np.ndarray, Transition], i: int) -> tuple[np.ndarray, np.ndarray, Transition]:
    own, dt, transition = signal
    return (
        own[i : i + 1],
        dt[i : i + 1],
        Transition._make(v[i : i + 1] if isinstance(v, np.ndarray) else v for v in transition),
    )


def _rows(state: State, i: int) -> State:
    return State({key: values[i : i + 1] for key, values in state.items()})


def _through_npz(state: State) -> State:
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    return State(dict(np.load(file)))


def _assert_equal(expected: State, got: State, complaint: str) -> None:
    assert set(expected) == set(got), f"{complaint}: {sorted(set(expected) ^ set(got))}"
    for key in expected:
        assert np.array_equal(expected[key], got[key]), f"{complaint}: {key!r}"
