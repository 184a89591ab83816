"""What the commands print has to work where it is read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..policies.kernels.backend import compile_kernels


def command() -> str:
    """How to call undrift from here: by name where it is on the PATH, else as this process was called."""
    called = sys.argv[0]
    return called if Path(called).name == "undrift" and shutil.which("undrift") is None else "undrift"


def compile_ahead(*cells: str) -> None:
    """Compile the kernels of these cells and of deployed policies behind a progress bar; later processes find them compiled."""
    stderr = Console(stderr=True)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("compiling, once on this machine")
        compile_kernels((*cells, "actor"), progress=lambda done, total: bar.update(task, completed=done, total=total))


@contextmanager
def progress(task: str) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left; yields what to call with the steps done, the steps in all and, if wanted, what is done now."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[now]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(task, total=None, now="")
        yield lambda done, total, now="": bar.update(row, completed=done, total=total, now=now)
