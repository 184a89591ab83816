from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from undrift.agents.algorithms import SAC, TD3

SMALL = {"units": 6, "backbone_units": 8, "net_arch": [16]}
BOTH = pytest.mark.parametrize("algorithm", [SAC, TD3])


class Count(gymnasium.Env):
    """Shows (time in the episode, episode); an odd episode is cut short after seven steps, an even one ends after four."""

    observation_space = spaces.Box(0.0, 1000.0, (2,), np.float32)
    action_space = spaces.Box(-3.0, 1.0, (1,), np.float32)
    episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return np.float32([0, self.episode]), {}

    def step(self, action):
        self.time += 1
        odd = self.episode % 2 == 1
        ended, cut = not odd and self.time == 4, odd and self.time == 7
        return np.float32([self.time, self.episode]), float(action[0]), ended, cut, {}


def make_env(n_envs: int = 2) -> VecEnv:
    return make_vec_env(Count, n_envs, seed=0)


def make(algorithm=SAC, env: VecEnv | None = None, **kwargs):
    short = {"seq_len": 4, "burn_in": 3, "batch_size": 8, "learning_starts": 50, "buffer_size": 400, "seed": 0}
    short |= {"policy_kwargs": SMALL, "device": "cpu"}
    return algorithm("CfcPolicy", make_env() if env is None else env, **(short | kwargs))


def vector(network: torch.nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def drawn(model, sequences: int = 40):
    np.random.seed(0)
    return model.replay_buffer.sample(4 * sequences)


@BOTH
@pytest.mark.parametrize("critic_memory", [True, "separate"])
def test_replayed_sequences_remember_what_was_remembered_while_acting(algorithm, critic_memory):
    policy_kwargs = SMALL | {"critic_memory": critic_memory}
    model = make(algorithm, policy_kwargs=policy_kwargs, learning_starts=60, gradient_steps=0).learn(200)
    buffer, policy = model.replay_buffer, model.policy
    with torch.no_grad():
        for env in range(2):
            stream = slice(0, int(buffer.written[env])), slice(env, env + 1)
            starts = torch.from_numpy(buffer.episode_starts[stream].astype(np.float32))
            obs = torch.from_numpy(buffer.observations[stream])
            expected = torch.cat(policy.remember(obs, policy.initial_state(1), starts)[:2], -1)[:, 0]
            begin = np.arange(buffer._beginnings()[1][env])
            batch = buffer._gather(begin, np.full(len(begin), env), None)
            found = torch.cat(model._remember(batch), -1)
            rows = 3 + np.arange(len(found))[:, None] + buffer.state_every * begin
            torch.testing.assert_close(found, expected[rows], atol=1e-5, rtol=0)
            assert starts.sum() > 10 and len(begin) > 10


def expected_critic_loss(model, batch, next_values: torch.Tensor, judged: torch.Tensor) -> float:
    """Step by step, in double precision: the mean squared error over the steps taken, summed over the critics."""
    errors, taken = [], 0
    for t in range(4):
        for b in range(batch.actions.shape[1]):
            if batch.weights[t, b] == 0:
                continue
            taken += 1
            target = batch.rewards[t, b] + batch.discounts[t, b] * next_values[batch.successors[t, b], b]
            values = model.critic(judged[t : t + 1, b : b + 1], batch.actions[t : t + 1, b : b + 1])[:, 0, 0]
            errors += [(value - target).item() ** 2 for value in values]
    return sum(errors) / taken


def test_sacs_losses_are_those_of_the_paper():
    model = make(SAC, learning_starts=20, ent_coef="auto_0.3", n_steps=2).learn(200)
    batch = drawn(model)
    policy, entropy_before = model.policy, model.log_ent_coef.exp().item()
    with torch.no_grad():
        for parameter in policy.critic_target.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        torch.manual_seed(3)
        seen, judged = model._remember(batch)
        actions, log_prob = policy.actor.sample(seen)
        target_judged = policy.judge(batch.observations, batch.states, batch.episode_starts)[3:]
        next_values = policy.critic_target(target_judged, actions).min(0).values - entropy_before * log_prob
        critic_loss = 0.5 * expected_critic_loss(model, batch, next_values, judged)
    torch.manual_seed(3)
    figures = model._update(batch)
    assert figures["critic_loss"] == pytest.approx(critic_loss, rel=1e-4)
    assert figures["ent_coef"] == pytest.approx(entropy_before)
    taken = batch.weights > 0
    assert not taken.all()
    gap = log_prob[:4][taken].mean().item() - 1.0
    assert figures["ent_coef_loss"] == pytest.approx(-np.log(entropy_before) * gap, rel=1e-3)
    assert (model.log_ent_coef.exp().item() > entropy_before) == (gap > 0)
    with torch.no_grad():  # the actor follows the critics after their step
        values = policy.critic(judged[:4], actions[:4]).min(0).values
    actor_loss = (entropy_before * log_prob[:4] - values)[taken].mean().item()
    assert figures["actor_loss"] == pytest.approx(actor_loss, rel=1e-4)


def test_td3s_losses_are_those_of_the_paper():
    model = make(TD3, learning_starts=20, policy_delay=2, target_policy_noise=0.3, target_noise_clip=0.2).learn(200)
    batch, policy = drawn(model), model.policy
    with torch.no_grad():
        for network in (policy.critic_target, policy.actor_target):
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        _, judged = model._remember(batch)
        sequence = batch.observations, batch.states, batch.episode_starts
        target_seen, target_judged = (features[3:] for features in policy.remember_as_target(*sequence))
        actions = policy.actor_target.act(target_seen)
        torch.manual_seed(3)
        noise = (0.3 * torch.randn_like(actions)).clamp(-0.2, 0.2)
        next_values = policy.critic_target(target_judged, (actions + noise).clamp(-1, 1)).min(0).values
        critic_loss = expected_critic_loss(model, batch, next_values, judged)
    model._n_updates = 2
    torch.manual_seed(3)
    figures = model._update(batch)
    assert figures["critic_loss"] == pytest.approx(critic_loss, rel=1e-4)
    model._n_updates = 3
    before = vector(policy.actor), vector(policy.critic_target)
    assert set(model._update(batch)) == {"critic_loss"}
    assert torch.equal(vector(policy.actor), before[0]) and torch.equal(vector(policy.critic_target), before[1])


@BOTH
def test_targets_follow_by_the_share_tau(algorithm):
    model = make(algorithm, learning_starts=20, tau=0.25).learn(100)
    pairs = [(model.policy.critic_target, model.policy.critic)]
    if algorithm is TD3:
        pairs.append((model.policy.actor_target, model.policy.actor))
    before = [vector(target) for target, _ in pairs]
    model._n_updates = 2
    model._update(drawn(model))
    for old, (target, network) in zip(before, pairs, strict=True):
        torch.testing.assert_close(vector(target), 0.75 * old + 0.25 * vector(network))


@BOTH
def test_normalised_or_not_the_buffer_holds_what_the_environment_showed(algorithm):
    env = VecNormalize(make_env(), clip_obs=1e6)  # a clipped last observation would not be found again
    model = make(algorithm, env).learn(200)
    buffer = model.replay_buffer
    for i in range(2):
        time, episode = buffer.observations[: buffer.written[i], i].T
        time, episode = time.round(3), episode.round(3)
        last = np.flatnonzero(np.diff(episode))
        np.testing.assert_array_equal(time[last], np.where(episode[last] % 2, 7, 4))
        np.testing.assert_array_equal(np.diff(time)[np.diff(episode) == 0], 1)
        np.testing.assert_array_equal(np.flatnonzero(buffer.episode_starts[: buffer.written[i], i])[1:], last + 1)
        terminated = np.flatnonzero(buffer.terminated[: buffer.written[i], i])
        np.testing.assert_array_equal(terminated, last[episode[last] % 2 == 0] - 1)
    rows = np.arange(8)
    batch = buffer._gather(np.array([0]), np.array([1]), env)
    np.testing.assert_allclose(batch.observations[:, 0], env.normalize_obs(buffer.observations[rows, 1]))
    np.testing.assert_allclose(
        batch.rewards[:, 0], env.normalize_reward(buffer.rewards[rows[3:7], 1]) * (batch.weights[:, 0] > 0).numpy()
    )
    assert buffer.actions.min() >= -1 and 0.9 < buffer.actions.max() <= 1


@BOTH
def test_an_interrupted_episode_is_not_joined_with_the_next(algorithm):
    model = make(algorithm, make_env(1)).learn(3)
    model.learn(60)
    buffer = model.replay_buffer
    assert buffer.observations[:5, 0].tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1]]
    batch = buffer._gather(np.array([0]), np.array([0]), None)
    assert np.flatnonzero(batch.episode_starts[:, 0])[:2].tolist() == [0, 3]


@BOTH
def test_it_logs_what_sb3_logs_and_follows_the_schedule(algorithm):
    def logged(model) -> dict:
        kept = {}

        class Keep(BaseCallback):
            def _on_step(self) -> bool:
                return True

            def _on_rollout_start(self) -> None:
                kept.update(self.logger.name_to_value)

        model.learn(100, callback=Keep(), log_interval=None)
        return kept

    schedule = LinearSchedule(1e-3, 0.0, 1.0)
    ours = logged(make(algorithm, learning_starts=20, learning_rate=schedule))
    own = getattr(stable_baselines3, algorithm.__name__)
    theirs = own("MlpPolicy", make_env(), schedule, learning_starts=20, seed=0, policy_kwargs={"net_arch": [16]})
    assert set(ours) == set(logged(theirs))
    assert ours["train/learning_rate"] == pytest.approx(2e-5)  # two of a hundred steps before the end
    assert ours["train/n_updates"] > 30


def test_arguments_of_sb3_work(tmp_path):
    noise = NormalActionNoise(np.zeros(1), np.full(1, 0.5))
    model = make(TD3, make_env(1), learning_starts=0, action_noise=noise, train_freq=(2, "episode"), gradient_steps=-1)
    assert model.learn(30)._n_updates > 0
    assert np.std(model.replay_buffer.actions[:30]) > 0.05
    assert len(model.ep_info_buffer) > 3 and {info["l"] for info in model.ep_info_buffer} == {4, 7}
    evaluation = EvalCallback(
        make_env(1), n_eval_episodes=2, eval_freq=50, log_path=str(tmp_path), verbose=0, warn=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make(SAC, n_steps=3, ent_coef=0.1, tensorboard_log=str(tmp_path / "logs")).learn(200, evaluation)
    assert model.replay_buffer.n_steps == 3 and np.load(tmp_path / "evaluations.npz")["results"].shape == (2, 2)
    assert list((tmp_path / "logs" / "SAC_1").iterdir())
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 220


def test_learning_waits_for_a_whole_sequence():
    model = make(SAC, learning_starts=2)
    assert model.learn(12)._n_updates == 0
    assert model.learn(30)._n_updates > 0


def test_the_users_arguments_stay_as_they_are():
    policy_kwargs, replay_kwargs = dict(SMALL), {"state_every": 5}
    model = make(SAC, policy_kwargs=policy_kwargs, replay_buffer_kwargs=replay_kwargs)
    assert policy_kwargs == SMALL and replay_kwargs == {"state_every": 5}
    assert model.replay_buffer.state_every == 5


@BOTH
def test_a_saved_buffer_is_loaded_and_one_that_does_not_fit_is_refused(algorithm, tmp_path):
    model = make(algorithm).learn(100)
    model.save_replay_buffer(tmp_path / "buffer")
    other = make(algorithm)
    other.load_replay_buffer(tmp_path / "buffer")
    for one, same in zip(drawn(model), drawn(other), strict=True):
        assert torch.equal(one, same)
    longer = make(algorithm, seq_len=8, burn_in=0, n_steps=2, learning_starts=20)
    longer.load_replay_buffer(tmp_path / "buffer")
    assert longer.replay_buffer.sample(16).observations.shape == (10, 2, 2)
    assert longer.learn(30)._n_updates > 0
    written = other.replay_buffer.written.copy()
    other.learn(20)
    assert other.replay_buffer.episode_starts[written, [0, 1]].all()
    with pytest.raises(ValueError, match="the buffer is of 2 environments, the model has 1"):
        make(algorithm, make_env(1)).load_replay_buffer(tmp_path / "buffer")
    with pytest.raises(ValueError, match="holds states of 6 numbers, the policy has 7"):
        make(algorithm, policy_kwargs=SMALL | {"units": 7}).load_replay_buffer(tmp_path / "buffer")


@BOTH
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"replay_buffer_class": HerReplayBuffer}, "HerReplayBuffer exchanges the goal of single transitions"),
        ({"replay_buffer_class": ReplayBuffer}, "ReplayBuffer stores single transitions"),
        ({"optimize_memory_usage": True}, "leave optimize_memory_usage=False"),
        ({"batch_size": 10}, "batch_size=10 must be a multiple of seq_len=4"),
        ({"buffer_size": 10}, "too small for sequences of 8 steps; it needs at least 32"),
    ],
)
def test_what_does_not_go_with_memory_is_refused(algorithm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(algorithm, **kwargs)


@BOTH
def test_discrete_actions_and_policies_without_memory_are_refused(algorithm):
    with pytest.raises(AssertionError, match="only supports .*Box"):
        make(algorithm, make_vec_env("CartPole-v1"))
    with pytest.raises(TypeError, match="has no memory; use 'CfcPolicy'"):
        algorithm(getattr(stable_baselines3, algorithm.__name__).policy_aliases["MlpPolicy"], make_env())


class Recall(gymnasium.Env):
    """Shows a sign once and pays for being near it two steps later."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _observe(self) -> np.ndarray:
        return np.array([self.sign if self.t == 0 else 0.0, self.t / 2], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2)) * 2 - 1
        return self._observe(), {}

    def step(self, action):
        over = self.t == 2
        reward = 1.0 - abs(float(action[0]) - self.sign) if over else 0.0
        self.t += 1
        return self._observe(), reward, over, False, {}


@BOTH
def test_it_learns_to_remember(algorithm):
    env = make_vec_env(Recall, 8, seed=0)
    model = make(
        algorithm, env, seq_len=8, burn_in=0, batch_size=64, learning_rate=5e-3, learning_starts=200, buffer_size=10_000
    )
    before, _ = evaluate_policy(model, env, 100, warn=False)
    after, _ = evaluate_policy(model.learn(8 * 250), env, 100, warn=False)
    assert before < 0.2 and after > 0.5  # without memory nothing beats 0 on average
