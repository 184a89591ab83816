"""What every benchmark shares: its arguments, its table, and the one JSON document it writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""`name` (a string) and figures (plain numbers)."""


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser that knows `--json FILE`; the benchmark adds what else it takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return parser


def peak_mib() -> float:
    """Largest resident set of this process so far, MiB, libraries included."""
    # Not getrusage's ru_maxrss: a process starts with that of the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def report(rows: list[Row], json_file: Path | None, skipped: dict[str, str] | None = None) -> None:
    """Print the rows as a table, name the peers that were skipped and why, and write the document if asked to."""
    _print_table(rows)
    for name, why in (skipped or {}).items():
        print(f"skipped {name}: {why}")
    write_document(rows, json_file)


def write_document(rows: list[Row], json_file: Path | None) -> None:
    """Write the one document: machine, versions and rows. No file, nothing written."""
    from undrift.agents.episode import versions
    from undrift.agents.files import write_atomically

    if json_file:
        found = versions()
        document = {"machine": found.pop("machine"), "versions": found, "rows": rows}
        write_atomically(json_file, (json.dumps(document, indent=2) + "\n").encode())


def write_below_rule(page: Path, tables: str) -> None:
    """Replace what is below the first rule (---) of a Markdown page."""
    from undrift.agents.files import write_atomically

    head = page.read_text(encoding="utf-8").partition("\n---\n")[0]
    write_atomically(page, f"{head}\n---\n\n{tables}".encode())


def _print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column.header == "name" else "right"
    for row in rows:
        table.add_row(*[_cell(row.get(column)) for column in columns])
    # Wider than the terminal rather than cut short: a figure that cannot be read is none.
    Console(width=max(Console().width, Console(width=1000).measure(table).maximum)).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
