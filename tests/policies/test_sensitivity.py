"""What inputs and neurons do to a deployed policy, against derivatives by torch and the traces of the cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undrift.policies.inspection import trace
from undrift.policies.sensitivity import replay, sensitivity

from .test_deployed import INPUTS, MAKERS, build, sample

STEPS = 6


def flown(policy, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a policy is shown, how long its steps last, and its states before and after each."""
    x, dt = sample(steps)
    x = x.astype(np.float32)
    return x, dt, replay(policy, x, dt)


@pytest.mark.parametrize("name", ["cfc", "cfc-ncp", "ltc", "diagonal", "gru", "lstm"])
def test_derivatives_are_those_of_torch(name: str) -> None:
    policy, cell, actor = build(MAKERS[name])
    cell, actor = cell.double(), actor.double()
    scale = torch.tensor(policy.config["observation_scale"], dtype=torch.float64)
    x, dt, h = flown(policy)
    found = sensitivity(policy, x, h[:-1], dt)
    for t in range(STEPS):
        inputs, state = torch.tensor(x[t]).double() / scale, torch.tensor(h[t]).double()

        def step(x: torch.Tensor, h: torch.Tensor, t: int = t) -> torch.Tensor:
            return cell.step(x[None], h[None], torch.tensor(dt[t : t + 1]))[0]

        def act(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            return actor(torch.cat([x, cell.output(h)]))

        after = step(inputs, state).detach()
        by_input, by_state = torch.autograd.functional.jacobian(step, (inputs, state))
        saliency = torch.autograd.functional.jacobian(lambda x, h=state: act(x, step(x, h)), inputs)
        read = torch.autograd.functional.jacobian(lambda h, x=inputs: act(x, h), after)
        for own, expected in (
            (found.state_by_input, by_input),
            (found.state_by_state, by_state),
            (found.action_by_input, saliency),
            (found.action_by_state, read),
        ):
            np.testing.assert_allclose(own[t], expected, atol=2e-3 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("name", ["cfc", "ltc", "gru"])
def test_time_constants_are_those_of_a_trace(name: str) -> None:
    policy, cell, _ = build(MAKERS[name])
    x, dt, h = flown(policy)
    scaled = torch.tensor(x / np.array(policy.config["observation_scale"]))[:, None]
    traced = trace(cell, scaled.float(), torch.tensor(dt).float()[:, None]).time_constants[:, 0]
    kept = np.exp(-dt[:, None] / sensitivity(policy, x, h[:-1], dt).time_constants)
    np.testing.assert_allclose(kept, np.exp(-dt[:, None] / traced.numpy()), atol=2e-3)


def test_a_wrong_shape_is_named() -> None:
    policy, _, _ = build()
    with pytest.raises(ValueError, match=rf"x \[N, {INPUTS}\] and h \[N, 9\], got \[2, 3\]"):
        sensitivity(policy, np.zeros((2, 3)), np.zeros((2, 9)), np.full(2, 0.02))
