from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    """What the smallest budget writes, by part."""
    file = tmp_path_factory.mktemp("benchmark") / "sequences.json"
    command = [sys.executable, ROOT / "benchmarks" / "sequences.py", "--quick", "--json", file]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    parts: dict[str, list[dict[str, float]]] = {}
    for row in json.loads(file.read_text())["rows"]:
        parts.setdefault(row["name"].split("/")[0], []).append(row)
    return parts


def test_every_part_reports_figures_that_are_numbers(rows) -> None:
    assert set(rows) == {"digits", "forecast", "stress", "labels", "neurons", "rates"}
    figures = [value for part in rows.values() for row in part for name, value in row.items() if name != "name"]
    assert all(math.isfinite(value) for value in figures)


def test_the_article_by_its_own_program_and_by_our_cell_are_one_recipe(rows) -> None:
    """At another seed of the weights, so within the spread that a small reservoir has over seeds."""
    accuracy = {row["name"]: row.get("accuracy") for row in rows["digits"]}
    assert accuracy["digits/article"] == pytest.approx(accuracy["digits/article, by our cell"], abs=10)
    assert accuracy["digits/ours"] > 90 and accuracy["digits/article"] < 60


def test_every_cell_is_forecasting_with_every_clock_it_has(rows) -> None:
    names = {row["name"] for row in rows["forecast"]} - {"forecast/persistence"}
    assert len(names) == 4 * 3 + 2 * 2
    assert {name.replace("forecast", "stress") for name in names} == {row["name"] for row in rows["stress"]}
