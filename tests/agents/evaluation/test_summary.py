"""Rows and verdicts say what the flights say, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics
from undrift.agents.evaluation.summary import cells, comparison_onset, summarize, verdicts

Make = Callable[..., Episode]
STEPS = 500


def steady(make: Make, adapter: str, after: list[float], onset_s: float | None = 5.0, **meta: Any) -> list[Episode]:
    """Flights with an error of 1/64 m before the onset and a given one after it, on seeds that count up."""
    before = np.full(250, 1 / 64)
    return [
        make(np.append(before, np.full(250, error)), onset_s, adapter=adapter, seed=10_000 + index, **meta)
        for index, error in enumerate(after)
    ]


def row_of(rows: list[dict[str, Any]], scenario: str, adapter: str) -> dict[str, Any]:
    return next(row for row in rows if (row["scenario"], row["adapter"]) == (scenario, adapter))


def test_a_row_holds_the_closed_form_figures_of_its_flights(make_episode: Make) -> None:
    frozen = steady(make_episode, "frozen", [0.125, 0.25, 0.375, 0.5])
    adapted = steady(make_episode, "observer", [0.0625, 0.125, 0.1875, 0.5625])
    row = row_of(summarize(frozen + adapted), "wind", "observer")
    assert row["rmse_cm"] == pytest.approx(100 * np.mean([0.0625, 0.125, 0.1875, 0.5625]))
    assert row["rmse_median_cm"] == pytest.approx(15.625) and row["peak_median_cm"] == pytest.approx(15.625)
    assert row["pre_rmse_cm"] == pytest.approx(1.5625)
    assert row["difference_cm"] == pytest.approx(100 * np.mean([-0.0625, -0.125, -0.1875, 0.0625]))
    assert row["difference_low_cm"] < row["difference_cm"] < row["difference_high_cm"]
    assert (row["harmed"], row["crashes"], row["crashes_added"], row["recovered"]) == (1, 0, 0, 0)
    assert row["recovery_s"] == np.inf
    assert row["speed_peak_m_s"] == pytest.approx(2.0, rel=1e-3)
    assert row["step_p50_us"] == pytest.approx(20.0) and row["step_p99_us"] == pytest.approx(20.0)


def test_frozen_is_the_first_row_of_every_scenario_and_is_compared_with_nothing(make_flight: Make) -> None:
    flown = [make_flight(s, a, seed) for s in ("wind", "no shift") for a in ("observer", "frozen") for seed in (1, 2)]
    rows = summarize(flown)
    assert [(row["scenario"], row["adapter"]) for row in rows] == [
        ("wind", "frozen"),
        ("wind", "observer"),
        ("no shift", "frozen"),
        ("no shift", "observer"),
    ]
    assert rows[0]["difference_cm"] is None and rows[0]["harmed"] is None


def test_crashes_are_counted_scored_and_paired(make_episode: Make) -> None:
    def flights(adapter: str, crashing: set[int]) -> list[Episode]:
        lengths = [300 if index in crashing else STEPS for index in range(4)]
        return [
            make_episode(np.full(n, 1 / 64), crashed=n < STEPS, planned=STEPS, adapter=adapter, seed=10_000 + index)
            for index, n in enumerate(lengths)
        ]

    rows = summarize(flights("frozen", {0, 1}) + flights("observer", {1, 2}))
    frozen, observer = row_of(rows, "wind", "frozen"), row_of(rows, "wind", "observer")
    assert (frozen["crashes"], observer["crashes"]) == (2, 2)
    assert (observer["crashes_added"], observer["crashes_removed"], observer["harmed"]) == (1, 1, 1)
    crashed = np.sqrt((50 / 64**2 + 200 * metrics.CRASH_ERROR**2) / 250)
    assert frozen["rmse_cm"] == pytest.approx(100 * (2 * crashed + 2 / 64) / 4)
    assert frozen["crash_low"] < 0.5 < frozen["crash_high"]


def test_training_seeds_count_alike_and_are_shown_each(make_episode: Make) -> None:
    flown = [
        episode
        for training_seed, error in ((0, 0.125), (1, 0.375))
        for episode in steady(make_episode, "frozen", [error, error], training_seed=training_seed)
    ]
    row = summarize(flown)[0]
    assert row["rmse_by_training_seed_cm"] == {"0": pytest.approx(12.5), "1": pytest.approx(37.5)}
    assert (row["rmse_cm"], row["rmse_low_cm"], row["rmse_high_cm"]) == pytest.approx((25.0, 25.0, 25.0))


def test_an_unknown_training_seed_is_one_policy(make_episode: Make) -> None:
    row = summarize(steady(make_episode, "frozen", [0.125, 0.25], training_seed=None))[0]
    assert list(row["rmse_by_training_seed_cm"]) == ["unknown"]


def test_unshifted_flights_are_scored_from_the_onset_of_the_shifted_ones(make_episode: Make) -> None:
    shifted = steady(make_episode, "frozen", [0.25, 0.25])
    calm = steady(make_episode, "frozen", [0.5, 0.5], onset_s=None)
    assert comparison_onset(cells(shifted + calm)) == 5.0
    row = row_of(summarize(shifted + calm), "no shift", "frozen")
    assert row["rmse_cm"] == pytest.approx(50.0)
    assert np.isnan(row["recovery_s"]) and not row["shifted"]
    assert comparison_onset(cells(calm)) == metrics.SETTLE_S


@given(order=st.permutations(range(24)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_episodes_changes_no_figure(make_flight: Make, order: list[int]) -> None:
    flown = [
        make_flight("wind", adapter, seed, training_seed, crash_share=0.3)
        for adapter in ("frozen", "observer")
        for training_seed in (0, 1, 2)
        for seed in range(4)
    ]
    assert summarize([flown[index] for index in order]) == summarize(flown)


def test_a_label_stands_for_the_scenario_where_there_is_one(make_episode: Make) -> None:
    assert summarize(steady(make_episode, "frozen", [0.25]))[0]["label"] == "wind"
    labelled = steady(make_episode, "frozen", [0.25], scenario_label="wind 8 m/s")
    assert summarize(labelled)[0]["label"] == "wind 8 m/s"


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="no episodes to report"):
        summarize([])


def test_an_adapter_without_its_frozen_pairs_is_refused(make_episode: Make) -> None:
    adapted = steady(make_episode, "observer", [0.1, 0.1])
    with pytest.raises(ValueError, match="evaluate 'frozen' and 'observer' on the same seeds"):
        summarize(adapted)
    with pytest.raises(ValueError, match=r"e\.g\. \[\('0', 10001\)\]"):
        summarize(adapted + steady(make_episode, "frozen", [0.1]))


def test_an_episode_that_stands_twice_is_refused(make_episode: Make) -> None:
    flown = steady(make_episode, "frozen", [0.1, 0.2])
    with pytest.raises(ValueError, match="seed 10001 stands twice"):
        summarize([*flown, flown[1]])


def test_verdicts_sort_shifts_into_helped_hurt_and_undecided(make_episode: Make) -> None:
    def scenario(name: str, factors: list[float]) -> list[Episode]:
        base = [0.25, 0.3, 0.35, 0.4]
        adapted = [error * factor for error, factor in zip(base, factors, strict=True)]
        frozen = steady(make_episode, "frozen", base, scenario=name)
        return frozen + steady(make_episode, "observer", adapted, scenario=name)

    calm = steady(make_episode, "frozen", [0.02] * 4, None) + steady(make_episode, "observer", [0.0205] * 4, None)
    flown = scenario("good", [0.25] * 4) + scenario("bad", [2.0] * 4) + scenario("mixed", [0.5, 1.5, 0.7, 1.4]) + calm
    (verdict,) = verdicts(summarize(flown))
    assert (verdict["helps"], verdict["hurts"], verdict["undecided"]) == (["good"], ["bad"], ["mixed"])
    assert (verdict["harmed"], verdict["flights"], verdict["crashes_added"]) == (6, 16, 0)
    assert verdict["tax"].estimate == pytest.approx(0.05, rel=1e-3)
    rows = summarize(flown)
    ratios = [row_of(rows, s, "frozen")["rmse_cm"] / row_of(rows, s, "observer")["rmse_cm"] for s in verdict["shifted"]]
    assert verdict["reduction"] == pytest.approx(np.prod(ratios) ** (1 / 3))


def test_the_adapter_that_reduces_the_error_most_comes_first(make_episode: Make) -> None:
    flown = [
        episode
        for adapter, error in (("frozen", 0.4), ("integral", 0.2), ("observer", 0.1))
        for episode in steady(make_episode, adapter, [error, error])
    ]
    found = verdicts(summarize(flown))
    assert [(v["adapter"], v["reduction"]) for v in found] == [
        ("observer", pytest.approx(4)),
        ("integral", pytest.approx(2)),
    ]
