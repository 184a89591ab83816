"""The rows of a report as people and programs read them: on a terminal, as Markdown, CSV, Parquet and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .summary import BASE, Flights
from .verdict import cm, headline, verdicts

COLUMNS = (
    "Scenario",
    "Controller",
    "Error after the shift, cm",
    "Against frozen, cm",
    "Recovered",
    "Recovery, s",
    "Crashes",
    "Made worse",
)
RANKED = (
    "Rank",
    "Controller",
    "Frozen error ÷",
    "Recovered",
    "Better in",
    "Worse in",
    "Crashes",
    "Made worse",
    "Cost without a shift, cm",
    "Guard",
)
NESTED = ("rmse_by_training_seed_cm", "recovered_by_training_seed", "seeds", "errors_cm", "crashed")
"""Columns of `summarize` that hold more than one value, which a flat file has no place for."""
NOT_A_BOUND = "a reference, not an upper bound"


def print_table(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Print the rows of `summarize` as a table, the answer above it."""
    console = console or Console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.caption = (
        "Mean over flights [95 % interval]. Error: post-shift RMSE; against frozen: paired difference. "
        "Recov.: share of what the shift costs that is recovered, and the median time it takes."
    )
    table.add_column("")
    for column in ("Error, cm", "Against frozen, cm", "Recov.", "in s", "Crash", "Worse"):
        table.add_column(column, justify="right", no_wrap=True)
    for _, group in groupby(rows, key=itemgetter("scenario")):
        texts_of_group = [list(row_texts(row).values()) for row in group]
        table.add_row(texts_of_group[0][0], style="bold")
        for _, controller, *texts in texts_of_group:
            table.add_row(f"  {controller}", *(text.partition(" (")[0].replace(" of ", "/") for text in texts))
        table.add_section()
    console.print(headline(rows), style="bold", highlight=False)
    console.print(table, highlight=False)


def ranking(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Every controller over all scenarios, best first, by column of `RANKED`; the frozen policy stands where it belongs.

    A controller that was not flown in every shifted scenario has no rank.
    """
    frozen = [row for row in rows if row["controller"] == BASE]
    found = verdicts(rows)
    place = sum(verdict["complete"] and verdict["reduction"] > 1 for verdict in found)
    lines = [_ranked(verdict) for verdict in found]
    crashes, flown = (sum(row[name] for row in frozen) for name in ("crashes", "episodes"))
    own = {"Controller": BASE, "Frozen error ÷": "1", "Crashes": f"{crashes} of {flown}"}
    lines.insert(place, dict.fromkeys(RANKED, "") | own)
    ranked = sum(verdict["complete"] for verdict in found) + 1
    for index, line in enumerate(lines):
        line["Rank"] = str(index + 1) if index < ranked else "–"
    return lines


def row_texts(row: dict[str, Any]) -> dict[str, str]:
    """A row of `summarize` by column of `COLUMNS`."""
    difference, recovered, worse = "", "", ""
    if row["difference_cm"] is not None:
        difference = _interval(row["difference_cm"], row["difference_low_cm"], row["difference_high_cm"], sign=True)
        recovered = _number(row["recovered_fraction"], 2) if row["shifted"] else ""
    if row["harmed"] is not None:
        worse = f"{row['harmed']} of {row['episodes']}"
    crashes = f"{row['crashes']} of {row['episodes']}"
    if row["crashes_added"] or row["crashes_removed"]:
        crashes += f" (+{row['crashes_added']} \u2212{row['crashes_removed']})"
    error = _interval(row["rmse_cm"], row["rmse_low_cm"], row["rmse_high_cm"])
    recovery = _number(row["recovery_s"], 2)
    values = (row["label"], row["controller"], error, difference, recovered, recovery, crashes, worse)
    return dict(zip(COLUMNS, values, strict=True))


def further_figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """All other columns, each with a text for every row; one that no row has a figure for is left out."""

    def share(estimate: float, low: float, high: float) -> str:
        return f"{100 * estimate:.0f} [{100 * low:.0f}, {100 * high:.0f}]"

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "Interquartile mean, cm": lambda row: cm(row["rmse_iqm_cm"]),
        "Worst decile, cm": lambda row: cm(row["rmse_worst_decile_cm"]),
        "Peak, cm": lambda row: cm(row["peak_median_cm"]),
        "Area of excess error, cm s": lambda row: _number(row["excess_area_cm_s"], 1),
        "Return": lambda row: _number(row["return"], 1),
        "Recovered [interval]": lambda row: (
            "–"
            if row["recovered_fraction"] is None or math.isnan(row["recovered_fraction"])
            else f"{row['recovered_fraction']:.2f} [{row['recovered_low']:.2f}, {row['recovered_high']:.2f}]"
        ),
        "Recovered, by policy": lambda row: (
            " · ".join(_number(value, 2) for value in (row["recovered_by_training_seed"] or {}).values()) or "–"
        ),
        "Recovered, of its own base": lambda row: (
            "–" if row["base"] in (None, BASE) else _number(row["base_recovered_fraction"], 2)
        ),
        "Lower than frozen, %": lambda row: (
            "–"
            if row["improvement"] is None
            else share(row["improvement"], row["improvement_low"], row["improvement_high"])
        ),
        "p, Holm": lambda row: "–" if row["p_holm"] is None else f"{row['p_holm']:.1g}",
        "Crashed, %": lambda row: share(row["crashes"] / row["episodes"], row["crash_low"], row["crash_high"]),
        "Made worse, %": lambda row: (
            "–" if row["harmed"] is None else share(row["harmed"] / row["episodes"], row["harm_low"], row["harm_high"])
        ),
        "After-effect, cm": lambda row: _number(row["after_effect_cm"], 2),
        "Forgetting, cm": lambda row: _number(row["forgetting_cm"], 2),
        "Second exposure": lambda row: _number(row["second_exposure_ratio"], 2),
        "Control jerk, 1/s": lambda row: _number(row["jerk_per_s"], 1),
        "Guard": lambda row: str(row["guard_events"]),
    }
    texts = {name: [text(row) for row in rows] for name, text in columns.items()}
    return [(name, column) for name, column in texts.items() if set(column) != {"–"}]


def markdown(rows: Sequence[dict[str, Any]], facts: dict[str, Any], title: str, command: str) -> str:
    """Answer, ranking and every row, for a page that people read and versions compare."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    speeds = f"{facts['speed_peak_m_s']:.1f} m/s and {facts['acceleration_peak_m_s2']:.1f} m/s²"
    lines = [f"# {title}", "", facts["headline"], "", *_markdown_table(RANKED, ranking(rows)), ""]
    lines += [*_markdown_table(COLUMNS, [row_texts(row) for row in rows]), ""]
    lines += [f"Mean [95 % interval] over flights. {facts['flights']} flights; the reference peaks at {speeds}.", ""]
    if facts["oracles"]:
        lines += [f"Oracle: fine-tuned on its shift alone ({'; '.join(facts['oracles'])}); {NOT_A_BOUND}.", ""]
    return "\n".join([*lines, f"Reproduce: `{command}`", "", versions, ""])


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """A line for every row of `summarize`."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [name for name in rows[0] if name not in NESTED], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parquet(flights: Flights) -> bytes:
    """A line for every flight, with all that `summary.score` says of it."""
    import pyarrow as pa
    import pyarrow.parquet

    lines = [flight for flown in flights.values() for flight in flown]
    types = {"base": pa.string(), "harmed": pa.bool_()}  # None in all lines where nothing adapts
    table = pa.table({name: pa.array([line[name] for line in lines], types.get(name)) for name in lines[0]})
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()


def json_text(content: dict[str, Any]) -> str:
    """The content with None where a number is NaN or infinite, which JSON does not know."""
    return json.dumps(_finite(content), indent=1)


def _ranked(verdict: dict[str, Any]) -> dict[str, str]:
    reduction = f"{verdict['reduction']:.2f}"
    if not math.isnan(verdict["reduction_low"]):
        reduction += f" [{verdict['reduction_low']:.2f}, {verdict['reduction_high']:.2f}]"
    out_of = len(verdict["shifted"])
    crashes = f"{verdict['crashes']} of {verdict['flights']}"
    if verdict["adapts"]:
        crashes += f" (+{verdict['crashes_added']} \u2212{verdict['crashes_removed']})"
    values = (
        "",
        verdict["controller"],
        reduction,
        _number(verdict["recovered"], 2),
        f"{len(verdict['helps'])} of {out_of}",
        f"{len(verdict['hurts'])} of {out_of}",
        crashes,
        f"{verdict['harmed']} of {verdict['flights']}" if verdict["adapts"] else "",
        cm(verdict["tax"].estimate, sign=True) if verdict["tax"] else "",
        str(verdict["guard_events"]) if verdict["adapts"] else "",
    )
    return dict(zip(RANKED, values, strict=True))


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:.{digits}f}".replace("-", "\u2212")


def _interval(estimate: float, low: float, high: float, sign: bool = False) -> str:
    bounds = "" if math.isnan(low) else f" [{cm(low)}, {cm(high)}]"
    return cm(estimate, sign) + bounds


def _markdown_table(columns: Sequence[str], lines: Sequence[dict[str, str]]) -> list[str]:
    head = "| " + " | ".join(columns) + " |", "|---|---" + "|---:" * (len(columns) - 2) + "|"
    return [*head, *("| " + " | ".join(line.values()) + " |" for line in lines)]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
