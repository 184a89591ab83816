"""Velocities are found where positions, or the cosine and sine of an angle, are observed beside them."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents.adaptation.kinematics import find_signals
from undrift.envs import make_any_batch


def flown(env_id, steps):
    """Random actions that last for a while: the environment, and observations before and after each step."""
    env, rng = make_any_batch(env_id, 4, seed=0), np.random.default_rng(0)
    before, after, observation = [], [], env.reset()
    action = np.zeros((4, *env.action_space.shape))
    for k in range(steps):
        action = rng.uniform(-1.0, 1.0, action.shape) if k % 5 == 0 else action
        following = env.step(action)[0]
        before.append(observation)
        after.append(following)
        observation = following
    return env, np.concatenate(before), np.concatenate(after)


@pytest.mark.parametrize(
    ("env_id", "first_rate"),
    # A cheetah observes eight positions, how fast it runs, whose position it does not observe, and the eight velocities.
    [("Pendulum-v1", 2), ("HalfCheetah-v5", 9)],
)
def test_velocities_are_found_in_gymnasiums_environments(env_id, first_rate):
    env, before, after = flown(env_id, 150)
    signals = find_signals(env.observation_names, before, after, env.dt)
    assert list(signals.rates) == list(env.observation_names[first_rate:])
    assert signals.context == env.observation_names[:first_rate]
    assert not signals.tracking and not signals.previous_action


def test_a_channel_that_only_goes_along_with_a_derivative_is_no_velocity():
    t = 0.02 * np.arange(500)
    position, twice = np.sin(t), 2.0 * np.cos(t)
    observation = np.stack([position, twice, np.zeros_like(t)], axis=1)
    with pytest.raises(ValueError, match="none is the derivative of another: declare which are velocities"):
        find_signals(("x", "y", "z"), observation[:-1], observation[1:], 0.02)
    observation[:, 1] = np.cos(t)
    circle = find_signals(("x", "y", "z"), observation[:-1], observation[1:], 0.02)
    assert "y" in circle.rates
