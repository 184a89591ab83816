"""BatchEnv: one code for one simulation and for many."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env

import undrift.envs
from undrift.envs import ENVIRONMENTS, Abrupt, Payload, Wind, make_batch

SHIFTS = (Wind(schedule=Abrupt(0.1)), Payload(schedule=Abrupt(0.2)))


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.filterwarnings("ignore:.*A Box observation space (min|max)imum value is.*")
def test_every_environment_passes_gymnasiums_checker(env_id):
    check_gymnasium_env(gymnasium.make(f"undrift.envs:{env_id}").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_every_environment_passes_sb3s_checker(env_id):
    check_sb3_env(gymnasium.make(f"undrift.envs:{env_id}"))


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_row_of_a_batch_equals_a_single_run_to_the_bit(env_id):
    batch, single = make_batch(env_id, 5, shifts=SHIFTS), make_batch(env_id, 1, shifts=SHIFTS)
    rows, row = batch.reset([1, 2, 3, 4, 5]), single.reset([3])
    rng = np.random.default_rng(0)
    for _ in range(80):
        np.testing.assert_array_equal(rows[2], row[0])
        actions = rng.uniform(-0.3, 0.3, (5, len(batch.action_names)))
        rows, rewards, _, _, info = batch.step(actions)
        row, reward, _, _, single_info = single.step(actions[2:3])
        assert rewards[2] == reward[0]
        assert info["position_error"][2] == single_info["position_error"][0]


def test_an_episode_does_not_depend_on_when_its_neighbours_end():
    together, alone = make_batch("DroneTrack", 2), make_batch("DroneTrack", 1)
    rows, row = together.reset([7, 8]), alone.reset([8])
    for step in range(30):
        np.testing.assert_array_equal(rows[1], row[0])
        rows = together.step(np.zeros((2, 4)))[0]
        row = alone.step(np.zeros((1, 4)))[0]
        if step % 7 == 0:
            rows[0] = together.reset(ids=np.array([0]))[0]


def test_the_same_seed_gives_the_same_episode_and_another_seed_another():
    env = make_batch("DroneTrack", 3)
    first = env.reset([4, 4, 5])
    np.testing.assert_array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


def test_the_gymnasium_face_repeats_a_seeded_run():
    env = gymnasium.make("undrift/DroneTrack-v0")

    def fly():
        observations = [env.reset(seed=11)[0]]
        observations += [env.step(np.zeros(4, dtype=np.float32))[0] for _ in range(20)]
        return np.array(observations)

    np.testing.assert_array_equal(fly(), fly())


def test_truncation_comes_at_the_time_limit_and_is_not_termination():
    env = make_batch("DroneTrack", 1, episode_s=0.2, crash_distance=100.0)
    env.reset([0])
    ends = [env.step(np.zeros((1, 4)))[2:4] for _ in range(10)]
    assert [bool(truncated[0]) for _, truncated in ends] == [False] * 9 + [True]
    assert not any(terminated[0] for terminated, _ in ends)


def test_stagger_spreads_the_running_episodes_time_limits_and_no_later_ones():
    env = make_batch("DroneTrack", 10, episode_s=1.0, crash_distance=100.0)
    env.reset(list(range(10)))
    env.stagger()
    truncated = np.array([env.step(np.zeros((10, 4)))[3] for _ in range(50)])
    env.reset(ids=np.array([0]))
    assert not any(env.step(np.zeros((10, 4)))[3][0] for _ in range(49))
    assert (truncated.argmax(0) == np.arange(10) * 5).all()


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_simulation_that_diverges_has_crashed(env_id, capfd):
    env = make_batch(env_id, 3)
    still = np.zeros((3, len(env.action_names)))
    env.reset([0, 1, 2])
    env.qvel[1, 0] = np.nan
    seen, reward, terminated, _, info = env.step(still)
    assert terminated.tolist() == info["crashed"].tolist() == [False, True, False]
    assert np.isfinite(seen).all() and np.isfinite(reward).all()
    env.reset(ids=np.array([1]))
    assert not env.step(still)[2].any()
    assert "unstable" in capfd.readouterr().err


def test_an_unknown_environment_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown environment 'DroneTrak'.*undrift/DroneTrack-v0"):
        make_batch("DroneTrak")


def test_an_unknown_argument_is_refused():
    with pytest.raises(ValueError, match="wnd"):
        make_batch("DroneTrack", wnd=3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"control_hz": 60}, "50, 100, 200 Hz"),
        ({"episode_s": 0.0}, "positive time"),
        ({"crash_distance": -1.0}, "above 0"),
        ({"noise": float("nan")}, "at least 0"),
        ({"num_envs": 0}, "at least one"),
    ],
)
def test_bad_arguments_are_named_with_what_is_valid(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_batch("DroneTrack", **kwargs)


def test_actions_of_the_wrong_shape_or_not_finite_are_refused_before_anything_moves():
    env = make_batch("DroneTrack", 2)
    env.reset([0, 1])
    before = env.qpos.copy()
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not finite"):
        env.step(np.full((2, 4), np.nan))
    np.testing.assert_array_equal(env.qpos, before)


def test_an_unknown_render_mode_names_the_valid_ones():
    with pytest.raises(ValueError, match="rgb_array"):
        gymnasium.make("undrift/DroneTrack-v0", render_mode="hologram", disable_env_checker=True)


def test_importing_the_package_registers_with_gymnasium():
    assert set(undrift.envs.ENVIRONMENTS) <= set(gymnasium.registry)
