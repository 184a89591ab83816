"""Compare two reports: what changed, row by row on the seeds that both flew, and whether it is more than noise."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from .statistics import holm, paired_difference, paired_p_value
from .verdict import ALPHA

RESAMPLES = 99_999
"""Of the p-values: with fewer, Holm's correction over hundreds of rows could not call anything significant."""

Key = tuple[str, str]
"""(scenario, controller)."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Args:
        rows: one for each scenario and controller of both reports: `scenario`, `controller`, `before_cm`, `after_cm` (mean
            error over the `flights` that both flew), `difference_cm` with `low_cm` and `high_cm` (95 %), `p_value`,
            `p_holm` over all rows, crashes `crashes_before`, `crashes_after`, `crashes_added`, `crashes_removed`, and
            `change`: "worse", "better", "no more than noise", or "none".
        problems: what cannot be compared, and why.
        added: rows of the second report alone.
    """

    rows: list[dict[str, Any]]
    problems: list[str]
    added: list[Key]

    def changed(self, how: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["change"] == how]

    @property
    def exit_code(self) -> int:
        """0: nothing is worse beyond noise; 1: something is; 2: nothing is, but not all can be compared."""
        return 1 if self.changed("worse") else 2 if self.problems else 0


def compare(before: str | Path, after: str | Path) -> Comparison:
    """What changed between two reports, each a folder of `evaluate` or a report.json.

    The figures are those of docs/metrics.md: paired differences of the post-shift RMSE, sign-flip tests, Holm's correction.

    Raises:
        FileNotFoundError: there is no such report.
        ValueError: it is damaged, or holds no flights.
    """
    old, new = _load(before), _load(after)
    old_rows, new_rows = (
        {(row["scenario"], row["controller"]): row for row in report["rows"]} for report in (old, new)
    )
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for key, row in old_rows.items():
        if reason := _unlike(old, new, row, new_rows.get(key)):
            problems.append(f"{', '.join(key)}: {reason}")
        else:
            rows.append(_row(row, new_rows[key]))
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = float(p)
        row["change"] = _change(row)
    return Comparison(rows, problems + _too_few(rows), [key for key in new_rows if key not in old_rows])


def print_comparison(found: Comparison, console: Console | None = None) -> None:
    """Print the answer, what cannot be compared, and the rows."""
    console = console or Console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.caption = (
        "Post-shift RMSE, mean over flights of both reports; paired difference [95 % interval], p after Holm."
    )
    table.add_column("")
    for column in ("Before, cm", "After, cm", "Difference, cm", "p", "Crashes", "Change"):
        table.add_column(column, justify="right", no_wrap=True)
    for scenario, group in groupby(found.rows, key=itemgetter("scenario")):
        table.add_row(scenario, style="bold")
        for row in group:
            table.add_row(f"  {row['controller']}", *_texts(row), style="red" if row["change"] == "worse" else None)
        table.add_section()
    console.print(headline(found), style="bold", highlight=False)
    for problem in found.problems:
        console.print(f"not compared: {problem}", highlight=False, markup=False, soft_wrap=True)
    for scenario, controller in found.added:
        console.print(f"only in the second: {scenario}, {controller}", highlight=False, markup=False, soft_wrap=True)
    console.print(table, highlight=False)


def headline(found: Comparison) -> str:
    """What changed, in one sentence."""
    worse, better, unclear, same = (
        len(found.changed(how)) for how in ("worse", "better", "no more than noise", "none")
    )
    left_out = "; not all can be compared" if found.problems else ""
    return (
        f"Of {len(found.rows)} rows {worse} became worse and {better} better, {unclear} changed no more than noise and "
        f"{same} not at all{left_out}."
    )


def _texts(row: dict[str, Any]) -> list[str]:
    crashes = f"{row['crashes_before']} → {row['crashes_after']}"
    if row["crashes_added"] or row["crashes_removed"]:
        crashes += f" (+{row['crashes_added']} \u2212{row['crashes_removed']})"
    interval = f"{row['difference_cm']:+.2f} [{row['low_cm']:+.2f}, {row['high_cm']:+.2f}]".replace("-", "\u2212")
    return [
        f"{row['before_cm']:.2f}",
        f"{row['after_cm']:.2f}",
        interval,
        f"{row['p_holm']:.1g}",
        crashes,
        row["change"],
    ]


def _unlike(old: dict[str, Any], new: dict[str, Any], before: dict[str, Any], after: dict[str, Any] | None) -> str:
    """Why a row of the first report cannot be compared with that of the second; empty where it can."""
    if after is None:
        return "the second report did not fly it"
    flown, flown_again = (report["scenarios"][before["scenario"]] for report in (old, new))
    if flown != flown_again:
        return "the scenario of that name is another one in the second report"
    if not flown["shifts"] and old["scored_from_s"] != new["scored_from_s"]:
        return (
            f"scored from {old['scored_from_s']:g} s in the first report, from {new['scored_from_s']:g} s in the second"
        )
    if not all(_shared(before, after)):
        return "no policy of the same training seed flew the same seed in both"
    return ""


def _shared(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[str], list[int]]:
    """Training seeds and evaluation seeds that both rows flew."""
    policies = [policy for policy in before["errors_cm"] if policy in after["errors_cm"]]
    return policies, [seed for seed in before["seeds"] if seed in set(after["seeds"])]


def _row(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    policies, seeds = _shared(before, after)

    def table(row: dict[str, Any], column: str) -> np.ndarray:
        at = [row["seeds"].index(seed) for seed in seeds]
        return np.array([[row[column][policy][i] for i in at] for policy in policies])

    errors, errors_again = table(before, "errors_cm"), table(after, "errors_cm")
    crashed, crashed_again = table(before, "crashed"), table(after, "crashed")
    difference = paired_difference(errors_again, errors)
    return {
        "scenario": before["scenario"],
        "controller": before["controller"],
        "flights": errors.size,
        "seeds": len(seeds),
        "before_cm": float(errors.mean()),
        "after_cm": float(errors_again.mean()),
        "difference_cm": difference.estimate,
        "low_cm": difference.low,
        "high_cm": difference.high,
        "p_value": paired_p_value(errors_again, errors, resamples=RESAMPLES),
        "crashes_before": int(crashed.sum()),
        "crashes_after": int(crashed_again.sum()),
        "crashes_added": int((crashed_again & ~crashed).sum()),
        "crashes_removed": int((crashed & ~crashed_again).sum()),
        "same": bool((errors == errors_again).all() and (crashed == crashed_again).all()),
    }


def _too_few(rows: list[dict[str, Any]]) -> list[str]:
    """A problem where no difference could be told from noise in any row, which would pass for there being none."""
    # The least p-value of n seeds is 2^(1 - n), and Holm's correction multiplies it by the number of rows.
    needed = math.ceil(1 + math.log2(max(len(rows), 1) / ALPHA))
    most = max((row["seeds"] for row in rows if row["change"] != "none"), default=needed)
    if most >= needed:
        return []
    return [f"{most} seeds cannot tell a difference in one of {len(rows)} rows from noise: fly {needed} or more"]


def _change(row: dict[str, Any]) -> str:
    if row["same"]:
        return "none"
    if row["p_holm"] >= ALPHA:
        return "no more than noise"
    return "worse" if row["difference_cm"] > 0 else "better"


def _load(path: str | Path) -> dict[str, Any]:
    file = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no report at {path}: give a folder of `undrift evaluate`, or its report.json."
        )
    try:
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for row in report["rows"]:
            _ = row["seeds"], row["errors_cm"], row["crashed"], report["scenarios"][row["scenario"]]["shifts"]
        _ = float(report["scored_from_s"])
    except (ValueError, KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{file} cannot be compared ({what}): evaluate again with this version.") from error
    return report
