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
    return TanhNetwork.apply(x.flatten(0, -2), *chain.from_iterable(maps)).view(*x.shape[:-1], -1)


class TanhNetwork(torch.autograd.Function):
    """Linear layers with tanh between them as one node of the graph: at small minibatches, nodes cost more than arithmetic."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """``x`` ``[N, I]``, then weight ``[O, I]`` and bias ``[O]`` of each layer."""
        read = [x]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            read.append(torch.addmm(bias, read[-1], weight.T).tanh_())
        ctx.save_for_backward(*read, *parameters[::2])
        return torch.addmm(parameters[-1], read[-1], parameters[-2].T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 2
        read, weights = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        gradients: list[Tensor] = []
        for x, weight in zip(read[:0:-1], weights[:0:-1], strict=True):
            gradients += [gradient.sum(0), gradient.T @ x]
            gradient = torch.ops.aten.tanh_backward(gradient @ weight, x)
        gradients += [gradient.sum(0), gradient.T @ read[0]]
        return gradient @ weights[0] if ctx.needs_input_grad[0] else None, *gradients[::-1]
