from __future__ import annotations

import pytest
import torch
from torch import Tensor

from undrift.policies import CELLS, Cell, CfC, Wiring, check_cell


@pytest.mark.parametrize("name", CELLS)
def test_every_registered_cell_keeps_the_contract(name: str) -> None:
    check_cell(lambda: CELLS[name](4, 7))


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("options", [{"backbone_units": 6}, {"wiring": Wiring.auto_ncp(4, 9, 2)}], ids=["dense", "ncp"])
def test_every_form_of_the_cfc_keeps_the_contract(backend: str, options: dict) -> None:
    units = 9 if "wiring" in options else 7
    check_cell(lambda: CfC(4, units, backend=backend, **options))


class Integrator(Cell):
    """A leaky integrator that each test below breaks in one way."""

    def __init__(self) -> None:
        super().__init__(2, 2, 2, period=0.1)
        self.gain = torch.nn.Parameter(torch.ones(2))

    @classmethod
    def from_config(cls, config, **arguments):
        return cls()

    @property
    def config(self):
        return {"cell": "integrator"}

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        periods = torch.ones_like(h[:, :1]) if dt is None else dt[:, None] / self.period
        return h * torch.exp(-periods) + torch.tanh(self.gain * x) * periods


def test_the_check_accepts_a_cell_of_ones_own() -> None:
    check_cell(Integrator)


class IgnoresTime(Integrator):
    def step(self, x, h, dt=None):
        return super().step(x, h)


class WritesIntoItsState(Integrator):
    def step(self, x, h, dt=None):
        after = super().step(x, h, dt)
        h += 1.0
        return after


class MixesRows(Integrator):
    def step(self, x, h, dt=None):
        return super().step(x, h, dt) + h.mean(0)


class ForgetsResets(Integrator):
    def states(self, x, h, dt, reset):
        return super().states(x, h, dt, None)


class ForgetsTheClock(Integrator):
    def _sampled(self, x, h, dt, reset, present):
        return super()._sampled(x, h, None, reset, present)


class ForgetsItsPeriod(CfC):
    def __init__(self, input_size=2, units=3, period=0.1, **arguments):
        super().__init__(input_size, units, period=period, **arguments)

    @property
    def config(self):
        return {**super().config, "period": 1.0}


class NeedsAClamp(Integrator):
    def step(self, x, h, dt=None):
        return super().step(x, h, dt) / torch.sqrt(self.gain)


class DetachesItsState(Integrator):
    def step(self, x, h, dt=None):
        periods = torch.ones_like(h[:, :1]) if dt is None else dt[:, None] / self.period
        return h.detach() * torch.exp(-periods) + torch.tanh(self.gain * x) * periods


@pytest.mark.parametrize(
    "broken, clause",
    [
        (IgnoresTime, "elapsed time"),
        (WritesIntoItsState, "unchanged"),
        (MixesRows, "independent"),
        (ForgetsResets, "reset"),
        (ForgetsTheClock, "missing sample"),
        (ForgetsItsPeriod, "config"),
        (NeedsAClamp, "finite"),
    ],
)
def test_the_check_names_the_clause_a_cell_breaks(broken: type[Cell], clause: str) -> None:
    with pytest.raises(AssertionError, match=clause):
        check_cell(broken)


def test_the_check_finds_a_gradient_that_is_cut() -> None:
    with pytest.raises((AssertionError, RuntimeError), match="[Jj]acobian|gradient"):
        check_cell(DetachesItsState)


@pytest.mark.parametrize("period", [0.0, -1.0, float("nan"), float("inf")])
def test_a_period_that_is_no_duration_is_refused(period: float) -> None:
    with pytest.raises(ValueError, match="period"):
        CfC(2, 3, period=period)


def test_a_cell_without_units_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CfC(2, 0)
