"""The registry of memory cells; a new cell is one file here and one line below."""

from __future__ import annotations

from ..cell import Cell
from .cfc import CfC

CELLS: dict[str, type[Cell]] = {"cfc": CfC}
