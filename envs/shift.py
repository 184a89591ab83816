"""Shift: a named physical change of the world during an episode. What every shift shares; the kinds differ in where they act."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np

from .plant import Plant
from .schedule import Abrupt, Schedule

Range = tuple[float, float]
"""Of a magnitude: every episode draws its own, uniformly between the two."""
Magnitude: TypeAlias = Any
"""A number, or a `Range`; `Shift.draw` finds numbers only."""


def magnitude(
    default: float | Range | None,
    unit: str,
    *,
    least: float = -np.inf,
    most: float = np.inf,
    above: float = -np.inf,
    below: float = np.inf,
) -> Any:
    """A field of a shift that holds a number or a `Range`: its unit, and the bounds that it is checked against.

    A field whose default is None may be None, which its shift documents.
    """
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(default=default, metadata={"unit": unit, "bounds": bounds, "optional": default is None})


SPREAD = "share of the magnitude"
"""Unit of a field `spread`: each episode draws the magnitude uniformly from itself times [1 - spread, 1 + spread]."""


class World(Protocol):
    """The environment, as far as a shift may know it."""

    @property
    def plant(self) -> Plant: ...

    dt: float
    """Control period, s."""
    substeps: int
    """Physics steps in a control period."""
    measured_names: tuple[str, ...]
    """What the sensors measure, by name."""
    measured_noise: np.ndarray
    """[C] standard deviation of the sensors' own white noise."""
    action_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Shift(ABC):
    """One change of the world: where it acts, a magnitude with a unit, and a schedule.

    A shift is drawn once per episode and simulation. What it draws, and what it keeps in mind during the episode, is a row
    of its `memory`, a flat array of floats; all that a shift does later depends on these rows, and not on its own fields, so
    that simulations whose magnitudes differ are changed together. The environment scales a shift with the strength of its
    schedule, undoes it at every reset, and shows nothing of it in the observation.

    A magnitude may be given as a range (low, high), from which each episode draws it: that is domain randomisation.

    Raises:
        ValueError: a field is out of range; the message names the field, its unit and what is valid.
    """

    name: ClassVar[str]
    site: ClassVar[str]
    """Where it acts: "model", "actuator", "exogenous", "sensing", "timing" or "appearance"."""
    noises: ClassVar[int] = 0
    """Standard normal numbers that it takes per control step and simulation."""

    schedule: Schedule = field(default_factory=Abrupt)

    def __post_init__(self) -> None:
        for f in fields(self):
            if isinstance(value := getattr(self, f.name), list):  # as JSON gives tuples back
                object.__setattr__(self, f.name, tuple(value))
            if f.metadata:
                _check(self, f.name, getattr(self, f.name), f.metadata)

    @property
    @abstractmethod
    def label(self) -> str:
        """What shifts, with magnitude and unit, for tables and films: "wind 8 m/s"."""

    def check(self, world: World) -> None:  # noqa: B027 - most fit every world that they are made for
        """Raise ValueError where this shift does not fit the world; the message names what the world has."""

    def width(self, world: World) -> int:
        """How many standard normal numbers it takes per control step; more than `noises` where that depends on the world."""
        return self.noises

    @abstractmethod
    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        """One episode's realisation (exact magnitude, direction, which rotor ...), and room for what it must remember.

        Fields hold numbers here, no ranges.
        """

    def drawn(self, rng: np.random.Generator) -> Self:
        """This shift with a number drawn from every range."""
        ranges = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata}
        numbers: dict[str, Any] = {
            name: rng.uniform(*value) for name, value in ranges.items() if isinstance(value, tuple)
        }
        return replace(self, **numbers) if numbers else self

    def text(self, name: str, spec: str = ".3g") -> str:
        """A magnitude as a label shows it; a range as "0.1 to 0.3"."""
        value = getattr(self, name)
        return " to ".join(format(end, spec) for end in value) if isinstance(value, tuple) else format(value, spec)


class PlantShift(Shift):
    """Changes parameters of the plant."""

    late: ClassVar[bool] = False
    """Whether it comes after all others: it adds parts to a vehicle that they have changed."""

    @property
    @abstractmethod
    def changes(self) -> tuple[str, ...]:
        """The parameters of the plant that it changes."""

    def check(self, world: World) -> None:
        for name in self.changes:
            world.plant.require(name, f"shift {self.name!r}")

    @abstractmethod
    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        """Change `plant`, which holds its nominal values and other shifts' changes.

        Args:
            plant: the parameters of all simulations.
            ids: [n] simulations in which the shift is on.
            memory: [n, k] their rows.
            strength: [n] in (0, 1].
        """


class VaryingShift(PlantShift):
    """Changes parameters of the plant at every control step: gusts, turbulence."""

    @abstractmethod
    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        """Bring the rows of `memory` [n, k] to `time` [n] s, `dt` [n] s after the last, before they are applied.

        `normals` [n, noises] are this step's. It is called whether the shift is on or not (strength [n] 0).
        """


class SensingShift(Shift):
    """Changes what the sensors measure."""

    site: ClassVar[str] = "sensing"

    @abstractmethod
    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        """What is measured at `time` [n] s in place of `measured` [n, C], in the order of `World.measured_names`.

        It is called at every observation, whether the shift is on or not (strength [n] 0), and may write to `memory` [n, k].
        An episode's first observation finds `memory` as it was drawn.
        """


class CommandShift(Shift):
    """Changes which actions arrive."""

    @abstractmethod
    def command(self, memory: np.ndarray, strength: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """What arrives in place of `actions` [n, A] in [-1, 1]; called like `SensingShift.measure`."""


class ClockShift(Shift):
    """Changes how long control steps last."""

    site: ClassVar[str] = "timing"

    @abstractmethod
    def ticks(self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Physics steps [n] int that the next control step lasts in place of `lengths` [n]; it lasts at least 1 in the end."""


def require(condition: bool, owner: object, field_name: str, value: object, valid: str) -> None:
    """Raise the ValueError that tells a user what a field of a shift (a wind field, a sensor) may be."""
    if not condition:
        raise ValueError(f"{type(owner).__name__}.{field_name} is {value!r}: it must be {valid}.")


def spread_over(rng: np.random.Generator, value: float, spread: float) -> float:
    """`value` times a factor drawn uniformly from [1 - spread, 1 + spread]."""
    return value * rng.uniform(1 - spread, 1 + spread)


def valid_range(metadata: Mapping[str, Any]) -> str:
    """The bounds of a field in words and with its unit: "in [0, 1), share", "at least 0 m/s"."""
    bounds, unit = metadata["bounds"], metadata["unit"]
    least, most = max(bounds["least"], bounds["above"]), min(bounds["most"], bounds["below"])
    opening = "(" if bounds["above"] == least else "["
    closing = ")" if bounds["below"] == most else "]"
    if np.isinf(least) and np.isinf(most):
        return f"finite, {unit}"
    if np.isinf(most):
        return f"{'above' if opening == '(' else 'at least'} {least:g} {unit}"
    if np.isinf(least):
        return f"{'below' if closing == ')' else 'at most'} {most:g} {unit}"
    return f"in {opening}{least:g}, {most:g}{closing} {unit}"


def _check(shift: Shift, name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    """Raise ValueError unless `value` is a number within the bounds, or a range of two such, or a None that is allowed."""
    if value is None and metadata["optional"]:
        return
    bounds = metadata["bounds"]
    valid = valid_range(metadata) + (", or None" if metadata["optional"] else "")
    ends = value if isinstance(value, tuple) and len(value) == 2 else (value,)
    for end in ends:
        number = isinstance(end, int | float | np.number) and not isinstance(end, bool) and bool(np.isfinite(end))
        within = number and bounds["least"] <= end <= bounds["most"] and bounds["above"] < end < bounds["below"]
        require(within, shift, name, value, f"{valid}; or a range (low, high) of such numbers")
    require(ends[0] <= ends[-1], shift, name, value, "a range (low, high) with low first")
