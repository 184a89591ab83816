"""Every adapter: the contract; and what each is for."""

import dataclasses

import numpy as np
import pytest

from undrift.agents import Controller, Run
from undrift.agents.adaptation import ADAPTERS, L1, Frozen, Integral, NominalModel, Transition, make_adapter
from undrift.agents.adaptation.checks import check_adapter

REFERENCE = Run.reference().nominal
CAR = Run.load("runs/reference-car-track-s0").nominal


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_keeps_the_contract(name, random_nominal):
    own = {"drone": REFERENCE, "history": REFERENCE, "car": CAR}
    check_adapter(ADAPTERS[name], own.get(name, random_nominal))


@pytest.mark.parametrize("vehicle", [REFERENCE, CAR], ids=["drone", "car"])
def test_auto_keeps_the_contract_whatever_vehicle_it_finds(vehicle):
    check_adapter(ADAPTERS["auto"], vehicle)


def test_the_check_finds_an_adapter_that_changes_its_state_in_place(nominal):
    class Careless(Integral):
        def learn(self, state, transition):
            state["integral"] = state["integral"] + 1.0
            return state

    with pytest.raises(AssertionError, match="changed the state"):
        check_adapter(Careless, nominal)


def test_the_check_finds_an_adapter_whose_state_is_no_state(nominal):
    class Plain(Integral):
        def initial_state(self, n):
            return dict(super().initial_state(n))

    with pytest.raises(AssertionError, match="returns no State"):
        check_adapter(Plain, nominal)


def test_the_check_finds_an_adapter_whose_rows_mix(nominal):
    class Mixed(Integral):
        def learn(self, state, transition):
            return state | {"integral": state["integral"] + transition.action.mean()}

    with pytest.raises(AssertionError, match="influence each other"):
        check_adapter(Mixed, nominal)


def test_an_unknown_adapter_names_the_valid_ones(nominal):
    with pytest.raises(
        ValueError, match="unknown adapter 'obserber'.*frozen, integral, l1, observer, drone, car, history, auto"
    ):
        make_adapter("obserber", nominal)


@pytest.fixture
def silent(random_nominal):
    """The nominal model of a vehicle whose observation names neither a tracking error nor a previous action."""
    signals = dataclasses.replace(random_nominal.signals, tracking={}, preview=(), previous_action=())
    tensors = dict(random_nominal.tensors) | {"response": np.zeros((0, 0))}
    return NominalModel(random_nominal.observation_names, signals, random_nominal.dt, random_nominal.history, tensors)


@pytest.mark.parametrize("name", ["integral", "l1", "drone", "history"])
def test_an_adapter_is_refused_where_the_environment_names_no_tracking_error(name, silent):
    with pytest.raises(ValueError, match=f"adapter '{name}' needs a tracking error"):
        make_adapter(name, silent)
    assert make_adapter("frozen", silent).initial_state(1) == {}


@pytest.mark.parametrize("name", ["observer", "auto"])
def test_what_only_predicts_needs_no_tracking_error_and_shows_the_policy_what_is_measured(name, silent):
    check_adapter(lambda nominal: make_adapter(name, nominal), silent)
    adapter, seen = make_adapter(name, silent), np.random.default_rng(0).normal(size=(2, 8))
    state = adapter.initial_state(2) | {"d": np.ones((2, 2))}
    np.testing.assert_allclose(adapter.see(state, seen)[0], seen)
    action = np.zeros((2, 1))
    assert np.abs(adapter.correct(adapter.see(state, seen)[1], seen, action, np.full(2, 0.02))[0]).min() > 0


@pytest.mark.parametrize("name", ["observer", "auto", "l1"])
def test_an_adapter_that_predicts_stays_out_of_the_way_where_its_model_is_unfit_and_says_why(name, nominal):
    nominal.unfit = "nothing to gain"
    controller, seen = Controller(Zero(), make_adapter(name, nominal)), np.full((2, 8), 0.3)
    controller.reset(2)
    np.testing.assert_array_equal(controller.act(seen), np.zeros((2, 1)))
    assert controller.adapter.name == name and controller.state.adapter == {}
    assert [(event.row, event.reason) for event in controller.guard.events] == [
        (row, f"{name} stays out of the way: nothing to gain") for row in range(2)
    ]
    assert isinstance(make_adapter("integral", nominal), Integral)


class Zero:
    action_size = 1

    def initial_state(self, batch_size):
        return np.zeros((batch_size, 0))

    def step(self, obs, h, dt):
        return np.zeros((len(obs), 1)), h


def test_frozen_changes_nothing(nominal):
    adapter, observation, action = Frozen(nominal), np.ones((2, 8)), np.ones((2, 1))
    state = adapter.initial_state(2)
    np.testing.assert_array_equal(adapter.see(state, observation)[0], observation)
    np.testing.assert_array_equal(adapter.correct(state, observation, action, np.ones(2))[0], action)


def test_integral_adds_the_integral_of_the_error_it_has_seen(nominal):
    adapter = Integral(nominal, gain=2.0)
    state = adapter.initial_state(1)
    observation = np.array([[0.1, -0.05, 0, 0, 0, 0, 0, 0]])
    dt = np.array([0.02])
    transition = Transition(observation, np.zeros((1, 1)), np.zeros((1, 1), bool), observation, np.array([True]), dt)
    for _ in range(10):
        state = adapter.learn(state, transition)
    shown, _ = adapter.see(state, observation)
    np.testing.assert_allclose(shown[0, :2], [0.1 + 0.04, -0.05 - 0.02])
    for _ in range(2000):
        state = adapter.learn(state, transition)
    np.testing.assert_allclose(np.abs(state["integral"]), adapter.limit)


def fly_l1(nominal, disturbance, steps, **changes):
    adapter = L1(nominal, **changes)
    state, v, before = adapter.initial_state(1), np.zeros(2), np.zeros(1)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = rng.uniform(-1, 1, 1)
        after = v + 0.02 * (np.array([5.0 * action[0] + 3.0 * before[0], 0.0]) + disturbance)
        seen = [np.array([[0, 0, *x, 0, 0, 0, 0]]) for x in (v, after)]
        ones = np.ones(1, dtype=bool)
        t = Transition(seen[0], action[None], ~ones[:, None], seen[1], ones, np.full(1, 0.02))
        state, v, before = adapter.learn(state, t), after, action
    return state


def test_l1_finds_a_disturbance_in_one_period_and_answers_it_at_its_bandwidth(nominal):
    d = np.array([1.5, -0.7])
    state = fly_l1(nominal, d, steps=2 + 40, bandwidth=4.0)
    # Less than d by the share that the Hurwitz term forgets in a period.
    np.testing.assert_allclose(state["adaptation"][0], d, rtol=0.1)
    expected = state["adaptation"][0] * (1 - np.exp(-4.0 * 0.02 * 40))
    np.testing.assert_allclose(state["d"][0], expected, rtol=0.05)


def test_auto_gives_way_to_the_integral_while_its_model_predicts_worse_than_nothing():
    adapter, observation = make_adapter("auto", REFERENCE), np.full((2, 34), 0.1)
    state = adapter.initial_state(2) | {"fallback": np.full((2, 3), 0.3)}
    trusted = adapter.see(state, observation)[0]
    np.testing.assert_array_equal(trusted, adapter.model_based.see(state, observation)[0])
    shown = adapter.see(state | {"weight": np.array([1.0, 0.0])}, observation)[0]
    np.testing.assert_array_equal(shown[0], trusted[0])
    np.testing.assert_allclose(shown[1, :3], 0.4)


def test_autos_weight_follows_the_predicted_cost():
    adapter = make_adapter("auto", REFERENCE)
    ones = np.ones(3, dtype=bool)
    still = np.random.default_rng(0).normal(size=(3, 34))
    t = Transition(still, np.zeros((3, 4)), np.zeros((3, 4), bool), still + 0.1, ~ones, np.full(3, 0.02))
    state = adapter.initial_state(3) | {"loss": np.array([[0.4, 0.5, 0.0], [1.0, 0.875, 0.0], [1.0, 0.5, 0.0]])}
    np.testing.assert_allclose(adapter.learn(state, t)["weight"], [1.0, 0.5, 0.0])
