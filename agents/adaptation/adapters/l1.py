"""L1: adaptation at the sampling rate behind a low-pass filter. Few parameters, no statistics: the fallback."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....policies.kernels.arithmetic import add, copy
from ....policies.kernels.packed import by_rows
from ....policies.kernels.views import vector
from .. import shadow
from ..adapter import Adapter, Transition
from ..compensators.generic import GenericCompensator
from ..compiled import helper, kernel
from ..estimator import INNOVATION_ERROR, INNOVATION_RATE
from ..nominal import NominalModel, arrange, forward, network_of, read, rooms, take_in
from ..state import State, part

_SPREAD_RATE = 0.02
"""Share of a new sample in the variance of s."""


class L1(Adapter):
    """L1 adaptive control with the piecewise-constant law, on the nominal model's accelerations f of the rates x.

    State predictor, held over a period T:  x̂' = f + s - a (x̂ - x)
    Adaptation at every sample:             s = -a exp(-a T) / (1 - exp(-a T)) (x̂ - x)
    Low-pass filter:                        d' = w (s - d)

    The predictor's error after a period is what s failed to explain, so s reproduces the disturbance one period late; the
    filter sets what of it is answered, and with that the robustness, apart from how fast is adapted. d is compensated as
    the observer's is. (Xargay, Hovakimyan & Cao 2009, IEEE CCA; Wu et al. 2022, "L1 adaptive augmentation for
    geometric tracking control of quadrotors", ICRA.)

    The guard's shadow is of d alone: two samples make x̂ and s anew. Its dead zone is of s - d, smoothed as the observer's
    innovations are, in the standard errors of that mean if s scattered independently from sample to sample, by half the
    mean square of its changes, at least by what the nominal model leaves. Noise of x, which each s takes back from the one
    before, makes less than such an error.

    State, R rates, C context channels, K commands: commands [N, K, A] newest first; age [N] transitions; stale [N], whether
    the last sample did not arrive; predicted [N, R], x̂; adaptation [N, R], s; spread [N, R] its variance; innovation [N, R],
    s - d smoothed; loss [N, 3] as `Adapter.loss`; d [N, R], and kept_d, its shadow; believed_rates [N, R] and
    believed_context [N, C], where the vehicle was shown last. Beside it the compensator's.

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
            "age": np.zeros(n),
            "stale": np.zeros(n),
            "predicted": np.zeros((n, rates)),
            "adaptation": np.zeros((n, rates)),
            "spread": np.tile(self.nominal.residual_sd**2, (n, 1)),
            "innovation": np.zeros((n, rates)),
            "loss": np.zeros((n, 3)),
            "d": np.zeros((n, rates)),
            "kept_d": np.zeros((n, rates)),
            "believed_rates": np.zeros((n, rates)),
            "believed_context": np.zeros((n, len(self.nominal.signals.context))),
        }

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after = state.copy()
        _see(self.nominal.network, np.asarray(observation, dtype=np.float64), after.parts(Memory), after.rows)
        return self.compensator.see(after, observation)

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        t, after = transition, state.copy()
        observations = np.asarray(t.observation, dtype=np.float64), np.asarray(t.next_observation, dtype=np.float64)
        sds = self.nominal.residual_sd, self.bound * self.nominal.acceleration_sd
        tuning = self.decay, self.bandwidth, t.leak, t.dead_zone, *sds
        sample = *observations, t.action, t.saturated, t.fresh, t.dt
        _learn(self.nominal.network, *tuning, *sample, after.parts(Memory), after.rows)
        return self.compensator.integrate(after, t)

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def keep(self, state: State, rows: np.ndarray) -> State:
        return shadow.keep(state, Shadow, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return shadow.restore(state, Shadow, rows)

    def estimate(self, state: State) -> np.ndarray:
        return state["d"]


class Shadow(NamedTuple):
    """What is learned and has a shadow, as `shadow` reads it: fields of the state, views of its row."""

    d: np.ndarray
    kept_d: np.ndarray
    loss: np.ndarray


class Memory(NamedTuple):
    """What kernels read and write of one vehicle: fields of the state, as views of its row."""

    commands: np.ndarray
    age: np.ndarray
    stale: np.ndarray
    predicted: np.ndarray
    adaptation: np.ndarray
    spread: np.ndarray
    innovation: np.ndarray
    loss: np.ndarray
    d: np.ndarray
    kept_d: np.ndarray
    believed_rates: np.ndarray
    believed_context: np.ndarray


@helper
def _recall(row, parts, actions):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    return Memory(
        commands=by_rows(part(row, parts, 0), actions),
        age=part(row, parts, 1),
        stale=part(row, parts, 2),
        predicted=part(row, parts, 3),
        adaptation=part(row, parts, 4),
        spread=part(row, parts, 5),
        innovation=part(row, parts, 6),
        loss=part(row, parts, 7),
        d=part(row, parts, 8),
        kept_d=part(row, parts, 9),
        believed_rates=part(row, parts, 10),
        believed_context=part(row, parts, 11),
    )


@kernel
def _see(network, observation, parts, rows):  # type: ignore[no-untyped-def]
    """The vehicle is believed to be where the observations [N, O] show it."""
    network = network_of(network)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts, network.held.shape[0])
        read(network, observation[n], s.believed_rates, s.believed_context)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    network, decay, bandwidth, leak, dead_zone, model_sd, limit, observation, following, action, saturated, fresh, dt,
    parts, rows,
):  # fmt: skip
    """`L1.learn`; the states `rows` [N, S] are written. |d| is projected onto limit [R]; model_sd [R] is what f leaves."""
    network, count = network_of(network), limit.shape[0]
    z, first, second, f = rooms(network, 1)
    before, after, expected = vector(count), vector(count), vector(count)
    context = vector(network.context_index.shape[0])
    for n in range(rows.shape[0]):
        s, h = _recall(rows[n], parts, action.shape[1]), dt[n]
        take_in(action[n], s.commands)
        read(network, observation[n], before, context)
        arrange(network, before, context, s.commands, 0, z[0])
        forward(network, z, first, second, f)
        read(network, following[n], after, context)
        # Until the command history is full the model's input is not what was flown.
        learns = fresh[n] and s.stale[0] == 0.0 and s.age[0] >= network.history
        if learns:
            copy(f[0, :count], expected)
            add(s.kept_d, expected)
            shadow.score(f[0], f[0], s.d, expected, before, after, h, s.spread, model_sd, s.loss)
        # Under saturation the plant does not do as told, and what is missing is no disturbance.
        share = (1.0 - np.exp(-bandwidth * h)) * (0.1 if saturated[n].any() else 1.0)
        remains = np.exp(-decay * h)
        drift = (1.0 - remains) / decay
        for i in range(count):
            moved, last = 0.0, s.adaptation[i]
            if learns:
                s.predicted[i] += h * f[0, i] + drift * last - (1.0 - remains) * (s.predicted[i] - before[i])
                s.adaptation[i] = -remains / drift * (s.predicted[i] - after[i])
                change, off = s.adaptation[i] - last, s.adaptation[i] - s.d[i]
                s.spread[i] += _SPREAD_RATE * (min(0.5 * change**2, limit[i] ** 2) - s.spread[i])
                s.innovation[i] += INNOVATION_RATE * (off - s.innovation[i])
                scatter = np.sqrt(max(s.spread[i], model_sd[i] ** 2))
                moved = share * off if abs(s.innovation[i]) >= dead_zone * INNOVATION_ERROR * scatter else 0.0
            else:
                s.predicted[i] = after[i]
            s.d[i] = min(max((1.0 - leak * h) * s.d[i] + moved, -limit[i]), limit[i])
        s.age[0] += 1.0
        s.stale[0] = 0.0 if fresh[n] else 1.0
