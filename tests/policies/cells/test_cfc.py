from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ncps.torch import CfCCell, WiredCfCCell
from ncps.wirings import AutoNCP
from torch import Tensor, nn

from undrift.policies import CfC, Wiring
from undrift.policies.ncps import import_ncps

PERIOD = 0.02
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-12)}
MODES = ("default", "pure", "no_gate")


def dense(mode: str) -> nn.Module:
    return CfCCell(6, 16, mode, backbone_units=24, backbone_layers=1)


def deep(mode: str) -> nn.Module:
    return CfCCell(6, 16, mode, backbone_units=12, backbone_layers=3)


def no_backbone(mode: str) -> nn.Module:
    return CfCCell(6, 16, mode, backbone_layers=0)


def ncp(mode: str) -> nn.Module:
    return WiredCfCCell(6, AutoNCP(16, 3, seed=4), mode)


def by_layers(h: Tensor, cell: CfC) -> Tensor:
    """From our order of neurons, motor first, to ncps', motor last."""
    return torch.cat([h[:, neurons.start : neurons.stop] for neurons in cell.wiring.layers], 1)


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


def gradients(cell: nn.Module, results: tuple[Tensor, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Those of a random loss by the inputs; the parameters of the cell keep theirs."""
    for tensor in (*inputs, *cell.parameters()):
        tensor.grad = None
    generator = torch.Generator().manual_seed(0)
    weights = (torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value) for value in results)
    torch.stack([(value * weight).sum() for value, weight in zip(results, weights, strict=True)]).sum().backward()
    return [tensor.grad.clone() for tensor in inputs]


def imported_gradients(cell: nn.Module) -> dict[str, Tensor]:
    """The gradients of ncps' parameters in the places of ours: imported as if they were weights."""
    twin = copy.deepcopy(cell)
    for own, parameter in zip(twin.parameters(), cell.parameters(), strict=True):
        if parameter.grad is not None:
            own.data = parameter.grad
    return dict(import_ncps(twin).named_parameters())


def relative(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


def assert_equals_ncps(
    theirs: nn.Module, ours: CfC, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None
) -> None:
    """Outputs, last state, and every gradient."""
    value_tolerance, gradient_tolerance = TOLERANCE[x.dtype]
    inputs = [tensor.requires_grad_() for tensor in (x, h, dt) if tensor is not None]
    expected_y, expected_final = ncps_sequence(theirs, x, by_layers(h, ours), dt, reset)
    expected_gradients = gradients(theirs, (expected_y[..., : ours.output_size], expected_final), inputs)
    y, final = ours.sequence(x, h, dt, reset)
    final = by_layers(final, ours)
    found = gradients(ours, (y, final), inputs)
    assert relative(y, expected_y[..., : ours.output_size]) < value_tolerance
    assert relative(final, expected_final) < value_tolerance
    for gradient, expected in zip(found, expected_gradients, strict=True):
        assert relative(gradient, expected) < gradient_tolerance
    by_name = imported_gradients(theirs)
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, by_name[name]) < gradient_tolerance, name


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", [dense, deep, no_backbone, ncp])
@pytest.mark.parametrize("elapsed", [False, True], ids=["constant-period", "elapsed-time"])
def test_sequences_and_gradients_are_those_of_the_ncps_cell(
    dtype: torch.dtype, backend: str, mode: str, form, elapsed: bool
) -> None:
    torch.manual_seed(7)
    theirs = form(mode).to(dtype)
    steps, rows = 7, 5
    dt = PERIOD * (0.2 + 2 * torch.rand(steps, rows, dtype=dtype)) if elapsed else None
    reset = (torch.rand(steps, rows) < 0.3).to(dtype)
    x, h = torch.randn(steps, rows, 6, dtype=dtype), torch.rand(rows, 16, dtype=dtype).sub(0.5)
    assert_equals_ncps(theirs, import_ncps(theirs, PERIOD, backend), x, h, dt, reset)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.integers(1, 5),
    rows=st.integers(1, 6),
    inputs=st.integers(1, 4),
    units=st.integers(6, 12),
    mode=st.sampled_from(MODES),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    backend=st.sampled_from(["torch", "numba"]),
    seed=st.integers(0, 99),
)
def test_any_size_and_any_wiring_is_as_in_ncps_even_one_with_layers_that_nothing_reaches(
    steps: int, rows: int, inputs: int, units: int, mode: str, density: float, backend: str, seed: int
) -> None:
    torch.manual_seed(seed)
    wiring = AutoNCP(units, 2, seed=seed)
    wiring.build(inputs)
    kept = np.random.default_rng(seed)
    for name in ("sensory_adjacency_matrix", "adjacency_matrix"):
        matrix = getattr(wiring, name)
        setattr(wiring, name, matrix * (kept.random(matrix.shape) < density))
    theirs = WiredCfCCell(None, wiring, mode).double()
    ours = import_ncps(theirs, PERIOD, backend)
    x, h = torch.randn(steps, rows, inputs).double(), torch.randn(rows, units).double()
    assert_equals_ncps(theirs, ours, x, h, PERIOD * (0.1 + torch.rand(steps, rows).double()), None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{"backbone_units": 4, "backbone_layers": 2}, {"wiring": Wiring.auto_ncp(2, 6, 1)}])
def test_the_gradients_are_those_of_finite_differences(mode: str, options: dict) -> None:
    torch.manual_seed(0)
    cell = CfC(2, 6, mode=mode, **options).double()
    x, h, periods = torch.randn(3, 2, 2).double(), torch.randn(2, 6).double(), 0.3 + torch.rand(3, 2).double()
    inputs = [tensor.requires_grad_() for tensor in (x, h, periods)]
    reset = torch.tensor([[0, 0], [1, 0], [0, 0]])

    def run(x: Tensor, h: Tensor, periods: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return cell.sequence(x, h, periods * cell.period, reset)

    assert torch.autograd.gradcheck(run, (*inputs, *cell.parameters()), atol=1e-7)


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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("compat, masked", [(None, 4), ("ncps", 2)])
def test_the_wiring_masks_all_heads_or_two_and_only_the_inputs_of_a_layer(
    mode: str, compat: str | None, masked: int
) -> None:
    wiring = Wiring.auto_ncp(5, 12, 2)
    cell = CfC(5, 12, wiring, mode=mode, compat=compat)
    cell.sequence(torch.randn(3, 2, 5), cell.initial_state(2))[0].square().sum().backward()
    for layer, synapses in zip(cell.layers, wiring.layer_synapses, strict=True):
        gradient = layer.heads.weight.grad.view(-1, layer.units, sum(synapses.shape))
        absent = torch.from_numpy(~synapses.T)
        for k, head in enumerate(gradient):
            assert (head[:, : layer.input_size][absent] == 0).all() == (k < masked)
            assert (head[:, layer.input_size :] != 0).any()


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


def test_graphs_that_live_at_once_do_not_share_their_memory() -> None:
    torch.manual_seed(0)
    cell = CfC(3, 8, backbone_units=5, backend="numba")
    inputs = [torch.randn(4, 2, 3) for _ in range(3)]

    def loss(x: Tensor) -> Tensor:
        return cell.sequence(x, cell.initial_state(2))[0].square().sum()

    parameters = list(cell.parameters())
    expected = [torch.autograd.grad(loss(x), parameters) for x in inputs]
    losses = [loss(x) for x in inputs]
    for x, one in reversed(list(zip(expected, losses, strict=True))):
        found = torch.autograd.grad(one, parameters)
        assert all(torch.equal(a, b) for a, b in zip(found, x, strict=True))


def test_initial_weights_have_the_spread_of_separate_heads() -> None:
    cell = CfC(34, 64, backbone_units=96)
    bound = np.sqrt(6 / (96 + 64))
    largest = cell.layers[0].heads.weight.abs().max().item()
    assert 0.95 * bound < largest <= bound


def test_a_dense_wiring_with_few_outputs_survives_the_configuration() -> None:
    cell = CfC.from_config(CfC(3, 8, Wiring.dense(3, 8, outputs=2)).config)
    assert cell.output_size == 2 and cell.wiring == Wiring.dense(3, 8, outputs=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("mode", MODES)
def test_on_a_gpu_the_torch_path_computes_the_same(mode: str) -> None:
    torch.manual_seed(0)
    cell = CfC(3, 8, backbone_units=6, mode=mode).double()
    x, dt = torch.randn(5, 4, 3).double(), 0.01 + 0.03 * torch.rand(5, 4).double()
    expected, _ = cell.sequence(x, cell.initial_state(4), dt)
    cell.cuda()
    y, h = cell.sequence(x.cuda(), cell.initial_state(4), dt.cuda())
    assert y.is_cuda and h.is_cuda
    torch.testing.assert_close(y.cpu(), expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backbone_units": 0}, "backbone_units"),
        ({"backbone_units": 5, "backbone_layers": 0}, "backbone_layers must be at least 1"),
        ({"wiring": Wiring.dense(4, 8)}, "the wiring has 4 inputs and 8 units, the cell 3 and 8"),
        ({"wiring": Wiring.auto_ncp(3, 8, 2), "backbone_units": 5}, "None on a sparse one"),
        ({"mode": "gated"}, "choose one of default, pure, no_gate"),
        ({"compat": "keras"}, "None or 'ncps'"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CfC(3, 8, **options)
