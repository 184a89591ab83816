"""What holds for every algorithm with every policy it knows by name."""

from __future__ import annotations

from functools import cache

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from undrift.agents.algorithms import ALGORITHMS

PAIRS = [(name, policy) for name, algorithm in ALGORITHMS.items() for policy in sorted(algorithm.policy_aliases)]
FORMS = ("MultiInput", "Cnn", "")
STEPS = 32

VECTOR = spaces.Box(np.float32([-1.0, -1.0, 0.0]), np.float32([1.0, 1.0, 0.1]))
OBSERVATIONS = {
    "": VECTOR,
    "MultiInput": spaces.Dict(
        {"vector": VECTOR, "kind": spaces.Discrete(3), "step_duration": spaces.Box(0.0, 1.0, (1,), np.float32)}
    ),
    "Cnn": spaces.Box(0, 255, (1, 36, 36), np.uint8),
}
SMALL_NETWORKS = {
    "": {"units": 5, "net_arch": [8]},
    "MultiInput": {"units": 5, "net_arch": [8]},
    "Cnn": {"units": 5, "net_arch": [8], "features_extractor_kwargs": {"features_dim": 6}},
}
REPLAY = {"seq_len": 4, "burn_in": 2, "batch_size": 8, "learning_starts": 20, "train_freq": 4, "buffer_size": 200}
SHORT_RUNS = {
    "PPO": {"n_steps": 8, "seq_len": 4, "batch_size": 16, "n_epochs": 2},
    "A2C": {"n_steps": 8, "seq_len": 4},
    "SAC": REPLAY,
    "TD3": REPLAY,
}


class Noise(gymnasium.Env):
    """Shows noise, pays for actions near it; an episode is cut short after seven steps or ends at random."""

    observation_names = ("a", "b", "step_duration")

    def __init__(self, form: str, action_space: spaces.Space | None = None) -> None:
        self.observation_space = OBSERVATIONS[form]
        self.action_space = action_space or spaces.Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        ended = bool(self.np_random.random() < 0.1)
        return self.observation_space.sample(), -float(np.abs(action - 0.5).sum()), ended, self.t == 7, {}


def form_of(policy: str) -> str:
    return next(form for form in FORMS if policy.startswith(form))


def make_env(form: str, action_space: spaces.Space | None = None, seed: int = 0) -> VecEnv:
    return make_vec_env(lambda: Noise(form, action_space), n_envs=2, seed=seed)


def make_model(algorithm: str, policy: str, env: VecEnv | None = None, **policy_kwargs) -> BaseAlgorithm:
    form = form_of(policy)
    return ALGORITHMS[algorithm](
        policy,
        make_env(form) if env is None else env,
        seed=0,
        device="cpu",
        policy_kwargs=SMALL_NETWORKS[form] | policy_kwargs,
        **SHORT_RUNS[algorithm],
    )


def parameters(model: BaseAlgorithm) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


@cache
def trained(algorithm: str, policy: str) -> tuple[BaseAlgorithm, torch.Tensor]:
    """A model after a short training, and its parameters then."""
    model = make_model(algorithm, policy).learn(STEPS)
    return model, parameters(model)


def acted(model: BaseAlgorithm, env: VecEnv) -> np.ndarray:
    """The actions of a few steps, memory handed on from one to the next and emptied where an episode starts."""
    env.seed(7)
    obs, state, starts, actions = env.reset(), None, np.ones(2, dtype=bool), []
    for _ in range(10):
        action, state = model.predict(obs, state, starts, deterministic=True)
        obs, _, starts, _ = env.step(action)
        actions.append(action)
    return np.array(actions)


@pytest.mark.parametrize(("algorithm", "policy"), PAIRS)
def test_it_trains_and_stays_finite(algorithm, policy):
    _, after = trained(algorithm, policy)
    before = parameters(make_model(algorithm, policy))
    assert torch.isfinite(after).all() and not torch.equal(after, before)


@pytest.mark.parametrize(("algorithm", "policy"), PAIRS)
def test_the_same_seed_trains_to_the_same_bits(algorithm, policy):
    again = make_model(algorithm, policy).learn(STEPS)
    assert torch.equal(parameters(again), trained(algorithm, policy)[1])


@pytest.mark.parametrize(("algorithm", "policy"), PAIRS)
def test_saved_and_loaded_it_acts_the_same_and_learns_on_as_if_it_had_not_been(algorithm, policy, tmp_path):
    model, _ = trained(algorithm, policy)
    form, steps = form_of(policy), model.num_timesteps
    model.save(tmp_path / "model")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model", env=make_env(form), device="cpu")
    np.testing.assert_array_equal(acted(loaded, make_env(form)), acted(model, make_env(form)))
    if hasattr(model, "replay_buffer"):
        model.save_replay_buffer(tmp_path / "buffer")
        loaded.load_replay_buffer(tmp_path / "buffer")
    for learner in (model, loaded):
        learner.set_env(make_env(form, seed=3))
        set_random_seed(4)
        learner.learn(STEPS, reset_num_timesteps=False)
    assert torch.equal(parameters(loaded), parameters(model))
    assert loaded.num_timesteps == model.num_timesteps > steps


@pytest.mark.parametrize(("algorithm", "policy"), PAIRS)
def test_observations_of_another_form_are_refused_with_the_policy_to_use(algorithm, policy):
    wrong = {"": ["MultiInput"], "MultiInput": ["", "Cnn"], "Cnn": ["", "MultiInput"]}[form_of(policy)]
    for form in wrong:
        advice = "MultiInputCfcPolicy" if form == "MultiInput" else "use 'CfcPolicy'"
        with pytest.raises(ValueError, match=advice):
            make_model(algorithm, policy, make_env(form))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_environment_with_other_spaces_is_refused(algorithm):
    model = make_model(algorithm, "CfcPolicy")
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        model.set_env(make_env("Cnn"))
    with pytest.raises(ValueError, match="Action spaces do not match"):
        model.set_env(make_env("", spaces.Box(-2.0, 2.0, (3,), np.float32)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_unknown_policy_or_argument_is_refused_with_what_there_is(algorithm):
    env = make_env("")
    with pytest.raises(ValueError, match="unknown policy 'MlpPolicy'; the policies are CfcPolicy, .*LtcPolicy"):
        ALGORITHMS[algorithm]("MlpPolicy", env)
    with pytest.raises(ValueError, match="cell 'gru' takes 'backbone_units'; the cell takes units"):
        ALGORITHMS[algorithm]("GruPolicy", env, policy_kwargs={"backbone_units": 8})


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(2)], ids=str)
def test_actions_that_are_chosen_are_learned_too(algorithm, space, tmp_path):
    env = make_env("", space)
    model = make_model(algorithm, "GruPolicy", env)
    before = parameters(model)
    model.learn(STEPS)
    assert torch.isfinite(parameters(model)).all() and not torch.equal(parameters(model), before)
    model.save(tmp_path / "model")
    actions = acted(ALGORITHMS[algorithm].load(tmp_path / "model", device="cpu"), env)
    np.testing.assert_array_equal(actions, acted(model, env))
    assert all(action in space for action in actions.reshape(-1, *space.shape))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_progress_bar_is_shown(algorithm, capfd):
    make_model(algorithm, "GruPolicy").learn(STEPS, progress_bar=True)
    assert f"{STEPS}/{STEPS}" in "".join(capfd.readouterr())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("form", ["", "MultiInput"])
def test_the_elapsed_time_is_found_and_reaches_the_cell(algorithm, form):
    model = make_model(algorithm, f"{form}CfcPolicy")
    assert model.policy_kwargs["elapsed"] == ("step_duration" if form else 2)
    deaf = make_model(algorithm, f"{form}CfcPolicy", elapsed=None)
    assert torch.equal(parameters(deaf), parameters(model))
    obs = model.env.reset()
    states = [learner.predict(obs)[1][0] for learner in (model, deaf)]
    assert np.abs(states[1] - states[0]).max() > 1e-3
