"""CarPlant: what may change of a batch of cars and of the ground and air they are in, each with its nominal value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco.batch import Batch

from ..plant import Plant
from .vehicle import GRAVITY, WHEELS, Car


@dataclass(frozen=True)
class Parameter:
    """One parameter of the plant: its unit, its nominal value, how many of it a car has, and its bounds."""

    unit: str
    nominal: float = 0.0
    count: int = 0
    """0: one number; else so many."""
    least: float = -np.inf
    most: float = np.inf


PARAMETERS: Mapping[str, Parameter] = {
    "friction_front": Parameter("factor", 1.0, least=0.0),
    "friction_rear": Parameter("factor", 1.0, least=0.0),
    "wheel_friction": Parameter("factor", 1.0, len(WHEELS), least=0.0),
    "rolling_resistance": Parameter("factor", 1.0, len(WHEELS), least=0.0),
    "payload": Parameter("kg", least=0.0),
    "payload_place": Parameter("m forward of the centre of mass"),
    "steering_trim": Parameter("rad"),
    "steering_gain": Parameter("factor", 1.0),
    "servo_lag": Parameter("factor", 1.0, least=0.0),
    "drive_gain": Parameter("factor", 1.0, least=0.0),
    "brake_gain": Parameter("factor", 1.0, least=0.0),
    "bank": Parameter("rad", least=-0.5, most=0.5),
    "slope": Parameter("rad", least=-0.5, most=0.5),
    "slope_direction": Parameter("rad"),
    "wind": Parameter("m/s", count=3),
}
"""What may change, by name."""

_RECORD = np.dtype(
    [
        ("mass", float),
        *((name, float, (p.count,)) if p.count else (name, float) for name, p in PARAMETERS.items()),
    ]
)


class CarPlant(Plant):
    """Per-simulation parameters of cars, live in the simulation.

    Beside those of `Plant` (mass [N] kg, inertia [N, 3] kg m², wind [N, 3] m/s, force [N, 3] N) the rows of PARAMETERS,
    each an array [N] or [N, count] of that name:

    - friction of the ground under the front and the rear axle and under each wheel, three factors beside the road's own;
    - rolling resistance of each wheel, a factor (a flat tyre drags);
    - payload, a point mass on the car's axis at payload_place, as high as the centre of mass;
    - the steering's trim (the wheels' angle at a command of 0), gain, and factor on its time constant; gains of drive and brakes;
    - bank: the ground rises to the left of the road by this angle; slope: it rises by this angle towards slope_direction;
    - wind: of its three numbers only the horizontal two act on a car.

    `actuator_gain` [N, 1] is the drive motor's, the same numbers as `drive_gain`.
    """

    friction_front: np.ndarray
    friction_rear: np.ndarray
    wheel_friction: np.ndarray
    payload: np.ndarray
    bank: np.ndarray
    strongest_push = GRAVITY * float(np.sin(PARAMETERS["bank"].most))

    def __init__(self, batch: Batch, model: mujoco.MjModel, car: Car) -> None:
        super().__init__(batch, model, "car")
        n = len(self.mass)
        self._centre = batch.expand("body_ipos")[:, model.body("car").id]
        self.values = np.zeros(n, _RECORD)
        """[N] all parameters, for compiled code."""
        for name in PARAMETERS:
            setattr(self, name, self.values[name])
        self.actuator_gain = self.values["drive_gain"][:, None]
        self._base = np.zeros(n, _RECORD)
        for name, parameter in PARAMETERS.items():
            self._base[name] = parameter.nominal
        self.restore(np.arange(n))

    def draw(self, index: int, ranges: Mapping[str, tuple[float, float]], rng: np.random.Generator) -> None:
        """Draw simulation `index`'s unshifted values uniformly from `ranges`, each wheel's and axis's its own."""
        for name, (low, high) in ranges.items():
            self._base[name][index] = rng.uniform(low, high, self._base[name].shape[1:])

    def push(self, acceleration: np.ndarray) -> None:
        """Accelerate every car to the left of its road, [N, 1] m/s², by the bank that does so."""
        self.bank[:] = -np.arcsin(np.clip(acceleration[:, 0] / GRAVITY, -1.0, 1.0))
        self.commit(np.arange(len(self.mass)))

    def restore(self, ids: np.ndarray) -> None:
        super().restore(ids)
        self.values[ids] = self._base[ids]

    def commit(self, ids: np.ndarray) -> None:
        load, place = self.values["payload"][ids], self.values["payload_place"][ids]
        mass = self.values["mass"][ids] = self.mass[ids] + load
        self._force[ids] = self.force[ids]
        self._centre[ids, 0] = load * place / mass
        self._set_body(ids, mass, self.inertia[ids] + (self.mass[ids] * load / mass * place**2)[:, None])


def checked_ranges(ranges: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, float]]:
    """Ranges to draw parameters from, by name, as pairs of floats.

    Raises:
        ValueError: an unknown name, or a range that is none or leaves the parameter's bounds; the message says what is valid.
    """
    checked = {}
    for name, values in (ranges or {}).items():
        if name not in PARAMETERS:
            raise ValueError(f"randomise has no {name!r}; a car's parameters are: {', '.join(PARAMETERS)}.")
        parameter = PARAMETERS[name]
        pair = np.asarray(values, dtype=float)
        if pair.shape != (2,) or not (parameter.least <= pair[0] <= pair[1] <= parameter.most):
            bounds = f" in [{parameter.least:g}, {parameter.most:g}]"
            raise ValueError(f"randomise[{name!r}] is {values!r}: give (low, high), {parameter.unit}{bounds}.")
        checked[name] = (float(pair[0]), float(pair[1]))
    return checked
