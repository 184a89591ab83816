"""The controller: one policy, its memory, an adapter and a guard, through act/learn and through SB3's predict."""

import pickle

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from undrift.agents import PPO, BatchVecEnv, Controller, Guard, Run
from undrift.agents.adaptation import ADAPTERS, Adapter, Auto, State
from undrift.agents.adaptation.nominal import NominalModel
from undrift.agents.controller import Loop
from undrift.envs import Abrupt, Dropout, Payload, Wind, make_batch
from undrift.policies import DeployedPolicy

RUN = Run.reference()
CAR = Run.load("runs/reference-car-track-s0")


def run_for(adapter):
    """A run of a vehicle that the adapter is for."""
    return CAR if adapter == "car" else RUN


def fly(controller, steps=100, seeds=(1,), shifts=(), blind=(), env_id=RUN.env_id):
    """Act and learn for a while; in the steps `blind` every sensor is lost. Returns actions and tracking errors."""
    env = make_batch(env_id, len(seeds), shifts=shifts)
    observation = env.reset(list(seeds))
    controller.reset(len(seeds))
    actions, errors = [], []
    for step in range(steps):
        seen = np.full_like(observation, np.nan) if step in blind else observation
        actions.append(controller.act(seen, env.dt))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        controller.learn(observation, reward, terminated, truncated)
        errors.append(info["position_error" if "position_error" in info else "lateral_error"])
    return np.array(actions), np.array(errors)


@pytest.mark.parametrize("name", ADAPTERS)
def test_evaluate_policy_takes_a_controller_as_it_stands(name):
    run = run_for(name)
    env = BatchVecEnv(make_batch(run.env_id, 2, seed=0, episode_s=2.0))
    mean_reward, _ = evaluate_policy(run.controller(name), env, n_eval_episodes=4, warn=False)
    assert 40 < mean_reward <= 100


def test_evaluate_policy_takes_a_controller_on_a_gymnasium_env():
    env = gymnasium.make("undrift.envs:undrift/DroneTrack-v0", episode_s=2.0)
    mean_reward, _ = evaluate_policy(RUN.controller(), env, n_eval_episodes=2, warn=False)
    assert 40 < mean_reward <= 100


def by_itself(adapter):
    """The same adapter without kernels of a class of its own: the guard and each of its calls are then asked one by one."""
    if adapter.name == "auto":
        return Auto(adapter.nominal, model_based=by_itself(adapter.model_based))
    return type("ByItself", (type(adapter),), {})(adapter.nominal)


@pytest.mark.parametrize("name", ["observer", "drone", "car", "auto"])
def test_a_step_in_two_compiled_calls_is_that_of_every_call_by_itself_to_the_bit(name, monkeypatch):
    run, looks = run_for(name), []
    view = Guard.admit_view
    monkeypatch.setattr(Guard, "admit_view", lambda *arguments: looks.append(1) or view(*arguments))
    flown, asked = [], []
    for adapter in (ADAPTERS[name](run.nominal), by_itself(ADAPTERS[name](run.nominal))):
        controller = Controller(run.policy, adapter)
        shifts = (
            (Dropout(probability=0.1), Payload(schedule=Abrupt(0.5))) if name != "car" else (Dropout(probability=0.1),)
        )
        told = fly(controller, 150, (1, 2), shifts, blind=(40, 41), env_id=run.env_id)
        flown.append((*told, controller.state.adapter.rows, controller.state.hidden, controller.state.wish))
        asked.append((len(looks), [vars(event) for event in controller.guard.events]))
        looks.clear()
    for at_once, one_by_one in zip(*flown, strict=True):
        np.testing.assert_array_equal(at_once, one_by_one)
    (few, events), (many, same_events) = asked
    assert events == same_events
    assert few < 80 < many == 150


@pytest.mark.parametrize("vehicle", ["drone", "car", "observed"])
def test_auto_blends_within_the_compiled_calls_as_it_does_outside(vehicle, monkeypatch):
    run, looks, view, flown = CAR if vehicle == "car" else RUN, [], Guard.admit_view, []
    monkeypatch.setattr(Guard, "admit_view", lambda *arguments: looks.append(1) or view(*arguments))
    for whole in (True, False):
        members = Auto(run.nominal) if vehicle != "observed" else Auto(run.nominal, ADAPTERS["observer"](run.nominal))
        member = members.model_based if whole else by_itself(members.model_based)
        # An estimate that predicts no better than none has two fifths of the weight.
        controller = Controller(run.policy, Auto(run.nominal, member, tolerance=0.2, width=0.5))
        told = fly(controller, 120, (1, 2), env_id=run.env_id, shifts=(Wind(speed=4.0),) if run is RUN else ())
        state = controller.state.adapter
        flown.append((*told, state.rows, controller.state.hidden, controller.state.wish))
        assert ((0 < state["weight"]) & (state["weight"] < 1)).any() and np.abs(state["fallback"]).max() > 1e-3
        assert len(looks) < 40 if whole else len(looks) == 120
        looks.clear()
    for at_once, one_by_one in zip(*flown, strict=True):
        np.testing.assert_array_equal(at_once, one_by_one)


def test_an_auto_of_another_kind_is_asked_itself():
    class Silent(Auto):
        def correct(self, state, observation, action, dt):
            return 0.0 * action, state

    controller = Controller(RUN.policy, Silent(RUN.nominal))
    actions, _ = fly(controller, 5)
    assert not actions.any()


def test_more_vehicles_than_have_room_on_the_stack_fly_the_same(monkeypatch):
    run, flown = run_for("auto"), []
    for most in (2, 1):
        monkeypatch.setattr("undrift.agents.controller.MOST_VEHICLES", most)
        controller = run.controller("auto")
        flown.append((*fly(controller, 60, (1, 2)), controller.state.adapter.rows))
    for at_once, one_by_one in zip(*flown, strict=True):
        np.testing.assert_array_equal(at_once, one_by_one)


def test_only_what_goes_back_to_its_shadow_is_reviewed_outside_the_compiled_call(monkeypatch):
    reviews, review = [], Guard.review
    monkeypatch.setattr(Guard, "review", lambda guard, *rest: reviews.append(guard) or review(guard, *rest))
    flown, worse, act = [], [], Controller.act
    monkeypatch.setattr(
        Controller, "act", lambda flies, *seen: worse.append(int(flies.state.worse[0])) or act(flies, *seen)
    )
    for adapter in (ADAPTERS["observer"](RUN.nominal), by_itself(ADAPTERS["observer"](RUN.nominal))):
        controller = Controller(RUN.policy, adapter, Guard(patience=10))
        fly(controller, 60, shifts=(Wind(speed=6.0),))
        flown.append((controller.state.adapter.rows, controller.guard.events[0].step, len(reviews), tuple(worse)))
        reviews.clear(), worse.clear()
    (rows, back, few, counted), (same_rows, same_back, many, same_counted) = flown
    np.testing.assert_array_equal(rows, same_rows)
    assert counted == same_counted
    assert max(counted) == 9  # at the tenth step the state goes back
    assert back == same_back
    assert few == 1 < many


@pytest.mark.parametrize("name", ["observer", "auto"])
def test_a_controller_is_copied_with_all_that_it_knows_and_without_an_address(name):
    controller = RUN.controller(name)
    fly(controller, 30)
    observation = 0.1 * np.random.default_rng(0).standard_normal((1, len(RUN.nominal.observation_names)))
    same = pickle.loads(pickle.dumps(controller))
    for step in range(3):
        np.testing.assert_array_equal(same.act(observation + 0.1 * step), controller.act(observation + 0.1 * step))
        for each in (same, controller):
            each.learn(observation + 0.1 * step + 0.05)
    np.testing.assert_array_equal(same.state.adapter.rows, controller.state.adapter.rows)


def test_a_state_whose_fields_stand_elsewhere_is_read_by_name():
    controller, moved = RUN.controller("observer"), RUN.controller("observer")
    for each in (controller, moved):
        fly(each, 30)
    backwards = State(dict(reversed(list(moved.state.adapter.items()))))
    assert backwards.rows.tolist() != moved.state.adapter.rows.tolist()
    moved.state.adapter = backwards
    observation = np.random.default_rng(0).standard_normal((2, 1, len(RUN.nominal.observation_names)))
    for each in (controller, moved):
        each.act(observation[0])
        each.learn(observation[1])
    np.testing.assert_array_equal(moved.state.sent, controller.state.sent)
    for name, value in controller.state.adapter.items():
        np.testing.assert_array_equal(moved.state.adapter[name], value)


def test_a_guard_or_a_policy_of_another_kind_is_asked_itself():
    class Wary(Guard):
        def admit_action(self, own, proposed, *rest):
            return (*super().admit_action(own, proposed, *rest)[:1], 0.0 * proposed, rest[2])

    class Still(DeployedPolicy):
        def step(self, obs, h, dt):
            action, h = super().step(obs, h, dt)
            return 0.0 * action, h

    actions, _ = fly(Controller(RUN.policy, ADAPTERS["observer"](RUN.nominal), Wary()), 5)
    assert not actions.any()
    still = Controller(Still(RUN.policy.config, RUN.policy.tensors), ADAPTERS["observer"](RUN.nominal))
    fly(still, 5)
    assert not still.state.own_action.any()


def test_what_is_sent_is_within_its_bounds_and_tells_the_activity():
    loop = Loop(ADAPTERS["frozen"](RUN.nominal))
    loop.reset(2)
    loop.show(np.zeros((2, len(RUN.nominal.observation_names))))
    loop.send(np.array([[1.0, 0.0, 0.0, 0.0], [0.2, 0.1, 0.0, 0.0]]))
    loop.state.activity[:] = 0.0
    sent = loop.send(np.array([[1.5, -0.99, 0.0, 0.0], [0.2, 0.1, 0.0, 0.0]]))
    np.testing.assert_array_equal(sent, [[1.0, -0.99, 0.0, 0.0], [0.2, 0.1, 0.0, 0.0]])
    np.testing.assert_allclose(loop.state.activity, [0.099, 0.0])


def test_predict_acts_as_act_and_learn_do():
    direct, through_predict = RUN.controller(), RUN.controller()
    env = make_batch(RUN.env_id, 1, shifts=(Payload(schedule=Abrupt(0.2)),))
    observation, state = env.reset([3]), None
    direct.reset(1)
    for _ in range(60):
        expected = direct.act(observation)
        action, state = through_predict.predict(observation, state, np.array([state is None]))
        np.testing.assert_array_equal(action, expected)
        observation = env.step(action)[0]
        direct.learn(observation)


def test_predict_takes_the_elapsed_time_from_the_observation_where_it_is_told():
    env = BatchVecEnv(make_batch(RUN.env_id, 3, seed=0, clock={"jitter": 0.3, "missed": 0.2}))
    policy = PPO("CfcPolicy", env, seed=0, device="cpu").policy.deployed(env.batch.observation_names)
    known = RUN.nominal
    nominal = NominalModel(policy.observation_names, known.signals, known.dt, known.history, known.tensors)
    controller = Controller(policy, ADAPTERS["frozen"](nominal))
    observation, state, h = env.reset(), None, policy.initial_state(3)
    for _ in range(8):
        action, state = controller.predict(observation, state)
        expected, h = policy.step(observation, h, env.batch.step_duration)
        np.testing.assert_allclose(action, expected, atol=1e-6)
        observation = env.step(action)[0]
    assert len(np.unique(env.batch.step_duration)) > 1


def test_predict_begins_a_row_anew_where_an_episode_starts():
    controller, fresh = RUN.controller(), RUN.controller()
    observations = make_batch(RUN.env_id, 2).reset([1, 2])
    _, state = controller.predict(observations)
    for _ in range(10):
        _, state = controller.predict(observations, state, np.array([False, False]))
    action, _ = controller.predict(observations, state, np.array([False, True]))
    expected, _ = fresh.predict(observations)
    np.testing.assert_array_equal(action[1], expected[1])
    assert not np.array_equal(action[0], expected[0])


def test_a_reward_adapter_is_refused_by_predict_with_the_way_out():
    class FromReward(Adapter):
        name = "from_reward"
        regimes = ("reward",)

        def initial_state(self, n):
            return State({})

    controller = Controller(RUN.policy, FromReward(RUN.nominal))
    with pytest.raises(ValueError, match="rollout"):
        controller.predict(np.zeros((1, 34)))


@pytest.mark.parametrize("name", ADAPTERS)
def test_lost_sensors_give_a_safe_action_and_an_event_and_the_flight_goes_on(name):
    controller = run_for(name).controller(name)
    actions, errors = fly(controller, steps=300, blind={150, 151}, env_id=run_for(name).env_id)
    assert np.isfinite(actions).all() and np.abs(actions).max() <= 1.0
    assert [event.step for event in controller.guard.events if "not finite" in event.reason][:1] == [150]
    assert errors[-50:].max() < 0.15


@pytest.mark.parametrize("adapter", ["auto", "history"])
def test_a_deployment_goes_on_after_a_restart_where_it_was(tmp_path, adapter):
    first, second = RUN.controller(adapter), RUN.controller(adapter)
    env = make_batch(RUN.env_id, 2, shifts=(Payload(schedule=Abrupt(0.2)),))
    observation = env.reset([3, 4])
    first.reset(2)
    for step in range(60):
        action = first.act(observation)
        if step >= 30:
            np.testing.assert_array_equal(second.act(observation), action)
        observation = env.step(action)[0]
        first.learn(observation)
        if step == 29:
            first.save(tmp_path / "controller.npz")
            second.load(tmp_path / "controller.npz")
        elif step >= 30:
            second.learn(observation)


def test_a_damaged_or_foreign_state_is_refused(tmp_path):
    path = tmp_path / "controller.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no saved controller"):
        RUN.controller("auto").load(path)
    RUN.controller("integral").save(path)
    with pytest.raises(ValueError, match="another policy or adapter than 'auto'"):
        RUN.controller("auto").load(path)


def test_sensors_that_never_come_still_give_finite_actions():
    actions, _ = fly(RUN.controller(), steps=50, blind=set(range(50)))
    assert np.isfinite(actions).all()


def test_a_batch_flies_each_row_as_if_it_were_alone():
    shifts = (Payload(schedule=Abrupt(0.3)),)
    together, _ = fly(RUN.controller(), seeds=(1, 2, 3), shifts=shifts)
    alone, _ = fly(RUN.controller(), seeds=(2,), shifts=shifts)
    np.testing.assert_array_equal(together[:, 1:2], alone)


def test_observations_of_the_wrong_shape_are_named():
    controller = RUN.controller()
    controller.reset(2)
    with pytest.raises(ValueError, match=r"shape \(1, 34\).*\(2, 34\)"):
        controller.act(np.zeros(34))


def test_frozen_sends_the_policys_own_action():
    controller = RUN.controller("frozen")
    env = make_batch(RUN.env_id, 1)
    observation, hidden = env.reset([4]), RUN.policy.initial_state(1)
    controller.reset(1)
    for _ in range(30):
        own, hidden = RUN.policy.step(observation, hidden, np.array([env.dt]))
        np.testing.assert_array_equal(controller.act(observation, env.dt), own)
        observation = env.step(own)[0]
        controller.learn(observation)


def test_without_the_guard_the_observer_may_use_all_its_authority():
    tight = Controller(RUN.policy, RUN.controller().adapter, Guard(authority=0.01))
    loose = Controller(RUN.policy, RUN.controller().adapter, Guard(enabled=False, authority=0.01))
    for controller in (tight, loose):
        fly(controller, steps=60, shifts=(Payload(schedule=Abrupt(0.3)),))
    assert any("authority" in event.reason for event in tight.guard.events)
    assert not loose.guard.events


@pytest.mark.parametrize("name", ["integral", "auto"])
def test_rows_that_restart_leave_the_others_as_they_are(name):
    together, fresh = RUN.controller(name), RUN.controller(name)
    fly(together, steps=40, seeds=(1, 2), shifts=(Payload(schedule=Abrupt(0.2)),))
    learned = {key: value.copy() for key, value in together.state.adapter.items()}
    first = make_batch(RUN.env_id, 1).reset([3])
    fresh.reset(1)
    np.testing.assert_array_equal(together.restart(np.array([1]), first), fresh.show(first))
    for key, value in together.state.adapter.items():
        np.testing.assert_array_equal(value[0], learned[key][0])
        np.testing.assert_array_equal(value[1], fresh.state.adapter[key][0])
    assert together.state.steps.tolist() == [40, 0]
