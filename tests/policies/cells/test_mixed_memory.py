from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ncps.torch import LTC as NcpsLTC
from ncps.torch import CfC as NcpsCfC
from ncps.wirings import FullyConnected
from torch import Tensor, nn

from undrift.policies import CELLS, check_cell, make_cell
from undrift.policies.cells import MixedMemory
from undrift.policies.prepared import PreparedCell, prepared

INPUTS, UNITS, PERIOD = 3, 8, 0.02


def cfc_pair() -> tuple[MixedMemory, nn.Module]:
    ours = MixedMemory(INPUTS, UNITS, {"cell": "cfc", "backbone_units": 5}, PERIOD).double()
    theirs = NcpsCfC(INPUTS, UNITS, mixed_memory=True, backbone_units=5, batch_first=False).double()
    layer, cell = ours.inner.layers[0], theirs.rnn_cell
    heads = (cell.ff1, cell.ff2, cell.time_a, cell.time_b)
    with torch.no_grad():
        layer.backbone.load_state_dict(cell.backbone[0].state_dict())
        layer.heads.weight.copy_(torch.cat([head.weight for head in heads]))
        layer.heads.bias.copy_(torch.cat([head.bias for head in heads]))
    return ours, theirs


def ltc_pair() -> tuple[MixedMemory, nn.Module]:
    ours = MixedMemory(INPUTS, UNITS, "ltc", PERIOD).double()
    theirs = NcpsLTC(INPUTS, FullyConnected(UNITS), mixed_memory=True, batch_first=False).double()
    own, cell = ours.inner, theirs.rnn_cell
    with torch.no_grad():
        for synapses, prefix in ((own.sensory, "sensory_"), (own.recurrent, "")):
            for mine, name in (("weight", "w"), ("reversal", "erev"), ("slope", "sigma"), ("threshold", "mu")):
                getattr(synapses, mine).copy_(getattr(cell, prefix + name))
        own.leak_conductance.copy_(cell.gleak)
        own.leak_potential.copy_(cell.vleak)
        own.capacitance.copy_(cell.cm)
    return ours, theirs


def copy_memory(ours: MixedMemory, theirs: nn.Module) -> None:
    """ncps orders the gates candidate, input, forget, output, adds 1 to the forget gate, and has no input for elapsed time."""

    def reordered(weight: Tensor) -> Tensor:
        i, f, g, o = weight.chunk(4)
        return torch.cat([g, i, f, o])

    with torch.no_grad():
        ours.memory.input.weight[:, -1] = 0.0
        theirs.input_map.weight.copy_(reordered(ours.memory.input.weight[:, :-1]))
        theirs.input_map.bias.copy_(reordered(ours.memory.input.bias))
        theirs.input_map.bias[2 * UNITS : 3 * UNITS] -= 1.0
        theirs.recurrent_map.weight.copy_(reordered(ours.memory.recurrent.weight))


@pytest.mark.parametrize("pair", [cfc_pair, ltc_pair])
def test_the_equations_are_those_of_ncps(pair) -> None:
    torch.manual_seed(0)
    ours, theirs = pair()
    copy_memory(ours, theirs.lstm)
    x, h = torch.randn(6, 5, INPUTS).double(), torch.randn(5, 2 * UNITS).double()
    hidden, memory = h.chunk(2, 1)

    y, final = ours.sequence(x, h)
    expected, expected_final = theirs(x, (hidden, memory))
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(final, torch.cat(expected_final, 1), rtol=1e-12, atol=1e-12)

    # with elapsed times cell by cell: what is around them in ncps mixes up the rows
    dt = PERIOD * (0.2 + 2.0 * torch.rand(6, 5).double())
    y, _ = ours.sequence(x, h, dt)
    for t in range(6):
        hidden, memory = theirs.lstm(x[t], (hidden, memory))
        shown, hidden = theirs.rnn_cell(x[t], hidden, dt[t, :, None] / PERIOD)
        torch.testing.assert_close(y[t], shown, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("inner", ["diagonal", "lstm"])
def test_it_keeps_the_contract_around_any_cell(inner: str, backend: str) -> None:
    check_cell(lambda: MixedMemory(2, 3, inner, backend=backend))


@pytest.mark.parametrize("inner", [name for name in CELLS if name != "mixed_memory"])
def test_its_prepared_step_is_that_of_torch(inner: str) -> None:
    torch.manual_seed(0)
    cell = MixedMemory(4, 7, inner).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, h, dt = torch.randn(3, 4).double(), torch.randn(3, cell.state_size).double(), 0.05 * torch.rand(3).double()
    step, expected = prepared(cell), cell.step(x, h, dt)
    after = torch.from_numpy(step.step(x, h, dt))
    torch.testing.assert_close(after, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.from_numpy(step.output(after.numpy())), cell.output(expected).detach())


def test_an_open_forget_gate_carries_gradients_through_a_hundred_steps_where_the_cell_alone_loses_them() -> None:
    torch.manual_seed(0)
    reached = {}
    for name, cell in (("alone", make_cell({"cell": "cfc"}, input_size=2, units=16)), ("mixed", MixedMemory(2, 16))):
        if name == "mixed":
            with torch.no_grad():
                cell.memory.input.bias[16:32] = 6.0
        x = torch.randn(100, 4, 2, requires_grad=True)
        y, _ = cell.sequence(x, cell.initial_state(4))
        y[-1].square().sum().backward()
        reached[name] = x.grad[0].norm() / x.grad[-1].norm()
    assert reached["mixed"] > 1e3 * reached["alone"]


def test_its_config_nests_that_of_the_inner_cell() -> None:
    cell = MixedMemory(3, 5, {"cell": "diagonal", "time_constants": (2.0, 9.0)}, period=0.1)
    config = json.loads(json.dumps(cell.config))
    assert config["inner"] == {"cell": "diagonal", "time_constants": [2.0, 9.0]}
    again = make_cell(config)
    assert again.config == config and again.inner.period == again.memory.period == 0.1


@pytest.mark.parametrize(
    "inner, message",
    [
        ("rnn", "unknown cell 'rnn'; the cells are"),
        ({"cell": "cfc", "units": 9}, "leave it out of `inner`"),
        ({"cell": "cfc", "leak": 9}, "'leak'"),
    ],
)
def test_a_wrong_inner_cell_is_refused(inner, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedMemory(3, 5, inner)


@pytest.mark.parametrize(
    "names, message",
    [
        (["inner.feedback", "memory.input.weight"], "tensor 'input.bias' is missing"),
        (["feedback"], "tensor 'feedback' is unknown; those of mixed memory begin with"),
        ([], "is missing"),
    ],
)
def test_a_wrong_tensor_is_refused(names: list[str], message: str) -> None:
    cell = MixedMemory(3, 5, "diagonal")
    with pytest.raises(ValueError, match=message):
        PreparedCell(cell.config, {name: np.zeros((20, 4)) for name in names})
