from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from undrift.policies import CELLS, CfC, Wiring, make_cell
from undrift.policies.cell import Cell
from undrift.policies.optim import FlatAdam
from undrift.policies.prepared import PreparedCell, prepared

INPUTS, UNITS = 5, 9
WIRING = Wiring.auto_ncp(INPUTS, UNITS, 2)
CASES = {name: {"cell": name} for name in CELLS} | {
    f"cfc-{mode}-{form}": {"cell": "cfc", "mode": mode, **options}
    for mode in ("default", "pure", "no_gate")
    for form, options in {
        "deep": {"backbone_units": 7, "backbone_layers": 3},
        "ncp": {"wiring": WIRING},
        "as-ncps": {"wiring": WIRING, "compat": "ncps"},
    }.items()
}
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}


def build(case: str) -> Cell:
    """A cell with parameters away from their initial values, where some are zero."""
    torch.manual_seed(0)
    cell = make_cell({"input_size": INPUTS, "units": UNITS, **CASES[case]})
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return cell


def sample(rows: int, steps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(steps, rows, INPUTS)), rng.uniform(0.005, 0.05, (steps, rows))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_prepared_steps_are_those_of_the_cell(case: str, dtype: torch.dtype) -> None:
    cell = build(case).to(dtype)
    steps = prepared(cell)
    assert (steps.state_size, steps.output_size) == (cell.state_size, cell.output_size)
    h, expected = steps.initial_state(4), cell.initial_state(4)
    for x, dt in zip(*sample(4), strict=True):
        h = steps.step(x, h, dt)
        with torch.no_grad():
            expected = cell.step(torch.tensor(x, dtype=dtype), expected, torch.tensor(dt, dtype=dtype))
        np.testing.assert_allclose(h, expected, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(steps.output(h), cell.output(expected).detach(), atol=TOLERANCE[dtype])
    assert h.dtype == steps.dtype == np.dtype(str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("case", CASES)
def test_a_batch_gives_the_bits_of_single_rows_and_leaves_its_arguments_as_they_are(case: str) -> None:
    steps = prepared(build(case))
    (x,), (dt,) = sample(37, steps=1)
    h = np.random.default_rng(1).uniform(-1, 1, (37, steps.state_size)).astype(np.float32)
    before = h.copy()
    after = steps.step(x, h, dt)
    np.testing.assert_array_equal(h, before)
    rows = [steps.step(x[b : b + 1], h[b : b + 1], dt[b : b + 1]) for b in range(37)]
    np.testing.assert_array_equal(after, np.concatenate(rows))


def test_weights_are_prepared_once_and_again_after_any_change() -> None:
    cell = build("cfc")
    before = prepared(cell)
    assert prepared(cell) is before
    changes = {
        "in place": lambda: nn.init.ones_(cell.layers[0].heads.bias),
        "loaded": lambda: cell.load_state_dict(build("cfc").state_dict()),
        "another precision": cell.double,
    }
    for change in changes.values():
        change()
        after = prepared(cell)
        assert after is not before and prepared(cell) is after
        before = after


@pytest.mark.parametrize("optimizer", [FlatAdam, torch.optim.Adam, torch.optim.SGD])
def test_a_gradient_step_is_seen(optimizer: type[torch.optim.Optimizer]) -> None:
    cell = build("cfc")
    descent = optimizer(cell.parameters(), lr=0.1)
    (x,), (dt,) = sample(2, steps=1)
    for _ in range(3):
        h = prepared(cell).step(x, np.zeros((2, UNITS)), dt)
        expected = cell.step(torch.tensor(x).float(), cell.initial_state(2), torch.tensor(dt).float())
        np.testing.assert_allclose(h, expected.detach(), atol=3e-6)
        descent.zero_grad()
        expected.square().sum().backward()
        descent.step()


def test_a_wrong_shape_is_refused_with_the_right_one() -> None:
    steps = prepared(build("cfc"))
    (x,), (dt,) = sample(2, steps=1)
    h = steps.initial_state(2)
    for wrong in ((x[:, :4], h, dt), (x, h[:1], dt), (x, h, dt[:1]), (x[0], h[0], 0.02), (x, h, 0.02)):
        with pytest.raises(ValueError, match=r"x \[B, 5\], h \[B, 9\] and dt \[B\]"):
            steps.step(*wrong)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cell": "rnn"}, "the cells are cfc"),
        ({"units": None}, "units must be a positive whole number"),
        ({"period": -0.02}, "period must be a positive number of seconds"),
        ({"mode": "gated"}, "choose one of default, pure, no_gate"),
        ({"wiring": WIRING.to_dict()}, "backbone_units must be a positive number on a dense wiring"),
        ({"backbone_units": 8}, r"must be \[8, 14\], got \[7, 14\]"),
        ({"backbone_layers": 1}, "tensor 'layers.0.deeper.0.bias' is unknown"),
        ({"dropout": 0.1}, "'dropout'"),
    ],
)
def test_a_wrong_configuration_is_refused(change: dict, message: str) -> None:
    cell = CfC(INPUTS, UNITS, backbone_units=7, backbone_layers=2)
    tensors = {name: tensor.numpy() for name, tensor in cell.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        PreparedCell({**cell.config, **change}, tensors)


def test_a_missing_argument_and_weights_that_are_not_finite_are_refused() -> None:
    cell = CfC(INPUTS, UNITS)
    tensors = {name: tensor.numpy().copy() for name, tensor in cell.state_dict().items()}
    with pytest.raises(ValueError, match="needs the argument 'mode'"):
        PreparedCell({key: value for key, value in cell.config.items() if key != "mode"}, tensors)
    tensors["layers.0.heads.bias"][0] = np.inf
    with pytest.raises(ValueError, match=r"'layers.0.heads.bias' holds values that are not finite"):
        PreparedCell(cell.config, tensors)
