"""The one primitive that rewards are built from."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def tolerance(value: float, margin: float) -> float:
    """exp(-|value| / margin), in (0, 1]: 1 at zero, 0.37 one margin away."""
    return np.exp(-abs(value) / margin)
