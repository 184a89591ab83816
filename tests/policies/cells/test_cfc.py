from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from ncps.torch import CfCCell, WiredCfCCell
from ncps.wirings import AutoNCP
from torch import Tensor, nn

from undrift.policies import CfC, Wiring

PERIOD = 0.02
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-12)}


def dense_pair(inputs: int, units: int, dtype: torch.dtype, backend: str) -> tuple[CfC, nn.Module, list[CfCCell]]:
    ours = CfC(inputs, units, backbone_units=24, period=PERIOD, backend=backend).to(dtype)
    theirs = CfCCell(inputs, units, backbone_units=24, backbone_layers=1).to(dtype)
    theirs.backbone[0].load_state_dict(ours.layers[0].backbone.state_dict())
    copy_heads(ours, [theirs])
    return ours, theirs, [theirs]


def ncp_pair(inputs: int, units: int, dtype: torch.dtype, backend: str) -> tuple[CfC, nn.Module, list[CfCCell]]:
    ours = CfC(inputs, units, Wiring.auto_ncp(inputs, units, 3, seed=4), period=PERIOD, backend=backend).to(dtype)
    theirs = WiredCfCCell(inputs, AutoNCP(units, 3, seed=4)).to(dtype)
    copy_heads(ours, theirs._layers)
    return ours, theirs, theirs._layers


def copy_heads(ours: CfC, theirs: list[CfCCell]) -> None:
    """Give ncps' layers our weights; its time heads ignore the wiring, so ours are masked for it."""
    for own, their in zip(ours.layers, theirs, strict=True):
        heads = (their.ff1, their.ff2, their.time_a, their.time_b)
        with torch.no_grad():
            for weight, bias, head in zip(
                own.heads.weight.split(own.units), own.heads.bias.split(own.units), heads, strict=True
            ):
                head.weight.copy_(weight if their.sparsity_mask is None else weight * their.sparsity_mask)
                head.bias.copy_(bias)


def head_gradients(layers: list[CfCCell]) -> list[Tensor]:
    gradients = []
    for layer in layers:
        mask = 1.0 if layer.sparsity_mask is None else layer.sparsity_mask
        heads = (layer.ff1, layer.ff2, layer.time_a, layer.time_b)
        gradients += [
            torch.cat([head.weight.grad * mask for head in heads]),
            torch.cat([head.bias.grad for head in heads]),
        ]
    return gradients


def ncps_sequence(
    cell: nn.Module, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(len(x)):
        if reset is not None:
            h = h * (1.0 - reset[t][:, None])
        periods = torch.ones(len(h), 1, dtype=x.dtype) if dt is None else dt[t][:, None] / PERIOD
        y, h = cell(x[t], h, periods)
        outputs.append(y)
    return torch.stack(outputs), h


def reversed_layers(h: Tensor, cell: CfC) -> Tensor:
    """Between our order of neurons, motor first, and ncps', motor last."""
    return torch.cat([h[:, neurons.start : neurons.stop] for neurons in cell.wiring.layers], 1)


def relative(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("pair", [dense_pair, ncp_pair])
@pytest.mark.parametrize("elapsed", [False, True], ids=["constant-period", "elapsed-time"])
@pytest.mark.parametrize("steps, rows, resets", [(9, 5, True), (7, 16, False), (1, 4, True), (6, 1, True)])
def test_sequences_and_gradients_are_those_of_the_ncps_cell(
    dtype: torch.dtype, backend: str, pair, elapsed: bool, steps: int, rows: int, resets: bool
) -> None:
    torch.manual_seed(steps)
    ours, theirs, layers = pair(6, 16, dtype, backend)
    x = torch.randn(steps, rows, 6, dtype=dtype, requires_grad=True)
    h = torch.rand(rows, 16, dtype=dtype).sub(0.5).requires_grad_()
    dt = (PERIOD * (0.2 + 2 * torch.rand(steps, rows, dtype=dtype))).requires_grad_() if elapsed else None
    reset = (torch.rand(steps, rows) < 0.3).to(dtype) if resets else None
    inputs = [x, h] if dt is None else [x, h, dt]

    results = []
    for run in (
        lambda: ours.sequence(x, h, dt, reset),
        lambda: ncps_sequence(theirs, x, reversed_layers(h, ours), dt, reset),
    ):
        for tensor in inputs:
            tensor.grad = None
        y, final = run()
        torch.manual_seed(0)
        loss = (y * torch.randn_like(y)).sum() + final.square().sum()
        loss.backward()
        results.append(([y.detach(), final.detach()], [tensor.grad.clone() for tensor in inputs]))
    (values, gradients), (expected_values, expected_gradients) = results
    values[1] = reversed_layers(values[1], ours)
    gradients += [p.grad for layer in ours.layers for p in layer.heads.parameters()]
    expected_gradients += head_gradients(layers)
    if ours.layers[0].backbone is not None:
        gradients += [p.grad for p in ours.layers[0].backbone.parameters()]
        expected_gradients += [p.grad for p in theirs.backbone.parameters()]

    value_tolerance, gradient_tolerance = TOLERANCE[dtype]
    assert max(map(relative, values, expected_values)) < value_tolerance
    assert max(map(relative, gradients, expected_gradients)) < gradient_tolerance


def test_numba_matches_torch_at_the_size_of_a_training_batch() -> None:
    torch.manual_seed(0)
    fast = CfC(34, 64, backbone_units=96, backend="numba")
    slow = CfC(34, 64, backbone_units=96, backend="torch")
    slow.load_state_dict(fast.state_dict())
    x, h, reset = torch.randn(32, 128, 34), torch.zeros(128, 64), torch.rand(32, 128) < 0.05
    weight = torch.randn(32, 128, 64)
    for cell in (fast, slow):
        (cell.sequence(x, h, None, reset)[0] * weight).sum().backward()
    for ours, reference in zip(fast.parameters(), slow.parameters(), strict=True):
        assert relative(ours.grad, reference.grad) < 1e-4


def test_the_wiring_masks_all_heads_and_only_the_inputs_of_a_layer() -> None:
    wiring = Wiring.auto_ncp(5, 12, 2)
    cell = CfC(5, 12, wiring)
    cell.sequence(torch.randn(3, 2, 5), cell.initial_state(2))[0].square().sum().backward()
    for layer, synapses in zip(cell.layers, wiring.layer_synapses, strict=True):
        gradient = layer.heads.weight.grad.view(4, layer.units, -1)
        absent = torch.from_numpy(~synapses.T)
        assert (gradient[:, :, : layer.input_size][:, absent] == 0).all()
        assert (gradient[:, :, layer.input_size :] != 0).any()


def test_the_output_of_an_ncp_is_its_motor_neurons() -> None:
    wiring = Wiring.auto_ncp(5, 12, 2)
    cell = CfC(5, 12, wiring)
    y, h = cell.sequence(torch.randn(3, 2, 5), cell.initial_state(2))
    assert cell.output_size == 2 and torch.equal(y[-1], h[:, list(wiring.neurons("motor"))])


def test_elapsed_time_counts_in_periods() -> None:
    torch.manual_seed(0)
    fast, slow = CfC(3, 8, period=0.01), CfC(3, 8, period=0.1)
    slow.load_state_dict(fast.state_dict())
    x, h, dt = torch.randn(4, 2, 3), torch.zeros(2, 8), torch.rand(4, 2)
    torch.testing.assert_close(fast.sequence(x, h, dt * 0.01)[0], slow.sequence(x, h, dt * 0.1)[0])


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_times_of_another_precision_leave_the_cell_its_own(backend: str) -> None:
    cell = CfC(3, 8, backend=backend)
    x, dt = torch.randn(4, 2, 3), torch.rand(4, 2, dtype=torch.float64)
    y, h = cell.sequence(x, cell.initial_state(2), dt)
    assert y.dtype == h.dtype == torch.float32
    torch.testing.assert_close(y, cell.sequence(x, cell.initial_state(2), dt.float())[0])


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_reset_forgets_even_a_state_that_is_not_finite(backend: str) -> None:
    cell = CfC(3, 8, backend=backend)
    h = torch.full((2, 8), float("nan"))
    y, _ = cell.sequence(torch.randn(4, 2, 3), h, reset=torch.tensor([[1, 0]] + [[0, 0]] * 3))
    assert torch.isfinite(y[:, 0]).all() and torch.isnan(y[:, 1]).all()


def test_inputs_of_any_memory_layout_are_accepted() -> None:
    cell = CfC(3, 8, backend="numba")
    x, dt = torch.randn(2, 5, 3), torch.rand(2, 5)
    y, _ = cell.sequence(x.transpose(0, 1), cell.initial_state(2), dt.T)
    expected, _ = cell.sequence(x.transpose(0, 1).contiguous(), cell.initial_state(2), dt.T.contiguous())
    assert torch.equal(y, expected)


def test_a_copy_and_a_second_backward_pass_work() -> None:
    cell = copy.deepcopy(CfC(3, 8, backend="numba"))
    y, _ = cell.sequence(torch.randn(4, 2, 3), cell.initial_state(2))
    loss = y.square().sum()
    first = torch.autograd.grad(loss, list(cell.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(cell.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_initial_weights_have_the_spread_of_separate_heads() -> None:
    cell = CfC(34, 64, backbone_units=96)
    bound = np.sqrt(6 / (96 + 64))
    largest = cell.layers[0].heads.weight.abs().max().item()
    assert 0.95 * bound < largest <= bound


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "cuda"}, "choose one of auto, torch, numba"),
        ({"backbone_units": 0}, "backbone_units"),
        ({"wiring": Wiring.dense(4, 8)}, "the wiring has 4 inputs and 8 units, the cell 3 and 8"),
        ({"wiring": Wiring.auto_ncp(3, 8, 2), "backbone_units": 5}, "None on a sparse one"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CfC(3, 8, **options)


@pytest.mark.parametrize(
    "cause", ['sys.modules["numba"] = None', 'os.environ["NUMBA_DISABLE_JIT"] = "1"'], ids=["missing", "disabled"]
)
def test_without_numba_sequences_use_torch_and_say_so_once(cause: str) -> None:
    program = (
        f"import os, sys, warnings; {cause}"
        + """
import torch
from undrift.policies import CfC
cell = CfC(3, 4)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        y, _ = cell.sequence(torch.ones(5, 2, 3), cell.initial_state(2))
reference = CfC(3, 4, backend="torch")
reference.load_state_dict(cell.state_dict())
assert torch.equal(y, reference.sequence(torch.ones(5, 2, 3), cell.initial_state(2))[0])
assert [w.category for w in caught] == [RuntimeWarning], caught
assert "numba" in str(caught[0].message).lower() and "backend='torch'" in str(caught[0].message)
try:
    CfC(3, 4, backend="numba").sequence(torch.ones(5, 2, 3), cell.initial_state(2))
except RuntimeError as error:
    assert "choose 'auto' or 'torch'" in str(error)
else:
    raise AssertionError("backend='numba' must not fall back")
"""
    )
    subprocess.run([sys.executable, "-c", program], check=True)
