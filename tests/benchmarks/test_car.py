"""The page of the car's benchmark, from rows that were made by hand."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def car(load):
    return load("car")


def made(scenario, driver, off, live, worse=0, better=0):
    return {
        "name": f"{scenario} / {driver}",
        "shifts": "friction",
        "scenario": scenario,
        "driver": driver,
        "off_share": off,
        "live_mm": live,
        "way_share": 1.0 - off,
        "worse": worse,
        "better": better,
        "off_seed0": off,
        "off_seed1": 0.5 * off,
    }


ROWS = [made("ice", "car", 0.5, 20.0, worse=1), made("patches", "car", 0.1, 10.4, better=1)]


def test_a_group_is_the_mean_over_its_scenarios_and_counts_what_is_worse_and_better(car):
    found = car.group("friction", ROWS)
    assert (found["name"], found["scenario"], found["driver"]) == ("all friction / car", "all 2", "car")
    averaged = {"off_share": 0.3, "live_mm": 15.2, "way_share": 0.7, "off_seed0": 0.3, "off_seed1": 0.15}
    assert {key: found[key] for key in averaged} == pytest.approx(averaged)
    assert (found["worse"], found["better"]) == (1, 1)


def test_the_page_has_a_line_per_scenario_and_what_is_worse_in_bold_but_never_a_mean(car):
    frozen = [made("ice", "frozen", 0.25, 18.0), made("patches", "frozen", 0.0, 12.0)]
    rows = [*frozen, *ROWS, car.group("friction", frozen), car.group("friction", ROWS)]
    assert car.page(rows).splitlines() == [
        "## Less grip",
        "",
        "| scenario | frozen | car |",
        "|---|---|---|",
        "| ice | 25 %, 18 | **50 %, 20** |",
        "| patches | 0 %, 12 | 10 %, 10 |",
        "| all 2 | 12 %, 15 | 30 %, 15 |",
    ]
