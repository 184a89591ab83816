"""Linear readouts of a cell's states, trained without gradients; numpy only.

A readout shows y = h W + b of a state h [F]. `ridge` fits it to recorded states in closed form, `RecursiveLeastSquares` keeps
fitting it while samples arrive. Classes are read out by regressing on one-hot targets and taking the largest output.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """y = h W + b, with weight W [F, O] and bias b [O]."""

    weight: Array
    bias: Array

    def __call__(self, states: ArrayLike) -> Array:
        """states [..., F] -> outputs [..., O]."""
        return np.asarray(states, float) @ self.weight + self.bias

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, under a temporary name first."""
        _save(Path(path), {"weight": self.weight, "bias": self.bias})

    @classmethod
    def load(cls, path: str | Path) -> Readout:
        """Read what `save` wrote. Raises ValueError where the file is missing, damaged or holds something else."""
        return cls(**_load(Path(path), {"weight", "bias"}))


def ridge(states: ArrayLike, targets: ArrayLike, penalty: float) -> Readout:
    """The W and b that minimise sum |h W + b - y|^2 + penalty |W|^2, in closed form.

    The smaller of the two Gram matrices is factorised, so the cost is O(min(N, F)^2 max(N, F)).

    Source: Hoerl, Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems",
    doi:10.1080/00401706.1970.10488634.

    Parameters
    ----------
    states : h [N, F].
    targets : y [N, O].
    penalty : positive; the bias is not penalised.

    Raises ValueError on shapes that disagree, values that are not finite, or a penalty that is not positive.
    """
    h, y = _finite(states, "states", 2), _finite(targets, "targets", 2)
    if len(h) != len(y) or len(h) < 1:
        raise ValueError(
            f"states [N, F] and targets [N, O] need one row a sample, got {list(h.shape)} and {list(y.shape)}"
        )
    _check_positive(penalty, "penalty")
    centre, mean = h.mean(0), y.mean(0)
    h, y = h - centre, y - mean
    if len(h) < h.shape[1]:
        weight = h.T @ np.linalg.solve(h @ h.T + penalty * np.eye(len(h)), y)
    else:
        weight = np.linalg.solve(h.T @ h + penalty * np.eye(h.shape[1]), h.T @ y)
    return Readout(weight, mean - centre @ weight)


class RecursiveLeastSquares:
    """A linear readout that learns from one sample after the other, with exponential forgetting.

    After n samples it minimises sum_i forgetting^(n - i) |h_i W + b - y_i|^2 + forgetting^n penalty (|W|^2 + |b|^2), exactly:
    with z = [h, 1] and the covariance P, which starts as I / penalty,

        g = P z / (forgetting + z P z),    [W; b] += g (y - z [W; b]),    P <- (P - g z P) / forgetting

    Forgetting makes P grow in the directions that the samples do not excite. It pauses (as if forgetting were 1) at a sample that
    would take the trace of P beyond its starting value, so that a long rest neither overflows nor makes the next sample jump.

    Source: Haykin 2002, "Adaptive filter theory", 4th edition, chapter 9.

    Parameters
    ----------
    features : size of a state F.
    outputs : number of outputs O.
    forgetting : in (0, 1]; a sample counts half after ln 2 / (1 - forgetting) more of them, roughly. 1 forgets nothing.
    penalty : positive; how strongly the weights are held at their start, 0.

    Raises ValueError on a value outside its range.
    """

    def __init__(self, features: int, outputs: int, forgetting: float = 1.0, penalty: float = 1e-2) -> None:
        for name, size in (("features", features), ("outputs", outputs)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not 0.0 < forgetting <= 1.0:
            raise ValueError(f"forgetting must lie in (0, 1], got {forgetting}")
        _check_positive(penalty, "penalty")
        self.forgetting, self.penalty = float(forgetting), float(penalty)
        self.weight: Array = np.zeros((features + 1, outputs))
        self.covariance: Array = np.eye(features + 1) / penalty

    @property
    def readout(self) -> Readout:
        """What has been learned so far, as a copy that stays as it is."""
        return Readout(self.weight[:-1].copy(), self.weight[-1].copy())

    def __call__(self, states: ArrayLike) -> Array:
        """states [..., F] -> outputs [..., O]."""
        return np.asarray(states, float) @ self.weight[:-1] + self.weight[-1]

    def update(self, state: ArrayLike, target: ArrayLike) -> Array:
        """Learn from one sample, state [F] and target [O], in O(F^2).

        Returns the error target - prediction [O] *before* learning. Raises ValueError, with nothing learned, on a wrong shape
        or a value that is not finite.
        """
        z, y = np.append(_finite(state, "state", 1), 1.0), _finite(target, "target", 1)
        if (len(z), len(y)) != self.weight.shape:
            raise ValueError(
                f"state and target must be [{len(self.weight) - 1}] and [{self.weight.shape[1]}], "
                f"got [{len(z) - 1}] and [{len(y)}]"
            )
        error = y - z @ self.weight
        pz = self.covariance @ z
        power, forgetting = z @ pz, self.forgetting
        if np.trace(self.covariance) - pz @ pz / (forgetting + power) > forgetting * len(z) / self.penalty:
            forgetting = 1.0
        self.weight += np.outer(pz / (forgetting + power), error)
        self.covariance -= np.outer(pz, pz) / (forgetting + power)
        self.covariance /= forgetting
        return error

    def save(self, path: str | Path) -> None:
        """Write everything that learning goes on from as one safetensors file, under a temporary name first."""
        settings = np.array([self.forgetting, self.penalty])
        _save(Path(path), {"weight": self.weight, "covariance": self.covariance, "settings": settings})

    @classmethod
    def load(cls, path: str | Path) -> RecursiveLeastSquares:
        """Read what `save` wrote. Raises ValueError where the file is missing, damaged or holds something else."""
        found = _load(Path(path), {"weight", "covariance", "settings"})
        forgetting, penalty = found["settings"]
        features, outputs = found["weight"].shape
        learner = cls(features - 1, outputs, forgetting, penalty)
        learner.weight, learner.covariance = found["weight"], found["covariance"]
        return learner


def _finite(values: ArrayLike, name: str, dimensions: int) -> Array:
    array = np.asarray(values, float)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension{'s' * (dimensions > 1)}, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def _check_positive(value: float, name: str) -> None:
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} must be positive, got {value}")


def _save(path: Path, tensors: dict[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _load(path: Path, names: set[str]) -> dict[str, Array]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if set(tensors) != names:
        raise ValueError(f"{path} holds {', '.join(sorted(tensors))} instead of {', '.join(sorted(names))}")
    return tensors
