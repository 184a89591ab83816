"""L1: adaptation at the sampling rate behind a low-pass filter. Few parameters, no statistics: the fallback."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..compensators.generic import GenericCompensator
from ..nominal import NominalModel


class L1(Adapter):
    """L1 adaptive control with the piecewise-constant law, on the nominal model's accelerations f of the rates x.

    State predictor, held over a period T:  x̂' = f + s - a (x̂ - x)
    Adaptation at every sample:             s = -a exp(-a T) / (1 - exp(-a T)) (x̂ - x)
    Low-pass filter:                        d' = w (s - d)

    The predictor's error after a period is what s failed to explain, so s reproduces the disturbance one period late; the
    filter sets what of it is answered, and with that the robustness, apart from how fast is adapted. d is compensated as
    the observer's is. (Xargay, Hovakimyan & Cao 2009, IEEE CCA; Wu et al. 2022, "L1 adaptive augmentation for
    geometric tracking control of quadrotors", ICRA.)

    Args:
        nominal: the nominal model.
        decay: a, 1/s.
        bandwidth: w, 1/s.
        bound: |d| is projected onto this many standard deviations of the nominal accelerations.
        compensator: what is done about d; None is the generic one.
    """

    name = "l1"
    regimes = ("prediction", "tracking")

    def __init__(
        self,
        nominal: NominalModel,
        decay: float = 5.0,
        bandwidth: float = 6.0,
        bound: float = 4.0,
        compensator: GenericCompensator | None = None,
    ) -> None:
        super().__init__(nominal)
        self.decay, self.bandwidth, self.bound = decay, bandwidth, bound
        self.compensator = compensator or GenericCompensator(nominal)
        self.estimate_names = tuple(f"disturbance/{rate}" for rate in nominal.signals.rates)

    def initial_state(self, n: int) -> State:
        rates, actions = len(self.nominal.signals.rates), self.nominal.reader.actions
        return self.compensator.initial_state(n) | {
            "commands": np.zeros((n, self.nominal.history, actions)),
            "age": np.zeros(n, dtype=np.int64),
            "stale": np.zeros(n, dtype=bool),
            "predicted": np.zeros((n, rates)),
            "adaptation": np.zeros((n, rates)),
            "d": np.zeros((n, rates)),
            "gain": np.zeros((n, rates, actions)),
        }

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        gain = self.nominal.input_gain(self.nominal.reader.inputs(observation, state["commands"]))
        return self.compensator.see(state, observation, state["d"], gain), state | {"gain": gain}

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, state["d"], state["gain"], dt)

    def learn(self, state: State, transition: Transition) -> State:
        t, reader = transition, self.nominal.reader
        h, limit = t.dt[:, None], self.bound * self.nominal.acceleration_sd
        commands = np.concatenate([t.action[:, None], state["commands"][:, :-1]], axis=1)
        f = self.nominal.accelerations(reader.inputs(t.observation, commands))
        before, after = reader.rates(t.observation), reader.rates(t.next_observation)
        kept = np.exp(-self.decay * h)
        drift = (1.0 - kept) / self.decay
        off = state["predicted"] - before
        predicted = state["predicted"] + h * f + drift * state["adaptation"] - (1.0 - kept) * off
        # Until the command history is full the model's input is not what was flown.
        learns = (t.fresh & ~state["stale"] & (state["age"] >= self.nominal.history))[:, None]
        predicted = np.where(learns, predicted, after)
        adaptation = np.where(learns, -kept / drift * (predicted - after), state["adaptation"])
        # Under saturation the plant does not do as told, and what is missing is no disturbance.
        share = (1.0 - np.exp(-self.bandwidth * h)) * np.where(t.saturated.any(1), 0.1, 1.0)[:, None] * learns
        d = np.clip(state["d"] + share * (adaptation - state["d"]), -limit, limit)
        learned = {"predicted": predicted, "adaptation": adaptation, "d": d, "commands": commands, "stale": ~t.fresh}
        state = state | learned | {"age": state["age"] + 1}
        return self.compensator.integrate(state, t.next_observation, t.saturated, t.fresh, t.dt)

    def estimate(self, state: State) -> np.ndarray:
        return state["d"]
