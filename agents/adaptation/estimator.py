"""Disturbance observer: what the nominal model does not explain, how late commands arrive, and where the vehicle is now.

For every rate (a velocity, a body rate) a bank of augmented Kalman filters of state [x, d]:

    x+ = x + dt (f + d),   d+ = d + w,   measured: x + v

f is the nominal model's acceleration and d the disturbance, all that f does not explain (augmented-state disturbance
observer: Chen et al. 2016, IEEE Trans. Industrial Electronics 63(2)). The members of the bank differ in how fast they let d
wander; one believes that there is none, and takes the estimate's noise away where nothing has shifted. They are weighted by
how well they predicted, under a Student distribution of the innovation, so that one wild sample decides nothing
(multiple-model estimation: Magill 1965, IEEE Trans. Automatic Control 10(4)); the estimate is their weighted mean.
Weights are products of likelihoods, the likeliest member's being 1, cut off at a floor (as the cumulative sums of their
logarithms are: Page 1954, Biometrika 41(1/2)). The deeper a member's floor, the more evidence it takes to come back to it.

The variances of v and of the model error come from the one-step residual r = (x_t - x_(t-1)) / dt - f of the measured
rates: measurement noise makes its lag-1 autocovariance negative, c1 = var(v) / dt²; half the mean square of r_t - r_(t-1)
is 3 c1 + var(model error) (covariance matching: Mehra 1970, IEEE Trans. Automatic Control 15(2)).

A bank of the same model fed with commands of k periods ago tells how late they arrive. Each follows the measured rates
by its own accelerations f_k and a share of what it was wrong by, e_k, and that delay is believed whose e_k are likelier
than the present one's by enough, under the scatter that even the best of them shows:

    e_k = x_t - x_k - dt f_k,   x_k+ = x_k + dt f_k + gain e_k

What the vehicle is shown to be is then rolled forward by the commands that are still on their way (Smith predictor),
but for as many periods as the policy is used to, and so is a sample that did not arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...policies.kernels.arithmetic import add, copy, fill
from ...policies.kernels.packed import by_blocks, by_rows, integer, pack, real, reals
from ...policies.kernels.views import scratch, vector
from . import shadow
from .adapter import Transition
from .compiled import helper, inlined, kernel
from .nominal import NominalModel, arrange, forward, network_of, read, rooms, take_in
from .state import State, part
from .thrust import lost_thrust

WANDER = (0.0, 2.5)
"""Of each member of the bank: the variance that d gains in a second, in variances of the nominal accelerations."""

# Rows of state["filters"].
X, D, P11, P12, P22, WEIGHT = range(6)
# Rows of state["noise"].
AUTOCOVARIANCE, SPREAD, RESIDUAL, RESIDUAL_MEAN, INNOVATION = range(5)

_MEAN_RATE, _VARIANCE_RATE = 0.08, 0.04
# A gust that turns passes through d = 0, which is no calm: that member has to earn its weight for longer.
_LEAST_WEIGHT, _LEAST_WEIGHT_OF_NONE = math.exp(-5.0), math.exp(-12.0)
INNOVATION_RATE = 0.2
INNOVATION_ERROR = (INNOVATION_RATE / (2.0 - INNOVATION_RATE)) ** 0.5
"""Standard error of the mean of normalised innovations under that rate, if they are white."""


@dataclass(frozen=True)
class DisturbanceObserver:
    """Estimates disturbance and delay from transitions; state in, state out.

    State, R rates, C context channels, M members, L delays, K + L - 1 commands: commands [N, K + L - 1, A] newest first;
    age [N] transitions; rates [N, R] and context [N, C], measured or, where stale [N], predicted; travel [N, R] how far each
    rate has carried the vehicle since its last sample; filters [N, M, 6, R]; noise [N, 5, R]; followed [N, L, R] rates
    and residuals [N, L, R] mean by delay; scatter [N, R] variance under the best of them; evidence [N, L] log
    likelihood; delay [N] periods; rate_bias [N, 3] of the gyroscopes, where an attitude is known to compare them with;
    loss [N, 3] of predicting one step ahead with what was learned, without, and with the shadow; d [N, R];
    effectiveness [N] of thrust along body z, which a compensator that knows of it may learn, 0 being nominal; kept_d,
    kept_delay and kept_effectiveness, the shadow; ahead [N] periods, believed_rates [N, R], believed_context [N, C] and believed_travel
    [N, R], how far ahead and where the vehicle is shown to be: where it will be when the next command arrives, or by
    the accustomed delay before.

    Args:
        nominal: the nominal model.
        wander: of each member of the bank.
        bound: |d| is projected onto this many standard deviations of the nominal accelerations.
        noise_rate: share of a new sample in the noise estimates.
        delays: how many delays are told apart, 0 to delays - 1 periods; 1 never looks for one.
        delay_forgetting: of the delays' log likelihoods, per sample.
        delay_gain: share of e_k that each delay's followed rates take in; 1 compares a sample with the last one alone,
            with less small accelerations add up to more than the noise of two samples.
        delay_evidence: by how much another delay must be likelier, nats.
        predicts: whether what the vehicle is shown to be is rolled forward by the delay, beyond the accustomed one.
        bias_s: time constant of the gyroscopes' bias, s; inf: taken to have none.
    """

    nominal: NominalModel
    wander: tuple[float, ...] = WANDER
    bound: float = 5.0
    noise_rate: float = 0.02
    delays: int = 4
    delay_forgetting: float = 0.93
    delay_gain: float = 1.0
    delay_evidence: float = 12.0
    predicts: bool = True
    bias_s: float = 1.0

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
        filters[:, :, WEIGHT] = 1.0
        filters[:, :, P11] = (nominal.dt * nominal.residual_sd) ** 2
        filters[:, np.array(self.wander) > 0, P22] = 0.01 * nominal.acceleration_sd**2
        noise = np.zeros((n, 5, rates))
        noise[:, SPREAD] = nominal.residual_sd**2
        fields = {
            "commands": np.zeros((n, nominal.history + delays - 1, nominal.reader.actions)),
            "age": np.zeros(n),
            "rates": np.zeros((n, rates)),
            "context": np.zeros((n, len(nominal.signals.context))),
            "travel": np.zeros((n, rates)),
            "stale": np.zeros(n),
            "filters": filters,
            "noise": noise,
            "followed": np.zeros((n, delays, rates)),
            "residuals": np.zeros((n, delays, rates)),
            "scatter": np.tile(nominal.residual_sd**2, (n, 1)),
            "evidence": np.zeros((n, delays)),
            "delay": np.zeros(n),
            "rate_bias": np.zeros((n, 3)),
            "loss": np.zeros((n, 3)),
            "d": np.zeros((n, rates)),
            "effectiveness": np.zeros(n),
            "kept_d": np.zeros((n, rates)),
            "kept_delay": np.zeros(n),
            "kept_effectiveness": np.zeros(n),
            "ahead": np.zeros(n),
            "believed_rates": np.zeros((n, rates)),
            "believed_context": np.zeros((n, len(nominal.signals.context))),
            "believed_travel": np.zeros((n, rates)),
        }
        return State(fields)

    @cached_property
    def constants(self) -> np.ndarray:
        """`Constants`, packed."""
        nominal, rates = self.nominal, list(self.nominal.signals.rates)
        return pack(
            Constants(
                model_sd=nominal.residual_sd,
                sd=nominal.acceleration_sd,
                wander=np.array(self.wander, dtype=np.float64),
                dt=nominal.dt,
                velocity=rates.index("velocity_x") if "velocity_x" in rates else -1,
                turning=self._turning,
                bound=self.bound,
                noise_rate=self.noise_rate,
                delay_forgetting=self.delay_forgetting,
                delay_gain=self.delay_gain,
                delay_evidence=self.delay_evidence,
                bias_s=self.bias_s,
                delays=self.delays,
                accustomed=self.nominal.accustomed_delay,
                predicts=self.predicts,
            )
        )

    def learn(
        self, state: State, transition: Transition, touched: np.ndarray
    ) -> tuple[State, np.ndarray, np.ndarray, np.ndarray]:
        """The state after one transition; accelerations [N, R] that were expected but for d, and what of them the thrust's
        effectiveness explains; and which rows [N] learned from commands that move.

        Args:
            state: before it.
            transition: a sample that is not fresh is predicted, and teaches nothing; neither does what followed it, of
                the noise and of delays.
            touched: [A, R] bool, rates whose acceleration each action touches when it is saturated.
        """
        t, after, shape = transition, state.copy(), (len(transition.fresh), self.nominal.reader.rate_matrix.shape[1])
        expected, explained, learns = np.empty(shape), np.empty(shape), np.empty(shape[0], dtype=bool)
        observations = np.asarray(t.observation, dtype=np.float64), np.asarray(t.next_observation, dtype=np.float64)
        sample = *observations, t.action, t.saturated, t.fresh, t.fresh & t.excited, t.dt, t.leak, t.dead_zone
        told = expected, explained, learns
        learn_rows(self.nominal.network, self.constants, touched, *sample, after.parts(Memory), after.rows, *told)
        return after, *told

    def keep(self, state: State, rows: np.ndarray) -> State:
        """The state whose shadow, in `rows`, is what it has learned."""
        return shadow.keep(state, Shadow, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        """The state that has learned, in `rows`, what its shadow did."""
        after = shadow.restore(state, Shadow, rows)
        for m in np.flatnonzero(self.wander):
            after["filters"][rows, m, D] = state["kept_d"][rows]
        after["evidence"][rows] = 0.0
        return after


class Shadow(NamedTuple):
    """What is learned and has a shadow, as `shadow` reads it: fields of the state, views of its row."""

    d: np.ndarray
    delay: np.ndarray
    effectiveness: np.ndarray
    kept_d: np.ndarray
    kept_delay: np.ndarray
    kept_effectiveness: np.ndarray
    loss: np.ndarray


class Memory(NamedTuple):
    """What kernels read and write of one vehicle: fields of the state, as views of its row."""

    commands: np.ndarray
    age: np.ndarray
    rates: np.ndarray
    context: np.ndarray
    travel: np.ndarray
    stale: np.ndarray
    filters: np.ndarray
    noise: np.ndarray
    followed: np.ndarray
    residuals: np.ndarray
    scatter: np.ndarray
    evidence: np.ndarray
    delay: np.ndarray
    rate_bias: np.ndarray
    loss: np.ndarray
    d: np.ndarray
    effectiveness: np.ndarray
    kept_d: np.ndarray
    kept_delay: np.ndarray
    kept_effectiveness: np.ndarray
    ahead: np.ndarray
    believed_rates: np.ndarray
    believed_context: np.ndarray
    believed_travel: np.ndarray


@inlined
def recall(row, parts, actions, rates):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    return Memory(
        commands=by_rows(part(row, parts, 0), actions),
        age=part(row, parts, 1),
        rates=part(row, parts, 2),
        context=part(row, parts, 3),
        travel=part(row, parts, 4),
        stale=part(row, parts, 5),
        filters=by_blocks(part(row, parts, 6), 6, rates),
        noise=by_rows(part(row, parts, 7), rates),
        followed=by_rows(part(row, parts, 8), rates),
        residuals=by_rows(part(row, parts, 9), rates),
        scatter=part(row, parts, 10),
        evidence=part(row, parts, 11),
        delay=part(row, parts, 12),
        rate_bias=part(row, parts, 13),
        loss=part(row, parts, 14),
        d=part(row, parts, 15),
        effectiveness=part(row, parts, 16),
        kept_d=part(row, parts, 17),
        kept_delay=part(row, parts, 18),
        kept_effectiveness=part(row, parts, 19),
        ahead=part(row, parts, 20),
        believed_rates=part(row, parts, 21),
        believed_context=part(row, parts, 22),
        believed_travel=part(row, parts, 23),
    )


class Constants(NamedTuple):
    """What kernels read of a `DisturbanceObserver` and its nominal model: standard deviations model_sd and sd [R] of what the
    nominal model leaves and of its accelerations; wander [M]; dt in s; where the velocities begin among the rates, and the
    body rates that turn an attitude matrix (turning), -1 if there are none.
    """

    model_sd: np.ndarray
    sd: np.ndarray
    wander: np.ndarray
    dt: float
    velocity: int
    turning: int
    bound: float
    noise_rate: float
    delay_forgetting: float
    delay_gain: float
    delay_evidence: float
    bias_s: float
    delays: int
    accustomed: int
    predicts: bool


@helper
def _constants_of(packed):  # type: ignore[no-untyped-def]
    """The `Constants` that were packed."""
    return Constants(
        model_sd=reals(packed, 0),
        sd=reals(packed, 1),
        wander=reals(packed, 2),
        dt=real(packed, 3),
        velocity=integer(packed, 4),
        turning=integer(packed, 5),
        bound=real(packed, 6),
        noise_rate=real(packed, 7),
        delay_forgetting=real(packed, 8),
        delay_gain=real(packed, 9),
        delay_evidence=real(packed, 10),
        bias_s=real(packed, 11),
        delays=integer(packed, 12),
        accustomed=integer(packed, 13),
        predicts=integer(packed, 14),
    )


@kernel
def predict_rows(network, c, observation, parts, rows):  # type: ignore[no-untyped-def]
    """Write into `believed_` of the states `rows` [N, S] where the vehicle will be when the next command arrives:
    rolled forward, period by period, under the commands that are still on their way; not as far, where the policy is used to
    late commands. Before the first transition it is where `observation` [N, O] shows it."""
    network, c = network_of(network), _constants_of(c)
    for n in range(rows.shape[0]):
        s = recall(rows[n], parts, network.held.shape[0], network.rates)
        copy(s.rates, s.believed_rates)
        copy(s.context, s.believed_context)
        copy(s.travel, s.believed_travel)
        if s.age[0] == 0.0:
            read(network, observation[n], s.believed_rates, s.believed_context)
        delay = int(s.delay[0])
        s.ahead[0] = max(delay - c.accustomed, 0) if c.predicts else 0
        if s.ahead[0] > 0.0:
            _roll_forward(network, c, delay, s)


@helper
def _roll_forward(network, c, delay, s):  # type: ignore[no-untyped-def]
    """What is believed, `ahead` periods later; the command that arrives first is the one of `delay` periods ago."""
    z, first, second, f = rooms(network, 1)
    before, acceleration = vector(network.rates), vector(network.rates)
    for lag in range(delay - 1, delay - 1 - int(s.ahead[0]), -1):
        arrange(network, s.believed_rates, s.believed_context, s.commands, lag, z[0])
        forward(network, z, first, second, f)
        lost_thrust(s.effectiveness[0], f[0], s.believed_context, c.velocity, acceleration)
        add(f[0, : network.rates], acceleration)
        add(s.d, acceleration)
        copy(s.believed_rates, before)
        _roll(before, acceleration, c.dt, c.turning, s.believed_rates, s.believed_context, s.believed_travel)


@helper
def filtered(filters, rates, first):  # type: ignore[no-untyped-def]
    """rates [K], those from `first` on, as the members [M, 6, R] know them, weighted."""
    for i in range(rates.shape[0]):
        total, rates[i] = 0.0, 0.0
        for m in range(filters.shape[0]):
            weight = filters[m, WEIGHT, first + i]
            total += weight
            rates[i] += weight * filters[m, X, first + i]
        rates[i] /= total


@helper
def _roll(before, acceleration, dt, turning, rates, context, travel):  # type: ignore[no-untyped-def]
    """dt s later; an attitude matrix turns with the mean body rates, other context stays."""
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


@kernel
def learn_rows(  # type: ignore[no-untyped-def]
    network, c, touched, observation, following, action, saturated, fresh, excited, dt, leak, dead_zone, parts, rows,
    expected, explained, learns,
):  # fmt: skip
    """`DisturbanceObserver.learn`: one step of every bank. The states `rows` [N, S] and what follows are written."""
    network, c = network_of(network), _constants_of(c)
    count = network.rates
    z, first, second, f = rooms(network, c.delays)
    of_rates = scratch((4, count), np.float64)
    kept, before, measured, acceleration = of_rates[0], of_rates[1], of_rates[2], of_rates[3]
    tails, measured_context = vector(c.delays), vector(network.context_index.shape[0])
    for n in range(rows.shape[0]):
        s = recall(rows[n], parts, action.shape[1], count)
        if s.age[0] == 0.0:
            read(network, observation[n], s.rates, s.context)
        take_in(action[n], s.commands)
        # Nominal accelerations f[:, :R] under the commands of 0 to L - 1 periods ago.
        for k in range(c.delays):
            arrange(network, s.rates, s.context, s.commands, k, z[k])
        forward(network, z, first, second, f)
        delay, kept_delay = int(s.delay[0]), int(s.kept_delay[0])
        # Until the command history is full the model's input is not what was flown.
        h, warm = dt[n], s.age[0] >= network.history
        scored = fresh[n] and s.stale[0] == 0.0 and warm
        learns[n] = scored and excited[n]
        lost_thrust(s.kept_effectiveness[0], f[kept_delay], s.context, c.velocity, kept)
        add(f[kept_delay], kept)
        add(s.kept_d, kept)
        lost_thrust(s.effectiveness[0], f[delay], s.context, c.velocity, explained[n])
        copy(explained[n], expected[n])
        add(f[delay], expected[n])
        read(network, following[n], measured, measured_context)
        copy(s.rates, before)
        if c.turning >= 0:
            if learns[n]:
                _learn_rate_bias(c, s.context, measured_context, before, measured, h, s.rate_bias)
            for j in range(3):
                measured[c.turning + j] -= s.rate_bias[j]
        if scored:
            spread = s.noise[SPREAD]
            shadow.score(f[0], expected[n], s.d, kept, before, measured, h, spread, c.model_sd, s.loss)
        if learns[n]:
            _tell_delays(c, f, measured, h, s, tails)
        else:
            for k in range(c.delays):
                copy(measured, s.followed[k])
        if fresh[n]:
            copy(measured, s.rates)
            copy(measured_context, s.context)
            fill(s.travel, 0.0)
        else:
            copy(expected[n], acceleration)
            add(s.d, acceleration)
            _roll(before, acceleration, h, c.turning, s.rates, s.context, s.travel)
        s.age[0] += 1.0
        s.stale[0] = 0.0 if fresh[n] else 1.0
        delay = int(s.delay[0])
        for i in range(count):
            known = f[delay, i] + explained[n, i]
            if not warm:
                for m in range(s.filters.shape[0]):
                    s.filters[m, X, i] = s.rates[i]
                continue
            if scored:
                _match_noise(c, s.noise, i, (measured[i] - before[i]) / h - known)
            restraint = _trust(saturated[n], touched, i), leak, dead_zone
            s.d[i] = _filter_rate(c, s.filters, s.noise, i, known, measured[i], h, fresh[n], restraint)


@helper
def _trust(saturated, touched, i):  # type: ignore[no-untyped-def]
    """Under saturation the plant does not do as told, and what is missing is no disturbance."""
    for a in range(saturated.shape[0]):
        if saturated[a] and touched[a, i]:
            return 0.1
    return 1.0


@helper
def _learn_rate_bias(c, attitude, attitude_after, before, measured, h, bias):  # type: ignore[no-untyped-def]
    """What gyroscopes show beyond the turn from one attitude to the next; the noise of attitudes telescopes."""
    for j in range(3):
        a, b = (j + 1) % 3, (j + 2) % 3
        turned = 0.0  # of R' R_after, its skew part
        for row in range(3):
            turned += attitude[3 * row + b] * attitude_after[3 * row + a]
            turned -= attitude[3 * row + a] * attitude_after[3 * row + b]
        shown = 0.5 * (before[c.turning + j] + measured[c.turning + j] - bias[j])
        bias[j] += h / c.bias_s * (shown - 0.5 * turned / h)


@helper
def _tell_delays(c, f, measured, h, s, tails):  # type: ignore[no-untyped-def]
    """Add to each delay's log likelihood, and change to one that is likelier by enough; tails [L] is overwritten."""
    fill(tails, 1.0)
    for i in range(measured.shape[0]):
        least = np.inf
        for k in range(f.shape[0]):
            surprise = measured[i] - s.followed[k, i] - h * f[k, i]
            s.followed[k, i] = measured[i] - (1.0 - c.delay_gain) * surprise
            r = surprise / h
            s.residuals[k, i] += _MEAN_RATE * (r - s.residuals[k, i])
            square = (r - s.residuals[k, i]) ** 2
            least = min(least, square)
            tails[k] *= 1.0 + square / (4.0 * s.scatter[i])
            if tails[k] > shadow.MOST_TAIL:
                s.evidence[k] -= 2.5 * np.log(tails[k])
                tails[k] = 1.0
        # What scatters even under the best of the delays is no delay.
        least = min(max(least, (0.5 * c.model_sd[i]) ** 2), (1.5 * c.sd[i]) ** 2)
        s.scatter[i] += _VARIANCE_RATE * (least - s.scatter[i])
    best = 0
    for k in range(f.shape[0]):
        s.evidence[k] -= 2.5 * np.log(tails[k])
        if s.evidence[k] > s.evidence[best]:
            best = k
    if s.evidence[best] > s.evidence[int(s.delay[0])] + c.delay_evidence:
        s.delay[0] = best
    likeliest = s.evidence[best]
    for k in range(f.shape[0]):
        s.evidence[k] = c.delay_forgetting * (s.evidence[k] - likeliest)


@helper
def _match_noise(c, noise, i, r):  # type: ignore[no-untyped-def]
    cap, rate = (3.0 * c.sd[i]) ** 2, c.noise_rate
    noise[RESIDUAL_MEAN, i] += 0.05 * (r - noise[RESIDUAL_MEAN, i])
    covariance = (r - noise[RESIDUAL_MEAN, i]) * (noise[RESIDUAL, i] - noise[RESIDUAL_MEAN, i])
    noise[AUTOCOVARIANCE, i] += rate * (-min(max(covariance, -cap), cap) - noise[AUTOCOVARIANCE, i])
    noise[SPREAD, i] += rate * (min(0.5 * (r - noise[RESIDUAL, i]) ** 2, cap) - noise[SPREAD, i])
    noise[RESIDUAL, i] = r


@helper
def _variances(noise, i, h, model_sd):  # type: ignore[no-untyped-def]
    """Of the measurement, and of what the model adds in one step."""
    c1, floor = max(noise[AUTOCOVARIANCE, i], 0.0), model_sd**2
    variance_model = min(max(noise[SPREAD, i] - 3.0 * c1, floor), 16.0 * floor)
    return h**2 * max(c1, 4e-4 * floor), h**2 * variance_model


@helper
def _filter_rate(c, filters, noise, i, f, measured, h, fresh, restraint):  # type: ignore[no-untyped-def]
    """One step of every member for one rate of one row, [M, 6, R]; returns d."""
    variance_v, variance_model = _variances(noise, i, h, c.model_sd[i])
    sd, limit_d, members = c.sd[i], c.bound * c.sd[i], c.wander.shape[0]
    trust, leak, dead_zone = restraint
    quiet = abs(noise[INNOVATION, i]) < dead_zone * INNOVATION_ERROR
    likeliest = 0.0
    for m in range(members):
        z = filters[m]
        x, d, p11, p12, p22 = z[X, i], z[D, i], z[P11, i], z[P12, i], z[P22, i]
        x += h * (f + d)
        p11 += 2.0 * h * p12 + h**2 * p22 + variance_model
        p12 += h * p22
        p22 = min(p22 + c.wander[m] * sd**2 * h, sd**2)
        if fresh:
            variance, innovation = p11 + variance_v, measured - x
            scatter = np.sqrt(variance)
            if m == members - 1:
                noise[INNOVATION, i] += INNOVATION_RATE * (innovation / scatter - noise[INNOVATION, i])
            # Student's t of 4 degrees of freedom.
            tail = 1.0 + innovation**2 / (4.0 * variance)
            z[WEIGHT, i] /= tail * tail * np.sqrt(tail) * scatter
            likeliest = max(likeliest, z[WEIGHT, i])
            innovation = min(max(innovation, -6.0 * scatter), 6.0 * scatter)
            k1, k2 = p11 / variance, p12 / variance
            x += k1 * innovation
            d *= 1.0 - leak * h
            if not quiet:
                d = min(max(d + trust * k2 * innovation, -limit_d), limit_d)
            p22 -= k2 * p12
            p12 *= 1.0 - k1
            p11 *= 1.0 - k1
        z[X, i], z[D, i], z[P11, i], z[P12, i], z[P22, i] = x, d, p11, p12, p22
    total, mean = 0.0, 0.0
    for m in range(members):
        if fresh:
            least = _LEAST_WEIGHT if c.wander[m] > 0.0 else _LEAST_WEIGHT_OF_NONE
            filters[m, WEIGHT, i] = max(filters[m, WEIGHT, i] / likeliest, least)
        weight = filters[m, WEIGHT, i]
        total += weight
        mean += weight * filters[m, D, i]
    return mean / total
