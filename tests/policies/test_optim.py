from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from undrift.policies.optim import FlatAdam


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, clear: Callable[[], None], steps: int = 5) -> None:
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        clear()
        network(inputs).square().sum().backward()
        optimizer.step()


def assert_equal_parameters(network: nn.Module, other: nn.Module) -> None:
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("cleared_by", ["optimizer", "module"])
def test_a_step_is_that_of_adam(cleared_by: str) -> None:
    network, reference = make_network(), make_network()
    adam, flat = torch.optim.Adam(reference.parameters(), 0.01), FlatAdam(network.parameters(), 0.01)
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
def test_the_gradient_is_clipped_as_torch_clips_it(max_norm: float) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    flat = copy.deepcopy(plain)
    optimizer, x = FlatAdam(flat.parameters()), torch.randn(7, 5)
    optimizer.zero_grad()
    for network in (plain, flat):
        network(x).square().sum().backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
    optimizer.clip_gradient(max_norm)
    for one, other in zip(plain.parameters(), flat.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
