"""The closed-form continuous-time cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..kernels.backend import check_backend, choose
from ..kernels.cfc import LECUN_GAIN, LECUN_SLOPE, check_options
from ..wiring import Wiring
from .arrays import array, reset_array
from .threads import apply_in_blocks
from .workspace import Workspace


class CfCLayer(nn.Module):
    """One layer of mutually connected CfC neurons.

    The heads are one matrix whose rows are ff1, ff2, time_a, time_b (ff1 alone in mode "pure"), each [units, features]; the
    features are those of the backbone, or the concatenation of input and state where there is none.

    Parameters
    ----------
    synapses : bool [I, H], which inputs reach which neurons.
    backbone_units, backbone_layers : width and number of the shared hidden layers; None for none.
    mode, compat : as those of `CfC`.
    """

    mask: Tensor | None

    def __init__(
        self,
        synapses: NDArray[np.bool_],
        backbone_units: int | None,
        backbone_layers: int,
        mode: str,
        compat: str | None,
    ) -> None:
        super().__init__()
        self.input_size, self.units = synapses.shape
        self.mode = mode
        features, widths = sum(synapses.shape), [] if backbone_units is None else [backbone_units] * backbone_layers
        self.backbone = nn.Linear(features, widths[0]) if widths else None
        self.deeper = nn.ModuleList([nn.Linear(width, width) for width in widths[1:]])
        heads = 1 if mode == "pure" else 4
        self.heads = nn.Linear(widths[-1] if widths else features, heads * self.units)
        mask = torch.ones(self.heads.weight.shape)
        masked = 2 if compat == "ncps" and mode != "pure" else heads
        if not synapses.all():
            mask[: masked * self.units, : self.input_size] = torch.from_numpy(np.tile(synapses.T, (masked, 1)))
        self.register_buffer("mask", None if synapses.all() else mask, persistent=False)
        with torch.no_grad():
            for head in self.heads.weight.split(self.units):
                nn.init.xavier_uniform_(head)
            for layer in self.backbone_layers():
                nn.init.xavier_uniform_(layer.weight)
        if mode == "pure":
            self.w_tau = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, self.units))[0])
            self.asymptote = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, self.units))[0])

    def step(self, x: Tensor, h: Tensor, periods: Tensor | None) -> Tensor:
        """x [B, I], h [B, H], periods [B] elapsed time in units of the period (None: one) -> h [B, H]."""
        if self.mode == "pure":
            ff1 = F.linear(self._features(x, h), self._head_weight(), self.heads.bias)
            elapsed = 1.0 if periods is None else periods[:, None]
            return self.asymptote * (1.0 - torch.exp(-elapsed * (self.w_tau.abs() + ff1.abs())) * ff1)
        f, g, gate = self.activate(x, h, periods)
        return f + gate * g if self.mode == "no_gate" else torch.lerp(f, g, gate)

    def activate(self, x: Tensor, h: Tensor, periods: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The two targets and the gate between them, [B, H] each; arguments as those of `step`. Not in mode "pure"."""
        parameters: tuple[Tensor, Tensor] = (self._head_weight(), self.heads.bias)
        if periods is None:
            parameters = _merge_time(parameters[0]), _merge_time(parameters[1])
        heads = F.linear(self._features(x, h), *parameters).split(self.units, 1)
        time = heads[2] if periods is None else heads[2] * periods[:, None] + heads[3]
        return torch.tanh(heads[0]), torch.tanh(heads[1]), torch.sigmoid(time)

    def sequence(
        self,
        kernels: ModuleType,
        threads: int,
        x: Tensor,
        h: Tensor,
        periods: Tensor | None,
        reset: Tensor | None,
    ) -> Tensor:
        """x [T, B, I], h [B, H], periods and reset [T, B] -> states [T, B, H], by the compiled kernels."""
        backbone = [parameter for layer in self.backbone_layers() for parameter in (layer.weight, layer.bias)]
        heads = self.heads.weight, self.heads.bias
        axes = None, None, None, 1, 0, 1, 1, None, None, *[None] * len(backbone)
        gated = self.mode == "default"
        arguments = kernels, gated, self.mask, x, h, periods, reset, *heads, *backbone
        return apply_in_blocks(_Sequence, threads, axes, *arguments)

    def _features(self, x: Tensor, h: Tensor) -> Tensor:
        features = torch.cat([x, h], 1)
        for layer in self.backbone_layers():
            features = LECUN_GAIN * torch.tanh(LECUN_SLOPE * layer(features))
        return features

    def backbone_layers(self) -> list[nn.Linear]:
        """From the inputs to the heads."""
        return [] if self.backbone is None else [self.backbone, *cast("Iterable[nn.Linear]", self.deeper)]

    def _head_weight(self) -> Tensor:
        """[4H, features], without the synapses the wiring lacks."""
        return self.heads.weight if self.mask is None else self.heads.weight * self.mask


def _merge_time(heads: Any, join: Any = torch.cat) -> Any:
    """[4H, ...] -> [3H, ...]: with a constant period time_a and time_b act as one head."""
    units = len(heads) // 4
    return join([heads[: 2 * units], heads[2 * units : 3 * units] + heads[3 * units :]])


class _Sequence(torch.autograd.Function):
    """`CfCLayer.sequence` on the kernels; `kernels.cfc` describes the arrays.

    It starts from the parameters themselves: at small minibatches the nodes of a graph cost more than their arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        kernels: ModuleType,
        gated: bool,
        mask: Tensor | None,
        x: Tensor,
        state: Tensor,
        periods: Tensor | None,
        reset: Tensor | None,
        heads: Tensor,
        heads_bias: Tensor,
        *backbone: Tensor,
    ) -> Tensor:
        """`backbone` is weight and bias of each of its layers."""
        steps, rows, inputs = x.shape
        h, own, own_bias = array(state), array(heads if mask is None else heads * mask), array(heads_bias)
        if periods is None:
            own, own_bias = _merge_time(own, np.concatenate), _merge_time(own_bias, np.concatenate)
        weight, bias = map(array, backbone[:2]) if backbone else (own, own_bias)
        recurrent = weight[:, inputs:].copy()
        units, dtype, width, depth = h.shape[1], h.dtype, len(bias), len(backbone) // 2
        alone = not backbone and periods is None
        states = np.empty((steps, rows, units), dtype)
        workspace = Workspace(
            dtype,
            (steps, rows, width),
            (steps, rows, units),
            (max(depth - 1, 0), steps, rows, width),
            (0 if alone else steps, rows, 3, units),
            (rows, max(width, len(own))),
        )
        first, entering, features, activity, pre = workspace.arrays
        activity = first.reshape(steps, rows, 3, units) if alone else activity
        torch.mm(
            x.flatten(0, 1), torch.from_numpy(weight[:, :inputs]).T, out=torch.from_numpy(first.reshape(-1, width))
        )
        elapsed = np.empty((steps, 0), dtype) if periods is None else array(periods)
        resets = reset_array(reset, steps, rows)
        kernels.forward(
            first,
            h,
            elapsed,
            resets,
            recurrent,
            bias,
            _stack(backbone[2::2], (width, width), dtype),
            _stack(backbone[3::2], (width,), dtype),
            own if backbone else own[:, :0],
            own_bias,
            gated,
            states,
            entering,
            features,
            activity,
            pre,
        )
        ctx.save_for_backward(x, mask, heads, *backbone)
        ctx.kernels, ctx.gated, ctx.constant_period, ctx.heads = kernels, gated, periods is None, (own, own_bias)
        ctx.workspace, ctx.arrays = workspace, (first, elapsed, resets, recurrent, entering, features, activity)
        return torch.from_numpy(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        x, mask, _, *backbone = ctx.saved_tensors  # the heads too, so that torch notices where they were changed since
        heads, heads_bias = ctx.heads
        first, elapsed, resets, recurrent, entering, features, activity = ctx.arrays
        weight, inputs = array(backbone[0]) if backbone else heads, x.shape[2]
        (steps, rows, width), dtype = first.shape, first.dtype
        workspace = Workspace(
            dtype,
            first.shape,
            features.shape,
            (steps, rows, len(heads) if backbone else 0),
        )
        d_first, d_deeper, own_d_heads = workspace.arrays
        d_heads = own_d_heads if backbone else d_first
        d_state = np.empty((rows, d_states.shape[2]), dtype)
        ctx.kernels.backward(
            array(d_states),
            first,
            elapsed,
            resets,
            recurrent,
            _stack(backbone[2::2], (width, width), dtype),
            heads if backbone else heads[:, :0],
            ctx.gated,
            features,
            activity,
            d_first,
            d_deeper,
            d_heads,
            d_state,
        )
        # what each linear map read, and the gradient of what it gave
        read: list[tuple[Tensor, ...]] = [(x, torch.from_numpy(entering))]
        given = [d_first]
        if backbone:
            read += [(torch.from_numpy(z),) for z in (first, *features)]
            given += [*d_deeper, d_heads]
        *d_given, d_last = map(torch.from_numpy, given)
        *read, read_last = read
        gradients = [_linear_backward(*pair) for pair in zip(read, d_given, strict=True)]
        d_weight, d_bias = _linear_backward(read_last, d_last, d_state.shape[1] if ctx.constant_period else 0)
        if mask is not None:
            d_weight = d_weight * mask
        d_x = torch.from_numpy(d_first) @ torch.from_numpy(weight[:, :inputs]) if ctx.needs_input_grad[3] else None
        d_periods = None
        if ctx.needs_input_grad[5]:
            units = d_state.shape[1]
            own = slice(2 * units, 3 * units)
            time_a = F.linear(torch.cat(read_last, 2), *map(torch.from_numpy, (heads[own], heads_bias[own])))
            d_periods = (torch.from_numpy(d_heads[..., 3 * units :]) * time_a).sum(-1)
        d_backbone = [gradient for pair in gradients for gradient in pair]
        return None, None, None, d_x, torch.from_numpy(d_state), d_periods, None, d_weight, d_bias, *d_backbone


def _stack(weights: Sequence[Tensor], shape: tuple[int, ...], dtype: np.dtype) -> NDArray[Any]:
    """[N, ...]; N may be zero."""
    return np.stack([array(weight) for weight in weights]) if weights else np.empty((0, *shape), dtype)


def _linear_backward(read: tuple[Tensor, ...], gradient: Tensor, merged: int = 0) -> tuple[Tensor, Tensor]:
    """The gradients of weight and bias of a linear map of the inputs read, each [T, B, I], from that of its output.

    The last `merged` outputs are each a sum of two, the other in the rows that follow.
    """
    gradient = gradient.flatten(0, 1)
    sizes, outputs = [x.shape[2] for x in read], gradient.shape[1]
    weight, bias = gradient.new_empty(outputs + merged, sum(sizes)), gradient.new_empty(outputs + merged)
    for x, part in zip(read, weight[:outputs].split(sizes, 1), strict=True):
        torch.mm(gradient.T, x.flatten(0, 1), out=part)
    torch.sum(gradient, 0, out=bias[:outputs])
    if merged:
        for own in (weight, bias):
            own[outputs:] = own[outputs - merged : outputs]
    return weight, bias


class CfC(Cell):
    """Closed-form continuous-time cell: the state slides between two learned targets, h' = (1 - s) f + s g.

    f = tanh(ff1), g = tanh(ff2), s = sigmoid(time_a * dt / period + time_b), all four linear in the features of input and
    state. In mode "no_gate" the first target stays whole, h' = f + s g; in mode "pure" the cell is the closed form itself,
    h' = A - A exp(-(|w_tau| + |ff1|) dt / period) ff1, with the rate w_tau and the asymptote A of each neuron learned.

    Densely wired, the features are those of a shared hidden network ("backbone", lecun_tanh). On a neural circuit policy the
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
    backbone_layers : number of its layers.
    mode : "default", "no_gate" or "pure".
    compat : "ncps" masks two of the four heads only, ff1 and ff2, as ncps does on a wiring; None masks all.
    period : nominal time between steps, s.
    backend : "numba" computes sequences on the CPU with compiled kernels, "torch" with a loop over `step`; "auto" takes numba
        where it works. Single steps and other devices always use torch, and so does mode "pure", which trains at 0.4 times the
        speed of the default with kernels.

    Raises ValueError on sizes that disagree, a backbone on a sparse wiring, or an unknown mode, compat or backend.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        wiring: Wiring | None = None,
        backbone_units: int | None = None,
        backbone_layers: int = 1,
        mode: str = "default",
        compat: str | None = None,
        period: float = 0.02,
        backend: str = "auto",
    ) -> None:
        wiring = Wiring.dense(input_size, units) if wiring is None else wiring
        super().__init__(input_size, units, wiring.outputs, period)
        check_options(wiring, input_size, units, backbone_units, backbone_layers, mode, compat)
        check_backend(backend)
        self.wiring = wiring
        self.backbone_units, self.backbone_layers = backbone_units, backbone_layers
        self.mode, self.compat = mode, compat
        self.backend = backend
        self.layers = nn.ModuleList(
            CfCLayer(synapses, backbone_units, backbone_layers, mode, compat) for synapses in wiring.layer_synapses
        )

    @property
    def config(self) -> dict[str, Any]:
        dense = self.wiring == Wiring.dense(self.input_size, self.state_size)
        return {
            "cell": "cfc",
            "input_size": self.input_size,
            "units": self.state_size,
            "wiring": None if dense else self.wiring.to_dict(),
            "backbone_units": self.backbone_units,
            "backbone_layers": self.backbone_layers,
            "mode": self.mode,
            "compat": self.compat,
            "period": self.period,
        }

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        periods = None if dt is None else (dt / self.period).to(x.dtype)
        states = []
        for layer, neurons in self._stack():
            x = layer.step(x, h[:, neurons.start : neurons.stop], periods)
            states.append(x)
        return _in_neuron_order(states)

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        """How far each neuron is from its first target to its second, s; nothing in mode "pure", which has no gate."""
        if self.mode == "pure":
            return {}
        periods = None if dt is None else (dt / self.period).to(x.dtype)
        gates = []
        for layer, neurons in self._stack():
            before = h[:, neurons.start : neurons.stop]
            gates.append(layer.activate(x, before, periods)[2])
            x = layer.step(x, before, periods)
        return {"update": _in_neuron_order(gates)}

    def output(self, h: Tensor) -> Tensor:
        return h[..., : self.output_size]

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        kernels = self._kernels(x)
        if kernels is None:
            return super().states(x, h, dt, reset)
        return _in_neuron_order(self._states_of_layers(kernels, x, h, dt, reset))

    def sequence(
        self,
        x: Tensor,
        h: Tensor,
        dt: Tensor | None = None,
        reset: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        kernels = self._kernels(x)
        if kernels is None or present is not None:
            return super().sequence(x, h, dt, reset, present)
        self._check_sequence(x, h, dt, reset, present)
        # On a wiring, joining the states of all layers at all steps would cost a tenth of the time.
        layers = self._states_of_layers(kernels, x, h, dt, reset)
        y = layers[-1] if layers[-1].shape[2] == self.output_size else self.output(layers[-1])
        return y, _in_neuron_order([states[-1] for states in layers])

    def _kernels(self, x: Tensor) -> ModuleType | None:
        return None if self.mode == "pure" else choose(self.backend, "cfc", x)

    def _states_of_layers(
        self, kernels: ModuleType, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None
    ) -> list[Tensor]:
        """[T, B, units] of each layer, from the inputs to the outputs."""
        periods = None if dt is None else (dt / self.period).to(x.dtype)
        states = []
        for layer, neurons in self._stack():
            x = layer.sequence(kernels, self.threads, x, h[:, neurons.start : neurons.stop], periods, reset)
            states.append(x)
        return states

    def _stack(self) -> Iterator[tuple[CfCLayer, range]]:
        """The layers from the inputs to the outputs, each with the numbers of its neurons."""
        return zip(cast("Iterable[CfCLayer]", self.layers), self.wiring.layers, strict=True)


def _in_neuron_order(states: list[Tensor]) -> Tensor:
    """Join the layers' states, given from the inputs to the outputs, into the order of the wiring's neurons (motor first)."""
    return states[0] if len(states) == 1 else torch.cat(states[::-1], -1)
