"""A report from episodes: one self-contained HTML page, and the same as Markdown, CSV, Parquet and JSON."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from ..episode import Episode
from ..files import write_atomically
from . import charts, metrics
from .seeds import check_report_seeds
from .statistics import FEW_TRAINING_SEEDS, RESAMPLES
from .summary import BASE, ORACLE, Cells, Flights, cells, comparison_onset, score, summarize_flights
from .tables import (
    COLUMNS,
    NOT_A_BOUND,
    RANKED,
    csv_text,
    further_figures,
    json_text,
    markdown,
    parquet,
    ranking,
    row_texts,
)
from .verdict import ALPHA, cm, headline

QUESTION = "Should I trust this controller when the world shifts?"
KNOWN_LOOKS = (BASE, "integral", "auto", ORACLE)
OTHER_LOOKS = 8
HEAT_FULL = 3.0
"""Doublings or halvings of the frozen error at which a cell of the heat map has its full colour."""


def write_report(
    episodes: Iterable[Episode], folder: str | Path, title: str, command: str, videos: Sequence[str | Path] = ()
) -> dict[str, Path]:
    """Write ``report.html``, ``.md``, ``.csv``, ``.parquet`` and ``.json`` into ``folder``.

    A pure function of its arguments: the same episodes give the same bytes. How long the controllers took, the one
    thing that differs when the same is flown again, stands in the page's section ``timing`` and in the JSON under
    ``timing``, and nowhere else; no file holds a date.

    Args:
        episodes: every controller of a scenario flown on the same seeds, the frozen policy among them; seeds of reports.
            What only drawing needs (`Episode.load`, ``drawn=False``) may be left out.
        folder: made if needed.
        title: heading of the page.
        command: what reproduces it, shown as it is.
        videos: films to link, relative to ``folder``; a strip of stills of each becomes part of the page.

    Returns:
        The files by kind: ``html``, ``md``, ``csv``, ``parquet``, ``json``.

    Raises:
        ValueError: the episodes cannot be compared, see `summary.cells`, a seed is not one of reports, or a film cannot be
            read.
    """
    folder = Path(folder)
    grouped = cells(episodes)
    check_report_seeds(episode.meta["seed"] for group in grouped.values() for episode in group)
    flights = score(grouped)
    rows = summarize_flights(flights)
    facts, timing = _facts(grouped, rows), _timing(grouped)
    films = [_film(Path(video), folder) for video in videos]
    content = {
        "html": _html(grouped, flights, rows, facts, timing, title, command, films).encode(),
        "md": markdown(rows, facts, title, command).encode(),
        "csv": csv_text(rows).encode(),
        "parquet": parquet(flights),
        "json": json_text({"title": title, "command": command, **facts, "rows": rows, "timing": timing}).encode(),
    }
    paths = {kind: folder / f"report.{kind}" for kind in content}
    for kind, path in paths.items():
        write_atomically(path, content[kind])
    return paths


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
        "scenarios": {scenario: _flown(group[0]) for (scenario, name), group in grouped.items() if name == BASE},
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


def _flown(episode: Episode) -> dict[str, Any]:
    """What makes the scenario, less the time of the onset, which a schedule may draw for each seed."""
    shifts = [{name: value for name, value in shift.items() if name != "onset_s"} for shift in episode.meta["shifts"]]
    return {"env_id": episode.meta["env_id"], "env_kwargs": episode.meta.get("env_kwargs", {}), "shifts": shifts}


def _timing(grouped: Cells) -> list[dict[str, Any]]:
    """Time for one control step of every cell, µs."""
    found = []
    for (scenario, controller), group in grouped.items():
        p50, p99 = (1e6 * seconds for seconds in metrics.step_time_percentiles(group))
        found.append({"scenario": scenario, "controller": controller, "step_p50_us": p50, "step_p99_us": p99})
    return found


def _html(
    grouped: Cells,
    flights: Flights,
    rows: list[dict[str, Any]],
    facts: dict[str, Any],
    timing: list[dict[str, Any]],
    title: str,
    command: str,
    films: list[dict[str, Any]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cm"] = cm
    table = [{**row, "text": row_texts(row)} for row in rows]
    controllers = list(dict.fromkeys(row["controller"] for row in rows))
    return environment.get_template("report.html.j2").render(
        title=title,
        question=QUESTION,
        command=command,
        facts=facts,
        rows=rows,
        scenarios=[list(group) for _, group in groupby(table, key=itemgetter("scenario"))],
        columns=COLUMNS,
        ranked=RANKED,
        ranking=ranking(rows),
        controllers=controllers,
        compared=[name for name in controllers if name != BASE],
        looks=_looks(controllers),
        heat=_heat(rows),
        alpha=ALPHA,
        few=FEW_TRAINING_SEEDS,
        figures=further_figures(rows),
        not_a_bound=NOT_A_BOUND,
        over_time=charts.error_over_time(grouped),
        recovery=charts.recovery_curves(flights),
        paired=charts.paired_differences(flights),
        profile=charts.error_profile(flights),
        charts=charts,
        metrics=metrics,
        resamples=RESAMPLES,
        timing={name: [line for line in timing if line["controller"] == name] for name in controllers},
        films=films,
    )


def _looks(controllers: Sequence[str]) -> dict[str, str]:
    """The style class that gives each controller its colour and line; those that every report knows always keep theirs."""
    others = [controller for controller in controllers if controller not in KNOWN_LOOKS]
    return {name: f"k-{name}" for name in KNOWN_LOOKS} | {
        name: f"k-{index % OTHER_LOOKS + 1}" for index, name in enumerate(others)
    }


def _heat(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """By scenario and controller, what a cell of the heat map says of the error as a multiple of the frozen one."""
    frozen = {row["scenario"]: row["rmse_cm"] for row in rows if row["controller"] == BASE}
    found = {}
    for row in rows:
        if row["controller"] != BASE:
            ratio = row["rmse_cm"] / frozen[row["scenario"]]
            sure = row["p_holm"] < ALPHA
            multiple = f"÷ {_two_digits(1 / ratio)}" if ratio < 1 else f"× {_two_digits(ratio)}"
            found[row["scenario"], row["controller"]] = {
                "text": multiple if sure else f"({multiple})",
                "better": ratio < 1,
                "strength": min(abs(math.log2(ratio)) / HEAT_FULL, 1.0),
            }
    return found


def _two_digits(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _film(video: Path, folder: Path) -> dict[str, Any]:
    """Where the film lies as seen from the page, its caption, and stills of it as data addresses."""
    from ..film.stills import stills

    link = quote(Path(os.path.relpath(video, folder)).as_posix())
    pictures = ["data:image/jpeg;base64," + base64.b64encode(still).decode() for still in stills(video)]
    return {"link": link, "stills": pictures, "caption": video.stem.replace("_", " ").replace("-", " ")}
