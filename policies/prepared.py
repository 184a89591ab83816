"""A cell with its weights prepared once: masked, merged and packed for compiled single steps; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .kernels.actor import no_actor
from .kernels.backend import KERNELS, numba, warn_of_plain_python
from .kernels.by_address import address_of
from .kernels.packed import pack

if TYPE_CHECKING:
    from .cell import Cell


class PreparedCell:
    """A cell that is stepped with numpy and compiled code, where `Cell.step` is stepped with torch.

    Rows of a batch are computed one by one, so a batch of N gives bit-identical results to N batches of one. A non-finite
    input gives a non-finite state and raises nothing. Without numba it computes the same in plain Python, with one warning.

    Parameters
    ----------
    config : what `Cell.config` returned.
    tensors : parameters of the cell, by name as in its `state_dict`.
    dtype : float32 or float64, what it computes in.

    Raises ValueError naming the argument or tensor that is missing, unknown, of the wrong shape or not finite.
    """

    def __init__(
        self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32
    ) -> None:
        self.name = str(config.get("cell"))
        self.dtype = np.dtype(dtype)
        if self.name not in KERNELS:
            raise ValueError(f"cell {self.name!r} cannot be deployed; the cells are {', '.join(KERNELS)}")
        _check_numbers(config)
        arrays = {name: np.array(tensors[name], self.dtype, order="C") for name in tensors}
        kernels: Any = import_module(f".kernels.{self.name}", __package__)
        try:
            prepared = kernels.prepare(config, arrays)
        except KeyError as error:
            raise ValueError(f"cell {self.name!r} needs the argument {error}") from None
        except TypeError as error:
            raise ValueError(f"cell {self.name!r}: {error}") from None
        warn_of_plain_python()
        self.input_size: int = config["input_size"]
        self.period = float(config["period"])
        self._kernels, self._arguments = kernels, (*prepared, self.period)
        self.kernel = partial(kernels.step, *self._arguments)
        """One step in one compiled call: of what `actor.prepare` returned, x, dt, h and action; h and action are written."""
        self._no_actor = no_actor(self.input_size, self.dtype)
        self.state_size, self.shown = layout(config)
        self._output_map = output_map(config, arrays)

    @property
    def output_size(self) -> int:
        """Number of output channels O."""
        return self.shown.stop - self.shown.start

    def initial_state(self, batch_size: int) -> NDArray[Any]:
        """The state at the start of an episode: zeros [batch_size, H]."""
        return np.zeros((batch_size, self.state_size), self.dtype)

    def step(self, x: ArrayLike, h: ArrayLike, dt: ArrayLike) -> NDArray[Any]:
        """The state [B, H] after one step; x [B, I] inputs, h [B, H] state, which is left as it is, dt [B] elapsed time in s.

        Raises ValueError on a wrong shape.
        """
        inputs, state, elapsed = as_read(x), np.array(h, self.dtype, order="C"), as_read(dt)
        rows = len(elapsed) if elapsed.ndim == 1 else -1
        if inputs.shape != (rows, self.input_size) or state.shape != (rows, self.state_size):
            raise ValueError(
                f"step takes x [B, {self.input_size}], h [B, {self.state_size}] and dt [B], "
                f"got {list(inputs.shape)}, {list(state.shape)} and {list(elapsed.shape)}"
            )
        self.step_into(inputs, elapsed, state)
        return state

    def step_into(self, x: NDArray[np.float64], dt: NDArray[np.float64], h: NDArray[Any]) -> None:
        """`step` without its checks: x [B, I] and dt [B] of `as_read`; h [B, H], C-ordered of the cell's dtype, is written."""
        self.kernel(*self._no_actor, x, dt, h, np.empty((len(h), 0)))

    def single_step(
        self, sizes: tuple[int, int, int], actor: tuple[Any, ...]
    ) -> tuple[int, NDArray[np.float64]] | None:
        """`DeployedPolicy.single_step` with this cell, these `sizes` (`by_address.whole`) and what `actor.prepare` returned."""
        if numba is None or not hasattr(self._kernels, "single"):
            return None
        return address_of(self._kernels.single), pack((*sizes, *self._arguments, *actor))

    def output(self, h: NDArray[Any]) -> NDArray[Any]:
        """What the cell shows of its state: h [..., H] -> y [..., O]."""
        if self._output_map is None:
            return h[..., self.shown]
        gain, bias = self._output_map
        return h[..., self.shown] * gain + bias

    def fold_output(self, weight: NDArray[Any], bias: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """A linear map of [x, y], y the output, as the same map of [x, the states that are shown]."""
        if self._output_map is None:
            return weight, bias
        gain, offset = self._output_map
        inputs = weight.shape[1] - self.output_size
        scale = np.concatenate([np.ones(inputs, gain.dtype), gain])
        return weight * scale, bias + weight[:, inputs:] @ offset


def as_read(values: ArrayLike) -> NDArray[np.float64]:
    """As kernels read it, C-ordered float64; copied where it is read-only as well, which they would be compiled anew for."""
    array = np.asarray(values, np.float64)
    return array if array.flags.carray else np.array(array, order="C")


def prepared(cell: Cell) -> PreparedCell:
    """The cell with its present weights prepared, in its own precision; prepared anew where a parameter has changed since.

    A change is seen by the version counter of the parameter, which every operation of torch advances; writing through
    `parameter.data`, or through numpy, goes unseen.
    """
    tensors = cell.state_dict()
    version = tuple((tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors.values())
    known = _PREPARED.get(cell)
    if known is None or known[0] != version:
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        known = version, PreparedCell(cell.config, arrays, next(iter(arrays.values())).dtype)
        _PREPARED[cell] = known
    return known[1]


_PREPARED: WeakKeyDictionary[Cell, tuple[Any, PreparedCell]] = WeakKeyDictionary()


def _check_numbers(config: Mapping[str, Any]) -> None:
    for key in ("input_size", "units"):
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise ValueError(f"{key} must be a positive whole number, got {config.get(key)!r}")
    period = config.get("period")
    if not isinstance(period, (int, float)) or not 0 < period < float("inf"):
        raise ValueError(f"period must be a positive number of seconds, got {period!r}")


def layout(config: Mapping[str, Any]) -> tuple[int, slice]:
    """Number of state variables of the cell that `config` describes, and which of them it shows."""
    kernels: Any = import_module(f".kernels.{config['cell']}", __package__)
    size: int = kernels.state_size(config) if hasattr(kernels, "state_size") else config["units"]
    shown: slice = kernels.output_slice(config) if hasattr(kernels, "output_slice") else _motor_neurons(config)
    return size, shown


def output_map(
    config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Gain and bias [O] between the states that the cell shows and its output; None where they are the output."""
    kernels: Any = import_module(f".kernels.{config['cell']}", __package__)
    return kernels.output_map(config, tensors) if hasattr(kernels, "output_map") else None


def _motor_neurons(config: Mapping[str, Any]) -> slice:
    """The first states: those of the wiring's motor neurons, or all."""
    wiring = config.get("wiring")
    return slice(0, config["units"] if wiring is None else wiring["roles"]["motor"])
