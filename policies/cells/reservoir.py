"""The fixed recurrent layer of reservoir computing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..cell import Cell


class Reservoir(Cell):
    """A random recurrent layer of leaky integrators that is never trained; a readout learns from its states.

    h' = (1 - leak)^(dt / period) h + (1 - (1 - leak)^(dt / period)) tanh(W_in x + W h + b)

    This is what tau dh/dt = -h + tanh(W_in x + W h + b), with tau = -period / ln(1 - leak), comes to after dt while its drive
    is held; after one period it is the leaky-integrator echo state network of the sources. The weights are normally distributed;
    W has the same number of synapses into every neuron and is scaled to its spectral radius, the largest |eigenvalue|. Below
    1 the state usually forgets where it began, at a small leak also above; the larger the radius, the longer it remembers.

    The weights are buffers: no optimiser sees them, `state_dict` holds them, gradients reach x, h and dt. For the readout see
    `undrift.policies.readout`.

    Sources: Jaeger 2001, "The 'echo state' approach to analysing and training recurrent neural networks", GMD report 148; Jaeger,
    Lukosevicius, Popovici, Siewert 2007, "Optimization and applications of echo state networks with leaky-integrator
    neurons", doi:10.1016/j.neunet.2007.04.016.

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of neurons H.
    leak : share of the state that one period replaces, in (0, 1]; at 1 only the last drive counts, and no elapsed time.
    spectral_radius : of W, positive.
    input_scale : standard deviation of W_in [H, I]; it decides how far tanh is driven into its bend.
    bias_scale : standard deviation of b [H].
    sparsity : share of the possible synapses that W [H, H] lacks, in [0, 1); every neuron keeps at least one.
    seed : of the weights; they do not depend on torch's random state.
    period : nominal time between steps, s.

    Raises ValueError on a value outside its range.
    """

    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor

    def __init__(
        self,
        input_size: int,
        units: int,
        leak: float = 0.3,
        spectral_radius: float = 0.9,
        input_scale: float = 1.0,
        bias_scale: float = 0.1,
        sparsity: float = 0.9,
        seed: int = 0,
        period: float = 0.02,
    ) -> None:
        super().__init__(input_size, units, units, period)
        if not 0.0 < leak <= 1.0:
            raise ValueError(f"leak is the share of the state replaced in one period and lies in (0, 1], got {leak}")
        if not 0.0 <= sparsity < 1.0:
            raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")
        if not 0.0 < spectral_radius < float("inf"):
            raise ValueError(f"spectral_radius must be positive, got {spectral_radius}")
        for name, scale in (("input_scale", input_scale), ("bias_scale", bias_scale)):
            if not 0.0 <= scale < float("inf"):
                raise ValueError(f"{name} is a standard deviation and cannot be {scale}")
        self.leak, self.spectral_radius, self.sparsity = leak, spectral_radius, sparsity
        self.input_scale, self.bias_scale, self.seed = input_scale, bias_scale, seed
        rng = np.random.default_rng(seed)
        weights = {
            "input_weight": input_scale * rng.standard_normal((units, input_size)),
            "recurrent_weight": _recurrent_weight(rng, units, sparsity, spectral_radius),
            "bias": bias_scale * rng.standard_normal(units),
        }
        for name, weight in weights.items():
            self.register_buffer(name, torch.from_numpy(weight).to(torch.get_default_dtype()))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "cell": "reservoir",
            "input_size": self.input_size,
            "units": self.state_size,
            "leak": self.leak,
            "spectral_radius": self.spectral_radius,
            "input_scale": self.input_scale,
            "bias_scale": self.bias_scale,
            "sparsity": self.sparsity,
            "seed": self.seed,
            "period": self.period,
        }

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        drive = torch.tanh(F.linear(x, self.input_weight, self.bias) + F.linear(h, self.recurrent_weight))
        if dt is None:
            return torch.lerp(h, drive, self.leak)
        kept = torch.pow(1.0 - self.leak, (dt / self.period).to(x.dtype))
        return torch.lerp(drive, h, kept[:, None])


def _recurrent_weight(rng: np.random.Generator, units: int, sparsity: float, radius: float) -> NDArray[np.float64]:
    """[H, H], row k the synapses into neuron k. Each has at least one, so that there is a cycle and the radius is not 0."""
    synapses = max(round((1.0 - sparsity) * units), 1)
    weight = np.zeros((units, units))
    for row in weight:
        row[rng.choice(units, synapses, replace=False)] = rng.standard_normal(synapses)
    return weight * (radius / np.abs(np.linalg.eigvals(weight)).max())
