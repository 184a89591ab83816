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
        nominal, dt = self.nominal, transition.dt[:, None]
        commands = np.concatenate([transition.action[:, None], state["commands"][:, :-1]], axis=1)
        f = nominal.accelerations(nominal.reader.inputs(transition.observation, commands))
        before = nominal.reader.rates(transition.observation)
        measured = nominal.reader.rates(transition.next_observation)
        fresh = transition.fresh[:, None]
        # Until the command history is full the model's input is not what was flown.
        warm = fresh & np.greater_equal(state["age"], nominal.history)[:, None]
        noise = self._noise(state, (measured - before) / dt - f, warm)
        filtered = self._filter(state | noise, f, measured, dt, fresh, transition.saturated.max(axis=1, keepdims=True))
        started = {"x": measured, "d": state["d"]} | {k: state[k] for k in ("p11", "p12", "p22")}
        kalman = {key: np.where(warm | ~fresh, filtered[key], started[key]) for key in started}
        return state | noise | kalman | {"commands": commands, "age": state["age"] + 1}

    def _noise(self, state: State, residual: np.ndarray, warm: np.ndarray) -> State:
        cap = (3.0 * self.nominal.acceleration_sd) ** 2
        mean = state["residual_mean"] + 0.05 * (residual - state["residual_mean"])
        last = state["residual"]
        autocovariance = np.clip((residual - mean) * (last - mean), -cap, cap)
        half_square = np.minimum(0.5 * (residual - last) ** 2, cap)
        return {
            "residual_mean": np.where(warm, mean, state["residual_mean"]),
            "residual": np.where(warm, residual, last),
            "noise": np.where(
                warm, state["noise"] + self.noise_rate * (-autocovariance - state["noise"]), state["noise"]
            ),
            "spread": np.where(
                warm, state["spread"] + self.noise_rate * (half_square - state["spread"]), state["spread"]
            ),
        }

    def _filter(
        self, s: State, f: np.ndarray, measured: np.ndarray, dt: np.ndarray, fresh: np.ndarray, saturated: np.ndarray
    ) -> State:
        model_sd, sd = self.nominal.residual_sd, self.nominal.acceleration_sd
        noise = np.maximum(s["noise"], 0.0)
        r = dt**2 * np.maximum(noise, (0.02 * model_sd) ** 2)
        q = dt**2 * np.clip(s["spread"] - 3.0 * noise, model_sd**2, 16.0 * model_sd**2)
        x = s["x"] + dt * (f + s["d"])
        p11 = s["p11"] + 2 * dt * s["p12"] + dt**2 * s["p22"] + q
        p12 = s["p12"] + dt * s["p22"]
        p22 = np.minimum(s["p22"] + sd**2 * dt / self.wander_s, sd**2)
        variance = p11 + r
        limit = 6.0 * np.sqrt(variance)
        innovation = np.where(fresh, np.clip(measured - x, -limit, limit), 0.0)
        k1, k2 = np.where(fresh, p11 / variance, 0.0), np.where(fresh, p12 / variance, 0.0)
        # Under saturation the plant does not do as told, and what is missing is no disturbance.
        trust = 1.0 - 0.9 * saturated
        d = s["d"] + trust * k2 * innovation
        return {
            "x": x + k1 * innovation,
            "d": np.clip(d, -self.bound * sd, self.bound * sd),
            "p11": (1 - k1) * p11,
            "p12": (1 - k1) * p12,
            "p22": p22 - k2 * p12,
        }
