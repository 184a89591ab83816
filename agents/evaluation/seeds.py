"""Which seeds are for what: those that a report shows were never seen while anything was trained or tuned."""

from __future__ import annotations

from collections.abc import Iterable

TRAINING = range(100)
"""Seeds of training: weights, exploration, environments, the flights of the nominal model."""

TUNING = range(1_000, 2_000)
"""Seeds of the episodes on which an adapter, a guard or a recipe is chosen."""

REPORTS_FROM = 10_000
"""The first seed of the episodes that a report may show."""

_RANGES = (
    f"training has the seeds {TRAINING[0]} to {TRAINING[-1]}, tuning {TUNING[0]} to {TUNING[-1]}, "
    f"reports those from {REPORTS_FROM} on"
)


def check_training_seed(seed: int) -> None:
    """Raises ValueError if the seed is not one of training."""
    if seed not in TRAINING:
        raise ValueError(f"training seed {seed}: {_RANGES}; train with one of the first.")


def check_report_seeds(seeds: Iterable[int]) -> None:
    """Raises ValueError if a seed is not one of reports; the message names it."""
    refused = sorted({seed for seed in seeds if seed < REPORTS_FROM})
    if refused:
        raise ValueError(f"a report of the episode seed {refused[0]}: {_RANGES}; fly it on one of the last.")
