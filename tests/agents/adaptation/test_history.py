"""The history adapter: what its encoder reads, when, and what becomes of what it tells."""

import dataclasses

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import History, NominalModel, Transition, make_adapter
from undrift.agents.adaptation.adapters.history import TREND_S, HistoryObserver
from undrift.agents.adaptation.checks import check_adapter
from undrift.agents.adaptation.encoder import BOUND
from undrift.envs import Abrupt, Payload, Wind, make_batch

from .conftest import make_encoder

RUN = Run.reference()
DISTURBANCE = np.array([1.5, -0.7])
COPY = np.concatenate([np.eye(2) / BOUND, np.zeros((2, 4 + 5))], axis=1)
"""A readout that tells the residual it has just read."""


def with_encoder(nominal, encoder):
    parts = nominal.observation_names, nominal.signals, nominal.dt, nominal.history, nominal.tensors, nominal.env
    return NominalModel(*parts, encoder)


def fly(nominal, steps, lost=(), durations=None, disturbance=DISTURBANCE, noise=0.0, dead_zone=0.0):
    """States after each step of the disturbed point mass of `conftest`, seen exactly except at the steps `lost`."""
    estimator = HistoryObserver(nominal, encoder=make_encoder(nominal, COPY))
    state, v, before, seen = estimator.initial_state(1), np.zeros(2), np.zeros(1), np.zeros(2)
    rng, states = np.random.default_rng(0), []
    for step in range(steps):
        dt = 0.02 if durations is None else durations[step]
        action, shown = rng.uniform(-1, 1, 1), seen
        v = v + dt * (np.array([5.0 * action[0] + 3.0 * before[0], 0.0]) + disturbance)
        seen = seen if step in lost else v + noise * rng.standard_normal(2)
        pair = [np.array([[0, 0, *x, 0, 0, 0, 0]]) for x in (shown, seen)]
        fresh, free = np.array([step not in lost]), np.zeros((1, 1), dtype=bool)
        t = Transition(pair[0], action[None], free, pair[1], fresh, np.full(1, dt), dead_zone=dead_zone)
        state, *_ = estimator.learn(state, t, np.zeros((1, 2), bool))
        states.append(state)
        before = action
    return states


def test_it_reads_what_the_nominal_model_leaves_unexplained_and_d_is_what_the_encoder_tells(nominal):
    states = fly(nominal, steps=4)
    # Until the command history is full the model's input is not what was flown.
    np.testing.assert_array_equal([state["d"][0] for state in states[:2]], 0.0)
    np.testing.assert_allclose([state["d"][0] for state in states[2:]], [DISTURBANCE] * 2, rtol=1e-5)


def test_the_first_sample_after_a_gap_tells_the_mean_of_the_whole_gap(nominal):
    states = fly(nominal, steps=9, lost=(2, 3, 4))
    np.testing.assert_array_equal([state["d"][0] for state in states[:5]], 0.0)
    np.testing.assert_allclose(states[5]["d"][0], DISTURBANCE, rtol=1e-5)


def test_the_trend_is_the_residual_low_passed_over_the_time_that_went_by(nominal):
    steady, broken = fly(nominal, steps=8), fly(nominal, steps=8, lost=(5,))
    expected = DISTURBANCE * (1.0 - np.exp(-6 * 0.02 / TREND_S))
    np.testing.assert_allclose(steady[7]["trend"][0], expected)
    np.testing.assert_allclose(broken[7]["trend"][0], expected)


def test_while_no_sample_arrives_the_memory_stays_and_the_time_counts(nominal):
    states = fly(nominal, steps=8, lost=(4, 5))
    for state in states[4:6]:
        np.testing.assert_array_equal(state["memory"], states[3]["memory"])
        np.testing.assert_array_equal(state["d"], states[3]["d"])
    assert [round(state["waited"][0], 6) for state in states[3:7]] == [0.0, 0.02, 0.04, 0.0]
    assert (states[6]["memory"] != states[5]["memory"]).any()


def test_within_the_dead_zone_noise_does_not_move_what_is_told_and_a_disturbance_does(nominal):
    told = lambda zone, **air: np.array([state["d"][0] for state in fly(nominal, steps=60, dead_zone=zone, **air)])
    calm = {"disturbance": np.zeros(2), "noise": 0.01}
    moved = [np.abs(np.diff(told(zone, **calm), axis=0)).mean() for zone in (0.0, 3.0)]
    assert moved[1] < 0.2 * moved[0]
    np.testing.assert_allclose(told(3.0)[-1], DISTURBANCE, rtol=1e-5)


def test_what_is_restored_is_the_memory_from_which_d_is_told(nominal):
    estimator, row = HistoryObserver(nominal, encoder=make_encoder(nominal, COPY)), np.array([True, False])
    state = estimator.initial_state(2)
    memory = np.random.default_rng(0).normal(size=state["memory"].shape)
    kept = estimator.keep(state | {"memory": memory}, row)
    back = estimator.restore(kept | {"memory": np.full_like(memory, 9.0)}, row)
    np.testing.assert_array_equal(back["memory"], [memory[0], np.full_like(memory[1], 9.0)])


def test_a_longer_step_is_read_as_a_longer_step(nominal):
    even, late = fly(nominal, steps=6), fly(nominal, steps=6, durations=[0.02, 0.02, 0.02, 0.02, 0.05, 0.02])
    np.testing.assert_array_equal(even[3]["memory"], late[3]["memory"])
    # The residual is the same, the elapsed time is not.
    np.testing.assert_allclose(late[4]["d"], even[4]["d"], rtol=1e-4)
    assert np.abs(late[4]["memory"] - even[4]["memory"]).max() > 1e-4


def test_it_keeps_the_contract_with_the_generic_compensator_and_the_drones_own(random_nominal, encoder):
    generic = with_encoder(random_nominal, encoder)
    check_adapter(History, generic)
    assert History(generic).loop.name == "observer" and History(RUN.nominal).loop.name == "drone"


def test_without_an_encoder_it_is_refused_with_the_command_that_trains_one(nominal):
    with pytest.raises(ValueError, match="'history' needs an encoder .*`undrift train --env DroneTrack`"):
        make_adapter("history", nominal)


def test_an_encoder_of_another_vehicle_is_refused(nominal, encoder):
    signals = dataclasses.replace(
        nominal.signals, rates={"wx": ("vx",), "wy": ("vy",)}, tracking={"wx": "ex", "wy": "ey"}
    )
    other = NominalModel(nominal.observation_names, signals, 0.02, nominal.history, nominal.tensors, None, encoder)
    with pytest.raises(ValueError, match="reads residual/vx.* offers residual/wx.*different vehicles"):
        make_adapter("history", other)


def test_the_committed_encoder_recovers_from_payload_and_wind():
    shifts = [(shift(schedule=Abrupt(1.0)),) for shift in (Payload, Wind) for _ in range(2)]
    errors = {}
    for name in ("frozen", "history"):
        env = make_batch(RUN.env_id, 4, shifts=shifts)
        observation, controller = env.reset([1, 2, 3, 4]), RUN.controller(name)
        controller.reset(4)
        late = []
        for step in range(300):
            observation, reward, terminated, truncated, info = env.step(controller.act(observation))
            controller.learn(observation, reward, terminated, truncated)
            late += [info["position_error"]] if step >= 150 else []
        errors[name] = np.sqrt(np.mean(np.square(late), axis=0))
    assert (errors["history"] < 0.5 * errors["frozen"]).all()
