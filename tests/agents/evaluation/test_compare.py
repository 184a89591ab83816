"""Two reports are compared seed by seed; what is no more than noise does not count, and what cannot be told is said."""

import json

import numpy as np
import pytest

from undrift.agents import write_report
from undrift.agents.evaluation.compare import compare, headline

SEEDS = range(10_000, 10_020)
SCENARIOS = ("no shift", "wind 8 m/s")
CONTROLLERS = ("frozen", "observer")


@pytest.fixture(scope="module")
def before(make_flight, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "before"
    flown = [make_flight(s, c, seed, k) for s in SCENARIOS for c in CONTROLLERS for k in (0, 1) for seed in SEEDS]
    write_report(flown, folder, "before", "")
    return folder


@pytest.fixture
def after(before, tmp_path):
    """Writes the report once more, with the rows, or the whole, changed."""

    def write(change_row=lambda row: None, change=lambda report: None):
        report = json.loads((before / "report.json").read_text())
        for row in report["rows"]:
            change_row(row)
        change(report)
        (tmp_path / "report.json").write_text(json.dumps(report))
        return tmp_path / "report.json"

    return write


def observer_in_wind(row):
    return (row["scenario"], row["controller"]) == ("wind 8 m/s", "observer")


def changed(noise, bias):
    """Changes every error of one row by noise and a bias, cm."""

    def change(row):
        if observer_in_wind(row):
            rng = np.random.default_rng(0)
            for training_seed, errors in row["errors_cm"].items():
                row["errors_cm"][training_seed] = (np.array(errors) + rng.normal(bias, noise, len(errors))).tolist()

    return change


def test_a_report_is_as_good_as_itself(before):
    found = compare(before, before / "report.json")
    assert (found.exit_code, found.problems, found.added) == (0, [], [])
    assert [row["change"] for row in found.rows] == ["none"] * 4
    assert headline(found).endswith("0 changed no more than noise and 4 not at all.")


def test_noise_is_no_change_for_the_worse(before, after):
    found = compare(before, after(changed(noise=0.5, bias=0.0)))
    assert found.exit_code == 0
    (row,) = found.changed("no more than noise")
    assert row["low_cm"] < 0 < row["high_cm"] and row["flights"] == 40 and row["seeds"] == 20


def test_a_row_that_is_worse_beyond_noise_fails(before, after):
    found = compare(before, after(changed(noise=0.5, bias=1.0)))
    assert found.exit_code == 1
    (row,) = found.changed("worse")
    assert observer_in_wind(row) and row["difference_cm"] == pytest.approx(1.0, abs=0.3) and 0 < row["low_cm"]
    assert row["after_cm"] - row["before_cm"] == pytest.approx(row["difference_cm"])
    better = compare(after(changed(noise=0.5, bias=1.0)), before)
    assert better.exit_code == 0 and len(better.changed("better")) == 1


def test_crashes_are_counted_by_pair(before, after):
    def crash(row):
        if observer_in_wind(row):
            row["crashed"]["0"][:3] = [True] * 3

    (row,) = compare(before, after(crash)).changed("no more than noise")
    assert [row[f"crashes_{which}"] for which in ("before", "after", "added", "removed")] == [0, 3, 3, 0]


def test_only_the_seeds_that_both_flew_are_compared(before, after):
    def fewer(row):
        row["seeds"] = row["seeds"][5:]
        row["errors_cm"] = {"1": row["errors_cm"]["1"][5:]}
        row["crashed"] = {"1": row["crashed"]["1"][5:]}

    found = compare(before, after(fewer))
    assert found.exit_code == 0 and [row["flights"] for row in found.rows] == [15] * 4
    assert [row["change"] for row in found.rows] == ["none"] * 4


def unflown(report):
    report["rows"] = [row for row in report["rows"] if not observer_in_wind(row)]


def other_shift(report):
    report["scenarios"]["wind 8 m/s"]["shifts"][0]["kind"] = "gusts"


def later(report):
    report["scored_from_s"] += 1.0


def other_seeds(report):
    for row in report["rows"]:
        row["seeds"] = [seed + 20 for seed in row["seeds"]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unflown, "wind 8 m/s, observer: the second report did not fly it"),
        (other_shift, "wind 8 m/s, frozen: the scenario of that name is another one"),
        (later, "no shift, frozen: scored from 5 s in the first report, from 6 s in the second"),
        (other_seeds, "no shift, frozen: no policy of the same training seed flew the same seed in both"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_compared_is_said_and_is_no_success(before, after, change, reason):
    found = compare(before, after(change=change))
    assert found.exit_code == 2 and found.problems[0].startswith(reason)


def test_too_few_seeds_to_tell_anything_are_no_success(before, after):
    def few(row):
        changed(noise=0.5, bias=5.0)(row)
        row["seeds"] = row["seeds"][:5]

    found = compare(before, after(few))
    assert found.exit_code == 2
    assert found.problems == ["5 seeds cannot tell a difference in one of 4 rows from noise: fly 8 or more"]


def test_rows_of_the_second_report_alone_are_named(before, after):
    found = compare(after(change=unflown), before)
    assert found.exit_code == 0 and found.added == [("wind 8 m/s", "observer")]


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no report at"):
        compare(tmp_path, tmp_path)
    (tmp_path / "report.json").write_text('{"rows": [{"scenario": "wind"}]}')
    with pytest.raises(ValueError, match="it has no 'seeds'"):
        compare(tmp_path, tmp_path)
