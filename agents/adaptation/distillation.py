"""Teach the history encoder what the simulator knows: flights under random shifts, and regression on what truly acted.

Beside the flights in which the adapter `history` acts on what it measures flies the same flight, to the bit, without sensor
noise. Its rates tell the true unmodelled acceleration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...envs import make_batch
from ...envs.shift import SensingShift, Shift
from ...envs.shifts import shift_to_dict
from ...policies.cells import make_cell
from ...policies.deployed import FORMAT, DeployedPolicy
from ..controller import Controller, Policy
from .adapter import Transition
from .adapters.history import History, HistoryObserver
from .encoder import BOUND, HistoryEncoder, history_channels
from .nominal import NominalModel
from .state import State

_CHUNK = 50
"""Steps through which gradients are taken back: 1 s of a drone's flight."""
_ROWS = 128
_LEARNING_RATE = 4e-3
_FELT_S = 0.2
"""Time constant with which a vehicle feels what its compensation misses, s."""
_INSTANT = 0.03
"""Weight of the error of a single step, beside the one that is felt."""


@dataclass(frozen=True)
class Flights:
    """What N flights showed in T steps: channels [T, N, I]; whether they were read [T, N]; dt [T, N] s; what was to be told,
    the true disturbance of the step after in BOUND sd [T, N, R]; and whether it was asked for [T, N]."""

    inputs: Tensor
    read: Tensor
    dt: Tensor
    disturbance: Tensor
    asked: Tensor

    @staticmethod
    def joined(flights: Sequence[Flights]) -> Flights:
        """Side by side."""
        return Flights(*(torch.cat(parts, dim=1) for parts in zip(*(vars(f).values() for f in flights), strict=True)))


def fit_history_encoder(
    policy: Policy,
    nominal: NominalModel,
    seed: int,
    *,
    scenarios: Sequence[Sequence[Shift]],
    sensing: Sequence[Shift],
    env_kwargs: Mapping[str, Any],
    cell: str = "cfc",
    units: int = 32,
    rounds: int = 3,
    simulations: int = 192,
    steps: int = 400,
    epochs: int = 20,
) -> HistoryEncoder:
    """Fly, regress, and fly again with what was learned in the loop, so that it meets its own mistakes.

    The data of all rounds is kept (dataset aggregation: Ross, Gordon & Bagnell 2011, AISTATS); in the first round the
    encoder still says that nothing disturbs.

    Args:
        policy: the trained policy.
        nominal: its nominal model, learned without sensor noise; it names the environment.
        seed: of the flights and of the fit; the same seed gives the same encoder.
        scenarios: what shifts in vehicle and world; the simulations fly them in turn, each with magnitudes and onsets of
            its own.
        sensing: what befalls the measurements, in every scenario.
        env_kwargs: constructor arguments that turn on the sensor noise.
        cell: its memory, one of `undrift.policies.CELLS` that takes a number of units.
        units: of the memory.
        rounds: of flights.
        simulations: flown together in a round.
        steps: control steps of each.
        epochs: passes over all flights so far, after each round.

    Raises:
        ValueError: a sensing shift among the `scenarios`, where it would reach the truth; or one that does not fit.
    """
    if astray := [shift.name for shifts in scenarios for shift in shifts if isinstance(shift, SensingShift)]:
        raise ValueError(f"{astray[0]!r} shifts what is measured, and not what is true: give it in `sensing`.")
    channels = history_channels(nominal.signals)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Network({"cell": cell, "input_size": len(channels), "units": units, "period": nominal.dt}, nominal)
    trained = {
        "seed": seed,
        "scenarios": [[shift_to_dict(shift) for shift in shifts] for shifts in scenarios],
        "sensing": [shift_to_dict(shift) for shift in sensing],
        "env_kwargs": dict(env_kwargs),
        "cell": cell,
        "units": units,
        "rounds": rounds,
        "simulations": simulations,
        "steps": steps,
        "epochs": epochs,
    }
    each = [scenarios[i % len(scenarios)] for i in range(simulations)]
    flights: list[Flights] = []
    for lap in range(rounds):
        encoder = HistoryEncoder(network.deployed(channels), trained)
        flights.append(record_flights(policy, nominal, encoder, each, sensing, env_kwargs, seed + lap, steps))
        _regress(network, Flights.joined(flights), seed + lap, epochs)
    return HistoryEncoder(network.deployed(channels), trained)


def record_flights(
    policy: Policy,
    nominal: NominalModel,
    encoder: HistoryEncoder,
    scenarios: Sequence[Sequence[Shift]],
    sensing: Sequence[Shift],
    env_kwargs: Mapping[str, Any],
    seed: int,
    steps: int,
) -> Flights:
    """Fly with `encoder` in the loop, one simulation for each of `scenarios`; other arguments as of `fit_history_encoder`."""
    seeds = [int(s) for s in np.random.default_rng(seed).integers(2**62, size=len(scenarios))]
    teacher = _Teacher(nominal, scenarios, seeds)
    # The sensing shifts come last: what stands before them draws the same with them and without.
    shifts = [[*shifts, *sensing] for shifts in scenarios]
    env = make_batch(teacher.env.id, len(seeds), shifts=shifts, **teacher.env.kwargs | dict(env_kwargs))
    recorder = _Recorder(nominal, encoder=encoder)
    controller = Controller(policy, History(nominal, recorder))
    controller.reset(len(seeds))
    observation, alive = env.reset(seeds), np.ones(len(seeds), dtype=bool)
    flown, durations, unmodelled = [], [], []
    for _ in range(steps):
        action = controller.act(observation, env.step_duration)
        unmodelled.append(teacher.step(action))
        observation, reward, terminated, truncated, _ = env.step(action)
        controller.learn(observation, reward, terminated, truncated)
        alive &= ~terminated
        flown.append(alive.copy())
        durations.append(env.step_duration)
    assert np.array_equal(env.qvel[alive], teacher.env.qvel[alive]), "the teacher flew other flights"
    inputs, read, explained = (np.array(values) for values in zip(*recorder.steps, strict=True))
    share = np.clip((np.array(unmodelled) - explained) / (BOUND * nominal.acceleration_sd), -1.0, 1.0)
    counts = np.array(flown)
    # Before them the encoder reads nothing, and its clock has not begun.
    now, then = slice(nominal.history, -1), slice(nominal.history + 1, None)
    return Flights(
        torch.tensor(np.where(counts[..., None], inputs, 0.0)[now], dtype=torch.float32),
        torch.tensor((read & counts)[now]),
        torch.tensor(np.array(durations)[now], dtype=torch.float32),
        torch.tensor(np.where(counts[..., None], share, 0.0)[then], dtype=torch.float32),
        torch.tensor(read[now] & counts[then]),
    )


class _Teacher:
    """The same flights without sensor noise; tells what the nominal model leaves of the true accelerations."""

    def __init__(self, nominal: NominalModel, scenarios: Sequence[Sequence[Shift]], seeds: Sequence[int]) -> None:
        assert nominal.env is not None
        self.nominal = nominal
        self.env = make_batch(nominal.env["id"], len(seeds), shifts=scenarios, **nominal.env["kwargs"])
        self.truth = self.env.reset(seeds)
        self.commands = np.zeros((len(seeds), nominal.history, nominal.reader.actions))

    def step(self, action: np.ndarray) -> np.ndarray:
        """Unmodelled accelerations [N, R] of the control step in which `action` [N, A] acts."""
        reader, before = self.nominal.reader, self.truth
        self.commands = np.concatenate([action[:, None], self.commands[:, :-1]], axis=1)
        self.truth, *_ = self.env.step(action)
        acceleration = (reader.rates(self.truth) - reader.rates(before)) / self.env.step_duration[:, None]
        return acceleration - self.nominal.accelerations(reader.inputs(before, self.commands))


@dataclass(frozen=True, kw_only=True)
class _Recorder(HistoryObserver):
    """A `HistoryObserver` that keeps of every step what it read (channels, whether they count) and what was explained."""

    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def learn(
        self, state: State, transition: Transition, touched: np.ndarray
    ) -> tuple[State, np.ndarray, np.ndarray, np.ndarray]:
        after, expected, explained, learns = super().learn(state, transition, touched)
        x, reads, *_ = self.read(state, after, transition, expected)
        self.steps.append((x, reads, explained))
        return after, expected, explained, learns


class _Network(nn.Module):
    """Cell and readout in torch; the readout begins at zero."""

    def __init__(self, config: Mapping[str, Any], nominal: NominalModel) -> None:
        super().__init__()
        self.cell = make_cell(config)
        self.readout = nn.Linear(self.cell.input_size + self.cell.output_size, len(nominal.signals.rates))
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, x: Tensor, h: Tensor, dt: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.cell.sequence(x, h, dt, present=present)
        return self.readout(torch.cat([x, y], dim=2)), h

    def deployed(self, channels: Sequence[str]) -> DeployedPolicy:
        """As a `HistoryEncoder` needs it."""
        config = {
            "format": FORMAT,
            "cell": self.cell.config,
            "observation_scale": [1.0] * len(channels),
            "actor_layers": 1,
            "action_size": self.readout.out_features,
            "squash": False,
            "observation_names": channels,
        }
        tensors = {f"cell.{name}": tensor.numpy() for name, tensor in self.cell.state_dict().items()}
        tensors |= {f"actor.0.{name}": tensor.numpy() for name, tensor in self.readout.state_dict().items()}
        return DeployedPolicy(config, tensors)


def _regress(network: _Network, flights: Flights, seed: int, epochs: int) -> None:
    """Truncated backpropagation through time: chunk by chunk, the state carried on and the gradient cut.

    Mostly the error is scored low-passed, as the vehicle feels it: what is told may be noisy, but not late.
    """
    steps, rows = flights.asked.shape
    generator = torch.Generator().manual_seed(seed)
    spread = flights.disturbance[flights.asked].std(0)
    optimiser = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    updates = epochs * -(-rows // _ROWS) * -(-steps // _CHUNK)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, updates)
    for _ in range(epochs):
        for some in torch.randperm(rows, generator=generator).split(_ROWS):
            h = network.cell.initial_state(len(some))
            for chunk in torch.arange(steps).split(_CHUNK):
                x, read, dt, d, asked = (values[chunk][:, some] for values in vars(flights).values())
                told, h = network(x, h.detach(), dt, read)
                error = torch.where(asked[..., None], (told - d) / spread, 0.0)
                felt = torch.einsum("st,tnr->snr", _low_pass(len(chunk), network.cell.period), error)
                loss = felt.square().mean() + _INSTANT * error.square().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()


def _low_pass(steps: int, dt: float) -> Tensor:
    """[T, T] the first-order low-pass over T steps of dt s, from rest."""
    kept = np.exp(-dt / _FELT_S)
    lag = torch.arange(steps)[:, None] - torch.arange(steps)
    return torch.where(lag >= 0, (1.0 - kept) * kept ** lag.float(), 0.0)
