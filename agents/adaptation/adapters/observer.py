"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..adapter import Transition
from ..compensators import generic
from ..compensators.generic import GenericCompensator
from ..compiled import kernel
from ..estimator import DisturbanceObserver, Memory, learn_rows, predict_rows
from ..nominal import NominalModel
from ..packed import pack, reals
from ..presentation import Belief, show_rows
from ..state import State
from .model_based import ModelBased


class Observer(ModelBased):
    """`DisturbanceObserver` and `GenericCompensator` in one loop; on any environment whose rates are known.

    Where no tracking error is named only the matched part is answered: there is no reference to move.
    """

    name = "observer"
    regimes = ("prediction",)

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: GenericCompensator | None = None,
    ) -> None:
        # Saturated, any action may be what is missing in any rate.
        touched = np.ones((nominal.reader.actions, len(nominal.signals.rates)), dtype=bool)
        super().__init__(nominal, estimator, touched)
        self.compensator = compensator or GenericCompensator(nominal)
        self.estimate_names = (*(f"disturbance/{rate}" for rate in nominal.signals.rates), "delay")

    @cached_property
    def known(self) -> np.ndarray:
        """All that its kernels read of the vehicle, packed."""
        own = self.compensator.constants, self.nominal.policy_response
        return pack((self.nominal.network, self.estimator.constants, self.channels, *own))

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after, shown = state.copy(), observation.astype(np.float64)
        _see(self.known, after.parts(Memory), after.parts(Belief), after.parts(generic.Memory), after.rows, shown)
        return shown, after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        if not self.compiled:
            after, *_ = self.estimator.learn(state, transition, self.touched)
            return self.compensator.integrate(after, transition)
        after = state.copy()
        parts = after.parts(Memory), after.parts(generic.Memory)
        _learn(self.known, self.touched, *self._sample(transition), *parts, after.rows)
        return after

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([state["d"], state["delay"][:, None] * self.nominal.dt], axis=1)


@kernel
def _see(known, estimated, believed, own, rows, shown):  # type: ignore[no-untyped-def]
    """`Observer.see`: shown [N, O] comes as the observation and is written, as are the states `rows` [N, S]."""
    network = reals(known, 0)
    predict_rows(network, reals(known, 1), shown, estimated, rows)
    show_rows(reals(known, 2), believed, rows, shown)
    generic.see_rows(reals(known, 3), network, reals(known, 4), own, rows, shown)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    known, touched, observation, following, action, saturated, fresh, excited, dt, undone, leak, dead_zone, estimated,
    own, rows,
):  # fmt: skip
    """`Observer.learn`; the states `rows` [N, S] are written."""
    shape = len(rows), touched.shape[1]
    expected, explained, learns = np.empty(shape), np.empty(shape), np.empty(len(rows), dtype=np.bool_)
    sample = observation, following, action, saturated, fresh, excited, dt, leak, dead_zone
    learn_rows(reals(known, 0), reals(known, 1), touched, *sample, estimated, rows, expected, explained, learns)
    generic.integrate_rows(reals(known, 3), following, saturated, fresh, dt, undone, own, rows)
