"""Networks of linear layers with tanh between them: actors, and the critic that learns on policy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LinearMap = tuple[Tensor, Tensor]
"""Weight ``[O, I]`` and bias ``[O]``."""


def linear_maps(hidden: nn.Sequential, last: nn.Linear) -> list[LinearMap]:
    """The linear layers of a network, in their order."""
    return [(layer.weight, layer.bias) for layer in (*hidden, last) if isinstance(layer, nn.Linear)]


def tanh_network(x: Tensor, maps: Sequence[LinearMap]) -> Tensor:
    """Linear maps with tanh between them, of ``x`` ``[..., I]``."""
    rows = x.flatten(0, -2)
    graph = torch.is_grad_enabled()
    y = TanhNetwork.apply(rows, *chain.from_iterable(maps)) if graph else tanh_activations(rows, maps)[-1]
    return y.view(*x.shape[:-1], -1)


def tanh_activations(x: Tensor, maps: Sequence[LinearMap]) -> list[Tensor]:
    """What each of the linear maps reads, ``x`` ``[N, I]`` first, and what the last one gives."""
    *hidden, (weight, bias) = maps
    activations = [x]
    for own, shift in hidden:
        activations.append(torch.addmm(shift, activations[-1], own.T).tanh_())
    return [*activations, torch.addmm(bias, activations[-1], weight.T)]


def tanh_gradients(
    gradient: Tensor, read: Sequence[Tensor], maps: Sequence[LinearMap], to_input: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """From the gradient of what the network gives ``[N, O]``: that of ``x``, and those of all weights and biases in order.

    ``read`` is what each map read, as :func:`tanh_activations` tells.
    """
    gradients: list[Tensor] = []
    for x, (weight, _) in zip(read[:0:-1], maps[:0:-1], strict=True):
        gradients += [gradient.sum(0), gradient.T @ x]
        gradient = torch.ops.aten.tanh_backward(gradient @ weight, x)
    gradients += [gradient.sum(0), gradient.T @ read[0]]
    return gradient @ maps[0][0] if to_input else None, gradients[::-1]


class TanhNetwork(torch.autograd.Function):
    """Linear layers with tanh between them as one node of the graph: at small minibatches, nodes cost more than arithmetic."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """``x`` ``[N, I]``, then weight ``[O, I]`` and bias ``[O]`` of each layer."""
        *read, y = tanh_activations(x, _pairs(parameters))
        ctx.save_for_backward(*read, *parameters)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 3
        read, parameters = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        d_x, gradients = tanh_gradients(gradient, read, _pairs(parameters), ctx.needs_input_grad[0])
        return d_x, *gradients


def _pairs(parameters: Sequence[Tensor]) -> list[LinearMap]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))
