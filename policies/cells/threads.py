"""Sequences on several threads: the rows of a batch in blocks, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def apply_in_blocks(function: Any, threads: int, axes: Sequence[int | None], *arguments: Any) -> Tensor:
    """`function.apply(*arguments)`, an autograd function over independent rows, with a block of rows for each thread.

    Kernels and torch both let go of Python's lock, so the blocks run side by side, forward and backward. Gradients of what
    all rows share are summed block by block, so they differ from those of one thread by rounding.

    Parameters
    ----------
    function : one that returns a tensor [T, B, ...] and differentiates once.
    threads : how many; no more than there are rows.
    axes : for each argument the axis of its rows, or None where all rows share it.
    """
    rows = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None and a is not None)
    blocks = min(threads, rows)
    result: Tensor = (
        function.apply(*arguments) if blocks < 2 else _Blocks.apply(function, blocks, tuple(axes), *arguments)
    )
    return result


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Any, blocks: int, axes: tuple[int | None, ...], *arguments: Any) -> Tensor:
        split = [
            [argument] * blocks if axis is None or argument is None else _split(argument, blocks, axis)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        ctx.function, ctx.axes = function, axes
        ctx.blocks = [_Context(ctx.needs_input_grad[3:]) for _ in range(blocks)]
        return torch.cat(_run(function.forward, ctx.blocks, zip(*split, strict=True)), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = [(part,) for part in _split(gradient, len(ctx.blocks), 1)]
        by_argument = zip(*_run(ctx.function.backward, ctx.blocks, parts), strict=True)
        joined = [
            None if found[0] is None else sum(found[1:], found[0]) if axis is None else torch.cat(found, axis)
            for found, axis in zip(by_argument, ctx.axes, strict=True)
        ]
        return None, None, None, *joined


class _Context:
    """What an autograd function keeps of one block between forward and backward."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Tensor | None, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors


def _split(tensor: Tensor, blocks: int, axis: int) -> list[Tensor]:
    return [part.contiguous() for part in tensor.tensor_split(blocks, axis)]


def _run(method: Any, contexts: list[_Context], arguments: Any) -> list[Any]:
    def block(context: _Context, given: tuple[Any, ...]) -> Any:
        with torch.no_grad():  # a setting of each thread
            return method(context, *given)

    return list(_pool(len(contexts)).map(block, contexts, arguments))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="undrift-cell")
