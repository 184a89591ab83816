"""Cells trained with ncps (https://github.com/mlech26l/ncps), taken over with their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .cell import Cell
from .cells.arrays import inverse_softplus
from .cells.cfc import CfC, CfCLayer
from .cells.ltc import LTC
from .kernels.ltc import LEAST_CONDUCTANCE
from .wiring import ROLES, Wiring

_WRAPPERS = ("CfC", "LTC")


def import_ncps(cell: nn.Module, period: float = 0.02, backend: str = "auto") -> Cell:
    """The cell that computes what a cell of ncps 1.0.1 computes, with a copy of its weights in their precision.

    Takes `CfC`, `CfCCell`, `WiredCfCCell`, `LTC` and `LTCCell` of `ncps.torch`. ncps counts elapsed time in a unit of its own, 1 unless
    told; here that unit is the `period`: `dt = period * timespans`. The states of a cell on a wiring are ordered by the number
    of the neuron, motor neurons first, where ncps lists them layer by layer, motor neurons last. Dropout is left out.

    Parameters
    ----------
    cell : the cell, or the sequence wrapper around it.
    period : the time that one unit of ncps' elapsed time stands for, s.
    backend : as that of the cell it becomes.

    Raises ValueError where there is no such cell here; the message says what to do.
    """
    known = {"CfCCell": _cfc, "WiredCfCCell": _wired_cfc, "LTCCell": _ltc}
    name = type(cell).__name__
    if name in _WRAPPERS and hasattr(cell, "rnn_cell"):
        return import_ncps(_unwrapped(cell), period, backend)
    if name not in known:
        raise ValueError(f"cannot import a {name}; give one of {', '.join((*_WRAPPERS, *known))} of ncps.torch")
    return known[name](cell, period, backend)


def _unwrapped(model: Any) -> nn.Module:
    if model.use_mixed:
        raise ValueError("ncps' mixed memory is not imported; import model.rnn_cell, and train the memory here")
    if type(getattr(model, "fc", None)) is nn.Linear:
        raise ValueError(
            "the projection (proj_size) is no part of a cell; import model.rnn_cell and apply model.fc yourself"
        )
    cell: nn.Module = model.rnn_cell
    return cell


def _cfc(cell: Any, period: float, backend: str) -> CfC:
    if cell.sparsity_mask is not None:
        raise ValueError("this CfCCell is one layer of a wiring; import the WiredCfCCell it belongs to")
    if cell.backbone is not None and type(cell.backbone[1]).__name__ != "LeCun":
        raise ValueError(f"the backbone of a CfC is lecun_tanh here, not {cell.backbone[1]}; train it so in ncps")
    layers = [layer for layer in cell.backbone or () if isinstance(layer, nn.Linear)]
    ours = CfC(
        cell.input_size,
        cell.hidden_size,
        backbone_units=layers[0].out_features if layers else None,
        backbone_layers=max(len(layers), 1),
        mode=cell.mode,
        period=period,
        backend=backend,
    )
    return _with_weights(ours, [cell])


def _wired_cfc(cell: Any, period: float, backend: str) -> CfC:
    wiring = import_wiring(cell._wiring)
    mode = cell._layers[0].mode
    ours = CfC(wiring.inputs, wiring.units, wiring, mode=mode, compat="ncps", period=period, backend=backend)
    return _with_weights(ours, cell._layers)


def _ltc(cell: Any, period: float, backend: str) -> LTC:
    if cell._epsilon != LEAST_CONDUCTANCE:
        raise ValueError(f"the epsilon of an LTC is {LEAST_CONDUCTANCE} here, not {cell._epsilon}")
    wiring = import_wiring(cell._wiring)
    ours = LTC(wiring.inputs, wiring.units, wiring, unfolds=cell._ode_unfolds, period=period, backend=backend)
    ours.to(cell.w.dtype)
    theirs = dict(cell.named_parameters())
    names = {"leak_potential": "vleak", "leak_conductance": "gleak", "capacitance": "cm"}
    names |= {name: name.replace("gain", "w").replace("bias", "b") for name in ours.state_dict() if "put_" in name}
    for part, prefix in (("sensory", "sensory_"), ("recurrent", "")):
        ncps_names = {"weight": "w", "reversal": "erev", "slope": "sigma", "threshold": "mu"}
        names |= {f"{part}.{name}": prefix + their for name, their in ncps_names.items()}
    positive = () if cell._implicit_param_constraints else ("gleak", "cm", "w", "sensory_w")
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            # without an input or output mapping there is no such parameter, and ours maps nothing as it starts
            value = theirs.get(names[name], parameter)
            parameter.copy_(_inverse_constraint(names[name], value) if names[name] in positive else value)
    return ours


def _inverse_constraint(name: str, value: torch.Tensor) -> torch.Tensor:
    if bool((value < 0).any()):
        raise ValueError(f"{name} has negative values; call apply_weight_constraints() on the ncps cell first")
    # softplus reaches zero nowhere
    return inverse_softplus(value.clamp_min(LEAST_CONDUCTANCE))


def import_wiring(wiring: Any) -> Wiring:
    """A built wiring of ncps 1.0.1, with the same neurons and synapses."""
    roles = [wiring.get_type_of_neuron(i) for i in range(wiring.units)]
    if roles != sorted(roles, key=ROLES.index):
        raise ValueError("the wiring does not number its motor neurons first, then command and inter neurons")
    sensory = np.asarray(wiring.sensory_adjacency_matrix, np.int8)
    return Wiring(sensory, np.asarray(wiring.adjacency_matrix, np.int8), tuple(roles))


def _with_weights(ours: CfC, theirs: list[Any]) -> CfC:
    ours.to(theirs[0].ff1.weight.dtype)
    with torch.no_grad():
        for own, their in zip(ours.layers, theirs, strict=True):
            assert isinstance(own, CfCLayer)
            heads = [their.ff1] if their.mode == "pure" else [their.ff1, their.ff2, their.time_a, their.time_b]
            hidden = [layer for layer in their.backbone or () if isinstance(layer, nn.Linear)]
            parts = [heads, *([layer] for layer in hidden)]
            for layer, sources in zip([own.heads, *own.backbone_layers()], parts, strict=True):
                layer.weight.copy_(torch.cat([source.weight for source in sources]))
                layer.bias.copy_(torch.cat([source.bias for source in sources]))
            if their.mode == "pure":
                own.w_tau.copy_(their.w_tau[0])
                own.asymptote.copy_(their.A[0])
    return ours
