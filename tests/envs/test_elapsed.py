from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from undrift.agents import PPO
from undrift.envs import ElapsedTime


class Uneven(gymnasium.Env):
    """Steps of 10 or 30 ms, reported in `info`; shows the time since the episode began."""

    action_space = spaces.Discrete(2)
    dt = 0.02

    def __init__(self, observation_space: spaces.Space) -> None:
        self.observation_space = observation_space

    def _observe(self):
        clock = np.array([self.time], dtype=np.float32)
        return {"clock": clock} if isinstance(self.observation_space, spaces.Dict) else clock

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0.0
        return self._observe(), {}

    def step(self, action):
        dt = float(self.np_random.choice([0.01, 0.03]))
        self.time += dt
        return self._observe(), 0.0, False, False, {"dt": dt}


CLOCK = spaces.Box(0.0, np.inf, (1,), np.float32)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "undrift/DroneHover-v0", "Hopper-v5"])
def test_the_checker_of_gymnasium_finds_nothing_to_complain_of(env_id):
    env = ElapsedTime(gymnasium.make(env_id).unwrapped)
    check_env(env, skip_render_check=True)
    obs, _ = env.reset(seed=0)
    assert obs[-1] == pytest.approx(env.period) and obs.dtype == env.unwrapped.observation_space.dtype


@pytest.mark.parametrize(
    ("env_id", "period"),
    [("CartPole-v1", 0.02), ("Pendulum-v1", 0.05), ("undrift/DroneHover-v0", 0.02), ("Hopper-v5", 0.008)],
)
def test_the_period_is_the_environments_own(env_id, period):
    assert ElapsedTime(gymnasium.make(env_id)).period == pytest.approx(period)


@pytest.mark.parametrize("space", [CLOCK, spaces.Dict({"clock": CLOCK})], ids=["box", "dict"])
def test_each_observation_tells_how_long_the_step_before_it_took(space):
    env = ElapsedTime(Uneven(space))
    check_env(env, skip_render_check=True)

    def read(obs) -> tuple[float, float]:
        return (obs["clock"][0], obs["step_duration"][0]) if isinstance(obs, dict) else tuple(obs)

    before, duration = read(env.reset(seed=1)[0])
    assert (before, duration) == pytest.approx((0.0, 0.02))
    durations = []
    for _ in range(20):
        now, duration = read(env.step(0)[0])
        assert now - before == pytest.approx(duration, abs=1e-6)
        before, durations = now, [*durations, round(float(duration), 3)]
    assert set(durations) == {0.01, 0.03}


def test_an_irregular_clock_below_other_wrappers_is_read():
    env = ElapsedTime(TimeLimit(Uneven(CLOCK), 5), period=0.5)
    assert env.reset(seed=0)[0][1] == 0.5
    assert round(float(env.step(0)[0][1]), 3) in (0.01, 0.03)


def test_names_and_scales_go_on():
    env = gymnasium.make("undrift/DroneHover-v0")
    timed = ElapsedTime(env)
    assert timed.observation_names == (*env.get_wrapper_attr("observation_names"), "step_duration")
    np.testing.assert_allclose(timed.observation_scale, [*env.get_wrapper_attr("observation_scale"), 0.02])
    assert ElapsedTime(gymnasium.make("CartPole-v1")).observation_names[-2:] == ("observation_3", "step_duration")


@pytest.mark.parametrize("space", [CLOCK, spaces.Dict({"clock": CLOCK})], ids=["box", "dict"])
def test_the_algorithms_feed_it_to_the_cell(space):
    policy = "MultiInputCfcPolicy" if isinstance(space, spaces.Dict) else "CfcPolicy"
    model = PPO(policy, ElapsedTime(Uneven(space)), policy_kwargs={"units": 4}, device="cpu")
    assert model.policy.memory.elapsed == ("step_duration" if isinstance(space, spaces.Dict) else 1)


def test_it_is_made_again_from_its_spec():
    spec = ElapsedTime(gymnasium.make("CartPole-v1"), period=0.1).spec
    assert gymnasium.make(spec).get_wrapper_attr("period") == 0.1


def test_what_cannot_tell_time_is_refused():
    timed = gymnasium.make("undrift/DroneHover-v0", clock={"jitter": 0.1})
    with pytest.raises(ValueError, match="the observation has 'step_duration' already"):
        ElapsedTime(timed)
    with pytest.raises(ValueError, match="a Dict or a Box with one axis, not Discrete.*FlattenObservation"):
        ElapsedTime(gymnasium.make("FrozenLake-v1"))
    with pytest.raises(ValueError, match="must be positive, got 0"):
        ElapsedTime(gymnasium.make("CartPole-v1"), period=0)

    class Timeless(Uneven):
        dt = None

    with pytest.raises(ValueError, match="neither dt nor render_fps.*give the duration of a step"):
        ElapsedTime(Timeless(CLOCK))
