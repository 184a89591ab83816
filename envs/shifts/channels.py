"""Which of the channels that the sensors measure a shift concerns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..shift import SensingShift, World, require


@dataclass(frozen=True, kw_only=True)
class ChannelShift(SensingShift):
    """A shift of some of the channels that the sensors measure, `World.measured_names`.

    It has a field `channels`: their names, or what comes before the last underscore of several ("body_rate" means
    "body_rate_x" to "body_rate_z"); empty means all.
    """

    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = isinstance(self.channels, tuple) and all(isinstance(name, str) for name in self.channels)
        require(valid, self, "channels", self.channels, 'a tuple of names, such as ("body_rate",)')

    def check(self, world: World) -> None:
        for name in self.channels:
            valid = f"names of channels that are measured here, {', '.join(world.measured_names)}, or stems of them"
            require(any(_means(name, channel) for channel in world.measured_names), self, "channels", name, valid)

    def chosen(self, world: World) -> np.ndarray:
        """[C] 1 for the channels that are meant, else 0."""
        named = [any(_means(name, channel) for name in self.channels) for channel in world.measured_names]
        return np.array(named, dtype=float) if self.channels else np.ones(len(world.measured_names))

    @property
    def where(self) -> str:
        """The channels as a label shows them: " of body_rate"; nothing where all are meant."""
        return f" of {', '.join(self.channels)}" if self.channels else ""


def _means(name: str, channel: str) -> bool:
    return name in (channel, channel.rpartition("_")[0])
