from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from undrift.policies.optim import FlatAdam, Gradients


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, clear: Callable[[], None], steps: int = 5) -> None:
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        clear()
        network(inputs).square().sum().backward()
        optimizer.step()


def gradients(network: nn.Module, loss: torch.Tensor) -> Gradients:
    parameters = list(network.parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


def assert_equal_parameters(network: nn.Module, other: nn.Module) -> None:
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cleared_by", ["optimizer", "module"])
def test_a_step_is_that_of_adam(cleared_by: str, fused: bool) -> None:
    network, reference = make_network(), make_network()
    adam, flat = torch.optim.Adam(reference.parameters(), 0.01), FlatAdam(network.parameters(), 0.01, fused=fused)
    descend(reference, adam, adam.zero_grad)
    descend(network, flat, flat.zero_grad if cleared_by == "optimizer" else network.zero_grad)
    assert_equal_parameters(network, reference)


def test_the_vector_holds_all_gradients() -> None:
    network = make_network()
    optimizer = FlatAdam(network.parameters())
    optimizer.zero_grad()
    network(torch.ones(1, 3)).sum().backward()
    norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
    assert norm > 0
    torch.testing.assert_close(optimizer.vector.grad.norm(), norm)


def test_a_copy_learns_by_itself() -> None:
    network = make_network()
    optimizer = FlatAdam(network.parameters(), 0.01)
    descend(network, optimizer, optimizer.zero_grad)
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    before = copy.deepcopy(network)
    descend(twin, twin_optimizer, twin_optimizer.zero_grad)
    assert_equal_parameters(network, before)
    descend(network, optimizer, optimizer.zero_grad)
    assert_equal_parameters(network, twin)


def test_parameters_that_moved_are_joined_again() -> None:
    network, reference = make_network(), make_network()
    optimizer, adam = FlatAdam(network.parameters(), 0.01), torch.optim.Adam(reference.parameters(), 0.01)
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    descend(network, optimizer, optimizer.zero_grad)
    descend(reference, adam, adam.zero_grad)
    assert_equal_parameters(network, reference)


def test_training_continues_from_a_saved_state() -> None:
    network = make_network()
    optimizer = FlatAdam(network.parameters(), 0.01)
    descend(network, optimizer, optimizer.zero_grad)
    restored = make_network()
    restored_optimizer = FlatAdam(restored.parameters(), 0.01)
    restored.load_state_dict(network.state_dict())
    restored_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, its_optimizer in ((network, optimizer), (restored, restored_optimizer)):
        descend(one, its_optimizer, its_optimizer.zero_grad)
    assert_equal_parameters(network, restored)


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
@pytest.mark.parametrize("options", [{"fused": True}, {"fused": True, "weight_decay": 0.1}, {}, {"amsgrad": True}])
def test_descending_is_clipping_the_gradient_and_a_step_of_adam(options: dict[str, Any], max_norm: float) -> None:
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    network, reference = make_network(), make_network()
    flat, adam = (
        FlatAdam(network.parameters(), 0.01, **options),
        torch.optim.Adam(reference.parameters(), 0.01, **options),
    )
    for _ in range(5):
        flat.descend(gradients(network, network(inputs).square().sum()), max_norm)
        adam.zero_grad()
        reference(inputs).square().sum().backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), max_norm)
        for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
        adam.step()
        assert_equal_parameters(network, reference)


def test_every_descent_tells_hooks_and_the_counters_of_versions() -> None:
    network, seen = make_network(), []
    optimizer = FlatAdam(network.parameters(), fused=True)
    optimizer.register_step_post_hook(lambda *_: seen.append(network[0].weight.clone()))
    for _ in range(3):
        seen.clear()
        version = network[0].weight._version
        optimizer.descend(gradients(network, network(torch.ones(1, 3)).sum()), 1.0)
        torch.testing.assert_close(seen[-1], network[0].weight)
        assert network[0].weight._version > version


def test_what_a_loss_does_not_depend_on_stays() -> None:
    network = make_network()
    before = copy.deepcopy(network)
    loss = network[0](torch.ones(1, 3)).sum()
    FlatAdam(network.parameters(), fused=True).descend(gradients(network, loss), 1.0)
    torch.testing.assert_close(network[2].weight, before[2].weight)
    assert not torch.equal(network[0].weight, before[0].weight)
