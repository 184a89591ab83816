"""What every kind of vehicle shares: figures checked field by field, and files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

GRAVITY = 9.81
"""m/s², down."""


def quantity(
    unit: str,
    shape: tuple[int, ...] = (),
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A dataclass field that holds numbers: their unit, their shape, and the bounds of each."""
    return field(metadata={"unit": unit, "shape": shape, "above": above, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class VehicleData:
    """A vehicle's figures: a kind of vehicle adds a `quantity` for each.

    Raises:
        ValueError: a field is out of its range; the message names the field and its unit.
    """

    name: str
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each figure comes from, by field."""

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.metadata:
                object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name), f.metadata))
        self._check_as_a_whole()

    def _check_as_a_whole(self) -> None:
        """Raise a ValueError where figures that are valid one by one make no vehicle together."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `load` builds an equal vehicle."""
        return asdict(self)


Kind = TypeVar("Kind", bound=VehicleData)


def load(kind: type[Kind], names: Sequence[str], vehicle: str | Path | Mapping[str, Any] | Kind) -> Kind:
    """A vehicle of a kind by name (one of `names`), from a JSON file, or from its own `to_dict`.

    The files of the names lie in the folder "vehicles" beside the module of the kind.

    Raises:
        ValueError: the name is unknown, the file is not JSON, or a field is unknown, missing or out of range.
    """
    if isinstance(vehicle, kind):
        return vehicle
    if isinstance(vehicle, Mapping):
        return _from_values(kind, vehicle, "the vehicle")
    if vehicle in names:
        package = files(kind.__module__.rpartition(".")[0])
        source = package.joinpath("vehicles", f"{vehicle}.json").read_text(encoding="utf-8")
    elif isinstance(vehicle, str | Path) and Path(vehicle).is_file():
        source = Path(vehicle).read_text(encoding="utf-8")
    else:
        raise ValueError(f"no vehicle {str(vehicle)!r}: give one of {', '.join(names)}, or the path of a JSON file.")
    try:
        values = dict(json.loads(source))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{vehicle} holds no JSON object with a vehicle's fields: {error}.") from error
    return _from_values(kind, values, str(vehicle))


def _from_values(kind: type[Kind], values: Mapping[str, Any], origin: str) -> Kind:
    known = {f.name: f.metadata.get("unit") for f in fields(kind) if f.name != "sources"}
    if unknown := sorted(set(values) - set(known) - {"sources"}):
        raise ValueError(
            f"{origin}: a vehicle has no field {unknown[0]!r}; its fields are {', '.join(known)}, sources."
        )
    if missing := [name for name in known if name not in values]:
        unit = f" ({known[missing[0]]})" if known[missing[0]] else ""
        raise ValueError(f"{origin}: the field {missing[0]!r}{unit} is missing.")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error


def _checked(name: str, value: Any, bounds: Mapping[str, Any]) -> Any:
    """`value` as floats of the quantity's shape, within its bounds."""
    unit, shape, above, least, most = (bounds[key] for key in ("unit", "shape", "above", "least", "most"))
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    wanted = f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} is {value!r}: give {wanted} in {unit}, finite.")
    if above is not None and not (array > above).all():
        raise ValueError(f"{name} is {value!r} {unit}: it must be above {above:g}.")
    if least is not None and not (array >= least).all():
        raise ValueError(f"{name} is {value!r} {unit}: it must be at least {least:g}.")
    if most is not None and not (array <= most).all():
        raise ValueError(f"{name} is {value!r} {unit}: it must be at most {most:g}.")
    return _frozen(array.tolist())


def _frozen(values: Any) -> Any:
    return tuple(map(_frozen, values)) if isinstance(values, list) else values
