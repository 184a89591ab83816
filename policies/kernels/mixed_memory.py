"""One step of a cell with a memory beside it, from the steps of both; numpy and numba only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..prepared import PreparedCell, layout
from ..prepared import output_map as map_of
from . import lstm
from .actor import act


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """The leading arguments of `step`, from `MixedMemory.config` and its parameters: the inner cell and those of the memory.

    Raises ValueError on a wrong name or shape.
    """
    if unknown := sorted(name for name in tensors if not name.startswith(("inner.", "memory."))):
        raise ValueError(f"tensor {unknown[0]!r} is unknown; those of mixed memory begin with 'inner.' or 'memory.'")
    inner = inner_config(config)
    memory = lstm.prepare({**config, "units": layout(inner)[0]}, _part(tensors, "memory."))
    return PreparedCell(inner, _part(tensors, "inner."), memory[0].dtype), memory


def step(
    inner: PreparedCell,
    memory: tuple[NDArray[Any], ...],
    period: float,
    scale: NDArray[Any],
    maps: NDArray[Any],
    sizes: NDArray[np.int64],
    squash: bool,
    shown: int,
    x: NDArray[np.float64],
    dt: NDArray[np.float64],
    h: NDArray[Any],
    action: NDArray[np.float64],
) -> None:
    """Advance h [B, 2U], the inner state and the memory, in place, row by row; then `act`."""
    no_actor = scale, maps[:0], sizes[:0], squash, shown
    lstm.step(*memory, period, *no_actor, x, dt, h, action)
    state = np.ascontiguousarray(h[:, : inner.state_size])
    inner.kernel(*no_actor, x, dt, state, action)
    h[:, : inner.state_size] = state
    act(scale, maps, sizes, squash, shown, x, h, action)


def inner_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config of the inner cell, with the sizes and the period of `config`."""
    return {**config["inner"], **{key: config[key] for key in ("input_size", "units", "period")}}


def state_size(config: Mapping[str, Any]) -> int:
    """Number of state variables: those of the inner cell, and as many memory cells."""
    return 2 * layout(inner_config(config))[0]


def output_slice(config: Mapping[str, Any]) -> slice:
    """The part of the state that the cell shows: that of the inner cell."""
    return layout(inner_config(config))[1]


def output_map(
    config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """That of the inner cell."""
    return map_of(inner_config(config), _part(tensors, "inner."))


def _part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels of the memory for "float32" or "float64"."""
    lstm.compile_for(dtype)
