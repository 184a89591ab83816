"""History: a liquid network that was taught by the simulator says what disturbs the vehicle, in place of a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import shadow
from ..adapter import Adapter, Transition
from ..compensators.drone import DroneCompensator
from ..encoder import BOUND, HistoryEncoder, history_channels
from ..estimator import SPREAD, DisturbanceObserver
from ..nominal import NominalModel
from ..state import State
from .drone import Drone
from .model_based import ModelBased
from .observer import Observer

TREND_S = 0.1
"""Time constant of the low-passed residual, s."""


class Shadow(NamedTuple):
    """What is learned beside the observer's and has a shadow, as `shadow` reads it: fields of the state, views of its row."""

    memory: np.ndarray
    kept_memory: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True, kw_only=True)
class HistoryObserver(DisturbanceObserver):
    """A `DisturbanceObserver` whose d is told by a `HistoryEncoder` and not by a bank of filters.

    In each sample that arrives the encoder reads the residual, what the nominal model and what is explained beside it leave
    of the mean acceleration since the last one, in standard deviations of the nominal accelerations; the same low-passed,
    where the measurement noise, which every residual takes back from the one before, is all but gone; the command; and the
    context. It then tells d of the coming period. Delays, stale samples, noise and loss stay with the observer. d is told anew in
    every sample: it rests in the guard's dead zone while the trend is as near to it as the trend's standard error allows, and
    has nothing that could leak.

    State beside the observer's: memory [N, H] of the encoder, and kept_memory, its shadow; trend [N, R] of the residuals;
    waited [N] s since it last read.

    Args:
        encoder: the network.
    """

    wander: tuple[float, ...] = (0.0,)
    encoder: HistoryEncoder

    def initial_state(self, n: int) -> State:
        trend = np.zeros((n, len(self.nominal.signals.rates)))
        memory = self.encoder.initial_state(n)
        unread = {"memory": memory, "kept_memory": memory, "waited": np.zeros(n), "trend": trend}
        return super().initial_state(n) | unread

    def learn(
        self, state: State, transition: Transition, touched: np.ndarray
    ) -> tuple[State, np.ndarray, np.ndarray, np.ndarray]:
        after, expected, explained, learns = super().learn(state, transition, touched)
        x, reads, waited, trend = self.read(state, after, transition, expected)
        told, memory = self.encoder.step(x, state["memory"], waited)
        rows = reads[:, None]
        moves = rows
        if transition.dead_zone > 0.0:
            moves = rows & ~self._quiet(after, trend, waited, transition.dead_zone)
        after["d"] = np.where(moves, told * self.nominal.acceleration_sd, state["d"])
        after["memory"] = np.where(rows, memory, state["memory"])
        after["trend"] = np.where(rows, trend, state["trend"])
        after["waited"] = np.where(reads, 0.0, waited)
        return after, expected, explained, learns

    def keep(self, state: State, rows: np.ndarray) -> State:
        return shadow.keep(super().keep(state, rows), Shadow, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return shadow.restore(super().restore(state, rows), Shadow, rows)

    def _quiet(self, state: State, trend: np.ndarray, waited: np.ndarray, dead_zone: float) -> np.ndarray:
        """Where [N, R] noise explains how far the trend, which took in the last `waited` s [N], is from d."""
        share = _trend_share(waited)
        variance = share / (2.0 - share) * np.maximum(state["noise"][:, SPREAD], self.nominal.residual_sd**2)
        return np.abs(trend * self.nominal.acceleration_sd - state["d"]) < dead_zone * np.sqrt(variance)

    def read(
        self, state: State, after: State, transition: Transition, expected: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What there is to read in the transition from `state` to `after`: channels [N, I], in which rows [N] they count, the
        time [N] s since the last ones, and the trend [N, R] among them. `expected` [N, R] as `learn` gives it."""
        nominal, t = self.nominal, transition
        waited = np.where(state["age"] > nominal.history, state["waited"], 0.0) + t.dt
        surprise = after["rates"] - state["rates"] - t.dt[:, None] * (expected + state["d"])
        # Where samples were missing the state had been predicted with d: the surprise is that of all the time since.
        residual = (state["d"] + surprise / waited[:, None]) / nominal.acceleration_sd
        trend = state["trend"] + _trend_share(waited) * (residual - state["trend"])
        within = np.clip(np.concatenate([residual, trend], axis=1), -BOUND, BOUND)
        # Until the command history is full the model's input is not what was flown.
        reads = t.fresh & (state["age"] >= nominal.history)
        return np.concatenate([within, t.action, state["context"]], axis=1), reads, waited, trend


def _trend_share(waited: np.ndarray) -> np.ndarray:
    """Share [N, 1] of a residual in the trend, `waited` [N] s after the last one."""
    return (1.0 - np.exp(-waited / TREND_S))[:, None]


class History(Adapter):
    """`HistoryObserver` with the drone's own compensator where that fits, else the generic one.

    Raises:
        ValueError: the nominal model comes with no encoder, or with one that reads other channels.
    """

    name = "history"
    regimes = ("prediction", "tracking")

    def __init__(self, nominal: NominalModel, estimator: HistoryObserver | None = None) -> None:
        super().__init__(nominal)
        estimator = estimator or HistoryObserver(nominal, encoder=_encoder_of(nominal))
        fits = DroneCompensator.fits(nominal)
        self.loop: ModelBased = Drone(nominal, estimator) if fits else Observer(nominal, estimator)
        self.estimate_names = self.loop.estimate_names

    def initial_state(self, n: int) -> State:
        return self.loop.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        return self.loop.see(state, observation)

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.loop.correct(state, observation, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        return self.loop.learn(state, transition)

    def ask_less(self, state: State, observation: np.ndarray) -> np.ndarray:
        return self.loop.ask_less(state, observation)

    def loss(self, state: State) -> np.ndarray:
        return self.loop.loss(state)

    def keep(self, state: State, rows: np.ndarray) -> State:
        return self.loop.keep(state, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return self.loop.restore(state, rows)

    def estimate(self, state: State) -> np.ndarray:
        return self.loop.estimate(state)


def _encoder_of(nominal: NominalModel) -> HistoryEncoder:
    encoder = nominal.encoder
    if encoder is None:
        raise ValueError(
            "adapter 'history' needs an encoder that was trained with the policy, and this run has none: train one by a "
            "recipe that asks for it (`undrift train --env DroneTrack`), or use 'observer', which needs none."
        )
    expected = history_channels(nominal.signals)
    if encoder.network.observation_names != expected:
        raise ValueError(
            f"the history encoder reads {', '.join(encoder.network.observation_names)}, and the nominal model offers "
            f"{', '.join(expected)}: they belong to different vehicles; copy the run again."
        )
    return encoder
