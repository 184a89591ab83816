"""The disturbance observer on a plant whose disturbance, noise and delay are known."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.spatial.transform import Rotation
from scipy.stats import t as student

from undrift.agents import Run
from undrift.agents.adaptation import Transition
from undrift.agents.adaptation.adapters.observer import Observer
from undrift.agents.adaptation.estimator import AUTOCOVARIANCE, P11, P12, P22, WEIGHT, D, DisturbanceObserver, _roll
from undrift.envs.drone.vehicle import GRAVITY

DT = 0.02
NOTHING = np.zeros(2)
ALL_TOUCHED = np.ones((1, 2), dtype=bool)


def constant(*d):
    return lambda step: np.array(d)


def fly(observer, disturbance, steps, noise=0.0, n=1, seed=0, stale=(), saturated=False, late=0, hold=1, **permitted):
    """A point mass under random commands held for `hold` periods, that arrive `late` periods late; disturbance is a
    function of the step.

    Yields (state, true velocity) after each step."""
    rng = np.random.default_rng(seed)
    state, v = observer.initial_state(n), np.zeros((n, 2))
    sent = [np.zeros((n, 1))] * (late + 2)
    measured = v + noise * rng.standard_normal(v.shape)
    for step in range(steps):
        wish = rng.uniform(-1, 1, (n, 1)) if step % hold == 0 else sent[0]
        sent = [wish, *sent[:-1]]
        v = v + DT * (
            np.concatenate([5.0 * sent[late] + 3.0 * sent[late + 1], np.zeros((n, 1))], 1) + disturbance(step)
        )
        following = v + noise * rng.standard_normal(v.shape)
        if step in stale:
            following = measured
        fresh, bound = np.full(n, step not in stale), np.full((n, 1), saturated)
        transition = Transition(
            observe(measured), sent[0], bound, observe(following), fresh, np.full(n, DT), **permitted
        )
        state, *_ = observer.learn(state, transition, ALL_TOUCHED)
        measured = following
        yield state, v


def observe(v):
    n = len(v)
    return np.concatenate([np.zeros((n, 2)), v, np.zeros((n, 4))], axis=1)


def test_without_noise_a_constant_disturbance_is_found_within_half_a_second(nominal):
    *_, (state, _) = fly(DisturbanceObserver(nominal), constant(1.5, -0.8), steps=25)
    np.testing.assert_allclose(state["d"], [[1.5, -0.8]], rtol=0.02)


def test_without_disturbance_nothing_is_estimated(nominal):
    flown = fly(DisturbanceObserver(nominal), constant(0.0, 0.0), steps=200)
    assert max(np.abs(state["d"]).max() for state, _ in flown) < 1e-9


def test_under_noise_the_estimate_is_unbiased_and_far_quieter_than_the_raw_residual(nominal):
    noise = 0.01
    flown = fly(DisturbanceObserver(nominal), constant(1.0, 0.0), steps=600, noise=noise, n=64)
    settled = np.array([state["d"] for state, _ in flown])[300:]
    np.testing.assert_allclose(settled.mean((0, 1)), [1.0, 0.0], atol=0.05)
    assert settled.std(axis=(0, 1)).max() < 0.5 * np.sqrt(2) * noise / DT


def test_believing_in_no_disturbance_takes_noise_away_where_there_is_none(nominal):
    def scatter(**changes):
        flown = fly(DisturbanceObserver(nominal, **changes), constant(0.0, 0.0), steps=400, noise=0.02, n=64)
        return np.std([state["d"] for state, _ in flown][200:])

    assert scatter() < 0.6 * scatter(wander=(2.5,))


def test_measurement_noise_is_identified(nominal):
    *_, (state, _) = fly(DisturbanceObserver(nominal), constant(0.0, 0.0), steps=1000, noise=0.01, n=64)
    identified = np.sqrt(np.maximum(state["noise"][:, AUTOCOVARIANCE].mean(), 0.0)) * DT
    assert identified == pytest.approx(0.01, rel=0.2)


def test_covariance_settles_where_the_riccati_equation_says(nominal):
    observer = DisturbanceObserver(nominal, wander=(0.5,), noise_rate=0.0, bound=50.0)
    *_, (state, _) = fly(observer, constant(0.0, 0.0), steps=4000)
    q = np.diag([(DT * 0.05) ** 2, DT / 2.0])
    r = (DT * 0.02 * 0.05) ** 2
    f, h = np.array([[1.0, DT], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    predicted = solve_discrete_are(f.T, h.T, q, [[r]])
    gain = predicted @ h.T / (h @ predicted @ h.T + r)
    updated = predicted - gain @ h @ predicted
    np.testing.assert_allclose(
        state["filters"][0, 0, [P11, P12, P22], 0], [updated[0, 0], updated[0, 1], updated[1, 1]], rtol=1e-6
    )


def test_every_member_is_a_kalman_filter_and_their_mean_is_weighted_by_likelihood(nominal):
    """Against matrices, a Student density from scipy, and none of the estimator's code; noise variances held fixed."""
    observer = DisturbanceObserver(nominal, noise_rate=0.0)
    rng = np.random.default_rng(5)
    f, h = np.array([[1.0, DT], [0.0, 1.0]]), np.array([1.0, 0.0])
    model, r = (DT * 0.05) ** 2, (DT * 0.02 * 0.05) ** 2
    state, measured = observer.initial_state(1), 0.0
    means, logs = [np.zeros(2), np.zeros(2)], np.zeros(2)
    covariances = [np.diag([model, start]) for start in (0.0, 0.01)]
    for step in range(60):
        following = measured + 0.02 * DT * rng.standard_normal() * 0.05 + (DT * 0.4 if step > 30 else 0.0)
        known = np.array([[0.0, 0, measured, 0, 0, 0, 0, 0]]), np.array([[0.0, 0, following, 0, 0, 0, 0, 0]])
        ones = np.ones(1, dtype=bool)
        transition = Transition(known[0], np.zeros((1, 1)), ~ones[:, None], known[1], ones, np.full(1, DT))
        state, *_ = observer.learn(state, transition, ALL_TOUCHED)
        measured = following
        if step < nominal.history:
            means = [np.array([following, 0.0]) for _ in means]
            continue
        for m, wander in enumerate(observer.wander):
            means[m] = f @ means[m]
            covariances[m] = f @ covariances[m] @ f.T + np.diag([model, wander * DT])
            covariances[m][1, 1] = min(covariances[m][1, 1], 1.0)
            s = h @ covariances[m] @ h + r
            innovation = following - h @ means[m]
            gain = covariances[m] @ h / s
            # A Student density with four degrees of freedom and scale sqrt(s), but for a constant.
            logs[m] = logs[m] + student.logpdf(innovation / np.sqrt(s), 4) - 0.5 * np.log(s)
            means[m] = means[m] + gain * np.clip(innovation, -6 * np.sqrt(s), 6 * np.sqrt(s))
            covariances[m] = covariances[m] - np.outer(gain, h @ covariances[m])
        logs = np.maximum(logs - logs.max(), [-12.0, -5.0])
        np.testing.assert_allclose(state["filters"][0, :, WEIGHT, 0], np.exp(logs), rtol=1e-6)
        weights = np.exp(logs) / np.exp(logs).sum()
        np.testing.assert_allclose(state["d"][0, 0], weights @ [mean[1] for mean in means], rtol=1e-6, atol=1e-12)


def test_a_stale_sample_is_predicted_and_teaches_nothing(nominal):
    flown = list(fly(DisturbanceObserver(nominal), constant(1.0, 0.0), steps=60, stale={50, 51}))
    (before, _), (state, v) = flown[49], flown[51]
    np.testing.assert_array_equal(state["filters"][:, :, D], before["filters"][:, :, D])
    np.testing.assert_array_equal(state["noise"], before["noise"])
    assert state["stale"].all() and not flown[52][0]["stale"].any()
    np.testing.assert_allclose(state["rates"], v, atol=2e-3)
    travelled = 0.5 * DT * (flown[49][1] + 2.0 * flown[50][1] + flown[51][1])
    np.testing.assert_allclose(state["travel"], travelled, atol=1e-4)


@pytest.mark.parametrize("late, accustomed", [(0, 0), (1, 0), (3, 0), (3, 1), (1, 2)])
def test_it_tells_how_late_commands_arrive_and_where_the_vehicle_will_be(nominal, late, accustomed):
    nominal.accustomed_delay = accustomed
    adapter = Observer(nominal)
    flown = list(fly(adapter.estimator, constant(0.5, 0.0), steps=150, noise=0.002, n=8, late=late))
    assert {int(k) for state, _ in flown[100:] for k in state["delay"]} == {late}
    late = max(late - accustomed, 0)
    (state, _), (_, ahead) = flown[120], flown[120 + late]
    _, believed = adapter.see(adapter.initial_state(8) | state, np.zeros((8, 8)))
    np.testing.assert_allclose(believed["believed_rates"], ahead, atol=0.02)
    v = np.array([v for _, v in flown[120 : 121 + late]])
    np.testing.assert_allclose(believed["believed_travel"], DT * 0.5 * (v[1:] + v[:-1]).sum(0), atol=2e-3)


def test_rates_that_are_followed_tell_the_delay_of_slow_commands_where_two_samples_are_too_noisy(nominal):
    def told(late, **changes):
        observer = DisturbanceObserver(nominal, **changes)
        flown = fly(observer, constant(0.5, 0.0), steps=250, noise=0.1, n=32, late=late, hold=10)
        return np.mean([state["delay"] == late for state, _ in flown][150:])

    assert told(2) < 0.5 and told(2, delay_gain=0.2) > 0.8
    assert told(0, delay_gain=0.2) > 0.98


def test_neither_noise_nor_a_disturbance_that_comes_suddenly_is_taken_for_a_delay(nominal):
    suddenly = lambda step: np.array([3.0, -3.0]) if step > 100 else NOTHING
    flown = fly(DisturbanceObserver(nominal), suddenly, steps=300, noise=0.01, n=32)
    assert np.mean([state["delay"] > 0 for state, _ in flown]) < 0.01


def test_an_attitude_matrix_turns_with_the_body_rates():
    rng = np.random.default_rng(2)
    start, rates = Rotation.random(5, random_state=3), rng.normal(size=(5, 6))
    turned = start.as_matrix().reshape(5, 9)
    for n in range(5):
        _roll(rates[n], np.zeros(6), DT, 3, rates[n].copy(), turned[n], np.zeros(6))
    expected = (start * Rotation.from_rotvec(DT * rates[:, 3:])).as_matrix().reshape(5, 9)
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_saturation_slows_learning(nominal):
    observer = DisturbanceObserver(nominal, wander=(2.5,))
    *_, (free, _) = fly(observer, constant(1.0, 0.0), steps=4)
    *_, (bound, _) = fly(observer, constant(1.0, 0.0), steps=4, saturated=True)
    assert 0 < bound["d"][0, 0] < 0.2 * free["d"][0, 0]


def test_the_estimate_is_projected_onto_its_bound(nominal):
    *_, (state, _) = fly(DisturbanceObserver(nominal, bound=2.0), constant(500.0, 0.0), steps=100)
    assert np.abs(state["d"]).max() == pytest.approx(2.0, rel=0.01)


def test_one_wild_measurement_moves_the_estimate_by_a_bounded_amount(nominal):
    wild = lambda step: np.array([1e4, 0.0]) if step == 50 else NOTHING
    flown = list(fly(DisturbanceObserver(nominal), wild, steps=52))
    assert np.abs(flown[50][0]["d"] - flown[49][0]["d"]).max() < 5.0


def test_within_the_dead_zone_noise_moves_no_estimate_and_a_disturbance_does(nominal):
    observer = DisturbanceObserver(nominal, wander=(2.5,))
    moved = lambda zone: np.mean(
        [
            np.abs(np.diff([state["d"] for state, _ in flown], axis=0)).mean()
            for flown in [list(fly(observer, constant(0.0, 0.0), steps=200, noise=0.01, n=16, dead_zone=zone))]
        ]
    )
    assert moved(2.0) < 0.5 * moved(0.0)
    *_, (state, _) = fly(observer, constant(1.5, -0.8), steps=60, noise=0.001, dead_zone=2.0)
    np.testing.assert_allclose(state["d"], [[1.5, -0.8]], atol=0.2)


def test_a_leak_forgets_what_no_sample_confirms(nominal):
    *_, (kept, _) = fly(DisturbanceObserver(nominal), constant(1.0, 0.0), steps=60)
    *_, (leaking, _) = fly(DisturbanceObserver(nominal), constant(1.0, 0.0), steps=60, leak=5.0)
    assert 0.5 < leaking["d"][0, 0] < 0.98 * kept["d"][0, 0]


def test_commands_at_rest_tell_no_delay(nominal):
    flown = fly(
        DisturbanceObserver(nominal), constant(0.0, 0.0), steps=150, noise=0.002, late=2, excited=np.array([False])
    )
    assert {int(state["delay"][0]) for state, _ in flown} == {0}


def test_what_is_restored_is_what_was_kept_and_the_history_goes_on(nominal):
    observer = DisturbanceObserver(nominal)
    flown = fly(observer, lambda step: np.array([1.0, 0.0]) if step < 60 else np.array([-2.0, 0.5]), steps=120, n=2)
    states = [state for state, _ in flown]
    good = observer.keep(states[59], np.array([True, True]))
    shadow = {name: value for name, value in good.items() if name.startswith("kept_")}
    last = states[-1] | shadow
    back = observer.restore(last, np.array([False, True]))
    np.testing.assert_array_equal(back["d"], [last["d"][0], good["d"][1]])
    np.testing.assert_array_equal(back["filters"][1, 1, D], good["d"][1])
    for name in ("commands", "rates", "age"):
        np.testing.assert_array_equal(back[name], last[name])


def test_what_was_learned_the_shadow_and_nothing_are_scored_on_the_same_samples(nominal):
    observer = DisturbanceObserver(nominal)
    *_, (state, _) = fly(observer, constant(1.0, 0.0), steps=80)
    learned, nothing, shadow = state["loss"][0]
    assert learned < 0.1 * nothing
    assert shadow == pytest.approx(nothing)


def test_lost_thrust_is_expected_along_body_z_and_told_apart_from_a_disturbance():
    """A vehicle that leans and has lost 30 % of its thrust, whose effectiveness is known: nothing is left to estimate."""
    observer = DisturbanceObserver(Run.reference().nominal)
    attitude = np.array([0.955, 0, 0.296, 0, 1, 0, -0.296, 0, 0.955])
    state = observer.initial_state(1) | {"age": np.ones(1), "context": attitude[None]}
    still = np.zeros((1, 34))
    transition = Transition(still, np.zeros((1, 4)), np.zeros((1, 4), bool), still, np.ones(1, bool), np.full(1, DT))
    touched = np.ones((4, 6), dtype=bool)
    _, nominal, *_ = observer.learn(state, transition, touched)
    _, lost, *_ = observer.learn(state | {"effectiveness": np.full(1, -0.3)}, transition, touched)
    up = attitude[[2, 5, 8]]
    thrust = (nominal[0, :3] + [0.0, 0.0, GRAVITY]) @ up
    np.testing.assert_allclose((lost - nominal)[0], [*(-0.3 * thrust * up), 0.0, 0.0, 0.0], atol=1e-12)
