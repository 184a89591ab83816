"""The nominal model: the accelerations a vehicle shows when nothing has shifted, learned from a run's own flights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from ...envs.signals import SignalReader, Signals
from ...policies.kernels.arithmetic import (
    INPUT_TILE,
    copy,
    fill,
    linear_rows,
    pack_linear,
    packed_size,
    padded,
    tanh_all,
)
from ...policies.kernels.packed import by_rows, integer, integers, pack, reals
from ...policies.kernels.views import scratch
from ..files import write_atomically
from .compiled import helper, inlined, kernel
from .demand import Demand
from .encoder import HistoryEncoder

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
        signals: which of them are rates (R), context (C), tracking errors and previous action.
        dt: control period in s at which it was learned.
        history: K, how many commands it looks back on, newest first.
        tensors: float64: in_scale [I], w1 [I, H], b1 [H], w2 [H, H], b2 [H], w3 [H, R], b3 [R], skip [I, R],
            out_mean [R], out_scale [R] (standard deviation of the nominal accelerations), residual [R] (standard
            deviation of what the model leaves unexplained), response [F, E] (`response`). I = R + C + K A for A actions.
        env: whose model this is, its `id` and all its `kwargs` (JSON values): what a compensator made for one vehicle
            reads the vehicle from. None where the model was fitted elsewhere.
        encoder: what the adapter `history` estimates disturbances with; None where none was trained.
        unfit: why adapters that predict by it are to stay out of the way; empty where they may act.
        stiffness: how strong a push the policy holds per tracking error that it leaves, 1/s²; 0 where that is not known.
        accustomed_delay: how many periods late commands are when the policy is at its best: 0, unless it was trained with late
            ones.

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
        encoder: HistoryEncoder | None = None,
        unfit: str = "",
        stiffness: float = 0.0,
        accustomed_delay: int = 0,
    ) -> None:
        self.env, self.encoder, self.unfit = None if env is None else dict(env), encoder, unfit
        self.stiffness, self.accustomed_delay = stiffness, accustomed_delay
        self.observation_names, self.signals = tuple(observation_names), signals
        self.dt, self.history = dt, history
        state = len(signals.rates) + len(signals.context)
        actions = (len(tensors.get("in_scale", ())) - state) // history
        self.reader = SignalReader(observation_names, signals, actions)
        alone = [channels[0] for channels in signals.rates.values() if len(channels) == 1]
        self.sampled_index = np.array([self.observation_names.index(c) for c in (*signals.context, *alone)], dtype=int)
        """Channels that nothing but a sensor changes."""
        self.tensors = _validated(tensors, state + history * actions, len(signals.rates), len(signals.tracking))
        self.acceleration_sd = self.tensors["out_scale"]
        self.residual_sd = self.tensors["residual"]
        previews = self.reader.preview_index
        asked_index = np.array([index for _, index in previews] or [self.reader.error_index], dtype=np.int64)
        asked_share = np.array([0.5 * ahead**2 for ahead, _ in previews] or [-ERROR_PER_ACCELERATION])
        self.network = pack(_network(self.tensors, history, self.reader))
        """What kernels compute it from: a `Network`, packed."""
        self.policy_response = pack(Response(self.tensors["response"], asked_index, asked_share))
        """What kernels ask the policy by: a `Response`, packed."""
        self.demand = pack(Demand.of(self.reader))
        """What kernels ask the policy for less by: a `Demand`, packed."""

    def __reduce__(self) -> tuple[Any, ...]:
        # As StoredPolicy: what it is made of, without compiled code.
        made_of = (self.observation_names, self.signals, self.dt, self.history, self.tensors)
        found = self.unfit, self.stiffness, self.accustomed_delay
        return NominalModel, (*made_of, self.env, self.encoder, *found)

    @property
    def sha256(self) -> str:
        """Hash of all that adapters learn from it, its encoder included, for provenance."""
        digest = hashlib.sha256(json.dumps(self._config(), sort_keys=True).encode())
        for name, tensor in self.tensors.items():
            digest.update(name.encode() + str(tensor.shape).encode() + tensor.tobytes())
        digest.update(b"" if self.encoder is None else self.encoder.network.sha256.encode())
        return digest.hexdigest()

    def accelerations(self, inputs: np.ndarray) -> np.ndarray:
        """Nominal accelerations [N, R] for inputs [N, I], as `self.reader.inputs` arranges them."""
        out = np.empty((len(inputs), len(self.signals.rates)))
        _accelerations(self.network, np.ascontiguousarray(inputs, dtype=np.float64), out)
        return out

    def input_gain(self, inputs: np.ndarray) -> np.ndarray:
        """B = sum over k of d accelerations / d command(t - k), [N, R, A]: the gain of a command that stays."""
        out = np.empty((len(inputs), len(self.signals.rates), self.reader.actions))
        _input_gain(self.network, np.ascontiguousarray(inputs, dtype=np.float64), out)
        return out

    def asked(self, observation: np.ndarray, acceleration: np.ndarray) -> np.ndarray:
        """Observations [N, O] that ask the policy for an additional `acceleration` [N, E] of its tracked rates, m/s².

        A reference that is about to accelerate by a will have moved by a t² / 2 after t: that much is added to the
        preview, which the policy has learned to follow without error. Without a preview the tracking error is shown
        smaller by ERROR_PER_ACCELERATION.
        """
        shown = observation.astype(np.float64)
        _asked(self.policy_response, acceleration, shown)
        return shown

    def response(self, d: np.ndarray) -> np.ndarray:
        """The acceleration [N, E] to ask for (`asked`) so that the policy holds its reference against a constant
        disturbance d [N, E] of its tracked rates; beyond RESPONSE_RANGE the direction is kept and the strength cut."""
        d = np.ascontiguousarray(d, dtype=np.float64)
        out = np.empty_like(d)
        _response(self.policy_response, d, out)
        return out

    def save(self, folder: Path) -> None:
        """Write nominal.json and nominal.safetensors into `folder`, and the encoder's files if there is one."""
        write_atomically(folder / WEIGHTS_FILE, safetensors.numpy.save(dict(self.tensors)))
        write_atomically(folder / CONFIG_FILE, (json.dumps(self._config(), indent=1) + "\n").encode())
        if self.encoder is not None:
            self.encoder.save(folder)

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "observation_names": self.observation_names,
            "signals": {
                "rates": self.signals.rates,
                "context": self.signals.context,
                "tracking": self.signals.tracking,
                "preview": self.signals.preview,
                "previous_action": self.signals.previous_action,
                "demand": self.signals.demand,
            },
            "dt": self.dt,
            "history": self.history,
            "env": self.env,
            "unfit": self.unfit,
            "stiffness": self.stiffness,
            "accustomed_delay": self.accustomed_delay,
        }

    @staticmethod
    def load(folder: Path) -> NominalModel:
        """The model that `save` wrote, with its encoder where there is one.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated or does not fit; the message names it.
        """
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: train the run again, or copy it whole.")
        encoder = HistoryEncoder.load(folder)
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
                demand={name: (base, float(power)) for name, (base, power) in values.get("demand", {}).items()},
            )
            if config["format"] != FORMAT:
                raise ValueError(f"format {config['format']}, this version reads {FORMAT}")
            names, env = config["observation_names"], config.get("env")
            found = config.get("unfit", ""), config.get("stiffness", 0.0), config.get("accustomed_delay", 0)
            return NominalModel(names, signals, config["dt"], config["history"], tensors, env, encoder, *found)
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


class Network(NamedTuple):
    """The network as kernels read it, scales folded into its weights, in linear maps of `pack_linear`.

    weights: [H, I], [H, H] and [R, H + I], the last one of the second layer and the inputs; held [A, H], what a command that
    stays does to the first layer. channels [T] of an observation add up to the rates channel_rate [T]; context_index [C] are its
    context; history is K.
    """

    weights: np.ndarray
    held: np.ndarray
    channels: np.ndarray
    channel_rate: np.ndarray
    context_index: np.ndarray
    inputs: int
    hidden: int
    rates: int
    history: int


def _network(t: Mapping[str, np.ndarray], history: int, reader: SignalReader) -> Network:
    """The network of the tensors of a `NominalModel`."""
    w1, w2, w3 = (t["w1"] / t["in_scale"][:, None]).T, t["w2"].T, (t["w3"] * t["out_scale"]).T
    skip = (t["skip"] / t["in_scale"][:, None] * t["out_scale"]).T
    held = w1[:, -history * reader.actions :].reshape(len(w1), history, reader.actions).sum(1)
    b3 = t["b3"] * t["out_scale"] + t["out_mean"]
    maps = (w1, t["b1"]), (w2, t["b2"]), (np.hstack([w3, skip]), b3)
    rate, channel = np.nonzero(reader.rate_matrix.T)
    return Network(
        weights=np.concatenate([pack_linear(*each) for each in maps]),
        held=np.ascontiguousarray(held.T),
        channels=channel,
        channel_rate=rate,
        context_index=reader.context_index,
        inputs=w1.shape[1],
        hidden=len(w1),
        rates=len(w3),
        history=history,
    )


class Response(NamedTuple):
    """How the policy is asked for accelerations: table [F, E] is the tensor `response`; a unit of acceleration adds share [K]
    to the channels [K, E]."""

    table: np.ndarray
    channels: np.ndarray
    share: np.ndarray


@helper
def network_of(packed):  # type: ignore[no-untyped-def]
    """The `Network` that was packed."""
    hidden, rates = integer(packed, 6), integer(packed, 7)
    return Network(
        weights=reals(packed, 0),
        held=by_rows(reals(packed, 1), hidden),
        channels=integers(packed, 2),
        channel_rate=integers(packed, 3),
        context_index=integers(packed, 4),
        inputs=integer(packed, 5),
        hidden=hidden,
        rates=rates,
        history=integer(packed, 8),
    )


@helper
def response_of(packed):  # type: ignore[no-untyped-def]
    """The `Response` that was packed; table and channels in one dimension."""
    return Response(reals(packed, 0), integers(packed, 1), reals(packed, 2))


@helper
def ask(policy, acceleration, shown):  # type: ignore[no-untyped-def]
    """`NominalModel.asked`, of one vehicle: shown [O] is written."""
    axes = acceleration.shape[0]
    for k in range(policy.share.shape[0]):
        for i in range(axes):
            shown[policy.channels[k * axes + i]] += policy.share[k] * acceleration[i]


@helper
def respond(policy, d, asked):  # type: ignore[no-untyped-def]
    """`NominalModel.response`, of one vehicle: `disturbance_features` of d [E], cut, times the table; asked [E] is written."""
    axes, square = d.shape[0], 0.0
    for i in range(axes):
        asked[i] = 0.0
        square += d[i] * d[i]
    share = min(1.0, RESPONSE_RANGE / max(np.sqrt(square), 1e-9))
    at = axes * axes
    for i in range(axes):
        for e in range(axes):
            asked[e] += share * d[i] * policy.table[i * axes + e]
        for j in range(i, axes):
            for e in range(axes):
                asked[e] += share**2 * d[i] * d[j] * policy.table[at + e]
            at += axes


@helper
def read(network, observation, rates, context):  # type: ignore[no-untyped-def]
    """Rates [R] and context [C] of an observation [O]."""
    fill(rates, 0.0)
    for k in range(network.channels.shape[0]):
        rates[network.channel_rate[k]] += observation[network.channels[k]]
    for i in range(context.shape[0]):
        context[i] = observation[network.context_index[i]]


@helper
def take_in(action, commands):  # type: ignore[no-untyped-def]
    """Commands [K or more, A], newest first, with one more."""
    for lag in range(commands.shape[0] - 1, 0, -1):
        for a in range(commands.shape[1]):
            commands[lag, a] = commands[lag - 1, a]
    copy(action, commands[0])


@helper
def arrange(network, rates, context, commands, delay, z):  # type: ignore[no-untyped-def]
    """Inputs z[:I]: rates [R], context [C] and the commands [K + delay or more, A] of `delay` periods ago."""
    head, tail, actions = rates.shape[0], rates.shape[0] + context.shape[0], commands.shape[1]
    copy(rates, z)
    copy(context, z[head:])
    for lag in range(network.history):
        for a in range(actions):
            z[tail + lag * actions + a] = commands[delay + lag, a]


@inlined
def rooms(network, count):  # type: ignore[no-untyped-def]
    """What `forward` reads and writes of `count` inputs: z, first, second and f, [count, .] with their padding."""
    room = scratch((4, count, padded(network.hidden + network.inputs, INPUT_TILE)), np.float64)
    return room[0], room[1], room[2], room[3]


@helper
def forward(network, z, first, second, f):  # type: ignore[no-untyped-def]
    """Accelerations f[:, :R] for inputs z[:, :I]; leaves the layers in first[:, :H] and second[:, :H]. All are of `rooms`."""
    inputs, hidden = network.inputs, network.hidden
    at = linear_rows(network.weights, 0, z, inputs, first, hidden, True)
    for k in range(z.shape[0]):
        tanh_all(first[k, :hidden])
    at = linear_rows(network.weights, at, first, hidden, second, hidden, True)
    for k in range(z.shape[0]):
        tanh_all(second[k, :hidden])
        copy(z[k, :inputs], second[k, hidden:])
    linear_rows(network.weights, at, second, hidden + inputs, f, network.rates, True)


@helper
def differentiate(network, first, second, change, work, gain):  # type: ignore[no-untyped-def]
    """`NominalModel.input_gain` of one vehicle, gain [R, A], where `forward` has left its layers, first[:H] and second[:H];
    change and work [A or more, .], of `rooms`, are overwritten."""
    inputs, hidden, actions = network.inputs, network.hidden, gain.shape[1]
    change, work = change[:actions], work[:actions]
    for a in range(actions):
        for j in range(hidden):
            change[a, j] = network.held[a, j] * (1.0 - first[j] * first[j])
    at = linear_rows(network.weights, packed_size(inputs, hidden), change, hidden, work, hidden, False)
    for a in range(actions):
        for j in range(hidden):
            work[a, j] *= 1.0 - second[j] * second[j]
        fill(work[a, hidden : hidden + inputs], 0.0)
        for lag in range(network.history):
            work[a, hidden + inputs - (network.history - lag) * actions + a] = 1.0
    linear_rows(network.weights, at, work, hidden + inputs, change, network.rates, False)
    for r in range(network.rates):
        for a in range(actions):
            gain[r, a] = change[a, r]


@kernel
def _accelerations(network, inputs, out):  # type: ignore[no-untyped-def]
    network = network_of(network)
    z, first, second, f = rooms(network, 1)
    for n in range(inputs.shape[0]):
        copy(inputs[n], z[0])
        forward(network, z, first, second, f)
        copy(f[0, : network.rates], out[n])


@kernel
def _input_gain(network, inputs, out):  # type: ignore[no-untyped-def]
    network = network_of(network)
    actions = network.held.shape[0]
    z, first, second, f = rooms(network, actions)
    for n in range(inputs.shape[0]):
        copy(inputs[n], z[0])
        forward(network, z[:1], first[:1], second[:1], f[:1])
        differentiate(network, first[0], second[0], z, f, out[n])


@kernel
def _asked(policy, acceleration, shown):  # type: ignore[no-untyped-def]
    policy = response_of(policy)
    for n in range(shown.shape[0]):
        ask(policy, acceleration[n], shown[n])


@kernel
def _response(policy, d, out):  # type: ignore[no-untyped-def]
    policy = response_of(policy)
    for n in range(d.shape[0]):
        respond(policy, d[n], out[n])
