from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

from undrift.agents import PPO
from undrift.envs import ElapsedTime, PreviousAction

HALF = spaces.Box(np.float32([-2.0, 0.5]), np.float32([1.0, np.inf]))


class Deaf(gymnasium.Env):
    """Shows one number, whatever is done."""

    def __init__(self, action_space: spaces.Space, form: str = "box", dtype: type = np.float64) -> None:
        self.action_space, self.dtype = action_space, dtype
        one = spaces.Box(0, 9, (1,), dtype)
        self.observation_space = spaces.Dict({"one": one}) if form == "dict" else one

    def _observe(self):
        one = np.array([3], self.dtype)
        return {"one": one} if isinstance(self.observation_space, spaces.Dict) else one

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        return self._observe(), 0.0, False, False, {}


@pytest.mark.parametrize("form", ["box", "dict"])
@pytest.mark.parametrize(
    ("action_space", "action", "shown"),
    [
        (HALF, np.float32([-1.5, 7.0]), [-1.5, 7.0]),
        (spaces.Discrete(3), 1, [0, 1, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
        (spaces.MultiBinary(2), np.array([1, 0], np.int8), [1, 0]),
    ],
)
def test_each_observation_ends_with_the_action_before_it_and_the_first_with_zeros(form, action_space, action, shown):
    env = PreviousAction(Deaf(action_space, form))
    check_env(env, skip_render_check=True)

    def read(obs) -> list[float]:
        return list(obs["previous_action"] if form == "dict" else obs[1:])

    nothing = [0.0] * len(shown)
    first = env.reset(seed=0)[0]
    assert read(first) == nothing and first in env.observation_space
    after = env.step(action)[0]
    assert read(after) == shown and after in env.observation_space
    assert read(env.reset()[0]) == nothing and read(after) == shown


def test_what_is_seen_besides_stays_and_whole_numbers_become_real_ones():
    for dtype in (np.float64, np.float32, np.uint8):
        env = PreviousAction(Deaf(HALF, dtype=dtype))
        env.reset()
        obs = env.step(np.float32([-1.5, 0.5]))[0]
        assert obs.tolist() == [3.0, -1.5, 0.5]
        assert obs.dtype == (np.float32 if dtype is np.uint8 else dtype) == env.observation_space.dtype


def test_names_and_scales_go_on():
    hover = gymnasium.make("undrift/DroneHover-v0")
    env = PreviousAction(hover)
    names = tuple(f"previous_action_{i}" for i in range(4))
    assert env.observation_names == (*hover.get_wrapper_attr("observation_names"), *names)
    np.testing.assert_allclose(env.observation_scale, [*hover.get_wrapper_attr("observation_scale"), 1, 1, 1, 1])


def test_it_goes_with_elapsed_time_and_many_environments():
    env = make_vec_env(lambda: PreviousAction(ElapsedTime(gymnasium.make("Pendulum-v1"))), n_envs=2, seed=0)
    model = PPO("GruPolicy", env, n_steps=8, seq_len=8, batch_size=16, policy_kwargs={"units": 4}, device="cpu")
    model.learn(16)
    assert model.policy.memory.elapsed == 3
    shown, sent = model.rollout_buffer.observations[1:, :, 4], model.rollout_buffer.actions[:-1, :, 0]
    np.testing.assert_allclose(shown, np.clip(sent, -2.0, 2.0), rtol=1e-6)


def test_it_is_made_again_from_its_spec():
    spec = PreviousAction(gymnasium.make("CartPole-v1")).spec
    assert gymnasium.make(spec).observation_space.shape == (6,)


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="actions of Sequence.* are not a fixed number of numbers"):
        PreviousAction(Deaf(spaces.Sequence(HALF)))
    with pytest.raises(ValueError, match="previous action goes into a Dict or a Box with one axis, not Discrete"):
        PreviousAction(gymnasium.make("FrozenLake-v1"))
    for form in ("box", "dict"):
        with pytest.raises(ValueError, match="the observation has 'previous_action.* already"):
            PreviousAction(PreviousAction(Deaf(HALF, form)))
