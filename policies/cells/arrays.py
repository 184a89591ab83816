"""What cells share: tensors as arrays, elapsed time as an input, and a parametrisation of positive numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


def array(tensor: Tensor) -> NDArray[Any]:
    """The values of a tensor, C-ordered; a copy only where they are not."""
    return tensor.detach().contiguous().numpy()


def reset_array(reset: Tensor | None, steps: int, rows: int) -> NDArray[np.bool_]:
    """[T, B], False everywhere where there are no resets."""
    return np.zeros((steps, rows), np.bool_) if reset is None else array(reset) != 0


def timed_linear(linear: nn.Linear, x: Tensor, periods: Tensor | None) -> Tensor:
    """linear([x, periods - 1]), where no periods means that all of them are 1; x [..., I], periods [...]."""
    if periods is None:
        return F.linear(x, linear.weight[:, :-1], linear.bias)
    y: Tensor = linear(torch.cat([x, periods[..., None] - 1.0], -1))
    return y


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact in float64 too: torch goes over to x at 20 unless it is told not to."""
    return F.softplus(x, threshold=40.0)


def inverse_softplus(y: Tensor) -> Tensor:
    return y + torch.log(-torch.expm1(-y))
