"""The generic compensator against the pseudo-inverse, and its limits."""

import numpy as np
import pytest

from undrift.agents.adaptation import Transition
from undrift.agents.adaptation.compensators.generic import GenericCompensator
from undrift.agents.adaptation.estimator import DisturbanceObserver

from .conftest import make_nominal

NOW = np.array([0.02])


def initial(compensator, d):
    """The state before the first step, under the estimate d [1, 2]."""
    return DisturbanceObserver(compensator.nominal).initial_state(1) | compensator.initial_state(1) | {"d": d}


def settle(compensator, d, steps=200):
    state = initial(compensator, d)
    for _ in range(steps):
        _, state = compensator.see(state, np.zeros((1, 8)))
        action, state = compensator.correct(state, np.zeros((1, 1)), NOW)
    return action[0, 0], state


def test_with_little_damping_the_matched_part_is_cancelled(nominal):
    action, _ = settle(GenericCompensator(nominal, damping=1e-9), np.array([[2.0, 5.0]]))
    assert 8.0 * action == pytest.approx(-2.0, rel=1e-6)


def test_damping_scales_the_correction_as_the_equation_says(nominal):
    action, _ = settle(GenericCompensator(nominal, damping=0.3), np.array([[2.0, 0.0]]))
    assert action == pytest.approx(-8.0 * 2.0 / (64.0 * 1.3))


def test_the_correction_rises_with_its_time_constant(nominal):
    compensator = GenericCompensator(nominal, damping=1e-9, time_constant=0.1)
    action, _ = settle(compensator, np.array([[0.8, 0.0]]), steps=5)
    assert action == pytest.approx(-0.1 * (1 - 0.8**5))


def test_the_correction_stays_within_its_authority(nominal):
    action, _ = settle(GenericCompensator(nominal, authority=0.2), np.array([[100.0, 0.0]]))
    assert action == pytest.approx(-0.2)


def asked(compensator, observation, d, state=None):
    """The acceleration that the shown preview asks for, [2]: what it moves in 0.5 s is a / 8."""
    shown, _ = compensator.see(state or initial(compensator, d), observation)
    return 8.0 * (shown - observation)[0, 6:]


def test_only_the_unmatched_part_is_answered_by_the_reference(nominal):
    observation = np.ones((1, 8))
    along_x, along_y = asked(GenericCompensator(nominal, lead=0.0), observation, np.array([[2.0, 4.0]]))
    assert along_y == pytest.approx(-0.8 * 4.0)
    assert abs(along_x) < 0.02 * 2.0
    assert (observation == 1.0).all()


def test_what_is_asked_stays_within_its_limit(nominal):
    compensator = GenericCompensator(nominal, asked_limit=1.5, lead=0.0)
    assert asked(compensator, np.zeros((1, 8)), np.array([[0.0, 5.0]]))[1] == pytest.approx(-1.5)


def test_the_lead_fades_once_the_estimate_stands_still(nominal):
    compensator = GenericCompensator(nominal)
    d = np.array([[0.0, 2.0]])
    first = asked(compensator, np.zeros((1, 8)), d)[1]
    _, state = settle(compensator, d)
    last = asked(compensator, np.zeros((1, 8)), d, state)[1]
    assert first == pytest.approx((1 + compensator.lead / compensator.lead_filter) * last, rel=1e-3)


def test_a_matched_disturbance_that_turns_with_the_vehicle_gets_no_lead(nominal):
    slow = np.zeros((1, 2))
    for angle in np.linspace(0.0, 1.0, 20):
        along = np.array([np.cos(angle), np.sin(angle)])
        skip = nominal.tensors["skip"].copy()
        skip[3:5] = np.array([[5.0], [3.0]]) * along
        turned = GenericCompensator(make_nominal(skip=skip))
        state = initial(turned, 3.0 * along[None]) | {"slow": slow}
        shown, state = turned.see(state, np.zeros((1, 8)))
        np.testing.assert_allclose(state["matched"], 3.0 / 8.0 / (1.0 + turned.damping), rtol=1e-9)
        assert np.abs(8.0 * shown[0, 6:]).max() < 0.1
        slow = turned.correct(state, np.zeros((1, 1)), NOW)[1]["slow"]


@pytest.mark.parametrize(
    ("error", "saturated", "fresh", "moves"),
    [(0.1, False, True, True), (0.1, True, True, False), (0.1, False, False, False), (0.4, False, True, False)],
    ids=["free", "saturated", "stale", "far off"],
)
def test_the_integral_rests_when_it_would_wind_up(nominal, error, saturated, fresh, moves):
    compensator = GenericCompensator(nominal)
    observation = np.array([[0.0, error, 0, 0, 0, 0, 0, 0]])
    transition = Transition(observation, np.zeros((1, 1)), np.array([[saturated]]), observation, np.array([fresh]), NOW)
    state = compensator.integrate(initial(compensator, np.zeros((1, 2))), transition)
    expected = -compensator.integral_gain * 0.02 * error if moves else 0.0
    assert state["integral"][0, 1] == pytest.approx(expected)
