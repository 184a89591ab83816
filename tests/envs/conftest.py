"""Where shifts are at home. Pictures to look at: views that are closed in the end, and where in them a place of the world is.
Pages to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from undrift.envs import SHIFTS, BatchEnv, Shift, make_batch
from undrift.envs.drawing import DrawingUnavailable
from undrift.envs.rendering import View

Look = Callable[..., View]
DOCS = Path(__file__).parents[2] / "docs"
CAR_SHIFTS = ("bank", "brake_loss", "flat_tyre", "friction", "friction_patches", "slope")
FOREIGN_SHIFTS = ("attribute", "joint_damping", "joint_friction")
"""Those that show in none of our environments."""
NATIVE_SHIFTS = tuple(name for name in SHIFTS if name not in FOREIGN_SHIFTS)


def at_home(name: str, num_envs: int, *shifts: Shift) -> BatchEnv:
    """An environment that shows the shift called `name`, with `shifts` in it."""
    return make_batch("CarTrack" if name in CAR_SHIFTS else "DroneTrack", num_envs, shifts=shifts)


@pytest.fixture
def look() -> Iterator[Look]:
    """`look(env, ...)` opens a View; all are closed in the end. Skips where nothing can be drawn."""
    opened = []

    def view(*args, **kwargs) -> View:
        try:
            opened.append(View(*args, **kwargs))
        except DrawingUnavailable as error:
            pytest.skip(str(error))
        return opened[-1]

    yield view
    for each in opened:
        each.close()


def near(view: View, picture: np.ndarray, point: np.ndarray, reach: int = 2) -> np.ndarray:
    """The pixels around a world point in the chase camera's picture."""
    x, y = (round(c) for c in view.pixel(point))
    assert reach <= x < picture.shape[1] - reach and reach <= y < picture.shape[0] - reach
    return picture[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3).astype(int)


def white(pixels: np.ndarray) -> np.ndarray:
    return pixels.min(axis=-1) > 215


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables' rows, without their heads."""
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    heads = {k - 1 for k, row in enumerate(table) if set(row[0]) == {"-"}}
    return [row for k, row in enumerate(table) if k not in heads and set(row[0]) != {"-"}]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)
