from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from undrift.agents import A2C, PPO, SAC
from undrift.agents.imitation import imitate, learn_values

SMALL = {"units": 8, "backbone_units": 12, "net_arch": {"pi": [16], "vf": [16]}}


class Cart(gymnasium.Env):
    """A mass on rails, x'' = u, to be held at 0; the observation is position and velocity, the reward -x²."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.state = 0, self.np_random.uniform(-1.0, 1.0, 2)
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.t += 1
        position, velocity = self.state
        velocity = velocity + 0.1 * float(action[0])
        self.state = np.array([position + 0.1 * velocity, velocity])
        return self.state.astype(np.float32), -float(position**2), False, self.t == 50, {}


class Damper:
    """Holds a Cart: u = -x - 1.5 x'."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.clip(-observation @ np.array([[1.0], [1.5]]), -1.0, 1.0), state


class Recall(gymnasium.Env):
    """Shows a sign once and pays for repeating it three steps later."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def _observe(self) -> np.ndarray:
        return np.array([self.sign if self.t == 0 else 0.0, self.t / 3], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2)) * 2 - 1
        return self._observe(), {}

    def step(self, action):
        over, self.t = self.t == 3, self.t + 1
        return self._observe(), float(over and 2 * action - 1 == self.sign), over, False, {}


class Rememberer:
    """Repeats the sign that a Recall showed at the start of the episode."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        shown = observation[:, 0]
        sign = shown if state is None else np.where(episode_start, shown, state[0])
        return (sign > 0).astype(np.int64), (sign,)


def cart(n_envs: int = 8) -> VecEnv:
    return make_vec_env(Cart, n_envs, seed=0)


def make(algorithm=PPO, env: VecEnv | None = None, **kwargs):
    own = {"batch_size": 64} if algorithm is PPO else {}
    defaults = {"n_steps": 32, "seq_len": 16, "seed": 0, "device": "cpu", "policy_kwargs": SMALL} | own
    return algorithm("CfcPolicy", cart() if env is None else env, **(defaults | kwargs))


def parameters(model) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


class Acted(VecEnvWrapper):
    """Keeps the actions that reach the environments."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.actions: list[np.ndarray] = []

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.actions.append(actions)
        self.venv.step_async(actions)

    def step_wait(self):
        return self.venv.step_wait()


@pytest.fixture(scope="module")
def clone() -> PPO:
    learner = make(n_steps=64)
    imitate(learner, Damper(), 8_000, learning_rate=1e-2)
    return learner


def test_a_policy_learns_to_act_as_the_expert(clone):
    env = cart(16)
    expert, _ = evaluate_policy(Damper(), env, 32)
    before, _ = evaluate_policy(make(), env, 32)
    after, _ = evaluate_policy(clone, env, 32)
    assert before < 2 * expert and after > 1.1 * expert


def test_what_an_expert_remembers_is_learned_with_a2c_too():
    env = make_vec_env(Recall, 32, seed=0)
    learner = make(A2C, env, n_steps=16, seq_len=16)
    before, _ = evaluate_policy(learner, env, 100)
    imitate(learner, Rememberer(), 8 * 1024, learning_rate=1e-2)
    after, _ = evaluate_policy(learner, env, 100)
    assert before < 0.7 and after > 0.95  # without memory nothing beats 0.5


def test_the_expert_flies_first_and_hands_over():
    env = Acted(cart())
    learner = make(env=env)
    curve = imitate(learner, Damper(), 4 * 256, beta=0.5)
    assert [row.beta for row in curve] == [1.0, 0.5, 0.25, 0.125]
    assert [row.steps for row in curve] == [256, 512, 768, 1024]
    labels = learner.rollout_buffer.actions  # of the last round
    acted = np.array(env.actions).reshape(4, 32, 8, 1)
    assert 0.05 < (acted[3] == labels).mean() < 0.25
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(acted[1], acted[0])


def test_every_step_is_labelled_with_what_the_expert_would_have_done():
    learner = make()
    imitate(learner, Damper(), 4 * 256, beta=0.0)
    buffer = learner.rollout_buffer
    np.testing.assert_allclose(buffer.actions, Damper().predict(buffer.observations)[0], atol=1e-6)
    assert buffer.episode_starts.sum() > 0


def test_the_critic_knows_the_returns_before_reinforcement_learning_begins(clone):
    def explained(learner) -> float:
        _, callback = learner._setup_learn(256)
        assert learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
        buffer = learner.rollout_buffer
        return explained_variance(buffer.values.ravel(), buffer.returns.ravel())

    assert explained(make(n_steps=64)) < 0.05
    assert explained(clone) > 0.2


class Stop(BaseCallback):
    """Stops after so many steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def _on_step(self) -> bool:
        return self.num_timesteps < self.after


def test_the_spread_is_what_the_policy_missed_the_expert_by():
    learner = make(policy_kwargs=SMALL | {"log_std_bounds": None})
    imitate(learner, Damper(), 256, learning_rate=0.0)
    observations, starts = learner.rollout_buffer.observations, learner.rollout_buffer.episode_starts
    state, means = None, []
    for seen, begins in zip(observations, starts, strict=True):
        mean, state = learner.predict(seen, state, begins, deterministic=True)
        means.append(mean)
    missed_by = np.sqrt(np.square(np.array(means) - learner.rollout_buffer.actions).mean())
    assert learner.policy.log_std.exp().item() == pytest.approx(missed_by, rel=1e-4)


def test_reinforcement_learning_goes_on_with_the_clone_and_a_clean_optimiser(clone, tmp_path):
    clone.save(tmp_path / "clone")
    learner = PPO.load(tmp_path / "clone", env=cart(), device="cpu")
    np.testing.assert_array_equal(parameters(learner), parameters(clone))
    assert not clone.policy.optimizer.state
    before, _ = evaluate_policy(learner, cart(16), 32)
    learner.learn(512)
    after, _ = evaluate_policy(learner, cart(16), 32)
    assert not torch.equal(parameters(learner), parameters(clone)) and after > 1.2 * before


def test_the_same_seed_imitates_to_the_same_bits():
    def imitated() -> torch.Tensor:
        learner = make()
        imitate(learner, Damper(), 512)
        return parameters(learner)

    assert torch.equal(imitated(), imitated())


def test_the_expert_sees_observations_that_are_not_normalised():
    seen = []

    class Watching(Damper):
        def predict(self, observation, *args, **kwargs):
            seen.append(observation)
            return super().predict(observation)

    class FarCart(Cart):
        def step(self, action):
            obs, *rest = super().step(action)
            return obs + 100.0, *rest

    env = VecNormalize(make_vec_env(FarCart, 2, seed=0))
    learner = make(env=env)
    imitate(learner, Watching(), 64)
    assert np.median(seen) > 90.0 and np.abs(learner.rollout_buffer.observations).max() <= 10.0


def test_a_callback_can_stop_it():
    learner = make()
    curve = imitate(learner, Damper(), 10_000, callback=Stop(400))
    assert len(curve) == 1 and learner.num_timesteps == 400


def test_what_cannot_imitate_or_be_imitated_is_refused():
    with pytest.raises(TypeError, match="SAC cannot imitate: give undrift.agents.PPO or A2C"):
        imitate(SAC("CfcPolicy", cart(1), policy_kwargs={"units": 4}), Damper(), 100)
    with pytest.raises(TypeError, match="object has no predict"):
        imitate(make(), object(), 100)
    with pytest.raises(ValueError, match="beta is 1.5: give a probability"):
        imitate(make(), Damper(), 100, beta=1.5)
    with pytest.raises(ValueError, match=r"the expert's actions have shape \(8,\), the environments take \(8, 1\)"):
        imitate(make(), Rememberer(), 100)


def test_the_critic_can_learn_alone_while_the_policy_stays_as_it_is():
    own = {"n_steps": 64, "gamma": 0.9, "n_epochs": 4, "policy_kwargs": SMALL | {"value_scale": 20.0}}
    learner, untaught = make(**own), make(**own)
    actor = {name: value.clone() for name, value in learner.policy.state_dict().items() if "value" not in name}
    learn_values(learner, 4_000, learning_rate=1e-2)
    for name, value in actor.items():
        assert torch.equal(learner.policy.state_dict()[name], value), name
    learn_values(untaught, 1)  # one rollout: what it holds was judged before anything was learned
    buffers = untaught.rollout_buffer, learner.rollout_buffer
    before, after = (explained_variance(buffer.values.ravel(), buffer.returns.ravel()) for buffer in buffers)
    assert learner.num_timesteps == 4_096 and before < 0.2 and after > 0.7


def test_the_critic_that_learns_alone_stops_where_a_callback_says_so():
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 10

    learner = make()
    learn_values(learner, 4_000, callback=Stop())
    assert learner.num_timesteps == 10 * learner.n_envs
