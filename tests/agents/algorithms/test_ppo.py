from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from undrift.agents.algorithms import PPO
from undrift.agents.algorithms.sequences import SequenceSamples

SMALL = {"units": 8, "backbone_units": 12, "net_arch": {"pi": [16], "vf": [16]}}


def pendulum(n_envs: int = 4, episode_steps: int = 11) -> DummyVecEnv:
    return make_vec_env(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=episode_steps), n_envs, seed=0)


def cartpole(n_envs: int = 4, episode_steps: int = 15) -> DummyVecEnv:
    return make_vec_env(lambda: gymnasium.make("CartPole-v1", max_episode_steps=episode_steps), n_envs, seed=0)


def make_ppo(env, **kwargs) -> PPO:
    defaults = {"n_steps": 32, "seq_len": 8, "batch_size": 64, "n_epochs": 2, "seed": 0, "device": "cpu"}
    return PPO("CfcPolicy", env, **(defaults | {"policy_kwargs": SMALL} | kwargs))


def parameters(model: PPO) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


class Witness(BaseCallback):
    """Keeps what every step of the environments returned."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict] = []

    def _on_step(self) -> bool:
        names = ("obs", "actions", "rewards", "dones", "infos")
        self.seen.append({name: self.locals[name] for name in names})
        return True


def collect(model: PPO, rollouts: int = 1) -> Witness:
    """Collect rollouts without learning from them; returns the witness of the last."""
    model._setup_learn(10_000)
    for _ in range(rollouts):
        witness = Witness()
        witness.init_callback(model)
        assert model.collect_rollouts(model.env, witness, model.rollout_buffer, model.n_steps)
    return witness


@pytest.mark.parametrize("env", [pendulum, cartpole])
def test_the_update_sees_the_log_probabilities_and_values_of_the_rollout(env):
    model = make_ppo(env())
    collect(model, rollouts=2)
    rollout = model.rollout_buffer.sequences()
    assert rollout.episode_starts[1:].sum() > 0 and rollout.states.abs().max() > 0
    for batch in (rollout, *model.rollout_buffer.minibatches(rollout, model.batch_size)):
        values, log_prob, _, _ = model.policy.evaluate_actions(
            batch.observations, batch.actions, batch.states, batch.episode_starts
        )
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=0)
        torch.testing.assert_close(values, batch.old_values, atol=1e-5, rtol=0)


def test_truncation_is_bootstrapped_with_the_last_observation_and_its_own_memory_and_termination_is_not():
    model = make_ppo(cartpole(), gamma=0.9, gae_lambda=1.0)
    cell, policy, buffer = model.policy.cell, model.policy, model.rollout_buffer
    steps = collect(model).seen
    h = torch.zeros(4, cell.state_size)
    kinds = {"truncated": 0, "terminated": 0}
    with torch.no_grad():
        for t, step in enumerate(steps):
            h = cell.step(torch.from_numpy(step["obs"]), h)
            for i in range(4):
                expected = step["rewards"][i]
                if step["dones"][i]:
                    truncated = step["infos"][i]["TimeLimit.truncated"]
                    kinds["truncated" if truncated else "terminated"] += 1
                    if truncated:
                        x = torch.from_numpy(step["infos"][i]["terminal_observation"])[None]
                        features = torch.cat([x, cell.step(x, h[i : i + 1])], 1)
                        expected += 0.9 * policy.values(features).item()
                assert buffer.rewards[t, i] == pytest.approx(expected, abs=1e-5)
            h[step["dones"]] = 0.0
        x = torch.from_numpy(model._last_obs)
        following = policy.values(torch.cat([x, cell.step(x, h)], 1)).numpy()
    assert min(kinds.values()) > 0
    np.testing.assert_allclose(
        buffer.returns[-1], buffer.rewards[-1] + 0.9 * following * ~steps[-1]["dones"], atol=1e-5
    )


def outdated_rollout(model: PPO) -> SequenceSamples:
    """A rollout of the policy as it was before its parameters moved a little."""
    collect(model)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.rollout_buffer.sequences()


def test_the_loss_is_that_of_the_paper():
    model = make_ppo(pendulum(), ent_coef=0.01, clip_range_vf=0.05, clip_range=0.1)
    batch = outdated_rollout(model)
    with torch.no_grad():
        loss, figures = model._loss(batch)
        values, log_prob, entropy, _ = (
            tensor.double().numpy()
            for tensor in model.policy.evaluate_actions(
                batch.observations, batch.actions, batch.states, batch.episode_starts
            )
        )
    old_values, old_log_prob, returns = batch.old_values.numpy(), batch.old_log_prob.numpy(), batch.returns.numpy()
    advantages = batch.advantages.double().numpy()
    advantages = (advantages - advantages.mean()) / advantages.std(ddof=1)
    ratio = np.exp(log_prob - old_log_prob)
    surrogate = np.minimum(ratio * advantages, np.clip(ratio, 0.9, 1.1) * advantages).mean()
    clipped = old_values + np.clip(values - old_values, -0.05, 0.05)
    expected = -surrogate + 0.5 * ((clipped - returns) ** 2).mean() - 0.01 * entropy.mean()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    model._record([figures])
    logged = model.logger.name_to_value
    assert logged["train/clip_fraction"] == pytest.approx((np.abs(ratio - 1) > 0.1).mean(), abs=1e-6) != 0
    assert logged["train/approx_kl"] == pytest.approx((ratio - 1 - np.log(ratio)).mean(), rel=1e-3)


@pytest.mark.parametrize("critic_memory", [True, False, "separate"])
def test_the_gradient_in_closed_form_is_that_of_the_loss(critic_memory):
    model = make_ppo(pendulum(), bounds_coef=0.1, policy_kwargs=SMALL | {"critic_memory": critic_memory})
    batch = outdated_rollout(model)
    expected, figures = model._differentiate(batch)
    found, same_figures = model._differentiation()(batch)
    torch.testing.assert_close(same_figures.losses, figures.losses, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same_figures.log_ratio, figures.log_ratio, rtol=1e-4, atol=1e-5)
    assert set(found) == set(model.policy.parameters())
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-3, atol=1e-5)


def test_the_bounds_penalty_is_the_mean_squared_excess_of_the_means():
    losses = {}
    for coefficient in (0.0, 0.5):
        model = make_ppo(pendulum(), bounds_coef=coefficient)
        with torch.no_grad():
            model.policy.action_net.weight.zero_()
            model.policy.action_net.bias.fill_(5.0)
        collect(model)
        losses[coefficient] = model._loss(model.rollout_buffer.sequences())[0].item()
    assert losses[0.5] - losses[0.0] == pytest.approx(0.5 * (5.0 - 2.0) ** 2, rel=1e-4)


def test_the_same_seed_trains_to_the_same_bits_and_another_does_not():
    trained = [parameters(make_ppo(pendulum(), seed=seed).learn(256)) for seed in (3, 3, 4)]
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_a_saved_model_predicts_the_same_and_learns_on(tmp_path):
    model = make_ppo(pendulum(), n_steps=16, policy_kwargs=SMALL | {"log_std_bounds": (-1.5, -0.5)}).learn(128)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=pendulum(), device="cpu")
    assert torch.equal(parameters(loaded), parameters(model))
    assert (loaded.seq_len, loaded.n_steps, loaded.num_timesteps) == (8, 16, 128)
    moments = [m.policy.optimizer.state_dict()["state"][0]["exp_avg"] for m in (model, loaded)]
    assert torch.equal(*moments)
    obs = pendulum().reset()
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])
    loaded.learn(128, reset_num_timesteps=False)
    assert loaded.num_timesteps == 256 and not torch.equal(parameters(loaded), parameters(model))
    assert loaded.policy.log_std.max() <= -0.5


def test_a_loaded_model_takes_another_number_of_environments(tmp_path):
    make_ppo(pendulum()).save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=pendulum(n_envs=2), device="cpu").learn(64)
    assert loaded.num_timesteps == 64 and loaded.rollout_buffer.n_envs == 2


def test_learning_goes_on_across_calls_and_in_another_environment():
    model = make_ppo(pendulum()).learn(128)
    model.learn(128, reset_num_timesteps=False)
    model.set_env(pendulum())
    model.learn(128, reset_num_timesteps=False)
    assert model.num_timesteps == 384
    assert np.all(model.rollout_buffer.episode_starts[0] == 1)


def test_callbacks_and_sb3s_evaluation_work(tmp_path):
    class StopAt(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 300

    evaluation = EvalCallback(
        pendulum(1), n_eval_episodes=2, eval_freq=20, log_path=str(tmp_path), verbose=0, warn=False
    )
    model = make_ppo(pendulum()).learn(10_000, callback=CallbackList([evaluation, StopAt()]))
    assert model.num_timesteps == 300
    assert np.load(tmp_path / "evaluations.npz")["results"].shape == (3, 2)
    mean, _ = evaluate_policy(model, pendulum(3), n_eval_episodes=5)
    assert -16.3 * 11 < mean < 0


def test_it_logs_what_sb3_logs_and_follows_the_schedules():
    model = make_ppo(pendulum(), learning_rate=LinearSchedule(1e-3, 0.0, 1.0), clip_range=LinearSchedule(0.4, 0.2, 1.0))
    logged: list[dict] = []

    class Keep(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            logged.append(dict(self.logger.name_to_value))

    model.learn(512, callback=Keep(), log_interval=None)
    names = "approx_kl clip_fraction clip_range entropy_loss explained_variance learning_rate loss n_updates"
    names += " policy_gradient_loss std value_loss"
    assert set(logged[2]) == {f"train/{name}" for name in names.split()}
    assert [round(row["train/learning_rate"], 9) for row in logged[1:]] == [0.00075, 0.0005, 0.00025]
    assert [round(row["train/clip_range"], 9) for row in logged[1:]] == [0.35, 0.3, 0.25]
    assert [info["l"] for info in model.ep_info_buffer] == [11] * len(model.ep_info_buffer) != []


def test_a_policy_that_moves_too_far_stops_the_update():
    def updates(**kwargs) -> int:
        return make_ppo(pendulum(), n_epochs=5, learning_rate=1e-2, **kwargs).learn(128)._n_updates

    assert updates() == 5
    assert updates(target_kl=1e-6) == 1


def test_normalised_observations_and_rewards_work():
    env = VecNormalize(pendulum())
    model = make_ppo(env).learn(256)
    assert model.rollout_buffer.rewards.std() < 3.0 and np.abs(model.rollout_buffer.observations).max() <= 10.0
    assert env.obs_rms.count > 256


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
        over = self.t == 3
        reward = float(over and 2 * action - 1 == self.sign)
        self.t += 1
        return self._observe(), reward, over, False, {}


def test_it_learns_to_remember():
    env = make_vec_env(Recall, 32, seed=0)
    policy = SMALL | {"units": 16}
    model = make_ppo(env, seq_len=16, batch_size=256, n_epochs=4, learning_rate=5e-3, policy_kwargs=policy)
    before, _ = evaluate_policy(model, env, 200, warn=False)
    after, _ = evaluate_policy(model.learn(16 * 1024), env, 200, warn=False)
    assert before < 0.7 and after > 0.95  # without memory nothing beats 0.5


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_steps": 30}, "n_steps=30 must be a multiple of seq_len=8"),
        ({"batch_size": 60}, "batch_size=60 must be a multiple of seq_len=8"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_ppo(pendulum(), **kwargs)


def test_a_policy_without_memory_or_an_unknown_name_is_refused():
    from stable_baselines3.common.policies import ActorCriticPolicy

    with pytest.raises(TypeError, match="no memory; use 'CfcPolicy'"):
        PPO(ActorCriticPolicy, pendulum())
    with pytest.raises(ValueError, match="unknown policy 'MlpPolicy'; the policies are CfcPolicy"):
        PPO("MlpPolicy", pendulum())
