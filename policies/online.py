"""Exact gradients while a sequence runs, at the cost of a step: the diagonal cell's; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .kernels import diagonal


class DiagonalRTRL:
    """Real-time recurrent learning for the `Diagonal` cell, compiled.

    S_t = dh_t / dtheta = J_t S_{t-1} + I_t, with J_t = dh_t / dh_{t-1} diagonal and I_t = dh_t / dtheta at fixed h_{t-1}, carries
    for each parameter its effect on the one neuron it belongs to. The gradient (dL/dh_t) S_t of a loss that reads h_t is that
    of backpropagation through the whole past. `undrift.policies.rtrl.RTRL` does this for any cell, at B x H^2 x P operations
    a step; here they are B x P.

    Sources: Mozer 1989, "A focused backpropagation algorithm for temporal pattern recognition"; Zucchet et al. 2023, "Online
    learning of long-range dependencies", arXiv:2305.15947.

    Parameters
    ----------
    config : `Diagonal.config`.
    tensors : parameters of the cell, by name as in its `state_dict`.
    dtype : float32 or float64, what it computes in.

    Raises ValueError on another cell, or naming the tensor that is missing, unknown or of the wrong shape.
    """

    def __init__(
        self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32
    ) -> None:
        if config.get("cell") != "diagonal":
            raise ValueError(
                f"DiagonalRTRL is for the cell 'diagonal', got {config.get('cell')!r}; RTRL takes any cell"
            )
        self.config, self.dtype = dict(config), np.dtype(dtype)
        self.input_size, self.state_size, self.period = config["input_size"], config["units"], float(config["period"])
        self.sensitivity: NDArray[Any] | None = None
        self.assign(tensors)

    def assign(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue with these parameters; the sensitivity to the old ones is kept, as in every online use of the method."""
        arrays = {name: np.array(tensor, self.dtype, order="C") for name, tensor in tensors.items()}
        self._prepared = diagonal.prepare(self.config, arrays)
        self._leak_slope = np.exp(-np.logaddexp(0.0, -arrays["leak"]))

    def step(
        self, x: ArrayLike, h: ArrayLike, dt: ArrayLike | None = None, reset: ArrayLike | None = None
    ) -> NDArray[Any]:
        """One step of the cell and of the sensitivity.

        x [B, I], h [B, H] the state that the last call returned, dt [B] elapsed time in s (None: one period), reset [B] bool
        or 0/1, where state and sensitivity are zeroed before the step. Returns the new state [B, H]; arguments stay as they are.
        Raises ValueError on a wrong shape, also when the number of rows changes; `restart` first.
        """
        inputs, state = np.array(x, self.dtype, order="C"), np.array(h, self.dtype, order="C")
        rows = len(inputs)
        periods = np.ones(rows) if dt is None else np.asarray(dt, np.float64) / self.period
        if self.sensitivity is None:
            self.sensitivity = np.zeros((rows, 2 * (self.input_size + 2) + 1, self.state_size), self.dtype)
        expected = (rows, self.input_size), (rows, self.state_size), (rows,), rows
        if (inputs.shape, state.shape, periods.shape, len(self.sensitivity)) != expected:
            raise ValueError(
                f"step takes x [B, {self.input_size}], h [B, {self.state_size}] and dt [B], with B = {len(self.sensitivity)} "
                f"until restart(), got {list(inputs.shape)}, {list(state.shape)} and {list(periods.shape)}"
            )
        if reset is not None:
            begun = np.asarray(reset, bool)
            state[begun], self.sensitivity[begun] = 0.0, 0.0
        diagonal.rtrl_step(*self._prepared, inputs, periods, state, self.sensitivity)
        return state

    def gradient(self, d_state: ArrayLike) -> dict[str, NDArray[Any]]:
        """The gradient of a loss with respect to each parameter, by name; d_state [B, H] is that to the last state.

        Rows are summed. Raises ValueError before the first step.
        """
        if self.sensitivity is None:
            raise ValueError("call step() before gradient()")
        total = np.einsum("bh,bph->ph", np.asarray(d_state, self.dtype), self.sensitivity)
        heads = total[:-1].reshape(2, self.input_size + 2, self.state_size)
        return {
            "feedback": heads[:, -1],
            "leak": total[-1] * self._leak_slope,
            "input.weight": heads[:, :-2].transpose(0, 2, 1).reshape(-1, self.input_size),
            "input.bias": heads[:, -2].ravel(),
        }

    def restart(self) -> None:
        """Forget the past, as at the start of an episode in all rows."""
        self.sensitivity = None
