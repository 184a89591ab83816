"""Scenario: an environment, how it is built, and what shifts in it. No seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .schedule import SCHEDULES, Schedule
from .shift import Shift
from .shifts import SHIFTS


@dataclass(frozen=True)
class Scenario:
    """What is flown, apart from the seed.

    Args:
        name: a short, unique name for tables and files.
        env_id: an id of `undrift.envs.ENVIRONMENTS`.
        env_kwargs: constructor arguments, JSON values only.
        shifts: what changes, and when. Empty: the unshifted arm.
    """

    name: str
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()

    @property
    def label(self) -> str:
        return " + ".join(shift.label for shift in self.shifts) or "no shift"

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `from_dict` builds an equal scenario."""
        return {
            "name": self.name,
            "env_id": self.env_id,
            "env_kwargs": dict(self.env_kwargs),
            "shifts": [shift_to_dict(shift) for shift in self.shifts],
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Scenario:
        """The scenario that `to_dict` described.

        Raises:
            ValueError: a shift or a schedule has an unknown name or field; the message lists the valid ones.
        """
        shifts = tuple(shift_from_dict(shift) for shift in values["shifts"])
        return Scenario(values["name"], values["env_id"], dict(values["env_kwargs"]), shifts)


def one_by_one(env_id: str, shifts: Sequence[Shift]) -> list[Scenario]:
    """The unshifted scenario, then one for each shift by itself, named by its label."""
    return [Scenario("no shift", env_id), *(Scenario(shift.label, env_id, {}, (shift,)) for shift in shifts)]


def shift_to_dict(shift: Shift) -> dict[str, Any]:
    values = {f.name: getattr(shift, f.name) for f in fields(shift) if f.name != "schedule"}
    schedule = {"name": type(shift.schedule).__name__.lower(), **vars(shift.schedule)}
    return {"name": shift.name, **values, "schedule": schedule}


def shift_from_dict(values: Mapping[str, Any]) -> Shift:
    values = dict(values)
    kind = make_shift_type(values.pop("name"))
    schedule_values = dict(values.pop("schedule"))
    schedule_name = schedule_values.pop("name")
    if schedule_name not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule_name!r}; the schedules are: {', '.join(sorted(SCHEDULES))}.")
    schedule: Schedule = SCHEDULES[schedule_name](**schedule_values)
    return make_shift(kind.name, schedule=schedule, **values)


def make_shift(name: str, **kwargs: Any) -> Shift:
    """The shift called `name`, with its fields.

    Raises:
        ValueError: unknown name or field; the message lists the valid ones.
    """
    kind = make_shift_type(name)
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(kwargs) - known):
        raise ValueError(f"shift {name!r} has no field {unknown[0]!r}; its fields are: {', '.join(sorted(known))}.")
    return kind(**kwargs)


def make_shift_type(name: str) -> type[Shift]:
    if name not in SHIFTS:
        raise ValueError(f"unknown shift {name!r}; the shifts are: {', '.join(sorted(SHIFTS))}.")
    return SHIFTS[name]
