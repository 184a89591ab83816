"""The nominal model: the accelerations a vehicle shows when nothing has shifted, learned from a run's own flights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numba import njit

from ...envs.signals import SignalReader, Signals
from ..files import write_atomically

FORMAT = 1
CONFIG_FILE, WEIGHTS_FILE = "nominal.json", "nominal.safetensors"

RESPONSE_RANGE = 8.0
"""Strongest disturbance under which the policy's response was identified, m/s²."""

ERROR_PER_ACCELERATION = 0.1
"""Without a preview, asking for 1 m/s² is showing a tracking error of this many m."""


def disturbance_features(d: np.ndarray) -> np.ndarray:
    """d and the products of its entries, [N, F]: a policy that leans into a push also climbs or sinks by its square."""
    first, second = np.triu_indices(d.shape[1])
    return np.concatenate([d, d[:, first] * d[:, second]], axis=1)


class NominalModel:
    """Rates, context and the last K commands sent onto accelerations: a two-layer tanh network plus a linear skip.

        y = out_mean + out_scale * (tanh(tanh(z W1 + b1) W2 + b2) W3 + b3 + z L),   z = inputs / in_scale

    Args:
        observation_names: [O] the channels of an observation, in order.
        signals: which of them are rates (R), context (C), tracking errors and previous action (A).
        dt: control period in s at which it was learned.
        history: K, how many commands it looks back on, newest first.
        tensors: float64: in_scale [I], w1 [I, H], b1 [H], w2 [H, H], b2 [H], w3 [H, R], b3 [R], skip [I, R],
            out_mean [R], out_scale [R] (standard deviation of the nominal accelerations), residual [R] (standard
            deviation of what the model leaves unexplained), response [F, E] (`response`). I = R + C + K A.
        env: whose model this is, its `id` and all its `kwargs` (JSON values): what a compensator made for one vehicle
            reads the vehicle from. None where the model was fitted elsewhere.

    Raises:
        ValueError: a tensor is missing, not finite or has the wrong shape.
    """

    def __init__(
        self,
        observation_names: Sequence[str],
        signals: Signals,
        dt: float,
        history: int,
        tensors: Mapping[str, np.ndarray],
        env: Mapping[str, Any] | None = None,
    ) -> None:
        self.env = None if env is None else dict(env)
        self.observation_names, self.signals = tuple(observation_names), signals
        self.dt, self.history = dt, history
        self.reader = SignalReader(observation_names, signals)
        inputs = len(signals.rates) + len(signals.context) + history * self.reader.actions
        alone = [channels[0] for channels in signals.rates.values() if len(channels) == 1]
        self.sampled_index = np.array([self.observation_names.index(c) for c in (*signals.context, *alone)], dtype=int)
        """Channels that nothing but a sensor changes."""
        self.tensors = _validated(tensors, inputs, len(signals.rates), len(signals.tracking))
        self.acceleration_sd = self.tensors["out_scale"]
        self.residual_sd = self.tensors["residual"]
        previews = self.reader.preview_index
        self._asked_index = np.array([index for _, index in previews] or [self.reader.error_index], dtype=np.int64)
        self._asked_share = np.array([0.5 * ahead**2 for ahead, _ in previews] or [-ERROR_PER_ACCELERATION])
        t = self.tensors
        # Scales folded into the weights: one multiplication less a step.
        self._network = (
            t["w1"] / t["in_scale"][:, None],
            t["b1"],
            t["w2"],
            t["b2"],
            t["w3"] * t["out_scale"],
            t["b3"] * t["out_scale"] + t["out_mean"],
            t["skip"] / t["in_scale"][:, None] * t["out_scale"],
        )

    def accelerations(self, inputs: np.ndarray) -> np.ndarray:
        """Nominal accelerations [N, R] for inputs [N, I], as `self.reader.inputs` arranges them."""
        return _accelerations(np.ascontiguousarray(inputs, dtype=np.float64), *self._network)

    def input_gain(self, inputs: np.ndarray) -> np.ndarray:
        """B = sum over k of d accelerations / d command(t - k), [N, R, A]: the gain of a command that stays."""
        return _input_gain(
            np.ascontiguousarray(inputs, dtype=np.float64), *self._network, self.history, self.reader.actions
        )

    def asked(self, observation: np.ndarray, acceleration: np.ndarray) -> np.ndarray:
        """Observations [N, O] that ask the policy for an additional `acceleration` [N, E] of its tracked rates, m/s².

        A reference that is about to accelerate by a will have moved by a t² / 2 after t: that much is added to the
        preview, which the policy has learned to follow without error. Without a preview the tracking error is shown
        smaller by ERROR_PER_ACCELERATION.
        """
        shown = observation.astype(np.float64)
        _ask(acceleration, self._asked_index, self._asked_share, shown)
        return shown

    def response(self, d: np.ndarray) -> np.ndarray:
        """The acceleration [N, E] to ask for (`asked`) so that the policy holds its reference against a constant
        disturbance d [N, E] of its tracked rates; beyond RESPONSE_RANGE the direction is kept and the strength cut."""
        return _response(np.ascontiguousarray(d, dtype=np.float64), self.tensors["response"], RESPONSE_RANGE)

    def save(self, folder: Path) -> None:
        """Write nominal.json and nominal.safetensors into `folder`."""
        config = {
            "format": FORMAT,
            "observation_names": self.observation_names,
            "signals": {
                "rates": self.signals.rates,
                "context": self.signals.context,
                "tracking": self.signals.tracking,
                "preview": self.signals.preview,
                "previous_action": self.signals.previous_action,
            },
            "dt": self.dt,
            "history": self.history,
            "env": self.env,
        }
        write_atomically(folder / WEIGHTS_FILE, safetensors.numpy.save(dict(self.tensors)))
        write_atomically(folder / CONFIG_FILE, (json.dumps(config, indent=1) + "\n").encode())

    @staticmethod
    def load(folder: Path) -> NominalModel:
        """The model that `save` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated or does not fit; the message names it.
        """
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: train the run again, or copy it whole.")
        try:
            config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
            tensors = safetensors.numpy.load((folder / WEIGHTS_FILE).read_bytes())
            values = config["signals"]
            signals = Signals(
                rates={name: tuple(channels) for name, channels in values["rates"].items()},
                context=tuple(values["context"]),
                tracking=values["tracking"],
                preview=tuple((ahead, tuple(channels)) for ahead, channels in values["preview"]),
                previous_action=tuple(values["previous_action"]),
            )
            if config["format"] != FORMAT:
                raise ValueError(f"format {config['format']}, this version reads {FORMAT}")
            return NominalModel(
                config["observation_names"], signals, config["dt"], config["history"], tensors, config.get("env")
            )
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise ValueError(f"the nominal model in {folder} cannot be read ({error}): copy the run again.") from error


def _validated(tensors: Mapping[str, np.ndarray], inputs: int, rates: int, errors: int) -> dict[str, np.ndarray]:
    hidden = len(tensors["b1"]) if "b1" in tensors else 0
    shapes: dict[str, tuple[int, ...]] = {
        "in_scale": (inputs,),
        "w1": (inputs, hidden),
        "b1": (hidden,),
        "w2": (hidden, hidden),
        "b2": (hidden,),
        "w3": (hidden, rates),
        "b3": (rates,),
        "skip": (inputs, rates),
        "out_mean": (rates,),
        "out_scale": (rates,),
        "residual": (rates,),
        "response": (disturbance_features(np.zeros((1, errors))).shape[1], errors),
    }
    if set(tensors) != set(shapes):
        raise ValueError(f"tensors are {sorted(tensors)}, expected {sorted(shapes)}")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} has shape {tensors[name].shape}, expected {shape}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name} is not finite")
    return {name: np.ascontiguousarray(tensors[name], dtype=np.float64) for name in shapes}


@njit(cache=True)
def _ask(acceleration, index, share, shown):  # type: ignore[no-untyped-def]
    for n in range(shown.shape[0]):
        for k in range(index.shape[0]):
            for i in range(index.shape[1]):
                shown[n, index[k, i]] += share[k] * acceleration[n, i]


@njit(cache=True)
def _response(d, table, strongest):  # type: ignore[no-untyped-def]
    """`disturbance_features` of d, cut to the strength `strongest`, times table [F, E]."""
    axes = d.shape[1]
    out = np.zeros((d.shape[0], table.shape[1]))
    for n in range(d.shape[0]):
        share = min(1.0, strongest / max(np.sqrt((d[n] ** 2).sum()), 1e-9))
        row = axes
        for i in range(axes):
            for e in range(table.shape[1]):
                out[n, e] += share * d[n, i] * table[i, e]
            for j in range(i, axes):
                for e in range(table.shape[1]):
                    out[n, e] += share**2 * d[n, i] * d[n, j] * table[row, e]
                row += 1
    return out


@njit(cache=True)
def _forward(z, w1, b1, w2, b2, w3, b3, skip, first, second, y):  # type: ignore[no-untyped-def]
    for j in range(b1.shape[0]):
        first[j] = b1[j]
    for i in range(z.shape[0]):
        for j in range(b1.shape[0]):
            first[j] += z[i] * w1[i, j]
    for j in range(b1.shape[0]):
        first[j] = np.tanh(first[j])
        second[j] = b2[j]
    for i in range(b1.shape[0]):
        for j in range(b2.shape[0]):
            second[j] += first[i] * w2[i, j]
    for j in range(b2.shape[0]):
        second[j] = np.tanh(second[j])
    for r in range(b3.shape[0]):
        y[r] = b3[r]
    for i in range(b2.shape[0]):
        for r in range(b3.shape[0]):
            y[r] += second[i] * w3[i, r]
    for i in range(z.shape[0]):
        for r in range(b3.shape[0]):
            y[r] += z[i] * skip[i, r]


@njit(cache=True)
def _accelerations(inputs, w1, b1, w2, b2, w3, b3, skip):  # type: ignore[no-untyped-def]
    first, second = np.empty_like(b1), np.empty_like(b2)
    out = np.empty((inputs.shape[0], b3.shape[0]))
    for n in range(inputs.shape[0]):
        _forward(inputs[n], w1, b1, w2, b2, w3, b3, skip, first, second, out[n])
    return out


@njit(cache=True)
def _input_gain(inputs, w1, b1, w2, b2, w3, b3, skip, history, actions):  # type: ignore[no-untyped-def]
    hidden, rates = b1.shape[0], b3.shape[0]
    first, second, y = np.empty(hidden), np.empty(hidden), np.empty(rates)
    d_first, d_second = np.empty(hidden), np.empty(hidden)
    out = np.zeros((inputs.shape[0], rates, actions))
    offset = inputs.shape[1] - history * actions
    for n in range(inputs.shape[0]):
        _forward(inputs[n], w1, b1, w2, b2, w3, b3, skip, first, second, y)
        for a in range(actions):
            d_first[:] = 0.0
            d_second[:] = 0.0
            for k in range(history):
                i = offset + k * actions + a
                for j in range(hidden):
                    d_first[j] += w1[i, j]
                for r in range(rates):
                    out[n, r, a] += skip[i, r]
            for i in range(hidden):
                slope = d_first[i] * (1.0 - first[i] * first[i])
                for j in range(hidden):
                    d_second[j] += slope * w2[i, j]
            for i in range(hidden):
                slope = d_second[i] * (1.0 - second[i] * second[i])
                for r in range(rates):
                    out[n, r, a] += slope * w3[i, r]
    return out
