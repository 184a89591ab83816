"""Every adapter: the contract; and what each is for."""

import dataclasses

import numpy as np
import pytest

from undrift.agents.adaptation import ADAPTERS, Frozen, Integral, NominalModel, Transition, make_adapter
from undrift.agents.adaptation.checks import check_adapter


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_keeps_the_contract(name, random_nominal):
    check_adapter(ADAPTERS[name], random_nominal)


def test_the_check_finds_an_adapter_that_changes_its_state_in_place(nominal):
    class Careless(Integral):
        def learn(self, state, transition):
            state["integral"] += 1.0
            return state

    with pytest.raises(AssertionError, match="changed the state"):
        check_adapter(Careless, nominal)


def test_the_check_finds_an_adapter_whose_rows_mix(nominal):
    class Mixed(Integral):
        def learn(self, state, transition):
            return {"integral": state["integral"] + transition.action.mean()}

    with pytest.raises(AssertionError, match="influence each other"):
        check_adapter(Mixed, nominal)


def test_an_unknown_adapter_names_the_valid_ones(nominal):
    with pytest.raises(ValueError, match="unknown adapter 'obserber'.*frozen, integral, observer"):
        make_adapter("obserber", nominal)


@pytest.mark.parametrize("name", ["integral", "observer"])
def test_an_adapter_is_refused_where_the_environment_names_no_tracking_error(name, nominal):
    signals = dataclasses.replace(nominal.signals, tracking={}, preview=())
    tensors = dict(nominal.tensors) | {"response": np.zeros((0, 0))}
    silent = NominalModel(nominal.observation_names, signals, nominal.dt, nominal.history, tensors)
    with pytest.raises(ValueError, match=f"adapter '{name}' needs a tracking error"):
        make_adapter(name, silent)
    assert make_adapter("frozen", silent).initial_state(1) == {}


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
