"""The one episode loop: paired, reproducible, complete; and the promise that the reference run keeps."""

import numpy as np
import pytest

from undrift.agents import Episode, Run
from undrift.agents.evaluation.metrics import post_shift_rmse
from undrift.agents.rollout import rollout
from undrift.envs import Abrupt, MotorLoss, Payload, Scenario, Wind
from undrift.policies.sensitivity import replay

RUN = Run.reference()
SHORT = {"episode_s": 1.0}


def scenario(*shifts, **kwargs):
    return Scenario("s", RUN.env_id, kwargs or SHORT, shifts)


def test_an_episode_depends_on_its_seed_and_on_no_other():
    shifted = scenario(Wind(schedule=Abrupt(0.4)))
    together = rollout(shifted, RUN.controller(), [5, 6, 7])[1]
    alone = rollout(shifted, RUN.controller(), [6])[0]
    for name in ("observation", "action", "error", "qpos", "estimate", "reward"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


def test_paired_episodes_are_equal_until_the_shift_sets_in():
    plain = rollout(scenario(), RUN.controller("frozen"), [8])[0]
    shifted = rollout(scenario(Payload(schedule=Abrupt(0.5))), RUN.controller("frozen"), [8])[0]
    np.testing.assert_array_equal(plain.qpos[:25], shifted.qpos[:25])
    assert not np.array_equal(plain.qpos[25:], shifted.qpos[25:])


def test_an_episode_holds_all_that_scoring_and_drawing_need(tmp_path):
    episode = rollout(
        scenario(Wind(schedule=Abrupt(0.4))), RUN.controller(), [9], meta={"policy_sha256": RUN.policy.sha256}
    )[0]
    assert len(episode.time) == 50 and episode.time[-1] == pytest.approx(1.0)
    assert (episode.shift[:, 0] == (np.arange(50) >= 20)).all()
    assert (np.linalg.norm(episode.wind, axis=1) > 5).sum() == 30
    assert episode.estimate.shape == (50, len(episode.meta["estimate_names"]))
    assert episode.truncated[-1] and not episode.terminated.any()
    assert (episode.step_time > 0).all()
    assert {"mujoco", "numpy", "undrift"} <= set(episode.meta["versions"])
    assert episode.meta["shifts"][0]["onset_s"] == 0.4
    velocity = np.diff(episode.qpos[:, :3], axis=0) / 0.02
    np.testing.assert_allclose((episode.qvel[1:, :3] + episode.qvel[:-1, :3]) / 2, velocity, atol=0.05)
    episode.save(tmp_path / "episode.npz")
    np.testing.assert_array_equal(Episode.load(tmp_path / "episode.npz").qpos, episode.qpos)


def test_the_recorded_view_gives_back_what_the_policy_did():
    windy = scenario(Wind(schedule=Abrupt(0.4)))
    for adapter in ("frozen", "auto"):
        episode = rollout(windy, RUN.controller(adapter), [9])[0]
        dt = np.diff(episode.time, prepend=0.0)
        states = replay(RUN.policy, episode.shown, dt)
        action, _ = RUN.policy.step(episode.shown, states[:-1], dt)
        np.testing.assert_allclose(action, episode.policy_action, atol=1e-5)


def test_an_episode_of_a_car_holds_what_its_pictures_need():
    car = Run.load("runs/reference-car-track-s0")
    episode = rollout(Scenario("s", car.env_id, {"episode_s": 0.2}), car.controller("frozen"), [9])[0]
    shapes = {name: array.shape for name, array in episode.scene.items()}
    assert shapes == {"steering": (10,), "wheel_speed": (10, 4), "slip": (10, 4), "friction": (10, 4)}


def test_a_crash_ends_the_episode_and_is_no_truncation():
    dead = scenario(MotorLoss(fraction=1.0, motor=0, schedule=Abrupt(0.2)), episode_s=4.0)
    episode = rollout(dead, RUN.controller("frozen"), [3])[0]
    assert episode.crashed and episode.terminated[-1] and not episode.truncated.any()
    assert len(episode.time) < episode.planned_steps
    assert episode.meta["crash_time_s"] == pytest.approx(episode.time[-1])


@pytest.mark.parametrize(
    "shift", [Payload(fraction=0.4), MotorLoss(fraction=0.3), Wind(speed=6.0)], ids=["payload", "motors", "wind"]
)
def test_the_observer_on_the_reference_run_at_least_halves_the_error_after_a_shift(shift):
    errors = {
        name: np.mean(
            [
                post_shift_rmse(episode, 5.0)
                for episode in rollout(scenario(shift, episode_s=10.0), RUN.controller(name), range(6))
            ]
        )
        for name in ("frozen", "observer")
    }
    assert errors["observer"] < 0.5 * errors["frozen"]


def test_the_reference_run_tracks_to_centimetres_and_the_observer_leaves_it_so():
    frozen, observer = (
        np.mean([post_shift_rmse(e, 3.0) for e in rollout(scenario(episode_s=8.0), RUN.controller(name), range(6))])
        for name in ("frozen", "observer")
    )
    assert frozen < 0.025
    assert observer < frozen + 0.003
