"""Disturbance observer: what the nominal model does not explain, how late commands arrive, and where the vehicle is now.

For every rate (a velocity, a body rate) a bank of augmented Kalman filters of state [x, d]:

    x+ = x + dt (f + d),   d+ = d + w,   measured: x + v

f is the nominal model's acceleration and d the disturbance, all that f does not explain (augmented-state disturbance
observer: Chen et al. 2016, IEEE Trans. Industrial Electronics 63(2)). The members of the bank differ in how fast they let d
wander; one believes that there is none, and takes the estimate's noise away where nothing has shifted. They are weighted by
how well they predicted, with forgetting, under a Student distribution of the innovation, so that one wild sample decides
nothing (multiple-model estimation: Magill 1965, IEEE Trans. Automatic Control 10(4)); the estimate is their weighted mean.

The variances of v and of the model error come from the one-step residual r = (x_t - x_(t-1)) / dt - f of the measured
rates: measurement noise makes its lag-1 autocovariance negative, c1 = var(v) / dt²; half the mean square of r_t - r_(t-1)
is 3 c1 + var(model error) (covariance matching: Mehra 1970, IEEE Trans. Automatic Control 15(2)).

A bank of the same model fed with commands of k periods ago tells how late they arrive: that delay is believed whose
residuals are likelier than the present one's by enough, under the scatter that even the best of them shows. What the vehicle is shown to be is then rolled forward by
the commands that are still on their way (Smith predictor), and so is a sample that did not arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from .adapter import State, Transition
from .nominal import NominalModel

WANDER = (0.0, 2.5)
"""Of each member of the bank: the variance that d gains in a second, in variances of the nominal accelerations."""

# Rows of state["filters"].
X, D, P11, P12, P22, LOG_WEIGHT = range(6)
# Rows of state["noise"].
AUTOCOVARIANCE, SPREAD, RESIDUAL, RESIDUAL_MEAN = range(4)

_MEAN_RATE, _VARIANCE_RATE = 0.08, 0.04
_LEAST_LOG_WEIGHT = -6.0
_LOSS_RATE = 0.04
_BIAS_S = 1.0
"""Time constant of the gyroscopes' bias, s."""


@dataclass(frozen=True)
class DisturbanceObserver:
    """Estimates disturbance and delay from transitions; state in, state out.

    State, R rates, C context channels, M members, L delays, K + L - 1 commands: commands [N, K + L - 1, A] newest first;
    age [N] transitions; rates [N, R] and context [N, C], measured or, where stale [N], predicted; travel [N, R] how far each
    rate has carried the vehicle since its last sample; filters [N, M, 6, R]; noise [N, 4, R]; residuals [N, L, R] mean by
    delay; scatter [N, R] variance under the best of them; evidence [N, L] log likelihood; delay [N] periods; rate_bias [N, 3] of
    the gyroscopes, where an attitude is known to compare them with;
    loss [N, 2] of predicting one step ahead with what was learned and without; d [N, R].

    Args:
        nominal: the nominal model.
        wander: of each member of the bank.
        bound: |d| is projected onto this many standard deviations of the nominal accelerations.
        noise_rate: share of a new sample in the noise estimates.
        forgetting: of the members' log weights, per sample.
        delays: how many delays are told apart, 0 to delays - 1 periods; 1 never looks for one.
        delay_forgetting: of the delays' log likelihoods, per sample.
        delay_evidence: by how much another delay must be likelier, nats.
    """

    nominal: NominalModel
    wander: tuple[float, ...] = WANDER
    bound: float = 5.0
    noise_rate: float = 0.02
    forgetting: float = 0.96
    delays: int = 4
    delay_forgetting: float = 0.93
    delay_evidence: float = 12.0

    @cached_property
    def _turning(self) -> int:
        """Where the body rates that turn an attitude matrix begin among the rates; -1 if the context is none."""
        rates = list(self.nominal.signals.rates)
        turns = self.nominal.signals.context[:1] == ("rotation_xx",) and "body_rate_x" in rates
        return rates.index("body_rate_x") if turns else -1

    def initial_state(self, n: int) -> State:
        nominal = self.nominal
        rates, delays = len(nominal.signals.rates), self.delays
        filters = np.zeros((n, len(self.wander), 6, rates))
        filters[:, :, P11] = (nominal.dt * nominal.residual_sd) ** 2
        filters[:, np.array(self.wander) > 0, P22] = 0.01 * nominal.acceleration_sd**2
        noise = np.zeros((n, 4, rates))
        noise[:, SPREAD] = nominal.residual_sd**2
        return {
            "commands": np.zeros((n, nominal.history + delays - 1, nominal.reader.actions)),
            "age": np.zeros(n, dtype=np.int64),
            "rates": np.zeros((n, rates)),
            "context": np.zeros((n, len(nominal.signals.context))),
            "travel": np.zeros((n, rates)),
            "stale": np.zeros(n, dtype=bool),
            "filters": filters,
            "noise": noise,
            "residuals": np.zeros((n, delays, rates)),
            "scatter": np.tile(nominal.residual_sd**2, (n, 1)),
            "evidence": np.zeros((n, delays)),
            "delay": np.zeros(n, dtype=np.int64),
            "rate_bias": np.zeros((n, 3)),
            "loss": np.zeros((n, 2)),
            "d": np.zeros((n, rates)),
        }

    def begin(self, state: State, transition: Transition) -> tuple[State, np.ndarray]:
        """The state with the transition's command, and the nominal accelerations [N, L, R] under each delay."""
        nominal, t = self.nominal, transition
        commands = np.concatenate([t.action[:, None], state["commands"][:, :-1]], axis=1)
        rates, context = self._physical(state, t.observation)
        inputs = _inputs(rates, context, commands, nominal.history, self.delays)
        before = state | {"commands": commands, "rates": rates, "context": context}
        return before, nominal.accelerations(inputs).reshape(len(commands), self.delays, -1)

    def update(
        self, state: State, transition: Transition, f: np.ndarray, explained: np.ndarray, saturated: np.ndarray
    ) -> State:
        """The state after one transition.

        Args:
            state, f: from `begin`.
            transition: a sample that is not fresh is predicted, and teaches nothing; neither does what followed it, of
                the noise and of delays.
            explained: [N, R] accelerations known beside the nominal ones.
            saturated: [N, R] bool, rates whose acceleration a saturated action touches.
        """
        nominal, t = self.nominal, transition
        reader = nominal.reader
        after = {name: state[name].copy() for name in _WRITTEN}
        _step(
            f,
            explained,
            reader.rates(t.next_observation),
            t.next_observation[:, reader.context_index].astype(np.float64),
            t.dt,
            t.fresh,
            # Until the command history is full the model's input is not what was flown.
            state["age"] >= nominal.history,
            saturated,
            nominal.residual_sd,
            nominal.acceleration_sd,
            self.wander,
            (self.bound, self.noise_rate, self.forgetting, self.delay_forgetting, self.delay_evidence),
            self._turning,
            *after.values(),
        )
        return state | after | {"age": state["age"] + 1}

    def predict(
        self,
        state: State,
        observation: np.ndarray,
        explain: Callable[[State, np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the vehicle will be when the next command arrives: rates [N, R], context [N, C], travel [N, R].

        Before the first transition that is where `observation` [N, O] shows it. `explain` gives the accelerations [N, R] known beside the nominal ones, from state, f [N, R] and context [N, C].
        """
        rates, context = self._physical(state, observation)
        travel = state["travel"]
        for ahead in range(int(state["delay"].max(initial=0))):
            rows = state["delay"] > ahead
            offset = np.maximum(state["delay"] - ahead - 1, 0)
            inputs = _delayed_inputs(rates, context, state["commands"], self.nominal.history, offset)
            f = self.nominal.accelerations(inputs)
            acceleration = f + state["d"] + (explain(state, f, context) if explain else 0.0)
            moved = _roll(rates, context, travel, acceleration, self.nominal.dt, self._turning)
            rates, context, travel = (
                np.where(rows[:, None], new, old) for new, old in zip(moved, (rates, context, travel), strict=True)
            )
        return rates, context, travel

    def _physical(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, reader = state["age"] == 0, self.nominal.reader
        if not first.any():
            return state["rates"], state["context"]
        rows = first[:, None]
        context = observation[:, reader.context_index].astype(np.float64)
        return np.where(rows, reader.rates(observation), state["rates"]), np.where(rows, context, state["context"])


_WRITTEN = ("rates", "context", "travel", "stale", "filters", "noise", "residuals", "scatter", "evidence", "delay",
            "rate_bias", "loss", "d")  # fmt: skip


@njit(cache=True)
def _inputs(rates, context, commands, history, delays):  # type: ignore[no-untyped-def]
    """Model inputs [N L, R + C + K A], the commands of each delay in turn."""
    n, actions = rates.shape[0], commands.shape[2]
    head, tail = rates.shape[1], rates.shape[1] + context.shape[1]
    out = np.empty((n * delays, tail + history * actions))
    for i in range(n):
        for k in range(delays):
            row = out[i * delays + k]
            row[:head] = rates[i]
            row[head:tail] = context[i]
            for lag in range(history):
                row[tail + lag * actions : tail + (lag + 1) * actions] = commands[i, k + lag]
    return out


@njit(cache=True)
def _delayed_inputs(rates, context, commands, history, delay):  # type: ignore[no-untyped-def]
    """Model inputs [N, R + C + K A], the commands of the row's own delay [N]."""
    n, actions = rates.shape[0], commands.shape[2]
    head, tail = rates.shape[1], rates.shape[1] + context.shape[1]
    out = np.empty((n, tail + history * actions))
    for i in range(n):
        out[i, :head] = rates[i]
        out[i, head:tail] = context[i]
        for lag in range(history):
            out[i, tail + lag * actions : tail + (lag + 1) * actions] = commands[i, delay[i] + lag]
    return out


@njit(cache=True)
def _roll(rates, context, travel, acceleration, dt, turning):  # type: ignore[no-untyped-def]
    """Rates, context and travel dt s later; an attitude matrix turns with the mean body rates, other context stays."""
    after, moved, turned = rates.copy(), travel.copy(), context.copy()
    for n in range(rates.shape[0]):
        _roll_row(rates[n], acceleration[n], dt, turning, after[n], turned[n], moved[n])
    return after, turned, moved


@njit(cache=True)
def _roll_row(before, acceleration, dt, turning, rates, context, travel):  # type: ignore[no-untyped-def]
    for i in range(rates.shape[0]):
        rates[i] = before[i] + dt * acceleration[i]
        travel[i] += 0.5 * dt * (before[i] + rates[i])
    if turning < 0:
        return
    # R exp([angle]x) to second order.
    a = 0.5 * dt * (before[turning] + rates[turning])
    b = 0.5 * dt * (before[turning + 1] + rates[turning + 1])
    c = 0.5 * dt * (before[turning + 2] + rates[turning + 2])
    for row in range(3):
        x, y, z = context[3 * row], context[3 * row + 1], context[3 * row + 2]
        context[3 * row] = x * (1.0 - 0.5 * (b * b + c * c)) + y * (c + 0.5 * a * b) + z * (-b + 0.5 * a * c)
        context[3 * row + 1] = x * (-c + 0.5 * a * b) + y * (1.0 - 0.5 * (a * a + c * c)) + z * (a + 0.5 * b * c)
        context[3 * row + 2] = x * (b + 0.5 * a * c) + y * (-a + 0.5 * b * c) + z * (1.0 - 0.5 * (a * a + b * b))


@njit(cache=True)
def _step(  # type: ignore[no-untyped-def]
    f_by_delay, explained, measured, measured_context, dt, fresh, warm, saturated,
    model_sd, sd, wander, tuning, turning,
    rates, context, travel, stale, filters, noise, residuals, scatter, evidence, delay, rate_bias, loss, d,
):  # fmt: skip
    """One step of every bank; shapes as in `DisturbanceObserver`. What follows `turning` is state, and is written."""
    count = rates.shape[1]
    acceleration = np.empty(count)
    for n in range(rates.shape[0]):
        h, k = dt[n], delay[n]
        learns = fresh[n] and not stale[n] and warm[n]
        before = rates[n].copy()
        if turning >= 0:
            if learns:
                _learn_rate_bias(context[n], measured_context[n], before, measured[n], h, turning, rate_bias[n])
            for j in range(3):
                measured[n, turning + j] -= rate_bias[n, j]
        if fresh[n]:
            if learns:
                _tell_delays(n, f_by_delay[n], before, measured[n], h, model_sd, sd, tuning[3], tuning[4],
                             residuals[n], scatter[n], evidence[n], delay)  # fmt: skip
                _score(f_by_delay[n], k, explained[n], d[n], before, measured[n], h, model_sd, noise[n], loss[n])
            rates[n] = measured[n]
            context[n] = measured_context[n]
            travel[n] = 0.0
        else:
            for i in range(count):
                acceleration[i] = f_by_delay[n, k, i] + explained[n, i] + d[n, i]
            _roll_row(before, acceleration, h, turning, rates[n], context[n], travel[n])
        stale[n], k = not fresh[n], delay[n]
        for i in range(count):
            if not warm[n]:
                for m in range(len(wander)):
                    filters[n, m, X, i] = rates[n, i]
                continue
            f = f_by_delay[n, k, i] + explained[n, i]
            if learns:
                _match_noise(noise[n], i, (measured[n, i] - before[i]) / h - f, sd[i], tuning[1])
            variance_v, variance_model = _variances(noise[n], i, h, model_sd[i])
            # Under saturation the plant does not do as told, and what is missing is no disturbance.
            trust = 0.1 if saturated[n, i] else 1.0
            d[n, i] = _filter_rate(
                filters[n], i, f, measured[n, i], h, fresh[n], trust, variance_v, variance_model, sd[i], wander, tuning
            )


@njit(cache=True)
def _score(f, k, explained, d, before, measured, h, model_sd, noise, loss):  # type: ignore[no-untyped-def]
    """Mean negative log likelihood, but for a constant, of a sample that nothing has been learned from yet."""
    count = d.shape[0]
    learned, nothing = 0.0, 0.0
    for i in range(count):
        r = (measured[i] - before[i]) / h
        variance = max(noise[SPREAD, i], model_sd[i] ** 2)
        learned += 2.5 * np.log1p((r - f[k, i] - explained[i] - d[i]) ** 2 / (4.0 * variance)) / count
        nothing += 2.5 * np.log1p((r - f[0, i]) ** 2 / (4.0 * variance)) / count
    loss[0] += _LOSS_RATE * (learned - loss[0])
    loss[1] += _LOSS_RATE * (nothing - loss[1])


@njit(cache=True)
def _learn_rate_bias(attitude, attitude_after, before, measured, h, turning, bias):  # type: ignore[no-untyped-def]
    """What gyroscopes show beyond the turn from one attitude to the next; the noise of attitudes telescopes."""
    for j in range(3):
        a, b = (j + 1) % 3, (j + 2) % 3
        turned = 0.0  # of R' R_after, its skew part
        for row in range(3):
            turned += attitude[3 * row + b] * attitude_after[3 * row + a]
            turned -= attitude[3 * row + a] * attitude_after[3 * row + b]
        shown = 0.5 * (before[turning + j] + measured[turning + j] - bias[j])
        bias[j] += h / _BIAS_S * (shown - 0.5 * turned / h)


@njit(cache=True)
def _tell_delays(  # type: ignore[no-untyped-def]
    n, f, before, measured, h, model_sd, sd, forgetting, evidence_needed, residuals, spread, evidence, delay
):
    """Add to each delay's log likelihood, and change to one that is likelier by enough."""
    for i in range(f.shape[1]):
        least = np.inf
        for k in range(f.shape[0]):
            r = (measured[i] - before[i]) / h - f[k, i]
            residuals[k, i] += _MEAN_RATE * (r - residuals[k, i])
            square = (r - residuals[k, i]) ** 2
            least = min(least, square)
            evidence[k] -= 2.5 * np.log1p(square / (4.0 * spread[i]))
        # What scatters even under the best of the delays is no delay.
        spread[i] += _VARIANCE_RATE * (min(max(least, (0.5 * model_sd[i]) ** 2), (1.5 * sd[i]) ** 2) - spread[i])
    best = 0
    for k in range(f.shape[0]):
        if evidence[k] > evidence[best]:
            best = k
    if evidence[best] > evidence[delay[n]] + evidence_needed:
        delay[n] = best
    likeliest = evidence[best]
    for k in range(f.shape[0]):
        evidence[k] = forgetting * (evidence[k] - likeliest)


@njit(cache=True)
def _match_noise(noise, i, r, sd, rate):  # type: ignore[no-untyped-def]
    cap = (3.0 * sd) ** 2
    noise[RESIDUAL_MEAN, i] += 0.05 * (r - noise[RESIDUAL_MEAN, i])
    covariance = (r - noise[RESIDUAL_MEAN, i]) * (noise[RESIDUAL, i] - noise[RESIDUAL_MEAN, i])
    noise[AUTOCOVARIANCE, i] += rate * (-min(max(covariance, -cap), cap) - noise[AUTOCOVARIANCE, i])
    noise[SPREAD, i] += rate * (min(0.5 * (r - noise[RESIDUAL, i]) ** 2, cap) - noise[SPREAD, i])
    noise[RESIDUAL, i] = r


@njit(cache=True)
def _variances(noise, i, h, model_sd):  # type: ignore[no-untyped-def]
    """Of the measurement, and of what the model adds in one step."""
    c1, floor = max(noise[AUTOCOVARIANCE, i], 0.0), model_sd**2
    variance_model = min(max(noise[SPREAD, i] - 3.0 * c1, floor), 16.0 * floor)
    return h**2 * max(c1, 4e-4 * floor), h**2 * variance_model


@njit(cache=True)
def _filter_rate(  # type: ignore[no-untyped-def]
    filters, i, f, measured, h, fresh, trust, variance_v, variance_model, sd, wander, tuning
):
    """One step of every member for one rate of one row, [M, 6, R]; returns d."""
    bound, _, forgetting, _, _ = tuning
    likeliest = -np.inf
    for m in range(len(wander)):
        z = filters[m]
        z[X, i] += h * (f + z[D, i])
        z[P11, i] += 2.0 * h * z[P12, i] + h**2 * z[P22, i] + variance_model
        z[P12, i] += h * z[P22, i]
        z[P22, i] = min(z[P22, i] + wander[m] * sd**2 * h, sd**2)
        if not fresh:
            continue
        variance = z[P11, i] + variance_v
        innovation = measured - z[X, i]
        # Student's t of 4 degrees of freedom.
        z[LOG_WEIGHT, i] *= forgetting
        z[LOG_WEIGHT, i] -= 2.5 * np.log1p(innovation**2 / (4.0 * variance)) + 0.5 * np.log(variance)
        likeliest = max(likeliest, z[LOG_WEIGHT, i])
        limit = 6.0 * np.sqrt(variance)
        innovation = min(max(innovation, -limit), limit)
        k1, k2 = z[P11, i] / variance, z[P12, i] / variance
        z[X, i] += k1 * innovation
        z[D, i] = min(max(z[D, i] + trust * k2 * innovation, -bound * sd), bound * sd)
        z[P22, i] -= k2 * z[P12, i]
        z[P12, i] *= 1.0 - k1
        z[P11, i] *= 1.0 - k1
    total, mean = 0.0, 0.0
    for m in range(len(wander)):
        if fresh:
            filters[m, LOG_WEIGHT, i] = max(filters[m, LOG_WEIGHT, i] - likeliest, _LEAST_LOG_WEIGHT)
        weight = np.exp(filters[m, LOG_WEIGHT, i])
        total += weight
        mean += weight * filters[m, D, i]
    return mean / total
