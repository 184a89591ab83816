from __future__ import annotations

import pytest
import torch
from ncps.torch import CfC as NcpsCfC
from ncps.torch import CfCCell
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random
from torch import Tensor, nn

from undrift.policies.ncps import import_ncps

INPUTS, UNITS = 4, 7


def by_cell(model: nn.Module, x: Tensor, timespans: Tensor) -> Tensor:
    """Outputs of the ncps cell inside a sequence wrapper, its elapsed times given as (B, 1)."""
    h, outputs = torch.zeros(x.shape[1], model.state_size, dtype=x.dtype), []
    for t in range(len(x)):
        y, h = model.rnn_cell(x[t], h, timespans[t][:, None])
        outputs.append(y)
    return torch.stack(outputs)


@pytest.mark.parametrize(
    "wiring",
    [
        UNITS,
        AutoNCP(12, 3),
        NCP(5, 4, 3, 2, 2, 3, 2),
        FullyConnected(6, 2),
        Random(8, 3, sparsity_level=0.5),
    ],
    ids=["dense", "auto-ncp", "ncp", "fully-connected", "random"],
)
def test_an_imported_model_computes_the_same(wiring) -> None:
    torch.manual_seed(0)
    model = NcpsCfC(INPUTS, wiring, batch_first=False).double()
    cell = import_ncps(model, period=0.05)
    x, timespans = torch.randn(6, 3, INPUTS).double(), 0.2 + 2 * torch.rand(6, 3).double()
    y, _ = cell.sequence(x, cell.initial_state(3), 0.05 * timespans)
    torch.testing.assert_close(y, by_cell(model, x, timespans)[..., : cell.output_size], rtol=0, atol=1e-13)


def test_the_imported_weights_are_a_copy() -> None:
    model = NcpsCfC(INPUTS, UNITS)
    before = model.rnn_cell.ff1.weight.clone()
    nn.init.zeros_(import_ncps(model).layers[0].heads.weight)
    assert torch.equal(model.rnn_cell.ff1.weight, before)


def test_elapsed_times_are_each_rows_own_where_ncps_refuses_or_mixes_them() -> None:
    torch.manual_seed(0)
    model = NcpsCfC(INPUTS, UNITS, batch_first=False).double()
    cell = import_ncps(model)
    for rows in (3, UNITS):
        x, timespans = torch.randn(6, rows, INPUTS).double(), 0.2 + 2 * torch.rand(6, rows).double()
        expected = by_cell(model, x, timespans)
        y, _ = cell.sequence(x, cell.initial_state(rows), cell.period * timespans)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-13)
        # The wrapper lines the elapsed times up with the units, not with the rows.
        if rows == UNITS:
            theirs, _ = model(x, timespans=timespans)
            assert (theirs - expected).abs().max() > 0.01
        else:
            with pytest.raises(RuntimeError, match="must match the size"):
                model(x, timespans=timespans)


@pytest.mark.parametrize(
    "model, message",
    [
        (nn.LSTM(INPUTS, UNITS), "cannot import a LSTM"),
        (NcpsCfC(INPUTS, UNITS, mixed_memory=True), "mixed memory is not imported"),
        (NcpsCfC(INPUTS, UNITS, proj_size=2), "apply model.fc yourself"),
        (NcpsCfC(INPUTS, UNITS, activation="relu"), r"lecun_tanh here, not ReLU\(\)"),
        (NcpsCfC(INPUTS, AutoNCP(12, 3)).rnn_cell.layer_0, "import the WiredCfCCell"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_what_to_do(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_ncps(model)


def test_a_single_cell_is_imported_like_the_model_around_it() -> None:
    cell = CfCCell(INPUTS, UNITS, backbone_layers=0)
    assert import_ncps(cell).config == import_ncps(cell, backend="torch").config
    assert import_ncps(cell).backbone_units is None
