"""The charts put values where their axes say."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from undrift.agents.episode import Episode
from undrift.agents.evaluation.charts import (
    BIN_S,
    FRAME,
    Axis,
    error_over_time,
    error_profile,
    linear,
    log_range,
    paired_differences,
    recovery_curves,
    signed_log,
)
from undrift.agents.evaluation.statistics import wilson
from undrift.agents.evaluation.summary import Flights, cells, score

Make = Callable[..., Episode]


def points(path: str) -> np.ndarray:
    return np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), dtype=float)


def value_at(pixel: float, axis: dict, scale: Callable = np.log, back: Callable = np.exp) -> float:
    """Reads an axis the way a person does, from its ticks; a logarithmic one unless told."""
    ticks = axis["ticks"]
    at, values = [tick["at"] for tick in ticks], [scale(float(tick["label"].replace("\u2212", "-"))) for tick in ticks]
    slope = (values[-1] - values[0]) / (at[-1] - at[0])
    return float(back(values[0] + slope * (pixel - at[0])))


def share_at(pixel: float, axis: dict) -> float:
    return value_at(pixel, axis, linear, linear) / 100


def scored(flown: list[Episode]) -> Flights:
    return score(cells(flown))


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


def test_the_axis_of_differences_is_even_near_zero_and_logarithmic_beyond() -> None:
    axis = Axis(-100.0, 100.0, 0.0, 200.0, signed_log)
    assert axis(0.0) == pytest.approx(100.0) and axis(5.0) + axis(-5.0) == pytest.approx(200.0)
    assert axis(0.02) - axis(0.01) == pytest.approx(axis(0.01) - axis(0.0), rel=0.02)
    assert axis(100.0) - axis(10.0) == pytest.approx(axis(10.0) - axis(1.0), rel=0.02)


def test_curves_show_the_median_and_its_interval_around_the_shift(make_episode: Make) -> None:
    def flight(after: float, seed: int) -> Episode:
        return make_episode(np.append(np.full(250, 0.02), np.full(250, after)), seed=seed)

    (chart,) = error_over_time(cells([flight(0.1 * (seed + 1), seed) for seed in range(9)]))
    line, band = points(chart["series"][0]["line"]), points(chart["series"][0]["band"])
    after = line[:, 0] > chart["onset"]
    assert [value_at(y, chart["y"]) for y in line[after][:, 1]] == pytest.approx([50.0] * after.sum(), rel=0.01)
    assert [value_at(y, chart["y"]) for y in line[~after][:, 1]] == pytest.approx([2.0] * (~after).sum(), rel=0.01)
    # Of nine values the second smallest and the second largest: 96.1 % of all medians lie between them.
    assert {round(value_at(y, chart["y"])) for x, y in band if x > chart["onset"]} == {20, 80}
    assert len(line) == round((2.0 + 5.0) / BIN_S)
    assert chart["text"] == "frozen 50.0 cm"


def test_too_few_seeds_have_a_curve_and_no_band(make_flight: Make) -> None:
    (chart,) = error_over_time(cells([make_flight("wind 8 m/s", "frozen", seed) for seed in range(5)]))
    assert chart["series"][0]["band"] == "" and len(points(chart["series"][0]["line"])) > 50


def test_one_bad_policy_of_three_does_not_move_the_median(make_episode: Make) -> None:
    errors = {0: 0.1, 1: 0.12, 2: 2.0}
    flown = [make_episode(np.full(500, e), training_seed=k, seed=seed) for k, e in errors.items() for seed in range(6)]
    (chart,) = error_over_time(cells(flown))
    assert chart["text"] == "frozen 12.0 cm"


def test_all_panels_share_one_error_axis(make_flight: Make) -> None:
    flown = [make_flight(name, "frozen", seed) for name in ("no shift", "wind 8 m/s") for seed in range(3)]
    charts = error_over_time(cells(flown))
    assert charts[0]["y"] == charts[1]["y"] and charts[0]["x"]["ticks"] == charts[1]["x"]["ticks"]
    assert [chart["shifted"] for chart in charts] == [False, True]


def test_episodes_with_different_onsets_are_aligned_at_the_shift(make_episode: Make) -> None:
    early = make_episode(np.append(np.full(150, 0.02), np.full(350, 0.5)), onset_s=3.0, seed=1)
    late = make_episode(np.append(np.full(350, 0.02), np.full(150, 0.5)), onset_s=7.0, seed=2)
    (chart,) = error_over_time(cells([early, late]))
    line = points(chart["series"][0]["line"])
    values = [value_at(y, chart["y"]) for y in line[:, 1]]
    assert values == pytest.approx([50.0 if x > chart["onset"] else 2.0 for x in line[:, 0]], rel=0.01)


def test_a_shift_at_the_last_step_still_draws(make_episode: Make) -> None:
    (chart,) = error_over_time(cells([make_episode(np.full(500, 0.02), onset_s=9.98)]))
    assert np.isfinite(points(chart["series"][0]["line"])).all()


def test_a_recovery_curve_is_the_share_of_flights_recovered_by_then(make_episode: Make) -> None:
    def flight(away_s: float, seed: int, scenario: str = "wind") -> Episode:
        error = np.full(500, 0.01)
        error[250 : 250 + round(away_s / 0.02)] = 0.3
        return make_episode(error, seed=seed, scenario=scenario)

    flights = scored([flight(away, seed) for seed, away in enumerate((0.0, 1.0, 2.0, 5.0))])
    times = [flight["recovery_s"] for flight in flights["wind", "frozen"]]
    assert times[0] == 0.0 and times[1] < times[2] < 3.0 and times[3] == np.inf
    (chart,) = recovery_curves(flights)
    line, band = (points(chart["series"][0][name]) for name in ("line", "band"))
    for index, (x, y) in enumerate(line):
        by_then = value_at(x, chart["x"], linear, linear)
        count = sum(time <= by_then + 1e-6 for time in times)
        assert share_at(y, chart["y"]) == pytest.approx(count / 4, abs=0.005)
        expected = wilson(count, 4)
        found = share_at(band[index][1], chart["y"]), share_at(band[-1 - index][1], chart["y"])
        assert found == pytest.approx((expected.low, expected.high), abs=0.005)
    assert chart["text"] == "frozen 75 %"


def test_the_first_recovery_panel_pools_the_shifts_that_a_controller_flew_all(make_flight: Make) -> None:
    flown = [make_flight(name, "frozen", seed) for name in ("no shift", "a", "b") for seed in range(3)]
    flown += [make_flight("a", "observer", seed) for seed in range(3)]
    panels = recovery_curves(scored(flown))
    assert [panel["label"] for panel in panels] == ["all 2 shifts", "a", "b"]
    assert [[series["controller"] for series in panel["series"]] for panel in panels] == [
        ["frozen"],
        ["frozen", "observer"],
        ["frozen"],
    ]


def test_differences_are_sorted_and_what_is_harmed_or_crashed_is_named(make_episode: Make) -> None:
    def flights(adapter: str, errors: list[float], crashed: int = -1) -> list[Episode]:
        lengths = [400 if seed == crashed else 500 for seed in range(len(errors))]
        return [
            make_episode(np.full(n, e), crashed=n < 500, planned=500, adapter=adapter, seed=seed)
            for seed, (n, e) in enumerate(zip(lengths, errors, strict=True))
        ]

    flights_by_cell = scored(flights("frozen", [0.1] * 4) + flights("observer", [0.4, 0.02, 0.105, 0.01], crashed=3))
    (chart,) = paired_differences(flights_by_cell)
    (series,) = chart["series"]
    xy = points(series["marks"])

    def difference(pixel: float) -> float:
        return value_at(pixel, chart["y"], signed_log, lambda value: 0.1 * np.sinh(value))

    crashed_cm = 100 * np.sqrt((150 * 0.01**2 + 100 * 2.5**2) / 250)
    assert [difference(y) for y in xy[:, 1]] == pytest.approx([-8.0, 0.5, 30.0, crashed_cm - 10], rel=0.05)
    assert [share_at(x, chart["x"]) for x in xy[:, 0]] == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8], abs=0.005)
    assert difference(chart["zero"]) == pytest.approx(0.0, abs=1e-3)
    assert [(mark["label"], mark["crashed"]) for mark in series["harmed"]] == [
        ("training seed 0, seed 0: frozen 10.0 cm, observer 40.0 cm", False),
        (f"training seed 0, seed 3: frozen 10.0 cm, observer {crashed_cm:.1f} cm (crashed)", True),
    ]
    assert chart["text"] == "observer 2 of 4 flights made worse"


def test_without_an_adapting_controller_there_are_no_differences(make_flight: Make) -> None:
    flown = [make_flight("wind 8 m/s", "frozen", seed) for seed in range(3)]
    assert paired_differences(scored(flown)) == []


def test_marks_stay_inside_the_frame(make_flight: Make) -> None:
    flown = [
        make_flight(name, adapter, seed, crash_share=0.5)
        for name in ("no shift", "wind 8 m/s")
        for adapter in ("frozen", "observer")
        for seed in range(6)
    ]
    grouped, flights = cells(flown), scored(flown)
    panels = [*error_over_time(grouped), *recovery_curves(flights)]
    paths = [series[name] for panel in panels for series in panel["series"] for name in ("band", "line")]
    paths += [series["marks"] for panel in paired_differences(flights) for series in panel["series"]]
    xy = np.concatenate([points(path) for path in paths])
    assert (xy >= [FRAME[0] - 0.1, FRAME[1] - 0.1]).all() and (xy <= [FRAME[2] + 0.1, FRAME[3] + 0.1]).all()


def test_the_profile_is_the_share_of_shifted_flights_at_or_below_each_error(make_episode: Make) -> None:
    def flights(scenario: str, adapter: str, errors: list[float], onset_s: float | None = 5.0) -> list[Episode]:
        return [
            make_episode(np.full(500, error), onset_s, scenario=scenario, adapter=adapter, seed=seed)
            for seed, error in enumerate(errors)
        ]

    flown = flights("a", "frozen", [0.1, 0.2]) + flights("b", "frozen", [0.4, 0.8])
    flown += flights("a", "observer", [0.05, 0.05]) + flights("no shift", "frozen", [3.0, 3.0], None)
    chart = error_profile(scored(flown))
    assert [series["controller"] for series in chart["series"]] == ["frozen"]  # observer did not fly "b"
    line = points(chart["series"][0]["line"])
    shares = np.array([share_at(y, chart["y"]) for y in line[:, 1]])
    errors = np.array([value_at(x, chart["x"]) for x in line[:, 0]])
    expected = [np.mean([e <= error for e in (10, 20, 40, 80)]) for error in errors]
    assert np.mean(np.abs(shares - expected) < 0.01) > 0.97
