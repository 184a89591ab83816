"""Demand: an adapter may ask the policy for less than its task does, where authority is short."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...envs.signals import SignalReader
from ...policies.kernels.packed import integers, reals
from .compiled import helper, kernel


class Demand(NamedTuple):
    """What asks (`Signals.demand`): channels [K], the channels that hold their bases [K], -1 for none, and powers [K]."""

    channels: np.ndarray
    bases: np.ndarray
    powers: np.ndarray

    @staticmethod
    def of(reader: SignalReader) -> Demand:
        """That of the environment which `reader` reads."""
        return Demand(reader.demand_index, reader.demand_base, reader.demand_power)


@helper
def demand_of(packed):  # type: ignore[no-untyped-def]
    """The `Demand` that was packed."""
    return Demand(integers(packed, 0), integers(packed, 1), reals(packed, 2))


@helper
def lower(demand, share, shown):  # type: ignore[no-untyped-def]
    """Ask one vehicle's policy, in shown [O], for that share of what is asked of it."""
    for k in range(demand.channels.shape[0]):
        base = shown[demand.bases[k]] if demand.bases[k] >= 0 else 0.0
        shown[demand.channels[k]] = base + share ** demand.powers[k] * (shown[demand.channels[k]] - base)


@kernel
def lower_all(demand, shares, shown):  # type: ignore[no-untyped-def]
    """`lower` of every row of shown [N, O], by shares [N]."""
    demand = demand_of(demand)
    for n in range(shares.shape[0]):
        lower(demand, shares[n], shown[n])
