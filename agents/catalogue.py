"""The shifts and schedules as the terminal shows them: what they mean, their fields, their course, how to apply them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache

import gymnasium
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..envs import SCHEDULES, SHIFTS, Shifted, make_shift
from ..envs.schedule import Schedule
from ..envs.shift import Shift, valid_range

EXAMPLES = ("undrift.envs:undrift/DroneTrack-v0", "undrift.envs:undrift/CarTrack-v0", "Hopper-v5", "Pendulum-v1")
"""Environments that a shift is tried on, for those that it fits."""
SHOWN_S = 18.0
_COLUMNS = 60
_LEVELS = " ▁▂▃▄▅▆▇█"


def shift_table() -> RenderableType:
    """Every shift with its meaning in a sentence, by where it acts."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for site in dict.fromkeys(kind.site for kind in SHIFTS.values()):
        table.add_row(Text(site, style="bold"), "")
        for name, kind in SHIFTS.items():
            if kind.site == site:
                table.add_row(f"  {name}", _summary(kind))
    schedules = ", ".join(SCHEDULES)
    return Group(table, "", f"Each follows a schedule: {schedules}.", "More of one: undrift shifts show NAME")


def shift_page(name: str, schedule: Schedule | None = None) -> RenderableType:
    """What a shift means, its fields with units and bounds, where it fits, the course of its schedule, a line of Python.

    Args:
        name: the shift's.
        schedule: what to draw and to use in the line of Python; None is the shift's own, and draws all others beside it.

    Raises:
        ValueError: unknown name; the message lists the valid ones.
    """
    shift = make_shift(name)
    shift = shift if schedule is None else replace(shift, schedule=schedule)
    shown = [kind() for kind in SCHEDULES.values()] if schedule is None else [schedule]
    fitting = [env_id for env_id in EXAMPLES if fits(shift, env_id)]
    return Group(
        Text(f"{name}: {shift.label}", style="bold"),
        inspect.getdoc(type(shift)) or "",
        "",
        _field_table(shift),
        "",
        f"fits {', '.join(env_id.rpartition(':')[2] for env_id in fitting)}",
        "",
        "strength of the schedules over an episode:",
        *_courses(shown),
        "",
        Text(python_line(shift, fitting[0]), style="bold"),
    )


def python_line(shift: Shift, env_id: str) -> str:
    """The line of Python that applies the shift to an environment."""
    return f"env = Shifted(gymnasium.make({env_id!r}), {type(shift).__name__}(schedule={shift.schedule!r}))"


@cache
def fits(shift: Shift, env_id: str) -> bool:
    """Whether the environment has what the shift changes."""
    env = gymnasium.make(env_id)
    try:
        Shifted(env, shift)
    except ValueError:
        return False
    finally:
        env.close()
    return True


def course(schedule: Schedule, columns: int = _COLUMNS, until: float = SHOWN_S) -> str:
    """The strength over time as a line of blocks, of the episode of seed 0 where chance has a part in it."""
    time = (np.arange(columns) + 0.5) * until / columns
    times = schedule.draw(np.random.default_rng(0), until)
    strength = schedule.strength(time, np.tile(times, (columns, 1)))
    return "".join(_LEVELS[round(s * (len(_LEVELS) - 1))] for s in strength)


def _courses(schedules: list[Schedule]) -> Iterator[Text]:
    for schedule in schedules:
        yield Text(f"{schedule.name:<13}|{course(schedule)}|")
    ends = f"0 s{SHOWN_S:>{_COLUMNS - 3}g} s"
    yield Text(" " * 14 + ends)


def _field_table(shift: Shift) -> RenderableType:
    table = Table("field", "default", "valid", box=None, pad_edge=False, header_style="bold")
    for name, default, valid in _fields(shift):
        table.add_row(name, default, valid)
    return table


def _fields(shift: Shift) -> Iterator[tuple[str, str, str]]:
    for f in fields(shift):
        if f.name != "schedule":
            yield f.name, repr(getattr(shift, f.name)), valid_range(f.metadata) if f.metadata else "see above"


def _summary(kind: type[Shift]) -> str:
    return (inspect.getdoc(kind) or "").replace("\n", " ").partition(". ")[0].partition(":  ")[0]
