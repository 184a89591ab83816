"""The disturbance observer on a plant whose disturbance and noise are known."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from undrift.agents.adaptation import Transition
from undrift.agents.adaptation.estimator import DisturbanceObserver

DT = 0.02


def fly(observer, disturbance, noise=0.0, steps=None, n=1, seed=0, stale=(), saturated=False):
    """A point mass under random commands; disturbance is a function of the step. Returns states."""
    rng = np.random.default_rng(seed)
    state, v, before = observer.initial_state(n), np.zeros((n, 2)), np.zeros((n, 1))
    measured = v + noise * rng.standard_normal(v.shape)
    states = []
    for step in range(steps):
        action = rng.uniform(-1, 1, (n, 1))
        acceleration = np.concatenate([5.0 * action + 3.0 * before, np.zeros((n, 1))], axis=1) + disturbance(step)
        v, before = v + DT * acceleration, action
        following = v + noise * rng.standard_normal(v.shape)
        fresh = np.full(n, step not in stale)
        sent = np.full((n, 1), saturated)
        transition = Transition(observe(measured), action, sent, observe(following), fresh, np.full(n, DT))
        state = observer.update(state, transition)
        measured = following
        states.append(state)
    return states


def observe(v):
    n = len(v)
    return np.concatenate([np.zeros((n, 2)), v, np.zeros((n, 4))], axis=1)


def test_without_noise_a_constant_disturbance_is_found_within_half_a_second(nominal):
    states = fly(DisturbanceObserver(nominal), lambda step: np.array([1.5, -0.8]), steps=25)
    np.testing.assert_allclose(states[-1]["d"], [[1.5, -0.8]], rtol=0.02)


def test_without_disturbance_nothing_is_estimated(nominal):
    states = fly(DisturbanceObserver(nominal), lambda step: np.zeros(2), steps=200)
    assert max(np.abs(state["d"]).max() for state in states) < 1e-9


def test_under_noise_the_estimate_is_unbiased_and_far_quieter_than_the_raw_residual(nominal):
    noise = 0.01
    states = fly(DisturbanceObserver(nominal), lambda step: np.array([1.0, 0.0]), noise, steps=600, n=64)
    late = np.array([state["d"] for state in states[300:]])
    np.testing.assert_allclose(late.mean((0, 1)), [1.0, 0.0], atol=0.05)
    assert late.std(axis=(0, 1)).max() < 0.5 * np.sqrt(2) * noise / DT


def test_measurement_noise_is_identified(nominal):
    noise = 0.01
    states = fly(DisturbanceObserver(nominal), lambda step: np.zeros(2), noise, steps=1000, n=64)
    identified = np.sqrt(np.maximum(states[-1]["noise"].mean(), 0.0)) * DT
    assert identified == pytest.approx(noise, rel=0.2)


def test_covariance_settles_where_the_riccati_equation_says(nominal):
    observer = DisturbanceObserver(nominal, noise_rate=0.0, wander_s=2.0, bound=50.0)
    state = fly(observer, lambda step: np.zeros(2), steps=4000)[-1]
    q = np.diag([(DT * 0.05) ** 2, DT / 2.0])
    r = (DT * 0.02 * 0.05) ** 2
    f, h = np.array([[1.0, DT], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    predicted = solve_discrete_are(f.T, h.T, q, [[r]])
    gain = predicted @ h.T / (h @ predicted @ h.T + r)
    updated = predicted - gain @ h @ predicted
    got = [state[key][0, 0] for key in ("p11", "p12", "p22")]
    np.testing.assert_allclose(got, [updated[0, 0], updated[0, 1], updated[1, 1]], rtol=1e-6)


def test_a_stale_sample_teaches_nothing(nominal):
    observer = DisturbanceObserver(nominal)
    states = fly(observer, lambda step: np.array([1.0, 0.0]), steps=40, stale={30})
    np.testing.assert_array_equal(states[30]["d"], states[29]["d"])
    assert (states[30]["p22"] > states[29]["p22"]).all()


def test_saturation_slows_learning(nominal):
    observer = DisturbanceObserver(nominal)
    free = fly(observer, lambda step: np.array([1.0, 0.0]), steps=4)[-1]["d"][0, 0]
    bound = fly(observer, lambda step: np.array([1.0, 0.0]), steps=4, saturated=True)[-1]["d"][0, 0]
    assert 0 < bound < 0.2 * free


def test_the_estimate_is_projected_onto_its_bound(nominal):
    states = fly(DisturbanceObserver(nominal, bound=2.0), lambda step: np.array([500.0, 0.0]), steps=100)
    assert np.abs(states[-1]["d"]).max() == pytest.approx(2.0)


def test_one_wild_measurement_moves_the_estimate_by_a_bounded_amount(nominal):
    observer = DisturbanceObserver(nominal)
    states = fly(observer, lambda step: np.array([1e4, 0.0]) if step == 50 else np.zeros(2), steps=52)
    assert np.abs(states[50]["d"] - states[49]["d"]).max() < 4.0
