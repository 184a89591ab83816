"""Attributes of Gymnasium's classic environments: at the right step, by how much, and back again."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from undrift.envs import Abrupt, Attribute, Ramp, Shifted, make_batch


def test_the_gravity_of_pendulum_changes_in_mid_episode_exactly_at_the_onset():
    env = Shifted(gymnasium.make("Pendulum-v1", g=9.81), Attribute(attribute="g", value=11.0, schedule=Abrupt(1.0)))
    assert (env.reset(seed=0)[1]["shift"] == 0).all()
    for step in range(40):
        angle, rate = env.unwrapped.state
        env.unwrapped.max_speed = np.inf
        info = env.step(np.array([0.5], dtype=np.float32))[4]
        gravity = 9.81 if step < 20 else 11.0
        expected = 1.5 * gravity * np.sin(angle) + 3.0 * 0.5
        assert (env.unwrapped.state[1] - rate) / 0.05 == pytest.approx(expected, abs=1e-9)
        assert info["shift"] == (step >= 20)
    env.reset()
    assert env.unwrapped.g == 9.81


def test_what_is_derived_from_an_attribute_is_shifted_beside_it():
    schedule = Abrupt(0.1)
    heavy = {"masspole": 0.3, "total_mass": 1.3, "polemass_length": 0.15}
    shifts = [Attribute(attribute=name, value=value, schedule=schedule) for name, value in heavy.items()]
    env, plain = Shifted(gymnasium.make("CartPole-v1"), *shifts), gymnasium.make("CartPole-v1")
    env.reset(seed=1), plain.reset(seed=1)
    for step in range(15):
        if step == 5:
            for name, value in heavy.items():
                setattr(plain.unwrapped, name, value)
        np.testing.assert_array_equal(env.step(step % 2)[0], plain.step(step % 2)[0])
    env.close()
    assert env.unwrapped.masspole == 0.1 and env.unwrapped.total_mass == 1.1


def test_half_strength_goes_half_of_the_way_and_the_own_value_comes_back_as_it_was():
    env = gymnasium.make("Pendulum-v1", g=10)
    shift = Attribute(value=20.0, schedule=Ramp(0.0, 1.0))
    shifted = Shifted(env, shift)
    shifted.reset(seed=0)
    for _ in range(11):
        shifted.step(np.zeros(1))
    assert env.unwrapped.g == pytest.approx(15.0)
    shifted.close()
    assert env.unwrapped.g == 10 and type(env.unwrapped.g) is int


@pytest.mark.parametrize("name", ["gravitation", "render_mode", "observation_space", "_max_episode_steps"])
def test_an_attribute_that_is_no_number_is_refused_with_those_that_are(name):
    with pytest.raises(
        ValueError, match="a number attribute of the environment; it has: dt, g, l, m, max_speed, max_torque"
    ):
        Shifted(gymnasium.make("Pendulum-v1"), Attribute(attribute=name, value=1.0))


def test_an_environment_without_such_attributes_is_told_so():
    with pytest.raises(ValueError, match="it has: none"):
        make_batch("DroneTrack", shifts=(Attribute(),))


def test_of_two_on_one_attribute_the_last_has_the_last_word():
    shifts = (Attribute(value=11.0, schedule=Abrupt(0.0)), Attribute(value=12.0, schedule=Abrupt(0.05)))
    env = Shifted(gymnasium.make("Pendulum-v1"), *shifts)
    env.reset(seed=0)
    assert env.unwrapped.g == 11.0
    env.step(np.zeros(1)), env.step(np.zeros(1))
    assert env.unwrapped.g == 12.0
