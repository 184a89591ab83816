"""Scenario: an environment, how it is built, and what shifts in it. No seed. Suites of them by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from .shift import Shift
from .shifts import shift_from_dict, shift_to_dict

NO_SHIFT = "no shift"
SUITES = tuple(sorted(Path(file.name).stem for file in files(__package__).joinpath("suites").iterdir()))
"""The suites that ship, by name."""


@dataclass(frozen=True)
class Scenario:
    """What is flown, apart from the seed.

    Args:
        name: a short, unique name for tables and files.
        env_id: an id of `undrift.envs.ENVIRONMENTS`, or any other of Gymnasium's.
        env_kwargs: constructor arguments, JSON values only.
        shifts: what changes, and when. Empty: the unshifted arm.
        family: what kind of shift it is, in a suite that holds several of one kind.
        severity: 1 to 3 within its family; 0 where nothing is graded.
    """

    name: str
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()
    family: str = ""
    severity: int = 0

    @property
    def label(self) -> str:
        return " + ".join(shift.label for shift in self.shifts) or NO_SHIFT

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `from_dict` builds an equal scenario."""
        return {
            "name": self.name,
            "env_id": self.env_id,
            "env_kwargs": dict(self.env_kwargs),
            "shifts": [shift_to_dict(shift) for shift in self.shifts],
            "family": self.family,
            "severity": self.severity,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Scenario:
        """The scenario that `to_dict` described; family and severity may be left out.

        Raises:
            ValueError: a field is missing or unknown, or a shift or a schedule has an unknown name or field; the message lists
                the valid ones.
        """
        needed, known = {"name", "env_id", "shifts"}, set(Scenario.__dataclass_fields__)
        if (missing := needed - set(values)) or (unknown := set(values) - known):
            what = f"lacks {min(missing)!r}" if missing else f"has no field {min(unknown)!r}"
            raise ValueError(f"a scenario {what}; its fields are: {', '.join(sorted(known))}.")
        shifts = tuple(shift_from_dict(shift) for shift in values["shifts"])
        return Scenario(**{**values, "env_kwargs": dict(values.get("env_kwargs", {})), "shifts": shifts})


@dataclass(frozen=True)
class Suite:
    """Scenarios that belong together, and what they are for. For each environment among them one is without a shift."""

    name: str
    description: str
    scenarios: tuple[Scenario, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `load_suite` builds an equal suite."""
        scenarios = [scenario.to_dict() for scenario in self.scenarios]
        return {"name": self.name, "description": self.description, "scenarios": scenarios}


def load_suite(name: str | Path) -> Suite:
    """A suite by name (one of SUITES), or from a JSON file of your own as `Suite.to_dict` writes it.

    An unshifted scenario is added for every environment that has none: without it no cost of a shift can be told.

    Raises:
        ValueError: no such suite or file, no JSON, or a scenario is not valid; the message says what is.
    """
    source = files(__package__).joinpath("suites", f"{name}.json") if name in SUITES else Path(name)
    if not source.is_file():
        raise ValueError(f"no suite {str(name)!r}: give one of {', '.join(SUITES)}, or the path of a JSON file.")
    try:
        values = json.loads(source.read_text(encoding="utf-8"))
        scenarios = [Scenario.from_dict(scenario) for scenario in values["scenarios"]]
        suite = Suite(values["name"], values["description"], tuple(scenarios))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is no suite: {error}") from error
    names = [scenario.name for scenario in suite.scenarios]
    if twice := [each for each in names if names.count(each) > 1]:
        raise ValueError(f"{name} has two scenarios called {twice[0]!r}: give each a name of its own.")
    return Suite(suite.name, suite.description, with_no_shift(suite.scenarios))


def with_no_shift(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """The scenarios, and before them an unshifted one for every environment that has none."""
    added: list[Scenario] = []
    for scenario in scenarios:
        world = scenario.env_id, dict(scenario.env_kwargs)
        if not any((s.env_id, dict(s.env_kwargs)) == world and not s.shifts for s in (*added, *scenarios)):
            name = (
                NO_SHIFT
                if len({(s.env_id, str(s.env_kwargs)) for s in scenarios}) == 1
                else f"{scenario.env_id} {NO_SHIFT}"
            )
            added.append(Scenario(name, scenario.env_id, scenario.env_kwargs))
    return (*added, *scenarios)


def one_by_one(env_id: str, shifts: Sequence[Shift]) -> list[Scenario]:
    """The unshifted scenario, then one for each shift by itself, named by its label."""
    return [Scenario(NO_SHIFT, env_id), *(Scenario(shift.label, env_id, {}, (shift,)) for shift in shifts)]
