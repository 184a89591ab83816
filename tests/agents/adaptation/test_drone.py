"""The quadrotor's compensator against its own physics: thrust, rates, rotors."""

import dataclasses

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import NominalModel, Transition, make_adapter
from undrift.agents.adaptation.adapters.drone import Drone
from undrift.agents.adaptation.compensators.drone import DroneCompensator
from undrift.agents.adaptation.estimator import DisturbanceObserver
from undrift.envs.drone.vehicle import GRAVITY, ROTORS

NOMINAL = Run.reference().nominal
COMPENSATOR = DroneCompensator.of(NOMINAL)
VEHICLE = COMPENSATOR.vehicle
NOW = np.array([0.02])
POSITIONS, SPIN = np.array(VEHICLE.rotor_positions), np.array(VEHICLE.rotor_spin)
ALLOCATION = np.stack([np.ones(ROTORS), POSITIONS[:, 1], -POSITIONS[:, 0], SPIN * VEHICLE.torque_per_thrust])
"""Thrust and torques of the rotors' thrusts, from where they stand and how they spin."""


def tilted(angle=0.4):
    """Attitude [1, 9] leaning along world x."""
    return np.array([[np.cos(angle), 0, np.sin(angle), 0, 1, 0, -np.sin(angle), 0, np.cos(angle)]])


LEVEL = np.zeros((1, len(NOMINAL.observation_names)))
LEVEL[:, NOMINAL.reader.context_index] = tilted(0.0)


def see(state, observation=LEVEL, compensator=COMPENSATOR):
    """What the policy is shown of a vehicle in its first step."""
    return Drone(compensator.nominal, compensator=compensator).see(state, observation)[0]


def initial(d, attitude, compensator=COMPENSATOR):
    """The state before the first step of a vehicle that leans so, under the estimate d [6]."""
    state = DisturbanceObserver(NOMINAL).initial_state(1) | compensator.initial_state(1)
    return state | {"d": np.array([d]), "believed_context": attitude}


def answer(action, d=(0.0,) * 6, effectiveness=0.0, turning=(0.0,) * 3, compensator=COMPENSATOR, angle=0.4):
    state = initial(d, tilted(angle), compensator) | {"effectiveness": np.array([effectiveness])}
    state["believed_rates"][0, 3:] = turning
    return compensator.correct(state, np.array([action], dtype=float), NOW)[0][0]


def rotors(action, turning=(0.0, 0.0, 0.0)):
    """Thrust asked of each rotor [4], N, by the inverse of the allocation."""
    torque = np.array(VEHICLE.inertia) * VEHICLE.rate_gains * (np.array(VEHICLE.max_rates) * action[1:] - turning)
    return np.linalg.solve(ALLOCATION, [VEHICLE.weight * (1 + VEHICLE.thrust_range * action[0]), *torque])


def test_without_disturbance_the_policy_flies_alone():
    action = [0.2, 0.1, -0.1, 0.05]
    np.testing.assert_allclose(answer(action), action, atol=1e-12)


def test_thrust_is_what_the_policy_asked_for_after_disturbance_and_loss():
    d = np.array([1.0, -0.5, -2.0, 0, 0, 0])
    u = answer([0.1, 0, 0, 0], d, effectiveness=-0.3)
    up = tilted()[0, [2, 5, 8]]
    given = 0.7 * GRAVITY * (1 + VEHICLE.thrust_range * u[0]) + d[:3] @ up
    assert given == pytest.approx(GRAVITY * (1 + VEHICLE.thrust_range * 0.1))


def test_rates_are_moved_so_that_the_rate_loop_cancels_the_disturbance():
    u = answer([0.0, 0.1, -0.1, 0.0], [0, 0, 0, 20.0, -10.0, 2.0])
    cancelled = np.array(VEHICLE.rate_gains) * VEHICLE.max_rates * (u[1:] - [0.1, -0.1, 0.0])
    np.testing.assert_allclose(cancelled, [-20.0, 10.0, -2.0], rtol=1e-9)


def test_the_mixer_keeps_roll_and_pitch_then_thrust_and_gives_up_yaw_first():
    rng = np.random.default_rng(4)
    cut = 0
    for action in rng.uniform(-1, 1, (300, 4)) * [1.0, 0.5, 0.5, 1.0]:
        turning = rng.normal(size=3)
        u = answer(action, turning=turning)
        wished, given = rotors(action, turning), rotors(u, turning)
        limit = VEHICLE.max_rotor_thrust
        np.testing.assert_allclose(u[1:3], action[1:3], atol=1e-12)
        possible = wished.min() >= 0 and wished.max() <= limit
        if possible:
            np.testing.assert_allclose(u, action, atol=1e-9)
        elif u[0] == pytest.approx(action[0]):
            assert given.min() > -1e-9 and given.max() < limit + 1e-9
            assert (
                abs(u[3] - turning[2] / VEHICLE.max_rates[2])
                <= abs(action[3] - turning[2] / VEHICLE.max_rates[2]) + 1e-9
            )
        cut += not possible
    assert cut > 50


def test_a_wish_beyond_the_bounds_stays_beyond_them_unless_less_thrust_is_all_there_is():
    u = answer([1.3, 0.9, 0.2, 1.4])
    assert u[0] < 1.0 and u[3] == 1.4


def test_without_the_mixer_a_wish_beyond_the_rotors_stays():
    free = dataclasses.replace(COMPENSATOR, prioritise=False)
    np.testing.assert_allclose(answer([1.0, 0.5, 0.5, 1.0], compensator=free), [1.0, 0.5, 0.5, 1.0])


def learn(true, angle=0.3, steps=200, saturated=False):
    """Effectiveness after flying with thrust scaled by 1 + true, where the estimate of d follows at once."""
    state = initial(np.zeros(6), tilted()) | {"filters": np.ones((1, 2, 6, 6))}
    attitude, thrust = tilted(angle), 12.0
    f = np.zeros((1, 6))
    f[:, :3] = thrust * attitude[:, [2, 5, 8]] - [0, 0, GRAVITY]
    still = np.zeros((1, 34))
    t = Transition(still, np.zeros((1, 4)), np.full((1, 4), saturated), still, np.ones(1, bool), NOW)
    for _ in range(steps):
        state["d"][:, :3] = (true - state["effectiveness"]) * thrust * attitude[:, [2, 5, 8]]
        state = COMPENSATOR.learn(state, state | {"context": attitude}, f, np.ones(1, bool), t)
    return state


@pytest.mark.parametrize("true", [-0.4, 0.2])
def test_lost_and_gained_thrust_is_found(true):
    assert learn(true)["effectiveness"][0] == pytest.approx(true, abs=0.01)


def test_what_becomes_effectiveness_leaves_the_disturbance():
    state = learn(-0.3, steps=1)
    moved = state["effectiveness"][0] * 12.0 * tilted(0.3)[0, [2, 5, 8]]
    before = -0.3 * 12.0 * tilted(0.3)[0, [2, 5, 8]]
    np.testing.assert_allclose(state["d"][0, :3], before - moved)


def test_what_only_leaning_can_answer_moves_the_reference_and_the_rest_does_not():
    level = tilted(0.0)
    for d, moves in (([0, 0, -3.0], False), ([2.0, 0, 0], True)):
        shown = see(initial([*d, 0, 0, 0.0], level))
        assert (np.abs(shown - LEVEL) > 0.01).any() == moves


def test_the_policy_does_not_see_the_lean_that_holds_what_lasts():
    lasting, thrust = np.array([2.0, -1.0, 0.5]), 11.0
    observation = LEVEL.copy()
    observation[:, NOMINAL.reader.context_index] = tilted(0.3)
    state = initial(np.zeros(6), tilted(0.3)) | {"lasting": lasting[None], "thrust": np.array([thrust])}
    shown = see(state, observation)
    attitude = shown[0, NOMINAL.reader.context_index].reshape(3, 3)
    np.testing.assert_allclose(attitude @ attitude.T, np.eye(3), atol=1e-12)
    expected = thrust * tilted(0.3)[0, 2::3] + lasting
    np.testing.assert_allclose(attitude[:, 2], expected / np.linalg.norm(expected), atol=1e-12)
    # The shortest way: nothing turns about the axis between the two.
    axis = np.cross(tilted(0.3)[0, 2::3], expected)
    np.testing.assert_allclose(attitude.T @ axis, tilted(0.3).reshape(3, 3).T @ axis, atol=1e-12)


def test_thrust_gives_along_body_z_what_the_policy_asks_for_along_the_body_z_that_it_is_shown():
    d, thrust = np.array([3.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 11.0
    state = initial(d, tilted(-0.3)) | {"lasting": d[None, :3], "thrust": np.array([thrust])}
    action = COMPENSATOR.correct(state, np.array([[0.1, 0.0, 0.0, 0.0]]), NOW)[0][0]
    up = tilted(-0.3)[0, 2::3]
    shown = thrust * up + d[:3]
    given, asked = (GRAVITY * (1 + VEHICLE.thrust_range * a) for a in (action[0], 0.1))
    assert given + d[:3] @ up == pytest.approx(asked * up @ shown / np.linalg.norm(shown))


def test_what_lasts_is_the_slow_part_of_a_disturbance_within_its_limit():
    state = initial([20.0, 0.0, 0.0, 0.0, 0.0, 0.0], tilted(0.0))
    for _ in range(50):
        _, state = COMPENSATOR.correct(state, np.zeros((1, 4)), NOW)
    expected = COMPENSATOR.lasting_limit * (1.0 - (1.0 - 0.02 / COMPENSATOR.lasting_s) ** 50)
    np.testing.assert_allclose(state["lasting"], [[expected, 0.0, 0.0]])


@pytest.mark.parametrize(
    "stiffness, d, changes, factor",
    [
        (10.0, 2.0, {}, 2.0),
        (32.0, 2.0, {}, 1.25),
        (32.0, 0.5, {}, 1.125),
        (50.0, 2.0, {}, 1.0),
        (0.0, 2.0, {}, 1.0),
        (10.0, 2.0, {"delay": np.ones(1)}, 1.0),
        (10.0, 2.0, {"lasting": np.array([[0.0, 2.0, 0.0]])}, 1.0),
    ],
)
def test_a_soft_policy_is_made_stiffer_while_a_disturbance_changes(stiffness, d, changes, factor):
    nominal = Run.reference().nominal
    nominal.stiffness = stiffness
    compensator = DroneCompensator.of(nominal)
    names = list(nominal.observation_names)
    errors = [names.index(name) for name in ("position_error_x", "velocity_error_x")]
    observation = LEVEL.copy()
    observation[:, errors] = 0.3, -0.2
    state = initial([0.0, d, 0.0, 0.0, 0.0, 0.0], tilted(0.0), compensator) | changes
    plain = see(state, observation, dataclasses.replace(compensator, stiffness=0.0))
    shown = see(state, observation, compensator)
    np.testing.assert_allclose(shown[0, errors], factor * plain[0, errors])


@pytest.mark.parametrize(("stiffness", "least", "most"), [(160.0, 0.25, 0.5), (40.0, 0.95, 1.05)])
def test_a_stiff_policy_is_shown_less_of_the_noise(stiffness, least, most):
    """A vehicle that drifts off its reference at a steady speed, measured with white noise of position and velocity."""
    nominal, rng, n = Run.reference().nominal, np.random.default_rng(2), 64
    nominal.stiffness = stiffness
    adapter = make_adapter("drone", nominal)
    names = list(nominal.observation_names)
    error, velocity = names.index("position_error_x"), names.index("velocity_error_x")
    true = np.repeat(LEVEL, n, axis=0)
    true[:, velocity] = 0.2
    state, seen, shown = adapter.initial_state(n), true, []
    for _ in range(150):
        true[:, error] += 0.02 * 0.2
        measured = true.copy()
        measured[:, [error, velocity]] += [0.03, 0.06] * rng.standard_normal((n, 2))
        t = Transition(seen, np.zeros((n, 4)), np.zeros((n, 4), bool), measured, np.ones(n, bool), np.full(n, 0.02))
        state = adapter.learn(state, t)
        shown.append((adapter.see(state, measured)[0] - true)[:, [error, velocity]])
        seen = measured
    noise = np.std(shown[50:], axis=(0, 1)) / [0.03, 0.06]
    assert (least < noise).all() and (noise < most).all()
    assert np.abs(np.mean(shown[50:], axis=(0, 1))).max() < 0.01


def test_other_vehicles_are_refused_and_auto_takes_the_observer_there(nominal):
    with pytest.raises(ValueError, match="adapter 'drone' is for quadrotors"):
        make_adapter("drone", nominal)
    unnamed = NominalModel(NOMINAL.observation_names, NOMINAL.signals, NOMINAL.dt, NOMINAL.history, NOMINAL.tensors)
    with pytest.raises(ValueError, match="no environment"):
        make_adapter("drone", unnamed)
    assert make_adapter("auto", nominal).model_based.name == "observer"
    assert make_adapter("auto", NOMINAL).model_based.name == "drone"


def test_the_lead_is_taken_on_what_leaning_answers_and_not_on_thrust():
    fresh = initial([2.0, 0, -3.0, 0, 0, 0], tilted(0.0))
    settled = fresh | {"slow": fresh["d"][:, :3]}
    shown = [see(state) for state in (fresh, settled)]
    led, plain = (
        NOMINAL.asked(LEVEL, NOMINAL.response(np.array([[ahead, 0.0, 0.0]])))
        for ahead in (2.0 * (1 + COMPENSATOR.lead / COMPENSATOR.lead_filter), 2.0)
    )
    np.testing.assert_allclose(shown[0], led)
    np.testing.assert_allclose(shown[1], plain)


@pytest.mark.parametrize(("ratio", "share"), [(1.2, 0.0), (1.4, 0.5), (1.6, 1.0)])
def test_near_the_limit_of_thrust_only_the_lasting_part_of_a_disturbance_is_answered_by_leaning(ratio, share):
    state = initial([2.0, 0, 0, 0, 0, 0], tilted(0.0)) | {"slow": np.array([[0.5, 0, 0]])}
    state |= {"effectiveness": np.array([ratio / VEHICLE.thrust_to_weight - 1.0])}
    shown = see(state)
    ahead = 0.5 + share * (1 + COMPENSATOR.lead / COMPENSATOR.lead_filter) * 1.5
    np.testing.assert_allclose(shown, NOMINAL.asked(LEVEL, NOMINAL.response(np.array([[ahead, 0.0, 0.0]]))))


def test_thrust_lost_to_a_disturbance_counts_before_it_is_told_from_one():
    down = GRAVITY * (VEHICLE.thrust_to_weight / 1.2 - 1.0)
    states = (initial([2.0, 0, z, 0, 0, 0], tilted(0.0)) for z in (0.0, -down))
    shown = [see(state) for state in states]
    assert np.abs(shown[0] - LEVEL).max() > 0.01
    np.testing.assert_array_equal(shown[1], LEVEL)


def test_near_the_limit_of_thrust_it_makes_room_for_lasting_torques_and_for_a_share_of_others():
    turn, effectiveness = 0.6, -0.55
    thrust = 0.97
    own = ((1 + VEHICLE.thrust_range * thrust) * (1 + effectiveness) - 1) / VEHICLE.thrust_range
    against = [0, 0, 0, -turn * VEHICLE.rate_gains[0] * VEHICLE.max_rates[0], 0, 0]
    none, half = (dataclasses.replace(COMPENSATOR, room=room) for room in (0.0, 0.5))
    passing = answer([own, turn, 0, 0], effectiveness=effectiveness, angle=0.0, compensator=none)
    shared = answer([own, turn, 0, 0], effectiveness=effectiveness, angle=0.0, compensator=half)
    lasting = answer([own, 0, 0, 0], against, effectiveness=effectiveness, angle=0.0)
    healthy = answer([thrust, turn, 0, 0], angle=0.0)
    np.testing.assert_allclose(passing, [thrust, turn, 0, 0], atol=1e-12)
    np.testing.assert_allclose(lasting, healthy, atol=1e-12)
    np.testing.assert_allclose(shared[0], answer([thrust, 0.5 * turn, 0, 0], angle=0.0)[0], atol=1e-12)
    assert healthy[0] < thrust - 0.1
    assert rotors(healthy).max() == pytest.approx(VEHICLE.max_rotor_thrust)


def demanded(error, ratio=VEHICLE.thrust_to_weight, d_w=(0.0, 0.0, 0.0), compensator=COMPENSATOR):
    """The state after a sample of this error x in m, thrust-to-weight ratio `ratio` being left, and what is shown."""
    state = initial([0.0, 0, 0, *d_w], tilted(0.0)) | {
        "effectiveness": np.array([ratio / VEHICLE.thrust_to_weight - 1])
    }
    observation = np.zeros((1, len(compensator.nominal.observation_names)))
    observation[0, [0, 3]] = error, 1.0
    still, sent = np.zeros(1, dtype=bool), np.zeros((1, 4))
    t = Transition(observation, sent, sent > 0, observation, still, NOW)
    after = compensator.learn(state, state | {"context": tilted(0.0)}, np.zeros((1, 6)), still, t)
    return after, see(after | {"integral": np.zeros((1, 3)), "d": np.zeros((1, 6))}, observation, compensator)[0]


@pytest.mark.parametrize(("ratio", "limit"), [(1.2, 0.8), (1.1, 0.4), (1.01, 0.1)])
def test_short_of_thrust_a_vehicle_far_off_is_asked_for_a_part_of_the_way_back(ratio, limit):
    state, shown = demanded(1.0, ratio)
    share = limit * COMPENSATOR.return_limit
    assert state["demand"][0] == pytest.approx(share)
    np.testing.assert_allclose(shown[[0, 3]], [share, np.sqrt(share)])
    near = 0.5 * share
    np.testing.assert_allclose(demanded(near, ratio)[1][[0, 3]], [near, 1.0])


def test_an_environment_that_names_nothing_to_ask_less_of_is_asked_for_all():
    compensator = DroneCompensator.of(Run.load("runs/reference-hover-s0").nominal)
    assert not compensator.nominal.signals.demand
    assert demanded(1.0, 1.1, compensator=compensator)[0]["demand"][0] == 1.0


def test_with_authority_to_spare_all_of_the_way_back_is_asked_for():
    np.testing.assert_array_equal(demanded(1.0, 1.3)[1][[0, 3]], [1.0, 1.0])


def test_authority_is_that_of_the_rotor_which_is_told_to_give_most():
    """By the inverse of the allocation: it gives 1 / 1.3 of its most to hover and the rest of 1 / 1.1 to turn."""
    torque = np.array([0.02, 0.01, 0.005])
    busiest = np.linalg.solve(ALLOCATION, [0.0, *torque]).max()
    torque *= VEHICLE.max_rotor_thrust * (1 / 1.1 - 1 / 1.3) / busiest
    state, _ = demanded(1.0, 1.3, -torque / VEHICLE.inertia)
    assert state["demand"][0] == pytest.approx(0.4 * COMPENSATOR.return_limit)
