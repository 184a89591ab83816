"""Memory for the arrays that a node of a graph computes in."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Workspace:
    """Empty arrays whose memory is lent again when this object dies: keep it as long as the arrays.

    Memory that comes fresh from the system costs a page fault every 4 KiB: a tenth of the time of a training step.

    Parameters
    ----------
    dtype : of the arrays.
    shapes : one for each of the `arrays`.
    """

    # What is kept, the newest last. A deque needs no lock, which a destructor could not wait for.
    _free: ClassVar[deque[NDArray[Any]]] = deque(maxlen=8)

    def __init__(self, dtype: np.dtype[Any], *shapes: tuple[int, ...]) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        self._memory = self._take(sum(sizes), dtype)
        self.arrays, at = [], 0
        for size, shape in zip(sizes, shapes, strict=True):
            self.arrays.append(self._memory[at : at + size].reshape(shape))
            at += size

    def _take(self, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        for _ in range(len(self._free)):
            try:
                memory = self._free.popleft()
            except IndexError:  # another thread was faster
                break
            if memory.size == size and memory.dtype == dtype:
                return memory
            self._free.append(memory)
        return np.empty(size, dtype)

    def __del__(self) -> None:
        self._free.append(self._memory)
