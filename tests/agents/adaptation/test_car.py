"""The car's compensator: grip from forces, speed from grip, sideslip and steering from a disturbance, the road where it will be."""

import dataclasses

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import Transition, make_adapter
from undrift.agents.adaptation.adapters.car import Car
from undrift.agents.adaptation.compensators.car import CarCompensator, Memory, learn_rows, see_rows
from undrift.agents.adaptation.estimator import WEIGHT, DisturbanceObserver, X
from undrift.agents.rollout import rollout
from undrift.envs import Abrupt, ActionDelay, Always, Friction, Scenario, SensorBias, make_batch
from undrift.envs.driving.governor import safe_scale
from undrift.envs.driving.vehicle import GRAVITY

RUN = Run.load("runs/reference-car-track-s0")
NOMINAL = RUN.nominal
COMPENSATOR = CarCompensator.of(NOMINAL)
CAR = COMPENSATOR.vehicle
NAMES = list(NOMINAL.observation_names)
DT = NOMINAL.dt
ONE, FREE, NOW = np.ones(1, dtype=bool), np.zeros((1, 2), dtype=bool), np.full(1, DT)


def initial(n=1):
    return DisturbanceObserver(NOMINAL).initial_state(n) | COMPENSATOR.initial_state(n)


def begin(state, rates, action=(0.0, 0.0), compensator=COMPENSATOR):
    """The state after the first step of a car that keeps these rates [3]."""
    observation = np.zeros((1, len(NAMES)))
    observation[0, [NAMES.index(name) for name in NOMINAL.signals.rates]] = rates
    transition = Transition(observation, np.array([action]), FREE, observation, ONE, NOW)
    return Car(NOMINAL, compensator=compensator).learn(state, transition)


def correct(state, wish):
    """What is sent by a car that answers no disturbance."""
    return COMPENSATOR.correct(state | {"answer": np.zeros((1, 3))}, wish)


def predicted(rates, commands):
    """Nominal accelerations [3], and the axles' forces over the mass [2] that they take."""
    f = NOMINAL.accelerations(np.concatenate([rates, commands[: NOMINAL.history].ravel()])[None])[0]
    # Of the two axles' forces: their sum accelerates the mass, their torque turns it.
    balance = np.array([[1.0, 1.0], np.array([CAR.front_axle, -CAR.rear_axle]) * CAR.mass / CAR.yaw_inertia])
    return f, balance, np.linalg.solve(balance, [f[1] + rates[0] * rates[2], f[2]])


def learn_grip(grip, offset, steps=400, seed=0):
    """The state after winding along under axles of that grip and with those offsets, seen without noise."""
    rng, state, still = np.random.default_rng(seed), initial(), np.zeros((1, len(NAMES)))
    for _ in range(steps):
        rates = np.array([4.0, rng.normal(0, 0.1), rng.normal(0, 1.5)])
        state["commands"] = rng.uniform(-0.3, 0.3, (1, *state["commands"].shape[1:]))
        f, balance, force = predicted(rates, state["commands"][0])
        across, turned = balance @ (grip * force + offset)
        after = rates + DT * np.array([f[0], across - rates[0] * rates[2], turned])
        for filters, seen in ((state["filters"], rates), (following := state["filters"].copy(), after)):
            filters[:, :, X], filters[:, :, WEIGHT] = seen, 1.0
        before, state = state, state | {"filters": following, "rates": after[None]}
        sample = ONE, still, still, FREE, ONE, NOW, np.zeros(1)
        learn_rows(NOMINAL.network, COMPENSATOR.constants, before.rows, *sample, state.parts(Memory), state.rows)
    return state


def test_the_grip_of_each_axle_is_found_beside_a_constant_force():
    state = learn_grip(np.array([0.6, 0.8]), np.array([0.5, -0.3]))
    np.testing.assert_allclose(state["grip"][0], [0.6, 0.8], atol=0.03)
    np.testing.assert_allclose(state["offset"][0], [0.5, -0.3], atol=0.15)


def test_a_constant_force_alone_is_no_lost_grip():
    state = learn_grip(np.ones(2), np.array([-1.0, 0.6]))
    np.testing.assert_allclose(state["grip"][0], 1.0, atol=0.03)
    assert state["demand"][0] > 0.99


def test_the_speed_asked_for_is_what_the_grip_allows():
    state = learn_grip(np.array([0.5, 0.6]), np.zeros(2))
    allowed = safe_scale(*(state["grip"] + COMPENSATOR.doubt * np.sqrt(state["spread"][:, :, 0]))[0])
    assert state["demand"][0] == pytest.approx(allowed, abs=0.03)
    seen = np.random.default_rng(1).uniform(1, 3, (1, len(NAMES)))
    shown, _ = Car(NOMINAL).see(initial() | {"demand": np.full(1, 0.7)}, seen)
    ahead = [i for i, name in enumerate(NAMES) if name.startswith("reference_speed")]
    np.testing.assert_allclose(shown[0, ahead], 0.7 * seen[0, ahead])
    error, speed = NAMES.index("speed_error"), NAMES.index("forward_velocity")
    reference = seen[0, speed] - seen[0, error]
    assert shown[0, error] == pytest.approx(seen[0, speed] - 0.7 * reference)
    others = [i for i in range(len(NAMES)) if i not in (*ahead, error)]
    np.testing.assert_allclose(shown[0, others], seen[0, others])


def test_the_brakes_leave_the_rear_axle_what_the_bend_takes_of_its_friction():
    speed, yaw_rate = 4.0, 0.8  # and grip, 0.5
    state = initial() | {"grip": np.full((1, 2), 0.5), "spread": np.zeros((1, 2, 3))}
    braked = -correct(begin(state, [speed, 0.0, yaw_rate]), np.array([[0.0, -1.0]]))[0, 1]
    rear_mass = CAR.mass * CAR.front_axle / CAR.wheelbase
    along = braked * (1.0 - CAR.brake_front) * CAR.max_brake_force
    across = rear_mass * speed * yaw_rate
    held = 0.5 * CAR.friction_rear * rear_mass * GRAVITY
    assert 0.1 < braked < 0.9
    assert np.hypot(along, across) == pytest.approx(COMPENSATOR.friction_used * held)


def test_trusted_brakes_are_left_alone_and_none_are_left_where_the_rear_axle_slides():
    wish = np.array([[0.3, -1.0]])
    for grip, left in ((1.0, 1.0), (0.3, 0.0)):
        state = begin(initial() | {"grip": np.full((1, 2), grip)}, [4.0, 0.0, 3.0])
        np.testing.assert_array_equal(correct(state, wish), [[0.3, -left]])
        np.testing.assert_array_equal(correct(state, -wish), -wish)


def test_auto_asks_for_less_and_spares_the_brakes_also_where_it_does_not_trust_the_model():
    auto = make_adapter("auto", NOMINAL)
    state = auto.initial_state(1) | {"demand": np.array([0.7]), "brakes": np.array([0.2]), "weight": np.zeros(1)}
    seen = np.linspace(0.1, 0.9, len(NAMES))[None]
    shown, _ = auto.see(state, seen)
    ahead = [i for i, name in enumerate(NAMES) if name.startswith("reference_speed")]
    np.testing.assert_allclose(shown[:, ahead], 0.7 * seen[:, ahead])
    wish, _ = auto.correct(state, seen, np.array([[0.3, -1.0]]), np.array([DT]))
    np.testing.assert_allclose(wish, [[0.3, -0.2]])


def answer(d, grip=1.0, **changes):
    """Change of action [2] and of sideslip that answers d once it has settled, in a bend."""
    compensator = dataclasses.replace(COMPENSATOR, answer_s=DT, **changes)
    state = initial() | {"d": np.array([d]), "grip": np.full((1, 2), grip)}
    state["commands"] = 0.1
    state = begin(state, [4.0, -0.1, 1.0], (0.1, 0.1), compensator)
    return state, state["answer"][0]


def test_the_answer_balances_the_disturbance_with_action_and_sideslip():
    state, found = answer([0.5, 1.0, -4.0], damping=1e-9, answered=1.0)
    rates, commands = state["rates"], state["commands"][:, : NOMINAL.history]

    def accelerations(change):
        moved = rates + [[0.0, change[2], 0.0]], (commands + change[:2]).reshape(1, -1)
        return NOMINAL.accelerations(np.concatenate(moved, axis=1))[0]

    gain = np.stack([(accelerations(e) - accelerations(-e)) / 0.02 for e in 0.01 * np.eye(3)], axis=1)
    np.testing.assert_allclose(gain @ found, [-0.5, -1.0, 4.0], rtol=0.05, atol=0.05)


def test_the_answer_is_bounded_and_fades_out_with_the_grip():
    far = answer([0.0, 30.0, 300.0])[1]
    assert np.abs(far[:2]).max() <= COMPENSATOR.authority and abs(far[2]) <= COMPENSATOR.most_sideslip
    whole, half, gone = (np.abs(answer([0.5, 1.0, -4.0], grip, doubt=0.0)[1]).sum() for grip in (0.9, 0.8, 0.7))
    assert whole > 0.01 and half == pytest.approx(0.5 * whole) and gone == 0.0


def test_a_car_whose_commands_are_late_is_shown_on_its_road_where_it_will_be():
    env = make_batch("CarTrack", 32, noise=0.0, pace=0.8)
    policy, observation = RUN.policy, env.reset(list(range(32)))
    hidden = policy.initial_state(32)
    seen = [observation]
    for _ in range(60):
        action, hidden = policy.step(seen[-1], hidden, np.full(32, DT))
        seen.append(env.step(action)[0])
    then, now = (np.asarray(rows, dtype=float) for rows in (seen[-4], seen[-1]))
    rates = np.array([rows[:, 3:6] for rows in seen[-4:]], dtype=float)
    travel = DT * (0.5 * (rates[0] + rates[3]) + rates[1] + rates[2])
    state = initial(32) | {"ahead": np.full(32, 3), "believed_rates": now[:, 3:6], "believed_travel": travel}
    shown = then.copy()
    see_rows(COMPENSATOR.constants, NOMINAL.demand, state.parts(Memory), state.rows, shown)
    unseen = "previous_action", "curvature_3.4m", "reference_speed_3.4m"
    own = [i for i, name in enumerate(NAMES) if not name.startswith(unseen)]
    scale = env.observation_scale[own]
    off, unmoved = (np.abs(rows - now)[:, own].mean(axis=0) / scale for rows in (shown, then))
    assert (off < 0.05).all() and off.sum() < 0.2 * unmoved.sum()


def test_other_vehicles_are_refused_and_auto_takes_it_for_cars_that_follow_a_road(nominal):
    with pytest.raises(ValueError, match="adapter 'car' is for cars that follow a road"):
        make_adapter("car", nominal)
    with pytest.raises(ValueError, match="adapter 'car' is for cars"):
        make_adapter("car", Run.reference().nominal)
    assert make_adapter("auto", NOMINAL).model_based.name == "car"


def test_an_estimator_of_another_kind_is_refused():
    class Other(DisturbanceObserver):
        pass

    with pytest.raises(ValueError, match="give it one in place of Other"):
        Car(NOMINAL, Other(NOMINAL))


def test_on_half_the_grip_it_slows_down_and_without_a_shift_it_does_not():
    shifts = {"ice": [Friction(factor=0.5, schedule=Abrupt(1.0))], "dry": []}
    asked = {}
    for name, each in shifts.items():
        scenario = Scenario(name, "undrift/CarTrack-v0", {"episode_s": 5.0, "pace": 0.8}, tuple(each))
        episodes = rollout(scenario, RUN.controller("car"), range(1000, 1008))
        column = list(RUN.controller("car").adapter.estimate_names).index("demand")
        asked[name] = np.array([episode.estimate[-50:, column].mean() for episode in episodes])
    assert (asked["dry"] > 0.97).all() and (asked["ice"] < 0.95).all() and asked["ice"].mean() < 0.85


def test_a_road_that_asks_for_little_of_the_grip_is_driven_as_fast_with_less():
    assert COMPENSATOR.share == 0.85
    assert CarCompensator.of(Run.load("runs/reference-car-lane-s0").nominal).share == 0.5
    still = np.zeros((1, len(NAMES)))
    for share, scale in ((0.85, safe_scale(0.6, 0.6)), (0.5, 1.0)):
        constants = dataclasses.replace(COMPENSATOR, share=share).constants
        state = initial() | {"grip": np.full((1, 2), 0.6), "spread": np.zeros((1, 2, 3))}
        for _ in range(50):
            sample = ~ONE, still, still, FREE, ONE, NOW, np.zeros(1)
            learn_rows(NOMINAL.network, constants, state.rows.copy(), *sample, state.parts(Memory), state.rows)
        assert state["demand"][0] == pytest.approx(scale, abs=1e-3)


def test_at_road_speed_the_guard_lets_it_ask_for_what_the_grip_allows():
    controller = Run.load("runs/reference-car-lane-s0").controller("car")
    names = list(controller.adapter.nominal.observation_names)
    env = make_batch("CarLane", 1, seed=0)
    observation = env.reset()
    controller.reset(1)
    controller.act(observation, DT)
    controller.state.adapter["demand"] = 0.64
    controller.act(observation, DT)
    place = names.index("reference_speed_0m")
    assert observation[0, place] > 15.0
    assert controller.shown[0, place] == pytest.approx(0.64 * observation[0, place])


def test_a_car_that_hardly_turns_learns_that_its_commands_are_late():
    run, late = Run.load("runs/reference-car-lane-s0"), ActionDelay(seconds=0.04, schedule=Abrupt(1.0))
    scenario = Scenario("late", "undrift/CarLane-v0", {"episode_s": 8.0}, (late,))
    controller = run.controller("car")
    column = list(controller.adapter.estimate_names).index("delay")
    told = np.array([episode.estimate[-100:, column] for episode in rollout(scenario, controller, range(1000, 1008))])
    assert np.mean(told > 0.03) > 0.7


def test_biased_sensors_are_found_on_the_road():
    biased = [SensorBias(size=0.3, channels=("yaw_rate",), distribution="sign", schedule=Always())]
    env, controller = make_batch("CarTrack", 8, shifts=biased, pace=0.8), RUN.controller("car")
    observation = env.reset(list(range(1000, 1008)))
    controller.reset(8)
    for _ in range(200):
        observation, *_ = env.step(controller.act(observation))
        controller.learn(observation)
    np.testing.assert_allclose(np.abs(controller.state.adapter["bias"][:, 1]), 0.3, atol=0.05)
    np.testing.assert_allclose(controller.state.adapter["bias"][:, 0], 0.0, atol=0.05)
