"""The closed-form continuous-time cell."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..wiring import Wiring

BACKENDS = ("auto", "torch", "numba")
# "lecun_tanh" of LeCun et al. 1998, Efficient BackProp
LECUN_GAIN, LECUN_SLOPE = 1.7159, 0.666


class CfCLayer(nn.Module):
    """One layer of mutually connected CfC neurons.

    The four heads are one matrix whose rows are ff1, ff2, time_a, time_b, each [units, features]; the features are those of
    the backbone, or the concatenation of input and state where there is none.

    Parameters
    ----------
    input_size, units : I and H.
    backbone_units : width of the shared hidden layer, or None for none.
    synapses : bool [I, H], which inputs reach which neurons; None: all.
    """

    mask: Tensor | None

    def __init__(self, input_size: int, units: int, backbone_units: int | None, synapses: Tensor | None) -> None:
        super().__init__()
        self.input_size, self.units = input_size, units
        self.backbone = None if backbone_units is None else nn.Linear(input_size + units, backbone_units)
        self.heads = nn.Linear(input_size + units if backbone_units is None else backbone_units, 4 * units)
        mask = None if synapses is None else synapses.T.repeat(4, 1).to(self.heads.weight.dtype)
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            for head in self.heads.weight.split(units):
                nn.init.xavier_uniform_(head)
            if self.backbone is not None:
                nn.init.xavier_uniform_(self.backbone.weight)

    def step(self, x: Tensor, h: Tensor, periods: Tensor | None) -> Tensor:
        """x [B, I], h [B, H], periods [B] elapsed time in units of the period (None: one) -> h [B, H]."""
        features = torch.cat([x, h], 1)
        if self.backbone is not None:
            features = LECUN_GAIN * torch.tanh(LECUN_SLOPE * self.backbone(features))
        parameters: tuple[Tensor, Tensor] = (self._head_weight(), self.heads.bias)
        if periods is None:
            parameters = _merge_time(parameters[0]), _merge_time(parameters[1])
        heads = F.linear(features, *parameters).split(self.units, 1)
        time = heads[2] if periods is None else heads[2] * periods[:, None] + heads[3]
        return torch.lerp(torch.tanh(heads[0]), torch.tanh(heads[1]), torch.sigmoid(time))

    def sequence(self, x: Tensor, h: Tensor, periods: Tensor | None, reset: Tensor | None) -> Tensor:
        """x [T, B, I], h [B, H], periods and reset [T, B] -> states [T, B, H], by the compiled kernels."""
        backbone = (None, None) if self.backbone is None else (self.backbone.weight, self.backbone.bias)
        return _Sequence.apply(x, h, periods, reset, self._head_weight(), self.heads.bias, *backbone)

    def _head_weight(self) -> Tensor:
        """[4H, features], without the synapses the wiring lacks."""
        weight: Tensor = self.heads.weight
        if self.mask is None:
            return weight
        return torch.cat([weight[:, : self.input_size] * self.mask, weight[:, self.input_size :]], 1)


def _merge_time(heads: Tensor) -> Tensor:
    """[4H, ...] -> [3H, ...]: with a constant period time_a and time_b act as one head."""
    units = len(heads) // 4
    return torch.cat([heads[: 2 * units], heads[2 * units : 3 * units] + heads[3 * units :]])


def _merge_time_backward(gradient: Tensor) -> Tensor:
    return torch.cat([gradient, gradient[2 * len(gradient) // 3 :]])


class _Sequence(torch.autograd.Function):
    """`CfCLayer.sequence` on the kernels; `kernels.cfc` describes the arrays.

    It starts from the parameters themselves: at small minibatches the nodes of a graph cost more than their arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        state: Tensor,
        periods: Tensor | None,
        reset: Tensor | None,
        heads: Tensor,
        heads_bias: Tensor,
        backbone: Tensor | None,
        backbone_bias: Tensor | None,
    ) -> Tensor:
        steps, rows, inputs = x.shape
        units = state.shape[1]
        if periods is None:
            heads, heads_bias = _merge_time(heads), _merge_time(heads_bias)
        first, bias = (heads, heads_bias) if backbone is None else (backbone, backbone_bias)
        drive = F.linear(x, first[:, :inputs], bias)
        dtype = _array(drive).dtype
        states, entering = (np.empty((steps, rows, units), dtype) for _ in range(2))
        features = np.empty((steps, rows, 0 if backbone is None else len(backbone)), dtype)
        activity = np.empty((steps, rows, 3, units), dtype)
        elapsed = np.empty((steps, 0), dtype) if periods is None else _array(periods)
        resets = np.zeros((steps, rows), np.bool_) if reset is None else _array(reset.bool())
        weights = map(_array, (first[:, inputs:].T, heads.T, heads_bias))
        pre = np.empty((rows, 0 if periods is None else 4 * units), dtype)
        _kernels(x.dtype).forward(
            _array(drive), _array(state), elapsed, resets, *weights, states, entering, features, activity, pre
        )
        ctx.save_for_backward(x, first, heads, heads_bias)
        ctx.constant_period = periods is None
        ctx.arrays = elapsed, resets, entering, features, activity
        return torch.from_numpy(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        x, first, heads, heads_bias = ctx.saved_tensors
        elapsed, resets, entering, features, activity = ctx.arrays
        steps, rows, units = d_states.shape
        backbone, inputs = features.size > 0, x.shape[2]
        d_drive = np.empty((steps, rows, len(first)), features.dtype)
        d_heads = np.empty((steps, rows, len(heads)), features.dtype) if backbone else d_drive
        d_state = np.empty((rows, units), features.dtype)
        weights = map(_array, (first[:, inputs:], heads))
        _kernels(d_states.dtype).backward(
            _array(d_states), elapsed, resets, *weights, features, activity, d_drive, d_heads, d_state
        )
        read = torch.cat([x, torch.from_numpy(entering)], 2)
        d_first, d_first_bias = _linear_backward(read, torch.from_numpy(d_drive))
        d_weight, d_bias, d_backbone, d_backbone_bias = d_first, d_first_bias, None, None
        if backbone:
            d_backbone, d_backbone_bias = d_first, d_first_bias
            d_weight, d_bias = _linear_backward(torch.from_numpy(features), torch.from_numpy(d_heads))
        if ctx.constant_period:
            d_weight, d_bias = _merge_time_backward(d_weight), _merge_time_backward(d_bias)
        d_x = torch.from_numpy(d_drive) @ first[:, :inputs] if ctx.needs_input_grad[0] else None
        d_periods = None
        if ctx.needs_input_grad[2]:
            own = slice(2 * units, 3 * units)
            time_a = F.linear(torch.from_numpy(features) if backbone else read, heads[own], heads_bias[own])
            d_periods = (torch.from_numpy(d_heads[..., 3 * units :]) * time_a).sum(-1)
        return d_x, torch.from_numpy(d_state), d_periods, None, d_weight, d_bias, d_backbone, d_backbone_bias


def _linear_backward(x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of weight and bias of a linear map of x [T, B, I], from that of its output."""
    gradient = gradient.flatten(0, 1)
    return gradient.T @ x.flatten(0, 1), gradient.sum(0)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()


@cache
def _kernels(dtype: torch.dtype) -> Any:
    """The compiled kernels, tried on one step; None, with one warning, where numba is missing or fails."""
    try:
        from ..kernels import cfc

        cfc.compile_for(str(dtype).removeprefix("torch."))
    except Exception as error:  # noqa: BLE001 - whatever stops a compiler, torch still computes
        warnings.warn(
            f"CfC sequences fall back to the slower torch path, because numba failed ({type(error).__name__}: {error}). "
            "Reinstall numba, or choose backend='torch' to silence this.",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    return cfc


class CfC(Cell):
    """Closed-form continuous-time cell: the state slides between two learned targets, h' = (1 - s) f + s g.

    f = tanh(ff1), g = tanh(ff2), s = sigmoid(time_a * dt / period + time_b), all four linear in the features of input and
    state. Densely wired, the features are one shared hidden layer ("backbone", lecun_tanh). On a neural circuit policy the
    cell is a stack of layers, inter -> command -> motor, each reading the layer before through the synapses of the wiring
    (all four heads) and fully recurrent in itself; polarities are not used. State k is neuron k of the wiring, so that the
    motor neurons, which are the output, come first.

    Source: Hasani et al. 2022, "Closed-form continuous-time neural networks", doi:10.1038/s42256-022-00556-7, as in ncps 1.0.1.

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of neurons H.
    wiring : a `Wiring` of the same sizes; None: dense.
    backbone_units : width of the backbone, or None for none; dense wirings only.
    period : nominal time between steps, s.
    backend : "numba" computes sequences on the CPU with compiled kernels, "torch" with a loop over `step`; "auto" takes numba
        where it works. Single steps and other devices always use torch.

    Raises ValueError on sizes that disagree, a backbone on a sparse wiring, or an unknown backend.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        wiring: Wiring | None = None,
        backbone_units: int | None = None,
        period: float = 0.02,
        backend: str = "auto",
    ) -> None:
        wiring = Wiring.dense(input_size, units) if wiring is None else wiring
        super().__init__(input_size, units, wiring.outputs, period)
        if (wiring.inputs, wiring.units) != (input_size, units):
            raise ValueError(
                f"the wiring has {wiring.inputs} inputs and {wiring.units} units, the cell {input_size} and {units}"
            )
        if backend not in BACKENDS:
            raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
        if backbone_units is not None and (backbone_units < 1 or not wiring.is_dense):
            raise ValueError(
                f"backbone_units must be a positive number on a dense wiring and None on a sparse one, got {backbone_units}"
            )
        self.wiring = wiring
        self.backbone_units = backbone_units
        self.backend = backend
        self.layers = nn.ModuleList()
        for synapses in wiring.layer_synapses:
            inputs, neurons = synapses.shape
            self.layers.append(
                CfCLayer(inputs, neurons, backbone_units, None if synapses.all() else torch.from_numpy(synapses))
            )

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        periods = None if dt is None else (dt / self.period).to(x.dtype)
        states = []
        for layer, neurons in self._stack():
            x = layer.step(x, h[:, neurons.start : neurons.stop], periods)
            states.append(x)
        return _in_neuron_order(states)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "cell": "cfc",
            "input_size": self.input_size,
            "units": self.state_size,
            "wiring": None if self.wiring.is_dense else self.wiring.to_dict(),
            "backbone_units": self.backbone_units,
            "period": self.period,
        }

    def output(self, h: Tensor) -> Tensor:
        return h[..., : self.output_size]

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        if not self._compiled(x):
            return super().states(x, h, dt, reset)
        periods = None if dt is None else (dt / self.period).to(x.dtype)
        states = []
        for layer, neurons in self._stack():
            x = layer.sequence(x, h[:, neurons.start : neurons.stop], periods, reset)
            states.append(x)
        return _in_neuron_order(states)

    def _stack(self) -> Iterator[tuple[CfCLayer, range]]:
        """The layers from the inputs to the outputs, each with the numbers of its neurons."""
        return zip(cast("Iterable[CfCLayer]", self.layers), self.wiring.layers, strict=True)

    def _compiled(self, x: Tensor) -> bool:
        if self.backend == "torch" or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return False
        if _kernels(x.dtype) is None and self.backend == "numba":
            raise RuntimeError("backend 'numba' does not work here (see the warning); choose 'auto' or 'torch'")
        return _kernels(x.dtype) is not None


def _in_neuron_order(states: list[Tensor]) -> Tensor:
    """Join the layers' states, given from the inputs to the outputs, into the order of the wiring's neurons (motor first)."""
    return states[0] if len(states) == 1 else torch.cat(states[::-1], -1)
