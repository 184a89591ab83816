"""L1: adaptation at the sampling rate behind a low-pass filter. Few parameters, no statistics: the fallback."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..compensators.generic import GenericCompensator
from ..compiled import kernel
from ..nominal import Network, NominalModel, arrange, differentiate, forward, read, room, take_in


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
        gain = np.empty_like(state["gain"])
        _input_gain(self.nominal.network, np.asarray(observation, dtype=np.float64), state["commands"], gain)
        return self.compensator.see(state, observation, state["d"], gain), state | {"gain": gain}

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, state["d"], state["gain"], dt)

    def learn(self, state: State, transition: Transition) -> State:
        t = transition
        after = {name: state[name].copy() for name in ("commands", "age", "stale", "predicted", "adaptation", "d")}
        observations = np.asarray(t.observation, dtype=np.float64), np.asarray(t.next_observation, dtype=np.float64)
        tuning = self.decay, self.bandwidth, t.leak, self.bound * self.nominal.acceleration_sd
        sample = *observations, t.action, t.saturated, t.fresh, t.dt
        _learn(self.nominal.network, *tuning, *sample, *after.values())
        return self.compensator.integrate(state | after, t)

    def estimate(self, state: State) -> np.ndarray:
        return state["d"]


@kernel
def _input_gain(network, observation, commands, gain):  # type: ignore[no-untyped-def]
    """`NominalModel.input_gain` where the observations [N, O] are; gain [N, R, A] is written."""
    network = Network(*network)
    z, first, second, f = room(network), room(network), room(network), room(network)
    rates, context = np.empty(gain.shape[1]), np.empty(network.context_index.shape[0])
    for n in range(gain.shape[0]):
        read(network, observation[n], rates, context)
        arrange(network, rates, context, commands[n], 0, z)
        forward(network, z, first, second, f)
        differentiate(network, first, second, z, f, gain[n])


@kernel
def _learn(  # type: ignore[no-untyped-def]
    network, decay, bandwidth, leak, limit, observation, following, action, saturated, fresh, dt,
    commands, age, stale, predicted, adaptation, d,
):  # fmt: skip
    """`L1.learn`; what follows dt is state, and is written. |d| is projected onto limit [R]."""
    network = Network(*network)
    z, first, second, f = room(network), room(network), room(network), room(network)
    before, after = np.empty(limit.shape[0]), np.empty(limit.shape[0])
    context = np.empty(network.context_index.shape[0])
    for n in range(d.shape[0]):
        h = dt[n]
        take_in(action[n], commands[n])
        read(network, observation[n], before, context)
        arrange(network, before, context, commands[n], 0, z)
        forward(network, z, first, second, f)
        read(network, following[n], after, context)
        # Until the command history is full the model's input is not what was flown.
        learns = fresh[n] and not stale[n] and age[n] >= network.history
        # Under saturation the plant does not do as told, and what is missing is no disturbance.
        share = (1.0 - np.exp(-bandwidth * h)) * (0.1 if saturated[n].any() else 1.0)
        kept = np.exp(-decay * h)
        drift = (1.0 - kept) / decay
        for i in range(limit.shape[0]):
            if learns:
                off = predicted[n, i] - before[i]
                predicted[n, i] += h * f[i] + drift * adaptation[n, i] - (1.0 - kept) * off
                adaptation[n, i] = -kept / drift * (predicted[n, i] - after[i])
            else:
                predicted[n, i] = after[i]
            moved = share * (adaptation[n, i] - d[n, i]) if learns else 0.0
            d[n, i] = min(max((1.0 - leak * h) * d[n, i] + moved, -limit[i]), limit[i])
        age[n], stale[n] = age[n] + 1, not fresh[n]
