"""Disturbance observer: one augmented Kalman filter [x, d] per rate, with its noise estimated online.

    x+ = x + dt (f + d),   d+ = d + w,   measured: x + v

f is the nominal model's acceleration and d, the disturbance, all that it does not explain. The variances of v and of
the model error come from the one-step residual r = (x_t - x_(t-1)) / dt - f of the measured rates: measurement noise
makes its lag-1 autocovariance negative, c1 = var(v) / dt²; half the mean square of r_t - r_(t-1) is 3 c1 + var(model
error). (Augmented-state disturbance observer: Chen et al. 2016, IEEE Trans. Industrial Electronics 63(2); covariance
matching: Mehra 1970, IEEE Trans. Automatic Control 15(2).)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .adapter import State, Transition
from .nominal import NominalModel


@dataclass(frozen=True)
class DisturbanceObserver:
    """Estimates d from transitions; state in, state out.

    Args:
        nominal: the nominal model.
        wander_s: time in which a disturbance may grow from nothing to a plausible one (as large, in standard deviation,
            as the nominal accelerations themselves), s.
        noise_rate: share of a new sample in the noise estimates.
        bound: |d| is projected onto this many standard deviations of the nominal accelerations.
    """

    nominal: NominalModel
    wander_s: float = 0.4
    noise_rate: float = 0.02
    bound: float = 4.0

    def initial_state(self, n: int) -> State:
        nominal = self.nominal
        rates = len(nominal.signals.rates)
        zeros = np.zeros((n, rates))
        return {
            "commands": np.zeros((n, nominal.history, nominal.reader.actions)),
            "age": np.zeros(n, dtype=np.int64),
            "x": zeros.copy(),
            "d": zeros.copy(),
            "p11": np.tile((nominal.dt * nominal.residual_sd) ** 2, (n, 1)),
            "p12": zeros.copy(),
            "p22": np.tile(0.05 * nominal.acceleration_sd**2, (n, 1)),
            "noise": zeros.copy(),
            "spread": np.tile(nominal.residual_sd**2, (n, 1)),
            "residual": zeros.copy(),
            "residual_mean": zeros.copy(),
        }

    def update(self, state: State, transition: Transition) -> State:
        """The state after one transition; a stale sample is predicted over and teaches nothing."""
        nominal, t = self.nominal, transition
        commands = np.concatenate([t.action[:, None], state["commands"][:, :-1]], axis=1)
        filters = {name: state[name].copy() for name in _FILTER}
        _step(
            nominal.accelerations(nominal.reader.inputs(t.observation, commands)),
            nominal.reader.rates(t.observation),
            nominal.reader.rates(t.next_observation),
            t.dt,
            t.fresh,
            # Until the command history is full the model's input is not what was flown.
            state["age"] >= nominal.history,
            t.saturated.any(axis=1),
            nominal.residual_sd,
            nominal.acceleration_sd,
            self.wander_s,
            self.noise_rate,
            self.bound,
            *filters.values(),
        )
        return state | filters | {"commands": commands, "age": state["age"] + 1}


_FILTER = ("x", "d", "p11", "p12", "p22", "noise", "spread", "residual", "residual_mean")


@njit(cache=True)
def _step(  # type: ignore[no-untyped-def]
    f, before, measured, dt, fresh, warm, saturated, model_sd, sd, wander_s, noise_rate, bound,
    x, d, p11, p12, p22, noise, spread, residual, residual_mean,
):  # fmt: skip
    """One step of every filter. All arrays [N, R] but dt, fresh, warm, saturated [N] and the sds [R]; the last nine,
    the state, are written."""
    for n in range(f.shape[0]):
        h = dt[n]
        for i in range(f.shape[1]):
            if fresh[n] and not warm[n]:
                x[n, i] = measured[n, i]
                continue
            if fresh[n]:
                r = (measured[n, i] - before[n, i]) / h - f[n, i]
                cap = (3.0 * sd[i]) ** 2
                residual_mean[n, i] += 0.05 * (r - residual_mean[n, i])
                covariance = (r - residual_mean[n, i]) * (residual[n, i] - residual_mean[n, i])
                noise[n, i] += noise_rate * (-min(max(covariance, -cap), cap) - noise[n, i])
                spread[n, i] += noise_rate * (min(0.5 * (r - residual[n, i]) ** 2, cap) - spread[n, i])
                residual[n, i] = r
            c1, floor = max(noise[n, i], 0.0), model_sd[i] ** 2
            variance_v = h**2 * max(c1, 4e-4 * floor)
            variance_model = h**2 * min(max(spread[n, i] - 3.0 * c1, floor), 16.0 * floor)
            x[n, i] += h * (f[n, i] + d[n, i])
            p11[n, i] += 2.0 * h * p12[n, i] + h**2 * p22[n, i] + variance_model
            p12[n, i] += h * p22[n, i]
            p22[n, i] = min(p22[n, i] + sd[i] ** 2 * h / wander_s, sd[i] ** 2)
            if not fresh[n]:
                continue
            variance = p11[n, i] + variance_v
            limit = 6.0 * np.sqrt(variance)
            innovation = min(max(measured[n, i] - x[n, i], -limit), limit)
            k1, k2 = p11[n, i] / variance, p12[n, i] / variance
            # Under saturation the plant does not do as told, and what is missing is no disturbance.
            trust = 0.1 if saturated[n] else 1.0
            x[n, i] += k1 * innovation
            d[n, i] = min(max(d[n, i] + trust * k2 * innovation, -bound * sd[i]), bound * sd[i])
            p22[n, i] -= k2 * p12[n, i]
            p12[n, i] *= 1.0 - k1
            p11[n, i] *= 1.0 - k1
