"""Pilots: they solve their tasks, keep clear of pillars, and fly nothing else."""

import numpy as np
import pytest

from undrift.envs import EXPERTS, make_batch
from undrift.envs.drone.pilots import GatePilot, PillarPilot


def fly(env, pilot, seeds):
    """Whether each episode is solved without a crash, [N], and the smallest distance from anything, [N] m."""
    observation, state, crashed, nearest = env.reset(seeds), None, np.zeros(env.num_envs, dtype=bool), np.inf
    for _ in range(env.max_episode_steps):
        action, state = pilot.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        crashed |= terminated
        nearest = np.minimum(nearest, np.where(crashed, np.inf, env.clearance()))
    return info["success"] & ~crashed, nearest


def test_the_gate_pilot_flies_a_lap():
    env = make_batch("DroneGates", 20)
    assert fly(env, GatePilot(env), list(range(1000, 1020)))[0].sum() >= 19


def test_the_pillar_pilot_reaches_the_target_at_a_distance_from_pillars():
    env = make_batch("DroneReach", 20)
    solved, nearest = fly(env, PillarPilot(env, clearance=0.35), list(range(1000, 1020)))
    assert solved.sum() >= 19
    assert nearest.min() > env.vehicle.radius + 0.1


def test_the_field_goes_round_a_pillar_and_never_into_it():
    pilot = PillarPilot(make_batch("DroneReach", 1))
    angle = np.linspace(0, 2 * np.pi, 50)
    outwards = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    straight = np.tile([2.0, 0.0], (50, 1))
    at_the_rim = pilot._bend(straight, pilot.margin * outwards[:, None])
    assert ((at_the_rim * outwards).sum(axis=1) > -0.01).all()
    assert (np.linalg.norm(at_the_rim, axis=1) <= 2.0 + 1e-12).all()
    leaving = outwards[:, 0] > 0.99
    np.testing.assert_allclose(at_the_rim[leaving], straight[leaving], atol=0.3)
    np.testing.assert_allclose(pilot._bend(straight, 100 * outwards[:, None]), straight, atol=1e-3)


def test_without_pillars_the_way_is_straight():
    env = make_batch("DroneReach", 3, pillars=0)
    env.reset([0, 1, 2])
    way = env.target - env.qpos[:, :3]
    expected = 2.0 * way / np.linalg.norm(way, axis=1, keepdims=True)
    np.testing.assert_allclose(PillarPilot(env, pace=2.0).velocity(env), expected, atol=1e-12)


@pytest.mark.parametrize("task", EXPERTS)
def test_every_expert_acts_in_its_environment(task):
    env = make_batch(task, 2)
    action, _ = EXPERTS[task](env).predict(env.reset([0, 1]))
    assert action.shape == (2, len(env.action_names)) and np.abs(action).max() <= 1.0


def test_what_a_pilot_cannot_fly_is_refused():
    gates = make_batch("DroneGates", 3)
    with pytest.raises(ValueError, match="DroneReach"):
        PillarPilot(gates)
    with pytest.raises(ValueError, match="above 0"):
        GatePilot(gates, pace=0.0)
    with pytest.raises(ValueError, match="1 observations of 3 simulations"):
        GatePilot(gates).predict(gates.reset([0, 1, 2])[0])
