"""The history encoder as it is deployed: what a small liquid network makes of what the nominal model leaves unexplained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ...envs.signals import Signals
from ...policies.deployed import DeployedPolicy
from ..files import write_atomically

FORMAT = 1
CONFIG_FILE, WEIGHTS_FILE = "history.json", "history.safetensors"

BOUND = 5.0
"""Residuals read and disturbances told are at most so many standard deviations of the nominal accelerations."""


def history_channels(signals: Signals) -> tuple[str, ...]:
    """What an encoder reads in every step, by name: residual and trend of every rate, every command, and the context."""
    read = [f"{what}/{rate}" for what in ("residual", "trend") for rate in signals.rates]
    return (*read, *(f"command/{i}" for i in range(len(signals.previous_action))), *signals.context)


class HistoryEncoder:
    """A memory cell with a linear readout, from the history of a flight to what disturbs it.

        h' = cell(x, h, t),   d = BOUND sd clip(W [x, y(h')] + b, -1, 1)

    x [I] are the channels of `history_channels`, t the time since the last sample that arrived, sd the standard deviation
    of the nominal accelerations. The adaptation module of "RMA: Rapid Motor Adaptation for Legged Robots" (Kumar et al.
    2021, RSS): extrinsics that only a simulator knows are regressed from what a deployment sees. Here they are the
    unmodelled acceleration itself, so that any compensator can answer them.

    Args:
        network: its action [R] is d / (BOUND sd).
        trained: how it came to be (JSON values).
    """

    def __init__(self, network: DeployedPolicy, trained: Mapping[str, Any]) -> None:
        self.network, self.trained = network, dict(trained)

    def initial_state(self, n: int) -> np.ndarray:
        """Memories [n, H] of nothing."""
        return self.network.initial_state(n)

    def step(self, x: np.ndarray, h: np.ndarray, elapsed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """d / sd [N, R] and memories [N, H] after reading x [N, I], `elapsed` [N] s after the last time."""
        share, after = self.network.step(x, h, elapsed)
        return BOUND * share, after

    def save(self, folder: Path) -> None:
        """Write history.json and history.safetensors into `folder`."""
        network = self.network
        config = {"format": FORMAT, "network": network.config, "sha256": network.sha256, "trained": self.trained}
        write_atomically(folder / WEIGHTS_FILE, safetensors.numpy.save(network.tensors))
        write_atomically(folder / CONFIG_FILE, (json.dumps(config, indent=1) + "\n").encode())

    @staticmethod
    def load(folder: Path) -> HistoryEncoder | None:
        """The encoder that `save` wrote; None where neither of its files is there.

        Raises:
            FileNotFoundError: one of the two is missing.
            ValueError: a file is truncated or does not fit the other.
        """
        missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
        if len(missing) == 2:
            return None
        if missing:
            raise FileNotFoundError(f"{folder / missing[0]} is missing: train the run again, or copy it whole.")
        try:
            config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
            if config["format"] != FORMAT:
                raise ValueError(f"format {config['format']}, this version reads {FORMAT}")
            network = DeployedPolicy(config["network"], safetensors.numpy.load((folder / WEIGHTS_FILE).read_bytes()))
            if network.sha256 != config["sha256"]:
                raise ValueError(f"{CONFIG_FILE} and {WEIGHTS_FILE} do not belong together")
            return HistoryEncoder(network, config["trained"])
        except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"the history encoder in {folder} cannot be read ({error}): copy the run again."
            ) from error
