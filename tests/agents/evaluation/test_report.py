"""The report answers first, stands alone in one file, and says the same in every format."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from undrift.agents.episode import Episode
from undrift.agents.evaluation.report import write_report
from undrift.agents.evaluation.summary import cells, score, summarize
from undrift.agents.evaluation.verdict import headline
from undrift.agents.film.encode import encoder

Make = Callable[..., Episode]
VOID = {"meta", "link", "br", "path", "rect", "circle", "img"}


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
def paths(flown: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_report(flown, tmp_path_factory.mktemp("report"), "Two shifts", "undrift evaluate runs/reference")


def test_the_page_asks_nothing_of_the_network(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert [address for address in Page(text).addresses if not address.startswith("#")] == ["data:,"]
    assert re.findall(r'<link rel="(\w+)"', text) == ["icon"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", text)


def test_the_page_is_well_formed_and_every_coordinate_is_a_number(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("svg") == 3 + (1 + 2) + 3 + 1
    assert not re.search(r'="[^"]*\b(nan|inf|None)\b', text)


def test_every_link_inside_the_page_leads_somewhere(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    targets = {address[1:] for address in Page(text).addresses if address.startswith("#")}
    assert {"ranking", "map", "time", "recovery", "harm", "every", "method", "scenario-3"} <= targets
    assert targets <= set(re.findall(r' id="([^"]+)"', text))


def test_a_reader_who_cannot_see_the_charts_is_told_what_they_show(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    said = re.findall(r'role="img" aria-label="([^"]*)"', text)
    assert len(said) == text.count('role="img"') and len(set(said)) == len(said)
    assert any(
        re.fullmatch(r"Flights recovered 6 s after the shift, wind 8 m/s: frozen 0 %; .*", each) for each in said
    )
    assert not re.search(r"<th(?! scope=)[ >]", text)


def test_the_answer_stands_before_the_table_and_the_charts(flown: list[Episode], paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert text.index(headline(summarize(flown))) < text.index("<table") < text.index('role="img"')


def test_the_page_shows_both_colour_schemes_and_fits_a_phone(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    assert (
        "prefers-color-scheme: dark" in text
        and "max-width: 760px" in text
        and "@media print" in text
        and "width=device-width" in text
    )


def test_every_column_command_and_version_is_on_the_page(paths: dict[str, Path]) -> None:
    text = Page(paths["html"].read_text(encoding="utf-8")).text
    for expected in (
        "undrift evaluate runs/reference",
        "3.17.0",
        "a test machine, 2 cores",
        "10003",
        "ab12ab12",
        "Hierarchical bootstrap",
        "Should I trust this controller when the world shifts?",
    ):
        assert expected in text


def test_the_same_episodes_give_the_same_bytes(flown: list[Episode], paths: dict[str, Path], tmp_path: Path) -> None:
    backwards = sorted(flown, key=lambda episode: -episode.meta["seed"])
    again = write_report(backwards, tmp_path, "Two shifts", "undrift evaluate runs/reference")
    assert {kind: path.read_bytes() for kind, path in again.items()} == {
        kind: path.read_bytes() for kind, path in paths.items()
    }


def test_how_long_the_controllers_took_stands_in_one_place_alone(
    flown: list[Episode], paths: dict[str, Path], tmp_path: Path
) -> None:
    slower = [replace(episode, step_time=3 * episode.step_time) for episode in flown]
    again = write_report(slower, tmp_path, "Two shifts", "undrift evaluate runs/reference")
    differ = {kind for kind, path in again.items() if path.read_bytes() != paths[kind].read_bytes()}
    assert differ == {"html", "json"}

    def timeless(found: dict[str, Path]) -> tuple[str, dict]:
        page = re.sub(r'<section id="timing">.*?</section>', "", found["html"].read_text(), flags=re.DOTALL)
        return page, json.loads(found["json"].read_text()) | {"timing": None}

    assert timeless(again) == timeless(paths)
    assert json.loads(again["json"].read_text())["timing"][0]["step_p50_us"] == pytest.approx(60.0)


def test_episodes_without_what_only_drawing_needs_give_the_same_bytes(
    flown: list[Episode], paths: dict[str, Path], tmp_path: Path
) -> None:
    names = ("observation", "policy_action", "qpos", "qvel", "motor_effectiveness", "estimate", "view")
    light = [replace(episode, **{name: np.zeros((episode.steps, 0)) for name in names}) for episode in flown]
    again = write_report(light, tmp_path, "Two shifts", "undrift evaluate runs/reference")
    assert all(path.read_bytes() == paths[kind].read_bytes() for kind, path in again.items())


def test_csv_and_json_hold_the_rows_of_the_summary(flown: list[Episode], paths: dict[str, Path]) -> None:
    rows = summarize(flown)
    stored = json.loads(paths["json"].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    table = list(csv.DictReader(io.StringIO(paths["csv"].read_text())))
    assert [row["rmse_cm"] for row in stored["rows"]] == [row["rmse_cm"] for row in rows]
    assert [float(row["rmse_cm"]) for row in table] == [row["rmse_cm"] for row in rows]
    assert stored["headline"] == headline(rows) and stored["versions"]["mujoco"] == "3.17.0"
    unshifted = [row for row in stored["rows"] if not row["shifted"]]
    assert unshifted and all(row["recovery_s"] is None for row in unshifted)


def test_json_holds_every_flight_of_a_row_and_what_was_flown(flown: list[Episode], paths: dict[str, Path]) -> None:
    stored = json.loads(paths["json"].read_text())
    row = next(row for row in stored["rows"] if (row["label"], row["controller"]) == ("wind 8 m/s", "frozen"))
    assert row["seeds"] == list(range(10_000, 10_008)) and set(row["errors_cm"]) == {"0", "1"}
    assert np.mean(list(row["errors_cm"].values())) == pytest.approx(row["rmse_cm"])
    assert sum(map(sum, row["crashed"].values())) == row["crashes"] > 0
    scenario = stored["scenarios"]["wind 8 m/s"]
    assert scenario == {
        "env_id": "undrift/DroneTrack-v0",
        "env_kwargs": {},
        "shifts": [{"name": "wind 8 m/s", "kind": "wind"}],
    }


def test_parquet_holds_a_line_for_every_flight(flown: list[Episode], paths: dict[str, Path]) -> None:
    lines = pyarrow.parquet.read_table(paths["parquet"]).to_pylist()
    scored = [flight for group in score(cells(flown)).values() for flight in group]
    assert len(lines) == len(flown)
    for name in ("scenario", "controller", "base", "training_seed", "seed", "rmse_cm", "crashed", "harmed"):
        assert [line[name] for line in lines] == [flight[name] for flight in scored]


def test_markdown_holds_a_line_for_every_row(flown: list[Episode], paths: dict[str, Path]) -> None:
    lines = paths["md"].read_text(encoding="utf-8").splitlines()
    start = lines.index("| Rank | Controller " + lines[4].partition("| Rank | Controller ")[2])
    ranking, table = (
        [line for line in lines[a:b] if line.startswith("|")] for a, b in ((start, start + 6), (start + 6, None))
    )
    assert len(ranking) == 2 + 3 and len(table) == 2 + len(summarize(flown))
    assert {line.count("|") for line in table} == {9}
    assert headline(summarize(flown)) in lines


def test_the_folded_table_has_the_figures_that_these_flights_have(paths: dict[str, Path]) -> None:
    text = paths["html"].read_text(encoding="utf-8")
    columns = re.findall(
        r'<th scope="col" class="n">([^<]*)</th>', text[text.index("Every scenario in more figures") :]
    )
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


def test_films_are_linked_relative_to_the_page_which_holds_stills_of_them(flown: list[Episode], tmp_path: Path) -> None:
    folder, film = tmp_path / "out", tmp_path / "films" / "wind 8.mp4"
    with encoder(film, (96, 64), 10.0) as add:
        for grey in range(0, 200, 20):
            add(np.full((64, 96, 3), grey, np.uint8))
    page = Page(write_report(flown, folder, "t", "c", videos=[film])["html"].read_text(encoding="utf-8"))
    assert page.addresses.count("../films/wind%208.mp4") == 2
    assert sum(address.startswith("data:image/jpeg;base64,") for address in page.addresses) == 4


def test_a_film_that_cannot_be_read_is_named_and_nothing_is_written(flown: list[Episode], tmp_path: Path) -> None:
    film = tmp_path / "wind.mp4"
    film.write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"wind\.mp4 is not a film"):
        write_report(flown, tmp_path / "out", "t", "c", videos=[film])
    assert not (tmp_path / "out").exists()


def test_names_from_outside_cannot_break_the_page(make_episode: Make, tmp_path: Path) -> None:
    flown = [make_episode(np.full(500, 0.1), scenario="<b>x</b>", adapter=name) for name in ("frozen", "<script>")]
    page = Page(write_report(flown, tmp_path, "<script>alert(1)</script>", "a && b")["html"].read_text())
    assert "script" not in page.tags and "b" in page.tags and "<b>x</b>" in page.text and "a && b" in page.text


def test_a_suite_stays_far_below_a_megabyte(make_flight: Make, tmp_path: Path) -> None:
    flown = [
        make_flight(f"shift {index}", adapter, 10_000 + seed, training_seed)
        for index in range(16)
        for adapter in ("frozen", "integral", "observer", "auto")
        for training_seed in (0, 1)
        for seed in range(3)
    ]
    assert write_report(flown, tmp_path, "t", "c")["html"].stat().st_size < 600_000


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
