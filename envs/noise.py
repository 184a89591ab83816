"""Standard normal numbers for a batch of simulations, each from a stream of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 64


class Normals:
    """A row of `width` standard normal numbers per simulation and call, drawn in blocks.

    A simulation's numbers depend on its stream and on how many it has taken, not on what runs beside it.
    """

    def __init__(self, num_envs: int, width: int) -> None:
        self._block = np.zeros((num_envs, _BLOCK, width))
        self._taken = np.zeros(num_envs, dtype=np.int64)
        self._rngs: list[np.random.Generator] = [np.random.default_rng(0)] * num_envs

    def restart(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Go on with `rngs` [n] for the simulations `ids`; nothing is drawn before it is asked for."""
        self._taken[ids] = 0
        for i, rng in zip(ids, rngs, strict=True):
            self._rngs[i] = rng

    def next(self, ids: np.ndarray) -> np.ndarray:
        """[n, width], the next row of each of `ids`."""
        if not self._block.shape[2]:
            return self._block[ids, 0]
        taken = self._taken[ids]
        position = taken % _BLOCK
        for i in ids[position == 0]:
            self._block[i] = self._rngs[i].standard_normal(self._block.shape[1:])
        self._taken[ids] = taken + 1
        return self._block[ids, position]
