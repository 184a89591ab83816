"""The report answers first, stands alone in one file, and says the same in every format."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from undrift.agents.episode import Episode
from undrift.agents.evaluation.report import headline, print_table, summarize, write_report

Make = Callable[..., Episode]
VOID = {"meta", "link", "br", "path", "rect", "circle"}


class Page(html.parser.HTMLParser):
    """Collects tags and addresses, and fails on a tag that is closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def flown(make_flight: Make) -> list[Episode]:
    return [
        make_flight(scenario, adapter, 10_000 + seed, training_seed, crash_share=0.2 * (scenario == "wind 8 m/s"))
        for scenario in ("no shift", "payload +60 %", "wind 8 m/s")
        for adapter in ("frozen", "integral", "observer")
        for training_seed in (0, 1)
        for seed in range(8)
    ]


@pytest.fixture(scope="module")
def paths(flown: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_report(flown, tmp_path_factory.mktemp("report"), "Two shifts", "undrift evaluate runs/reference")


def test_the_page_asks_nothing_of_the_network(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert Page(text).addresses == ["data:,"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", text)


def test_the_page_is_well_formed_and_every_coordinate_is_a_number(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("svg") == 9 + 3 + 3 + 1
    assert not re.search(r'="[^"]*\b(nan|inf|None)\b', text)


def test_the_answer_stands_before_the_table_and_the_charts(flown: list[Episode], paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert text.index(headline(summarize(flown))) < text.index("<table") < text.index('role="img"')


def test_the_page_shows_both_colour_schemes_and_fits_a_phone(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text and "max-width: 760px" in text and "width=device-width" in text


def test_every_column_command_and_version_is_on_the_page(paths: dict[str, Path]) -> None:
    text = Page(paths["html"].read_text(encoding="utf-8")).text
    for expected in (
        "undrift evaluate runs/reference",
        "3.17.0",
        "a test machine, 2 cores",
        "10003",
        "ab12ab12",
        "Hierarchical bootstrap",
    ):
        assert expected in text


def test_the_same_episodes_give_the_same_bytes(flown: list[Episode], paths: dict[str, Path], tmp_path: Path) -> None:
    backwards = sorted(flown, key=lambda episode: -episode.meta["seed"])
    again = write_report(backwards, tmp_path, "Two shifts", "undrift evaluate runs/reference")
    assert {kind: path.read_bytes() for kind, path in again.items()} == {
        kind: path.read_bytes() for kind, path in paths.items()
    }


def test_csv_and_json_hold_the_rows_of_the_summary(flown: list[Episode], paths: dict[str, Path]) -> None:
    rows = summarize(flown)
    stored = json.loads(paths["json"].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    table = list(csv.DictReader(io.StringIO(paths["csv"].read_text())))
    assert [row["rmse_cm"] for row in stored["rows"]] == [row["rmse_cm"] for row in rows]
    assert [float(row["rmse_cm"]) for row in table] == [row["rmse_cm"] for row in rows]
    assert stored["headline"] == headline(rows) and stored["versions"]["mujoco"] == "3.17.0"
    unshifted = [row for row in stored["rows"] if not row["shifted"]]
    assert unshifted and all(row["recovery_s"] is None for row in unshifted)


def test_markdown_holds_a_line_for_every_row(flown: list[Episode], paths: dict[str, Path]) -> None:
    lines = paths["md"].read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(summarize(flown))
    assert {line.count("|") for line in table} == {9}
    assert headline(summarize(flown)) in lines


def test_the_folded_table_has_the_figures_that_these_flights_have(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    columns = re.findall(r'<th class="n">([^<]*)</th>', text[text.index("Every scenario in more figures") :])
    for expected in (
        "Worst decile, cm",
        "Recovered [interval]",
        "Recovered, by policy",
        "p, Holm",
        "Made worse, %",
        "Guard",
    ):
        assert expected in columns
    assert not {"Second exposure", "Forgetting, cm", "Recovered, of its own base"} & set(columns)


def test_films_are_linked_relative_to_the_page_with_their_posters(flown: list[Episode], tmp_path: Path) -> None:
    folder, film = tmp_path / "out", tmp_path / "films" / "wind 8.mp4"
    film.parent.mkdir()
    film.write_bytes(b"film")
    film.with_suffix(".png").write_bytes(b"poster")
    page = Page(write_report(flown, folder, "t", "c", videos=[film])["html"].read_text(encoding="utf-8"))
    assert {"../films/wind%208.mp4", "../films/wind%208.png"} <= set(page.addresses)
    assert page.tags.count("video") == 1


def test_names_from_outside_cannot_break_the_page(make_episode: Make, tmp_path: Path) -> None:
    flown = [make_episode(np.full(500, 0.1), scenario="<b>x</b>", adapter=name) for name in ("frozen", "<script>")]
    page = Page(write_report(flown, tmp_path, "<script>alert(1)</script>", "a && b")["html"].read_text())
    assert "script" not in page.tags and "b" in page.tags and "<b>x</b>" in page.text and "a && b" in page.text


def test_eight_scenarios_stay_far_below_a_megabyte(make_flight: Make, tmp_path: Path) -> None:
    flown = [
        make_flight(f"shift {index}", adapter, 10_000 + seed)
        for index in range(8)
        for adapter in ("frozen", "integral", "observer")
        for seed in range(20)
    ]
    assert write_report(flown, tmp_path, "t", "c")["html"].stat().st_size < 400_000


def test_one_flight_frozen_alone_still_makes_a_report(make_flight: Make, tmp_path: Path) -> None:
    page = Page(
        write_report([make_flight("wind", "frozen", 10_001)], tmp_path, "t", "c")["html"].read_text(encoding="utf-8")
    )
    assert "nothing to compare it with" in page.text and "does it ever hurt" not in page.text


def test_a_report_that_cannot_be_made_writes_nothing(make_flight: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on the same seeds"):
        write_report([make_flight("wind", "observer", 1)], tmp_path / "out", "t", "c")
    assert not (tmp_path / "out").exists()


def test_a_report_of_a_tuning_seed_is_refused_and_writes_nothing(make_flight: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="episode seed 1000: .* reports those from 10000 on"):
        write_report([make_flight("wind", "frozen", 1000)], tmp_path / "out", "t", "c")
    assert not (tmp_path / "out").exists()


def flights(make: Make, adapter: str, error: float, crashed: int = 0, onset_s: float | None = 5.0) -> list[Episode]:
    return [
        make(np.full(300 if seed < crashed else 500, error), onset_s, seed < crashed, 500, adapter=adapter, seed=seed)
        for seed in range(6)
    ]


def test_the_headline_says_yes_when_every_shift_gains_and_nothing_is_lost(make_episode: Make) -> None:
    flown = flights(make_episode, "frozen", 0.2) + flights(make_episode, "observer", 0.05)
    assert headline(summarize(flown)) == (
        "Yes: observer cuts the error after the shift in the one shifted scenario, 4.0-fold on average; "
        "it adds no crash and makes none of 6 flights worse than frozen."
    )


def test_the_headline_says_no_and_names_the_harm_when_adapting_hurts(make_episode: Make) -> None:
    flown = flights(make_episode, "frozen", 0.1) + flights(make_episode, "observer", 0.2, crashed=2)
    assert headline(summarize(flown)) == (
        "No: observer cuts the error after the shift in no shifted scenario with confidence; "
        "it crashes 2 flights that frozen survives, makes 6 of 6 flights worse than frozen "
        "and raises the mean error in wind."
    )


def test_the_headline_says_in_part_when_some_shifts_stay_as_they_were(make_flight: Make) -> None:
    flown = [make_flight("wind 8 m/s", adapter, seed) for adapter in ("frozen", "observer") for seed in range(8)]
    flown += [make_flight("noise", "frozen", seed) for seed in range(8)]
    unmoved = [make_flight("noise", "frozen", seed) for seed in range(8)]
    for episode in unmoved:
        episode.meta["adapter"] = "observer"
    answer = headline(summarize(flown + unmoved))
    assert answer.startswith("In part: observer cuts the error after the shift in 1 of 2 shifted scenarios")
    assert answer.endswith("it adds no crash and makes none of 16 flights worse than frozen.")


def test_the_headline_leaves_open_what_too_few_flights_cannot_tell(make_flight: Make) -> None:
    flown = [make_flight("wind 8 m/s", adapter, seed) for adapter in ("frozen", "observer") for seed in range(3)]
    assert headline(summarize(flown)).startswith(
        "Undecided: observer cuts the error after the shift in no shifted scenario"
    )


def test_the_headline_speaks_of_cost_when_nothing_shifts(make_episode: Make) -> None:
    flown = flights(make_episode, "frozen", 0.02, 0, None) + flights(make_episode, "observer", 0.035, 0, None)
    assert headline(summarize(flown)) == "No shift was flown; without one, observer costs +1.5 cm."


def test_the_printed_table_fits_a_terminal_of_eighty_columns(flown: list[Episode]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_table(summarize(flown), console)
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert text.split()[:2] == ["Yes:", "observer"] and "wind 8 m/s" in text
