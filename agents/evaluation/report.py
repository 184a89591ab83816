"""A report from episodes: one self-contained HTML page, and the same table as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from rich import box
from rich.console import Console
from rich.table import Table

from ..episode import Episode
from ..files import write_atomically
from . import charts, metrics
from .seeds import check_report_seeds
from .statistics import CONFIDENCE, FEW_TRAINING_SEEDS, RESAMPLES
from .summary import BASE, ORACLE, Cells, cells, comparison_onset, summarize, verdicts

__all__ = ["headline", "print_table", "summarize", "verdicts", "write_report"]

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
KNOWN_COLOURS = (BASE, "integral", "auto", ORACLE)
OTHER_COLOURS = 4
NOT_A_BOUND = "a reference, not an upper bound"


def write_report(
    episodes: Iterable[Episode], folder: str | Path, title: str, command: str, videos: Sequence[str | Path] = ()
) -> dict[str, Path]:
    """Write ``report.html``, ``report.md``, ``report.csv`` and ``report.json`` into ``folder``.

    A pure function of its arguments: the same episodes give the same bytes.

    Args:
        episodes: every controller of a scenario flown on the same seeds, the frozen policy among them; seeds of reports.
        folder: made if needed.
        title: heading of the page.
        command: what reproduces it, shown as it is.
        videos: films to embed, linked relative to ``folder``; a picture of the same name with ``.png`` is the poster.

    Returns:
        The files by kind: ``html``, ``md``, ``csv``, ``json``.

    Raises:
        ValueError: the episodes cannot be compared, see `summary.cells`, or a seed is not one of reports.
    """
    folder = Path(folder)
    grouped = cells(episodes)
    flown = [episode for group in grouped.values() for episode in group]
    check_report_seeds(episode.meta["seed"] for episode in flown)
    rows = summarize(flown)
    facts = _facts(grouped, rows)
    text = {
        "html": _html(grouped, rows, facts, title, command, [_film(Path(video), folder) for video in videos]),
        "md": _markdown(rows, facts, title, command),
        "csv": _csv(rows),
        "json": json.dumps(_finite({"title": title, "command": command, **facts, "rows": rows}), indent=1),
    }
    paths = {kind: folder / f"report.{kind}" for kind in text}
    for kind, path in paths.items():
        write_atomically(path, text[kind].encode())
    return paths


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
        texts_of_group = [list(_texts(row).values()) for row in group]
        table.add_row(texts_of_group[0][0], style="bold")
        for _, controller, *texts in texts_of_group:
            table.add_row(f"  {controller}", *(text.partition(" (")[0].replace(" of ", "/") for text in texts))
        table.add_section()
    console.print(headline(rows), style="bold", highlight=False)
    console.print(table, highlight=False)


def headline(rows: Sequence[dict[str, Any]]) -> str:
    """Does adapting help here, and does it ever hurt? One sentence, from the rows of `summarize`."""
    found = verdicts(rows)
    if not found:
        return "Only the frozen policy was flown, so there is nothing to compare it with."
    best = found[0]
    if not best["shifted"]:
        return f"No shift was flown; without one, {best['controller']} costs {_cm(best['tax'].estimate, sign=True)} cm."
    return f"{_helps(best)}; {_hurts(best)}."


def _helps(verdict: dict[str, Any]) -> str:
    helped, flown, adapter = len(verdict["helps"]), len(verdict["shifted"]), verdict["controller"]
    if not helped:
        answer = "No" if verdict["hurts"] else "Undecided"
        return f"{answer}: {adapter} cuts the error after the shift in no shifted scenario with confidence"
    answer, over = ("Yes", "") if helped == flown else ("In part", " over all of them")
    where = _count(helped, flown, "shifted scenario")
    return f"{answer}: {adapter} cuts the error after the shift in {where}, {verdict['reduction']:.1f}-fold on average{over}"


def _hurts(verdict: dict[str, Any]) -> str:
    worse, added = verdict["harmed"], verdict["crashes_added"]
    crashes = f"crashes {added} flights that frozen survives" if added else "adds no crash"
    flights = f"makes {worse or 'none'} of {verdict['flights']} flights worse than frozen"
    if verdict["hurts"]:
        return f"it {crashes}, {flights} and raises the mean error in {', '.join(verdict['hurts'])}"
    return f"it {crashes} and {flights}"


def _count(some: int, all_of: int, noun: str) -> str:
    plural = noun + "s" * (all_of != 1)
    if some == all_of:
        return f"the one {noun}" if all_of == 1 else f"all {all_of} {plural}"
    return f"{some} of {all_of} {plural}"


def _facts(grouped: Cells, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was flown, and with what: the provenance of every figure."""
    flown = [episode for group in grouped.values() for episode in group]

    def distinct(key: str) -> list[Any]:
        return sorted({episode.meta[key] for episode in flown if episode.meta.get(key) is not None})

    oracles = {(e.meta["scenario"], f"{e.meta[ORACLE]['steps']:,}") for e in flown if ORACLE in e.meta}

    versions: dict[str, set[str]] = {}
    for episode in flown:
        for name, version in episode.meta.get("versions", {}).items():
            versions.setdefault(name, set()).add(str(version))
    return {
        "headline": headline(rows),
        "environments": distinct("env_id"),
        "flights": len(flown),
        "training_seeds": distinct("training_seed"),
        "seeds": distinct("seed"),
        "policies": distinct("policy_sha256"),
        "oracles": [f"{scenario}: {steps} steps" for scenario, steps in sorted(oracles)],
        "scored_from_s": comparison_onset(grouped),
        "versions": {name: ", ".join(sorted(found)) for name, found in versions.items()},
        "speed_peak_m_s": max(row["speed_peak_m_s"] for row in rows),
        "acceleration_peak_m_s2": max(row["acceleration_peak_m_s2"] for row in rows),
    }


def _html(
    grouped: Cells,
    rows: list[dict[str, Any]],
    facts: dict[str, Any],
    title: str,
    command: str,
    films: list[dict[str, str]],
) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cm"] = _cm
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    texts, strips = map(_texts, rows), charts.interval_strips(rows)
    table = [{**row, "text": text, "strip": strip} for row, text, strip in zip(rows, texts, strips, strict=True)]
    controllers = list(dict.fromkeys(row["controller"] for row in rows))
    return template.render(
        title=title,
        command=command,
        facts=facts,
        rows=rows,
        scenarios=[list(group) for _, group in groupby(table, key=itemgetter("scenario"))],
        columns=COLUMNS,
        verdicts=verdicts(rows),
        controllers=controllers,
        adapting=[row["controller"] for row in verdicts(rows)],
        colours=_colours(controllers),
        alpha=1 - CONFIDENCE,
        few=FEW_TRAINING_SEEDS,
        figures=_figures(rows),
        not_a_bound=NOT_A_BOUND,
        over_time=charts.error_over_time(grouped),
        paired=charts.paired_flights(grouped),
        profile=charts.error_profile(grouped),
        charts=charts,
        metrics=metrics,
        resamples=RESAMPLES,
        films=films,
    )


def _colours(controllers: Sequence[str]) -> dict[str, str]:
    """The style variable that colours each controller; those that every report knows always keep theirs."""
    others = [controller for controller in controllers if controller not in KNOWN_COLOURS]
    return {name: name for name in KNOWN_COLOURS} | {
        name: f"other-{index % OTHER_COLOURS + 1}" for index, name in enumerate(others)
    }


def _film(video: Path, folder: Path) -> dict[str, str]:
    poster = video.with_suffix(".png")

    def relative(path: Path) -> str:
        return quote(Path(os.path.relpath(path, folder)).as_posix())

    caption = video.stem.replace("_", " ").replace("-", " ")
    return {"src": relative(video), "poster": relative(poster) if poster.exists() else "", "caption": caption}


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """A row as people read it, by column."""
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


def _figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The columns of the folded table, each with a text for every row; one that no row has a figure for is left out."""

    def share(row: dict[str, Any], estimate: float, low: str, high: str) -> str:
        return f"{100 * estimate:.0f} [{100 * row[low]:.0f}, {100 * row[high]:.0f}]"

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "Interquartile mean, cm": lambda row: _cm(row["rmse_iqm_cm"]),
        "Worst decile, cm": lambda row: _cm(row["rmse_worst_decile_cm"]),
        "Peak, cm": lambda row: _cm(row["peak_median_cm"]),
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
            "–" if row["improvement"] is None else share(row, row["improvement"], "improvement_low", "improvement_high")
        ),
        "p, Holm": lambda row: "–" if row["p_holm"] is None else f"{row['p_holm']:.1g}",
        "Crashed, %": lambda row: share(row, row["crashes"] / row["episodes"], "crash_low", "crash_high"),
        "Made worse, %": lambda row: (
            "–" if row["harmed"] is None else share(row, row["harmed"] / row["episodes"], "harm_low", "harm_high")
        ),
        "After-effect, cm": lambda row: _number(row["after_effect_cm"], 2),
        "Forgetting, cm": lambda row: _number(row["forgetting_cm"], 2),
        "Second exposure": lambda row: _number(row["second_exposure_ratio"], 2),
        "Control jerk, 1/s": lambda row: _number(row["jerk_per_s"], 1),
        "Guard": lambda row: str(row["guard_events"]),
        "µs, p50 / p99": lambda row: f"{row['step_p50_us']:.0f} / {row['step_p99_us']:.0f}",
    }
    texts = {name: [text(row) for row in rows] for name, text in columns.items()}
    return [(name, column) for name, column in texts.items() if set(column) != {"–"}]


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:.{digits}f}".replace("-", "\u2212")


def _interval(estimate: float, low: float, high: float, sign: bool = False) -> str:
    bounds = "" if math.isnan(low) else f" [{_cm(low)}, {_cm(high)}]"
    return _cm(estimate, sign) + bounds


def _cm(value: float, sign: bool = False) -> str:
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "\u2212")


def _markdown(rows: Sequence[dict[str, Any]], facts: dict[str, Any], title: str, command: str) -> str:
    lines = [f"# {title}", "", facts["headline"], "", "| " + " | ".join(COLUMNS) + " |", "|---|---" + "|---:" * 6 + "|"]
    lines += ["| " + " | ".join(_texts(row).values()) + " |" for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    speeds = f"{facts['speed_peak_m_s']:.1f} m/s and {facts['acceleration_peak_m_s2']:.1f} m/s²"
    lines += [
        "",
        f"Mean [95 % interval] over flights. {facts['flights']} flights; the reference peaks at {speeds}.",
        "",
    ]
    if facts["oracles"]:
        lines += [f"Oracle: fine-tuned on its shift alone ({'; '.join(facts['oracles'])}); {NOT_A_BOUND}.", ""]
    return "\n".join([*lines, f"Reproduce: `{command}`", "", versions, ""])


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = [name for name in rows[0] if not name.endswith(("by_training_seed_cm", "by_training_seed"))]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _finite(value: Any) -> Any:
    """The same with None where a number is NaN or infinite, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
