"""CarPlant: what may change of a batch of cars and of the ground and air they are in, beside what may change of any model."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from .. import appearance
from ..plant import ModelPlant, Parameter, Simulations
from .vehicle import GRAVITY, WHEELS

ACTUATORS = ("steering", "drive")

PARAMETERS = {
    "drag": Parameter("factor", 1.0, least=0.0),
    "rolling_resistance": Parameter("factor", 1.0, len(WHEELS), least=0.0),
    "patch_friction": Parameter("factor", 1.0, least=0.0),
    "patch_share": Parameter("share of each sixth of the road", 0.0, least=0.0, most=1.0),
    "actuator_gain": Parameter("factor", 1.0, len(ACTUATORS)),
    "actuator_bias": Parameter("share of the full range", 0.0, len(ACTUATORS)),
    "actuator_limit": Parameter("share of the full range", 1.0, len(ACTUATORS), least=0.0, most=1.0),
    "actuator_dead_zone": Parameter("share of the full range", 0.0, len(ACTUATORS), least=0.0, most=1.0),
    "actuator_stuck": Parameter("1: stuck", 0.0, len(ACTUATORS), least=0.0, most=1.0),
    "actuator_lag": Parameter("s added to the time constant", 0.0, len(ACTUATORS), least=0.0),
    "brake_gain": Parameter("factor", 1.0, least=0.0),
    "bank": Parameter("rad", least=-0.5, most=0.5),
    "slope": Parameter("sine of the rise along world x and y", 0.0, 2),
}
"""What may change of a car, by name; `ModelPlant` lists what may change of any model."""

_DERIVED = {
    "centre": Parameter("m"),
    "weight": Parameter("m/s²", GRAVITY),
    "air": Parameter("m/s", count=2),
    "grip": Parameter("factor", 1.0, len(WHEELS)),
}


class CarPlant(ModelPlant):
    """Per-simulation parameters of cars; the rows of PARAMETERS beside those of `ModelPlant`:

    - friction of six patches, one at the beginning of each sixth of the road, of which it covers a share;
    - rolling resistance of each wheel, a factor (a flat tyre drags); drag of the air, a factor;
    - of steering and drive the gain; the bias (a trim of the wheels' angle); the limit; a dead zone; whether it is stuck; and
      what its time constant is longer by. The gain of drive is not that of the brakes, which have their own;
    - bank: the ground rises to the left of the road by this angle; slope: it rises along world x and y.

    Of the wind only the horizontal two numbers act on a car, of gravity the vertical one, of its centre of mass the one
    along its axis; the friction of its four wheels is a factor on that of its tyres. For compiled code these are air,
    weight, centre and grip.
    """

    strongest_push = GRAVITY * float(np.sin(PARAMETERS["bank"].most))

    def __init__(self, simulations: Simulations, model: mujoco.MjModel) -> None:
        super().__init__(
            simulations, model, "car", ACTUATORS, ("drive",), PARAMETERS | _DERIVED | appearance.PARAMETERS
        )
        wheels = tuple(model.geom(name).id for name in WHEELS)
        single = {name: (wheel,) for name, wheel in zip(WHEELS, wheels, strict=True)}
        self.surfaces = {"all": wheels, "front": wheels[:2], "rear": wheels[2:]} | single

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in super().names if name not in _DERIVED)

    def push(self, acceleration: np.ndarray) -> None:
        """Accelerate every car to the left of its road, [N, 1] m/s², by the bank that does so."""
        self["bank"][:] = -np.arcsin(np.clip(acceleration[:, 0] / GRAVITY, -1.0, 1.0))

    def commit(self, ids: np.ndarray, names: Sequence[str]) -> None:
        super().commit(ids, names)
        if "centre_of_mass" in names:
            nominal = self.model.body_ipos[self.body, 0]
            self.values["centre"][ids] = self["centre_of_mass"][ids, self.body, 0] - nominal
        if "gravity" in names:
            self.values["weight"][ids] = -self["gravity"][ids, 2]
        if "wind" in names:
            self.values["air"][ids] = self["wind"][ids, :2]
        if "friction" in names:
            wheels = list(self.surfaces["all"])
            sliding = self["friction"][ids][:, wheels, 0]
            self.values["grip"][ids] = sliding / self.model.geom_friction[wheels, 0]
