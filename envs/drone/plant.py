"""DronePlant: what may change of a batch of quadrotors, beside what may change of any model."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from .. import appearance
from ..plant import ModelPlant, Parameter, Simulations
from .vehicle import ROTORS

ROTOR_NAMES = tuple(f"rotor_{i}" for i in range(ROTORS))

PARAMETERS = {
    "drag": Parameter("factor", 1.0, least=0.0),
    "actuator_gain": Parameter("factor", 1.0, ROTORS, least=0.0),
    "actuator_bias": Parameter("share of the largest thrust", 0.0, ROTORS, least=-1.0, most=1.0),
    "actuator_limit": Parameter("share of the largest thrust", 1.0, ROTORS, least=0.0, most=1.0),
    "actuator_dead_zone": Parameter("share of the largest thrust", 0.0, ROTORS, least=0.0, most=1.0),
    "actuator_stuck": Parameter("1: stuck", 0.0, ROTORS, least=0.0, most=1.0),
    "actuator_lag": Parameter("s added to the time constant", 0.0, ROTORS, least=0.0),
    "body_torque": Parameter("N m", count=3),
}
"""What may change of a quadrotor, by name; `ModelPlant` lists what may change of any model."""


class DronePlant(ModelPlant):
    """Per-simulation parameters of quadrotors; the rows of PARAMETERS beside those of `ModelPlant`:

    - drag of body and rotors, a factor; a torque on the body, about its own axes;
    - of each rotor its gain (thrust per thrust that is asked for, 0 a dead motor); a bias that is added to what is asked;
      the limit of what it gives; a dead zone, below which it gives nothing; whether it is stuck at the thrust it has; and
      what its time constant is longer by.
    """

    def __init__(self, simulations: Simulations, model: mujoco.MjModel) -> None:
        super().__init__(simulations, model, "drone", ROTOR_NAMES, parameters=PARAMETERS | appearance.PARAMETERS)

    def commit(self, ids: np.ndarray, names: Sequence[str]) -> None:
        super().commit(ids, names)
        model, expand = self.model, self._simulations.expand
        if "actuator_gain" in names:
            expand("actuator_gainprm")[ids, :, 0] = model.actuator_gainprm[:, 0] * self["actuator_gain"][ids]
        if "actuator_lag" in names:
            expand("actuator_dynprm")[ids, :, 0] = model.actuator_dynprm[:, 0] + self["actuator_lag"][ids]
