"""Signals: what an environment offers an adapter, as sums of named observation channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
            Regime `tracking`. Empty where the task has no reference.
        preview: where the reference will be relative to where it is: for each look-ahead time in s the channels of the
            tracked rates, in their order. Empty where the observation holds none.
        previous_action: channels that hold the policy's own previous action, in the order of the action; empty where it is
            not observed.
        demand: what of the observation asks for more than a vehicle may be able to give: channel -> (base, power). Asked for
            the share s of it, the channel shows base + s^power (channel - base), the base being another channel, or "" for
            none: {"speed_error": ("forward_velocity", 1.0)} is the error against s times the speed asked for. Empty where
            less than all makes no sense.
    """

    rates: Mapping[str, tuple[str, ...]]
    context: tuple[str, ...]
    tracking: Mapping[str, str] = field(default_factory=dict)
    preview: tuple[tuple[float, tuple[str, ...]], ...] = ()
    previous_action: tuple[str, ...] = ()
    demand: Mapping[str, tuple[str, float]] = field(default_factory=dict)


class SignalReader:
    """Reads the signals out of observations whose channels are called `names`, of a vehicle with so many `actions`.

    Raises:
        ValueError: a signal names a channel that the observation does not have, an error is that of no rate, or there are
            more or fewer previous actions than actions.
    """

    def __init__(self, names: Sequence[str], signals: Signals, actions: int) -> None:
        self._place = {name: i for i, name in enumerate(names)}
        rate_names = list(signals.rates)
        if unknown := set(signals.tracking) - set(rate_names):
            raise ValueError(f"tracking names {min(unknown)!r}, which is no rate; they are: {', '.join(rate_names)}.")
        if signals.previous_action and len(signals.previous_action) != actions:
            raise ValueError(f"previous_action names {len(signals.previous_action)} channels for {actions} actions.")
        self.actions = actions
        self.context_index = self._indices(signals.context)
        self.previous_action_index = self._indices(signals.previous_action)
        self.error_index = self._indices(signals.tracking.values())
        self.preview_index = [(ahead, self._indices(channels)) for ahead, channels in signals.preview]
        self.demand_index = self._indices(signals.demand)
        bases = [base for base, _ in signals.demand.values()]
        self.demand_base = np.array([self._indices([base])[0] if base else -1 for base in bases], dtype=int)
        self.demand_power = np.array([power for _, power in signals.demand.values()], dtype=float)
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
