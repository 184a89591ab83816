"""A trial tells a vehicle that an adapter helps from one that it can do nothing for."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import PPO

from undrift.agents import import_sb3
from undrift.agents.adaptation import NominalModel, make_adapter
from undrift.agents.controller import Controller
from undrift.agents.trial import episode_returns, why_unfit
from undrift.envs import ActuatorBias, Always, Scenario, Signals

DT, FORCE = 0.05, 4.0
NAMES = ("observation_0", "observation_1")


class Sled(gymnasium.Env):
    """A mass of 1 kg on a line, held at 0: x'' = FORCE u, or, where it is stuck, it slows down by itself."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    dt = DT

    def __init__(self, stuck: bool = False) -> None:
        self.stuck = stuck

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.v = self.np_random.uniform(-0.2, 0.2, 2)
        return self._observation(), {}

    def step(self, action):
        acceleration = -self.v if self.stuck else FORCE * float(action[0])
        self.x += DT * (self.v + 0.5 * DT * acceleration)
        self.v += DT * acceleration
        return self._observation(), -(self.x**2), False, False, {}

    def _observation(self):
        return np.array([self.x, self.v], np.float32)


gymnasium.register("undrift-tests/Sled-v0", entry_point=Sled, max_episode_steps=80)


class Spring:
    """A proportional-derivative law, which any constant force moves off 0."""

    action_size = 1

    def initial_state(self, batch_size):
        return np.zeros((batch_size, 0))

    def step(self, obs, h, dt):
        return np.clip(-0.5 * obs[:, :1] - 0.7 * obs[:, 1:], -1.0, 1.0), h


def exact_model(stuck: bool) -> NominalModel:
    """dv/dt of the sled; inputs: v, x and the last command."""
    tensors = {name: np.zeros(shape) for name, shape in (("w1", (3, 1)), ("w2", (1, 1)), ("w3", (1, 1)))}
    tensors |= {name: np.zeros(1) for name in ("b1", "b2", "b3", "out_mean")} | {"response": np.zeros((0, 0))}
    skip = np.array([[-1.0], [0.0], [0.0]]) if stuck else np.array([[0.0], [0.0], [FORCE]])
    tensors |= {"in_scale": np.ones(3), "skip": skip, "out_scale": np.ones(1), "residual": np.full(1, 0.01)}
    signals = Signals(rates={"speed": NAMES[1:]}, context=NAMES[:1])
    env = {"id": "undrift-tests/Sled-v0", "kwargs": {"stuck": stuck}}
    return NominalModel(NAMES, signals, DT, 1, tensors, env)


def test_an_observer_without_a_tracking_error_takes_a_trim_off_a_law_that_has_no_integral():
    nominal = exact_model(stuck=False)
    scenario = Scenario("trim", nominal.env["id"], {}, (ActuatorBias(bias=0.2, schedule=Always()),))
    frozen, observer = (
        episode_returns(scenario, Controller(Spring(), make_adapter(name, nominal)), range(1000, 1004))[0]
        for name in ("frozen", "observer")
    )
    # A proportional gain of 0.5 rests at 0.4 against a trim of 0.2.
    assert (frozen < -80 * 0.5 * 0.3**2).all() and (observer > 0.2 * frozen).all()


def test_a_trial_finds_that_an_observer_helps_and_that_it_can_do_nothing_where_actions_do_nothing():
    assert why_unfit(Spring(), exact_model(stuck=False), range(1000, 1006)) == ""
    reason = why_unfit(Spring(), exact_model(stuck=True), range(1000, 1006))
    assert reason.startswith("in trial flights (") and "[0, 0]" in reason


def test_a_policy_of_sb3_becomes_a_run_whose_adapters_stay_out_of_the_way_where_actions_do_nothing(tmp_path):
    kwargs = {"stuck": True, "max_episode_steps": 40}
    env = gymnasium.make("undrift-tests/Sled-v0", **kwargs)
    model = PPO("MlpPolicy", env, n_steps=64, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    rough = {"simulations": 8, "steps": 80, "iterations": 100}
    run = import_sb3(model, "undrift-tests/Sled-v0", tmp_path / "run", 0, kwargs, **rough)
    assert list(run.nominal.signals.rates) == ["observation_1"] and run.nominal.unfit
    frozen, observer = run.controller("frozen"), run.controller("observer")
    trim = Scenario("trim", run.env_id, kwargs, (ActuatorBias(bias=0.2, schedule=Always()),))
    for controller in (frozen, observer):
        episode_returns(trim, controller, [1000, 1001])
    assert [event.reason for event in observer.guard.events] == [
        f"observer stays out of the way: {run.nominal.unfit}"
    ] * 2
    np.testing.assert_array_equal(frozen.state.sent, observer.state.sent)
    frozen.reset()
    observation = np.array([[0.3, 0.9]], np.float32)
    np.testing.assert_allclose(frozen.act(observation), model.predict(observation, deterministic=True)[0], atol=1e-5)


def test_an_adapter_that_needs_a_tracking_error_is_refused_and_told_which_need_none():
    with pytest.raises(ValueError, match=r"'integral' needs a tracking error.*\(frozen, observer, auto\)"):
        make_adapter("integral", exact_model(stuck=False))
