"""Every adapter: the contract; and what each is for."""

import dataclasses

import numpy as np
import pytest

from undrift.agents import Controller, Run
from undrift.agents.adaptation import ADAPTERS, L1, Frozen, Guard, Integral, NominalModel, Transition, make_adapter
from undrift.agents.adaptation.checks import check_adapter
from undrift.agents.controller import Loop

REFERENCE = Run.reference().nominal
CAR = Run.load("runs/reference-car-track-s0").nominal


OWN = {"drone": REFERENCE, "history": REFERENCE, "car": CAR}
PREDICTING = [name for name, kind in ADAPTERS.items() if "prediction" in kind.regimes]


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_keeps_the_contract(name, random_nominal):
    check_adapter(ADAPTERS[name], OWN.get(name, random_nominal))


@pytest.mark.parametrize("name", ADAPTERS)
def test_whatever_predicts_tells_its_disturbance_and_what_predicting_costs(name, random_nominal):
    adapter = ADAPTERS[name](OWN.get(name, random_nominal))
    loss, told = adapter.loss(adapter.initial_state(3)), " ".join(adapter.estimate_names)
    if name in PREDICTING:
        assert loss.shape == (3, 3)
        assert "disturbance/" in told
    else:
        assert loss is None
        assert "disturbance/" not in told


@pytest.mark.parametrize("name", PREDICTING)
def test_a_poisoned_estimate_goes_back_to_its_shadow_to_the_bit_in_its_row_and_the_log(name, random_nominal):
    adapter = ADAPTERS[name](OWN.get(name, random_nominal))
    poisoned, whole = (Loop(adapter, Guard(loss_margin=1.0, patience=3, keep_every=1000)) for _ in range(2))
    for loop in (poisoned, whole):
        loop.reset(2)
        fly(loop, steps=20, seed=0)
        loop.state.adapter = adapter.keep(loop.state.adapter, np.ones(2, dtype=bool))
    good = poisoned.state.adapter
    poisoned.state.adapter = good | {"d": good["d"] + np.array([[1e6], [0.0]])}
    for loop in (poisoned, whole):
        fly(loop, steps=3, seed=1)
    shadowed = [field.removeprefix("kept_") for field in good if field.startswith("kept_")]
    assert "d" in shadowed
    for field in shadowed:
        np.testing.assert_array_equal(poisoned.state.adapter[field][0], good[field][0])
    assert np.abs(whole.state.adapter["d"] - good["d"]).max() > 0
    np.testing.assert_array_equal(poisoned.state.adapter.rows[1], whole.state.adapter.rows[1])
    assert [(event.step, event.row) for event in poisoned.guard.events if "worse than before" in event.reason] == [
        (23, 0)
    ]


def fly(loop, steps, seed):
    rng = np.random.default_rng(seed)
    n, channels = loop.state.observation.shape
    for _ in range(steps):
        loop.show(0.3 * rng.standard_normal((n, channels)))
        loop.send(rng.uniform(-1, 1, loop.state.sent.shape))
        loop.learn(0.3 * rng.standard_normal((n, channels)))


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


def test_the_check_finds_an_adapter_that_changes_a_transition(nominal):
    class Careless(Integral):
        def learn(self, state, transition):
            transition.saturated[:] = False
            return super().learn(state, transition)

    with pytest.raises(AssertionError, match="changed the transition"):
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


def fly_l1(nominal, disturbance, steps, noise=0.0, dead_zone=0.0, **changes):
    """States [steps] of L1 on the point mass of `conftest` under random commands."""
    adapter = L1(nominal, **changes)
    state, v, before, seen = adapter.initial_state(1), np.zeros(2), np.zeros(1), np.zeros(2)
    rng, states = np.random.default_rng(0), []
    for _ in range(steps):
        action, shown = rng.uniform(-1, 1, 1), seen
        v = v + 0.02 * (np.array([5.0 * action[0] + 3.0 * before[0], 0.0]) + disturbance)
        seen = v + noise * rng.standard_normal(2)
        pair = [np.array([[0, 0, *x, 0, 0, 0, 0]]) for x in (shown, seen)]
        fresh = np.ones(1, dtype=bool)
        t = Transition(pair[0], action[None], ~fresh[:, None], pair[1], fresh, np.full(1, 0.02), dead_zone=dead_zone)
        state, before = adapter.learn(state, t), action
        states.append(state)
    return states


def test_l1_finds_a_disturbance_in_one_period_and_answers_it_at_its_bandwidth(nominal):
    d = np.array([1.5, -0.7])
    *_, state = fly_l1(nominal, d, steps=2 + 40, bandwidth=4.0)
    # Less than d by the share that the Hurwitz term forgets in a period.
    np.testing.assert_allclose(state["adaptation"][0], d, rtol=0.1)
    expected = state["adaptation"][0] * (1 - np.exp(-4.0 * 0.02 * 40))
    np.testing.assert_allclose(state["d"][0], expected, rtol=0.05)


def test_l1_scores_what_it_learned_its_shadow_and_nothing_on_the_same_samples(nominal):
    states = fly_l1(nominal, np.array([1.5, -0.7]), steps=200)
    learned, nothing, shadow = states[-1]["loss"][0]
    assert learned < 0.1 * nothing
    assert shadow == nothing


def test_l1_scores_a_sample_before_it_learns_from_it(nominal):
    first, second = (fly_l1(nominal, np.array([1.5, -0.7]), steps=steps)[-1] for steps in (2, 3))
    assert np.abs(second["d"] - first["d"]).min() > 0
    assert second["loss"][0, 0] == second["loss"][0, 1] > 0


def test_within_the_dead_zone_noise_does_not_move_l1_and_a_disturbance_does(nominal):
    def moved(dead_zone):
        flown = fly_l1(nominal, np.zeros(2), steps=400, noise=0.01, dead_zone=dead_zone)
        return np.abs(np.diff([state["d"] for state in flown], axis=0)).mean()

    assert moved(2.0) < 0.2 * moved(0.0)
    d = np.array([1.5, -0.7])
    *_, state = fly_l1(nominal, d, steps=100, noise=0.001, dead_zone=2.0)
    np.testing.assert_allclose(state["d"][0], d, rtol=0.2)


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
