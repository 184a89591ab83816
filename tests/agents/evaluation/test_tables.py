"""The rows as people and programs read them."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from undrift.agents.episode import Episode
from undrift.agents.evaluation.summary import summarize
from undrift.agents.evaluation.tables import RANKED, print_table, ranking

Make = Callable[..., Episode]


def test_the_printed_table_fits_a_terminal_of_eighty_columns(flown: list[Episode]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_table(summarize(flown), console)
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert text.split()[:2] == ["Yes:", "observer"] and "wind 8 m/s" in text


def test_the_ranking_puts_frozen_above_what_is_worse_and_the_incomplete_last(make_steady: Make) -> None:
    errors = {"frozen": 0.2, "observer": 0.05, "integral": 0.4}
    flown = [
        episode
        for scenario in ("a", "b")
        for adapter, error in errors.items()
        for episode in make_steady(adapter, [error] * 8, scenario=scenario)
    ]
    flown += make_steady("frozen", [0.01] * 8, scenario="a", policy="oracle")
    lines = ranking(summarize(flown))
    assert [(line["Rank"], line["Controller"]) for line in lines] == [
        ("1", "observer"),
        ("2", "frozen"),
        ("3", "integral"),
        ("–", "oracle"),
    ]
    assert [line["Frozen error ÷"].split()[0] for line in lines] == ["4.00", "1", "0.50", "20.00"]
    assert [line["Made worse"] for line in lines] == ["0 of 16", "", "16 of 16", ""]
    assert [line["Worse in"] for line in lines] == ["0 of 2", "", "2 of 2", "0 of 1"]
    assert all(tuple(line) == RANKED for line in lines)
