"""Signals: what an environment offers an adapter, as sums of named observation channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Signals:
    """How to read a physical state from an observation, in SI units.

    Args:
        rates: quantities whose time derivative is an acceleration, each the sum of the named channels; for example
            {"velocity_x": ("velocity_error_x", "reference_velocity_x")}. Regime `prediction`.
        context: further channels that the accelerations depend on (an attitude matrix).
        tracking: the error channel of each rate that is tracked, {"velocity_x": "position_error_x"}, the error being
            state minus reference. A tracked rate is a velocity of the body along a world axis, in the order x, y, z.
            Regime `tracking`.
        preview: where the reference will be relative to where it is: for each look-ahead time in s the channels of the
            tracked rates, in their order. Empty where the observation holds none.
        previous_action: channels that hold the policy's own previous action, in the order of the action.
    """

    rates: Mapping[str, tuple[str, ...]]
    context: tuple[str, ...]
    tracking: Mapping[str, str]
    preview: tuple[tuple[float, tuple[str, ...]], ...]
    previous_action: tuple[str, ...]


class SignalReader:
    """Reads the signals out of observations whose channels are called `names`.

    Raises:
        ValueError: a signal names a channel that the observation does not have.
    """

    def __init__(self, names: Sequence[str], signals: Signals) -> None:
        self._place = {name: i for i, name in enumerate(names)}
        rate_names = list(signals.rates)
        self.actions = len(signals.previous_action)
        self.context_index = self._indices(signals.context)
        self.previous_action_index = self._indices(signals.previous_action)
        self.error_index = self._indices(signals.tracking.values())
        self.preview_index = [(ahead, self._indices(channels)) for ahead, channels in signals.preview]
        self.tracked_rate = np.array([rate_names.index(rate) for rate in signals.tracking], dtype=int)
        self.rate_matrix = np.zeros((len(names), len(rate_names)))
        for column, channels in enumerate(signals.rates.values()):
            self.rate_matrix[self._indices(channels), column] = 1.0

    def _indices(self, channels: Iterable[str]) -> np.ndarray:
        channels = tuple(channels)
        unknown = [channel for channel in channels if channel not in self._place]
        if unknown:
            raise ValueError(f"no observation channel is called {unknown[0]!r}; they are: {', '.join(self._place)}.")
        return np.array([self._place[channel] for channel in channels], dtype=int)

    def rates(self, observation: np.ndarray) -> np.ndarray:
        """[N, R] rates (velocities, body rates) of observations [N, O]."""
        return observation.astype(np.float64) @ self.rate_matrix

    def inputs(self, observation: np.ndarray, commands: np.ndarray) -> np.ndarray:
        """Rates, context and commands [N, K, A] (newest first) side by side, [N, R + C + K A]."""
        context = observation[:, self.context_index].astype(np.float64)
        return np.concatenate([self.rates(observation), context, commands.reshape(len(commands), -1)], axis=1)
