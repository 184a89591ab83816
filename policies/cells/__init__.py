"""The registry of memory cells; a new cell is one file here and one line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cell import Cell
from .cfc import CfC
from .diagonal import Diagonal
from .gru import GRU
from .lstm import LSTM
from .ltc import LTC
from .mixed_memory import MixedMemory
from .reservoir import Reservoir

CELLS: dict[str, type[Cell]] = {
    "cfc": CfC,
    "diagonal": Diagonal,
    "gru": GRU,
    "lstm": LSTM,
    "ltc": LTC,
    "mixed_memory": MixedMemory,
    "reservoir": Reservoir,
}


def make_cell(config: Mapping[str, Any], **arguments: Any) -> Cell:
    """The cell that `config` describes, with fresh weights.

    Parameters
    ----------
    config : what `Cell.config` returned: the name of the cell under "cell", and the arguments of its constructor.
    arguments : further ones, for example `backend="torch"`.

    Raises ValueError on an unknown name or argument; the message lists the names.
    """
    name = config.get("cell")
    if name not in CELLS:
        raise ValueError(f"unknown cell {name!r}; the cells are {', '.join(CELLS)}")
    return CELLS[name].from_config(config, **arguments)
