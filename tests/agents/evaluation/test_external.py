"""What is no run flies beside runs: sb3-contrib's RecurrentPPO as it is, and any object with `predict`."""

import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import VecNormalize

from undrift.agents import Episode, Run, evaluate, make_vec_env
from undrift.agents.evaluation.evaluate import fly
from undrift.agents.evaluation.external import ExternalPolicy
from undrift.agents.evaluation.summary import summarize
from undrift.agents.peers import external
from undrift.envs import Abrupt, Scenario, Wind

RUN = Run.reference()
ENV = {"episode_s": 0.6}
SCENARIOS = [
    Scenario("no shift", RUN.env_id, ENV),
    Scenario("gale", RUN.env_id, ENV, (Wind(schedule=Abrupt(0.2)),)),
]
SEEDS = range(10_000, 10_002)


class Hover:
    """Stateless; batches of any size."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return np.zeros((len(observation), 4)), state


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    """A RecurrentPPO of two LSTM layers behind VecNormalize, which no run can be made of; with its files."""
    folder = tmp_path_factory.mktemp("peers")
    env = VecNormalize(make_vec_env("DroneTrack", 4, seed=0))
    kwargs = {"lstm_hidden_size": 6, "n_lstm_layers": 2, "net_arch": [8]}
    few = {"n_steps": 4, "batch_size": 8, "n_epochs": 1}
    model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=kwargs, seed=0, device="cpu", **few).learn(16)
    model.save(folder / "lstm.zip")
    env.save(str(folder / "lstm.pkl"))
    return model, folder / "lstm.zip", folder / "lstm.pkl"


def test_a_recurrent_ppo_of_sb3_contrib_flies_as_it_is_beside_a_run(zipped, tmp_path):
    model, file, normaliser = zipped
    peer = external(file, "DroneTrack", "RecurrentPPO", normaliser)
    evaluate([RUN, peer], ["frozen", "integral"], SCENARIOS, SEEDS, tmp_path / "out")
    episodes = [Episode.load(path) for path in sorted((tmp_path / "out").rglob("RecurrentPPO-s0/*.npz"))]
    assert [(e.meta["scenario"], e.meta["adapter"]) for e in episodes] == [("gale", "frozen")] * 2 + [
        ("no shift", "frozen")
    ] * 2
    env = model.get_vec_normalize_env()
    for episode in episodes:
        state, acted = None, []
        for step, observation in enumerate(episode.observation):
            shown = env.normalize_obs(observation[None])
            action, state = model.predict(shown, state, np.array([step == 0]), deterministic=True)
            acted.append(action[0])
        np.testing.assert_allclose(episode.policy_action, acted, atol=1e-5)
        assert np.ptp(acted) > 1e-3 and episode.meta["policy_sha256"] == peer.sha256


def test_an_object_with_predict_is_a_row_and_with_a_nominal_model_adapts_too():
    episodes = fly([RUN, ExternalPolicy(Hover(), RUN.env_id)], ["frozen", "observer"], SCENARIOS, SEEDS)
    controllers = [row["controller"] for row in summarize(episodes) if row["scenario"] == "gale"]
    assert sorted(controllers) == ["Hover", "frozen", "observer"]
    adapting = ExternalPolicy(Hover(), RUN.env_id, nominal=RUN.nominal)
    episodes = fly([RUN, adapting], ["frozen", "observer"], SCENARIOS, SEEDS)
    controllers = [row["controller"] for row in summarize(episodes) if row["scenario"] == "gale"]
    assert sorted(controllers) == ["Hover", "frozen", "observer", "observer on Hover"]
    sent = {e.meta["adapter"]: e.action for e in episodes if e.meta["policy"] == "Hover" and e.meta["shifts"]}
    assert not sent["frozen"].any() and np.abs(sent["observer"]).max() > 0.01


def test_without_a_nominal_model_it_flies_frozen_alone():
    with pytest.raises(ValueError, match="Hover-s0 has none: .*undrift import"):
        ExternalPolicy(Hover(), RUN.env_id).controller("observer")


def test_what_does_not_fit_the_environment_is_refused(zipped):
    with pytest.raises(ValueError, match="give the arguments that it was trained with"):
        external(zipped[1], "CarTrack", "RecurrentPPO")
