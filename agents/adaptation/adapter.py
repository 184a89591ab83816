"""Adapter: what keeps a deployed controller up to date, in one contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .nominal import NominalModel
from .state import State

if TYPE_CHECKING:
    from .at_once import AtOnce

REGIMES = {
    "prediction": "a nominal model that predicts the next observation from the action sent",
    "tracking": "a tracking error named by the environment",
    "reward": "the reward at deployment",
}


class Transition(NamedTuple):
    """One control step as the adapter sees it; arrays of N rows.

    Args:
        observation: [N, O] before acting, finite.
        action: [N, A] what was sent.
        saturated: [N, A] bool, where the wish exceeded what could be sent.
        next_observation: [N, O] after, finite.
        fresh: [N] bool, whether the next observation was measured (one that was held, or repaired, is not).
        dt: [N] s between them.

    What the guard permits to be learned from it:
        excited: [N] bool, whether commands moved enough to tell what only they can (delays, thrust effectiveness, bias).
        unwind: [N] rate at which integrals are to decay, for what was wished for and could not be sent, 1/s.
        leak: rate at which an estimated disturbance and the integral of `integral` are to be forgotten, 1/s.
        dead_zone: an estimated disturbance is to stay while its smoothed innovation is within so many standard errors.
    """

    observation: np.ndarray
    action: np.ndarray
    saturated: np.ndarray
    next_observation: np.ndarray
    fresh: np.ndarray
    dt: np.ndarray
    excited: np.ndarray | bool = True
    unwind: np.ndarray | float = 0.0
    leak: float = 0.0
    dead_zone: float = 0.0


class Adapter(ABC):
    """One transition in, one proposed change of observation and action out. Pure: all memory is in the state, and what
    changes it returns another (`state | {...}`, or a `copy` with fields written).

    A step is `see` (what the policy is shown), the policy, `correct` (what is proposed to be sent), and afterwards
    `learn` (what the transition taught). The guard stands behind each of the three.
    """

    name: ClassVar[str]
    regimes: ClassVar[tuple[str, ...]] = ()
    """Signals it needs, of REGIMES."""
    estimate_names: tuple[str, ...] = ()
    """Columns of `estimate`."""
    notice: str = ""
    """What whoever flies it should know from the beginning; the guard logs it."""

    def __init__(self, nominal: NominalModel) -> None:
        self.nominal = nominal

    @abstractmethod
    def initial_state(self, n: int) -> State:
        """State of n vehicles that have learned nothing."""

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        """The observation [N, O] to show the policy, and the state after."""
        return observation, state

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        """The action [N, A] proposed in place of the policy's own `action`, and the state after.

        `observation` is the measured one, dt [N] the time in s that the action will last.
        """
        return action, state

    def ask_less(self, state: State, observation: np.ndarray) -> np.ndarray:
        """The observation [N, O] of a policy that is asked for no more than its vehicle can give (`Signals.demand`)."""
        return observation

    def learn(self, state: State, transition: Transition) -> State:
        """The state after one transition."""
        return state

    def at_once(self, state: State, limits: Mapping[str, Any]) -> AtOnce | None:
        """`see`, the policy and `correct`, and then `learn`, in one compiled call each, with the guard's looks before and after
        them, for states such as this one; None where there are no such calls.

        limits: of `at_once.Constants`, all that the adapter does not know."""
        return None

    def loss(self, state: State) -> np.ndarray | None:
        """[N, 3] what predicting one step ahead has cost of late, each sample scored before anything was learned from it:
        with what was learned, without, and with the shadow copy of `keep`. None of an adapter that predicts nothing."""
        return None

    def keep(self, state: State, rows: np.ndarray) -> State:
        """The state whose shadow, where rows [N] is true, is what it has learned: that is good, says the guard."""
        return state

    def restore(self, state: State, rows: np.ndarray) -> State:
        """The state that has learned, where rows [N] is true, what its shadow did: what came since is not good."""
        return state

    def estimate(self, state: State) -> np.ndarray:
        """What it believes of the world, [N, E], named by `estimate_names`; not asked of an adapter that names none."""
        raise NotImplementedError(f"adapter {self.name!r} names estimates and gives none")
