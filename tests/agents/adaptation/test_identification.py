"""What is identified of a policy, against a controller whose stiffness is known."""

from dataclasses import replace

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation.identification import find_accustomed_delay, fit_nominal_model
from undrift.agents.adaptation.nominal import ERROR_PER_ACCELERATION
from undrift.envs import make_batch
from undrift.envs.drone.controllers import GeometricController


class CautiousPilot:
    """The geometric controller as a policy: it holds its reference with k_x e, and leans no further than `max_tilt`."""

    def __init__(self, env, max_tilt):
        self.controller = GeometricController(env)
        self.controller.vehicle = replace(self.controller.vehicle, max_tilt=max_tilt)

    def initial_state(self, n):
        return np.zeros((n, 0))

    def step(self, observation, hidden, dt):
        return self.controller.predict(observation)[0], hidden


def test_pushes_that_a_policy_cannot_hold_leave_its_response_as_it_is():
    pilot = CautiousPilot(make_batch("DroneHover"), max_tilt=np.radians(30.0))
    model = fit_nominal_model(pilot, "DroneHover", {"noise": 0.0}, 0, simulations=32, steps=10, iterations=1)
    stiffness = pilot.controller.gains.position_bandwidth**2
    expected = np.zeros((9, 3))
    np.fill_diagonal(expected, -1.0 / (stiffness * ERROR_PER_ACCELERATION))
    np.testing.assert_allclose(model.tensors["response"], expected, atol=0.02)
    assert model.stiffness == pytest.approx(stiffness, rel=0.05)
    assert model.accustomed_delay == 0


def test_a_policy_trained_with_late_commands_is_found_to_be_used_to_them():
    used, punctual = (Run.load(name) for name in ("reference-car-track-governed-s0", "reference-car-track-s0"))
    periods = [
        find_accustomed_delay(run.policy, run.nominal, run.env_id, {"noise": 0.0}, 0, 32) for run in (used, punctual)
    ]
    assert periods == [1, 0]
