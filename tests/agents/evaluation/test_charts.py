"""The charts put values where their axes say."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from undrift.agents.episode import Episode
from undrift.agents.evaluation.charts import (
    BIN_S,
    PAIR_FRAME,
    TIME_FRAME,
    Axis,
    error_over_time,
    error_profile,
    interval_strips,
    log_range,
    paired_flights,
)
from undrift.agents.evaluation.summary import cells, summarize

Make = Callable[..., Episode]


def points(path: str) -> np.ndarray:
    return np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), dtype=float)


def value_at(pixel: float, ticks: list[dict]) -> float:
    """Reads a logarithmic axis the way a person does, from its ticks."""
    at, values = [tick["at"] for tick in ticks], [np.log(float(tick["label"])) for tick in ticks]
    slope = (values[-1] - values[0]) / (at[-1] - at[0])
    return float(np.exp(values[0] + slope * (pixel - at[0])))


def test_a_logarithmic_axis_spaces_equal_ratios_equally_and_clips_outside() -> None:
    axis = Axis(0.1, 1000.0, 0.0, 400.0)
    assert axis([0.1, 1.0, 10.0, 100.0, 1000.0]).tolist() == pytest.approx([0, 100, 200, 300, 400])
    assert axis(1e-9) == 0.0 and axis(1e9) == pytest.approx(400.0)


@pytest.mark.parametrize(("low", "high"), [(0.9, 4.0), (0.5, 300.0), (1.3, 21.0), (0.05, 260.0)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    values = [float(tick["label"]) for tick in Axis(low, high, 0.0, 1.0).ticks()]
    assert 2 <= len(values) <= 7 and values == sorted(values)
    assert all(low <= value <= high and f"{value:e}"[0] in "1235" for value in values)


def test_the_range_holds_every_value_and_is_never_too_narrow() -> None:
    low, high = log_range([2.0, 2.0])
    assert low < 2.0 < high and high / low >= 4
    assert log_range([0.0, np.nan, 50.0])[0] > 0


def test_curves_show_the_median_and_the_middle_half_around_the_shift(make_episode: Make) -> None:
    def flight(after: float, seed: int) -> Episode:
        return make_episode(np.append(np.full(250, 0.02), np.full(250, after)), seed=seed)

    (chart,) = error_over_time(cells([flight(0.1 * (seed + 1), seed) for seed in range(5)]))
    line, band = points(chart["series"][0]["line"]), points(chart["series"][0]["band"])
    after = line[:, 0] > chart["onset"]
    assert [value_at(y, chart["y_ticks"]) for y in line[after][:, 1]] == pytest.approx([30.0] * after.sum(), rel=0.01)
    assert [value_at(y, chart["y_ticks"]) for y in line[~after][:, 1]] == pytest.approx(
        [2.0] * (~after).sum(), rel=0.01
    )
    edges = {round(value_at(y, chart["y_ticks"])) for x, y in band if x > chart["onset"]}
    assert edges == {20, 40}
    assert len(line) == round((2.0 + 5.0) / BIN_S)


def test_all_panels_share_one_error_axis(make_flight: Make) -> None:
    flown = [make_flight(name, "frozen", seed) for name in ("no shift", "wind 8 m/s") for seed in range(3)]
    charts = error_over_time(cells(flown))
    assert charts[0]["y_ticks"] == charts[1]["y_ticks"] and charts[0]["x_ticks"] == charts[1]["x_ticks"]
    assert [chart["shifted"] for chart in charts] == [False, True]


def test_episodes_with_different_onsets_are_aligned_at_the_shift(make_episode: Make) -> None:
    early = make_episode(np.append(np.full(150, 0.02), np.full(350, 0.5)), onset_s=3.0, seed=1)
    late = make_episode(np.append(np.full(350, 0.02), np.full(150, 0.5)), onset_s=7.0, seed=2)
    (chart,) = error_over_time(cells([early, late]))
    line = points(chart["series"][0]["line"])
    values = [value_at(y, chart["y_ticks"]) for y in line[:, 1]]
    assert values == pytest.approx([50.0 if x > chart["onset"] else 2.0 for x in line[:, 0]], rel=0.01)


def test_a_shift_at_the_last_step_still_draws(make_episode: Make) -> None:
    (chart,) = error_over_time(cells([make_episode(np.full(500, 0.02), onset_s=9.98)]))
    assert np.isfinite(points(chart["series"][0]["line"])).all()


def test_a_flight_sits_at_its_two_errors_and_harm_is_marked(make_episode: Make) -> None:
    def flights(adapter: str, errors: list[float]) -> list[Episode]:
        return [make_episode(np.full(500, e), adapter=adapter, seed=seed) for seed, e in enumerate(errors)]

    (chart,) = paired_flights(cells(flights("frozen", [0.1, 0.1]) + flights("observer", [0.02, 0.4])))
    found = [
        (value_at(p["x"], chart["x_ticks"]), value_at(p["y"], chart["y_ticks"]), p["harmed"]) for p in chart["points"]
    ]
    assert found == [
        (pytest.approx(10.0, rel=0.01), pytest.approx(2.0, rel=0.01), False),
        (pytest.approx(10.0, rel=0.01), pytest.approx(40.0, rel=0.01), True),
    ]
    assert chart["points"][1]["label"] == "training seed 0, seed 1: frozen 10.0 cm, observer 40.0 cm"


def test_marks_stay_inside_their_frames(make_flight: Make) -> None:
    flown = [
        make_flight(name, adapter, seed, crash_share=0.5)
        for name in ("no shift", "wind 8 m/s")
        for adapter in ("frozen", "observer")
        for seed in range(4)
    ]
    grouped = cells(flown)
    for frame, found in (
        (TIME_FRAME, [points(s["band"]) for chart in error_over_time(grouped) for s in chart["series"]]),
        (PAIR_FRAME, [np.array([[p["x"], p["y"]] for p in chart["points"]]) for chart in paired_flights(grouped)]),
    ):
        xy = np.concatenate(found)
        assert (xy >= [frame[0] - 0.1, frame[1] - 0.1]).all() and (xy <= [frame[2] + 0.1, frame[3] + 0.1]).all()


def test_the_profile_is_the_share_of_shifted_flights_at_or_below_each_error(make_episode: Make) -> None:
    def flights(scenario: str, adapter: str, errors: list[float], onset_s: float | None = 5.0) -> list[Episode]:
        return [
            make_episode(np.full(500, error), onset_s, scenario=scenario, adapter=adapter, seed=seed)
            for seed, error in enumerate(errors)
        ]

    flown = flights("a", "frozen", [0.1, 0.2]) + flights("b", "frozen", [0.4, 0.8])
    flown += flights("a", "observer", [0.05, 0.05]) + flights("no shift", "frozen", [3.0, 3.0], None)
    chart = error_profile(cells(flown))
    assert [series["controller"] for series in chart["series"]] == ["frozen"]  # observer did not fly "b"
    line = points(chart["series"][0]["line"])
    full, none = chart["y_ticks"][-1]["at"], chart["y_ticks"][0]["at"]
    shares = (line[:, 1] - none) / (full - none)
    errors = np.array([value_at(x, chart["x_ticks"]) for x in line[:, 0]])
    expected = [np.mean([e <= error for e in (10, 20, 40, 80)]) for error in errors]
    assert np.mean(np.abs(shares - expected) < 0.01) > 0.97


def test_strips_order_low_middle_high_and_collapse_without_an_interval(make_flight: Make) -> None:
    several = interval_strips(summarize([make_flight("wind", "frozen", seed) for seed in range(5)]))
    assert several[0]["low"] < several[0]["at"] < several[0]["high"]
    alone = interval_strips(summarize([make_flight("wind", "frozen", 0)]))
    assert alone[0]["low"] == alone[0]["at"] == alone[0]["high"]
