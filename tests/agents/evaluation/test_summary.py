"""Rows and verdicts say what the flights say, whatever order they come in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics
from undrift.agents.evaluation.summary import cells, comparison_onset, score, summarize

Make = Callable[..., Episode]
STEPS = 500


def row_of(rows: list[dict[str, Any]], scenario: str, adapter: str) -> dict[str, Any]:
    return next(row for row in rows if (row["scenario"], row["adapter"]) == (scenario, adapter))


def test_a_row_holds_the_closed_form_figures_of_its_flights(make_steady: Make) -> None:
    frozen = make_steady("frozen", [0.125, 0.25, 0.375, 0.5])
    adapted = make_steady("observer", [0.0625, 0.125, 0.1875, 0.5625])
    row = row_of(summarize(frozen + adapted), "wind", "observer")
    assert row["rmse_cm"] == pytest.approx(100 * np.mean([0.0625, 0.125, 0.1875, 0.5625]))
    assert row["rmse_median_cm"] == pytest.approx(15.625) and row["peak_median_cm"] == pytest.approx(15.625)
    assert row["pre_rmse_cm"] == pytest.approx(1.5625)
    assert row["difference_cm"] == pytest.approx(100 * np.mean([-0.0625, -0.125, -0.1875, 0.0625]))
    assert row["difference_low_cm"] < row["difference_cm"] < row["difference_high_cm"]
    assert (row["harmed"], row["crashes"], row["crashes_added"], row["recovered"]) == (1, 0, 0, 0)
    assert row["recovery_s"] == np.inf
    assert row["speed_peak_m_s"] == pytest.approx(2.0, rel=1e-3)


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
    crashed = np.sqrt((50 / 64**2 + 200 * 2.5**2) / 250)
    assert frozen["rmse_cm"] == pytest.approx(100 * (2 * crashed + 2 / 64) / 4)
    assert frozen["crash_low"] < 0.5 < frozen["crash_high"]


def test_training_seeds_count_alike_and_are_shown_each(make_steady: Make) -> None:
    flown = [
        episode
        for training_seed, error in ((0, 0.125), (1, 0.375))
        for episode in make_steady("frozen", [error, error], training_seed=training_seed)
    ]
    row = summarize(flown)[0]
    assert row["rmse_by_training_seed_cm"] == {"0": pytest.approx(12.5), "1": pytest.approx(37.5)}
    assert (row["rmse_cm"], row["rmse_low_cm"], row["rmse_high_cm"]) == pytest.approx((25.0, 12.5, 37.5))


def test_an_unknown_training_seed_is_one_policy(make_steady: Make) -> None:
    row = summarize(make_steady("frozen", [0.125, 0.25], training_seed=None))[0]
    assert list(row["rmse_by_training_seed_cm"]) == ["unknown"]


def test_unshifted_flights_are_scored_from_the_onset_of_the_shifted_ones(make_steady: Make) -> None:
    shifted = make_steady("frozen", [0.25, 0.25])
    calm = make_steady("frozen", [0.5, 0.5], onset_s=None)
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
    assert json.dumps(summarize([flown[index] for index in order])) == json.dumps(summarize(flown))


def test_a_label_stands_for_the_scenario_where_there_is_one(make_steady: Make) -> None:
    assert summarize(make_steady("frozen", [0.25]))[0]["label"] == "wind"
    labelled = make_steady("frozen", [0.25], scenario_label="wind 8 m/s")
    assert summarize(labelled)[0]["label"] == "wind 8 m/s"
    brief = make_steady("frozen", [0.25], scenario="wind on and off", scenario_label="wind 8 m/s")
    assert [row["label"] for row in summarize(labelled + brief)] == ["wind", "wind on and off"]


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="no episodes to report"):
        summarize([])


def test_an_adapter_without_its_frozen_pairs_is_refused(make_steady: Make) -> None:
    adapted = make_steady("observer", [0.1, 0.1])
    with pytest.raises(ValueError, match="evaluate 'frozen' and 'observer' on the same seeds"):
        summarize(adapted)
    with pytest.raises(ValueError, match=r"e\.g\. \[\('0', 10001\)\]"):
        summarize(adapted + make_steady("frozen", [0.1]))


def test_an_episode_that_stands_twice_is_refused(make_steady: Make) -> None:
    flown = make_steady("frozen", [0.1, 0.2])
    with pytest.raises(ValueError, match="seed 10001 stands twice"):
        summarize([*flown, flown[1]])


def policies(
    make_steady: Make, adapter: str, errors: dict[int, float], onset_s: float | None = 5.0, **meta: Any
) -> list[Episode]:
    """Eight flights of each training seed, with its error after the onset times 1 to 1.07."""
    return [
        episode
        for training_seed, error in errors.items()
        for episode in make_steady(
            adapter, [error * (1 + i / 100) for i in range(8)], onset_s, training_seed=training_seed, **meta
        )
    ]


def test_the_recovered_fraction_is_that_of_each_training_seed_then_their_mean(make_steady: Make) -> None:
    rows = summarize(
        policies(make_steady, "frozen", {0: 0.10, 1: 0.20})
        + policies(make_steady, "observer", {0: 0.03, 1: 0.11})
        + policies(make_steady, "frozen", {0: 0.02, 1: 0.02}, None)
        + policies(make_steady, "observer", {0: 0.02, 1: 0.02}, None)
    )
    row = row_of(rows, "wind", "observer")
    assert row["recovered_by_training_seed"] == {"0": pytest.approx(7 / 8, rel=1e-3), "1": pytest.approx(0.5, rel=1e-3)}
    assert row["recovered_fraction"] == pytest.approx(11 / 16, rel=1e-3)
    assert (row["recovered_low"], row["recovered_high"]) == pytest.approx((0.5, 7 / 8), rel=1e-2)
    assert row_of(rows, "wind", "frozen")["recovered_fraction"] is None
    assert np.isnan(row_of(rows, "no shift", "observer")["recovered_fraction"])


def test_a_recovered_fraction_is_given_only_where_the_shift_costs_every_policy_enough(make_steady: Make) -> None:
    frozen = policies(make_steady, "frozen", {0: 0.10, 1: 0.03})
    flown = frozen + policies(make_steady, "observer", {0: 0.06, 1: 0.02})
    calm = policies(make_steady, "frozen", {0: 0.02, 1: 0.02}, None)
    row = row_of(summarize(flown + calm), "wind", "observer")
    assert np.isnan(row["recovered_fraction"]) and row["difference_cm"] < 0
    assert row["recovered_by_training_seed"]["0"] == pytest.approx(0.5, rel=1e-2)
    assert np.isnan(row["recovered_by_training_seed"]["1"])
    assert np.isnan(row_of(summarize(flown), "wind", "observer")["recovered_fraction"])


def test_the_unshifted_flight_is_scored_over_the_time_of_the_shifted_one(make_episode: Make) -> None:
    def flights(adapter: str, onset_s: float | None, shifted_error: float) -> list[Episode]:
        error = np.concatenate([np.full(250, 1 / 64), np.full(250, shifted_error)])
        if onset_s is None:
            error = np.concatenate([np.full(200, 1.0), np.full(300, 0.02)])  # the first 4 s are not the shift's time
        return [make_episode(error, onset_s, adapter=adapter, seed=10_000 + i) for i in range(6)]

    early = [make_episode(np.full(500, 0.02), 3.0, scenario="early", adapter=a) for a in ("frozen", "observer")]
    early += [
        make_episode(np.full(500, 0.02), 3.0, scenario="early", adapter=a, seed=10_000 + i)
        for a in ("frozen", "observer")
        for i in range(1, 6)
    ]
    flown = flights("frozen", 5.0, 0.1) + flights("observer", 5.0, 0.06)
    flown += flights("frozen", None, 0) + flights("observer", None, 0) + early
    assert row_of(summarize(flown), "wind", "observer")["recovered_fraction"] == pytest.approx(0.5, rel=1e-4)


def test_holm_corrects_over_all_rows_that_are_compared(make_steady: Make) -> None:
    flown = []
    for index in range(4):
        for adapter, error in (("frozen", 0.2), ("observer", 0.1)):
            flown += policies(make_steady, adapter, {0: error}, scenario=f"shift {index}")
    row = row_of(summarize(flown), "shift 0", "observer")
    assert row["p_value"] == pytest.approx(2 / 2**8)
    assert row["p_holm"] == pytest.approx(4 * 2 / 2**8)
    assert (row["improvement"], row["improvement_low"]) == (1.0, 1.0)


def test_another_policy_has_a_base_of_its_own_and_is_measured_against_the_nominal_one(make_steady: Make) -> None:
    randomised = {"policy": "domain-randomised"}
    flown = policies(make_steady, "frozen", {0: 0.10}) + policies(make_steady, "frozen", {0: 0.02}, None)
    for error, onset in ((0.06, 5.0), (0.02, None)):
        flown += policies(make_steady, "frozen", {0: error}, onset, **randomised)
    for error, onset in ((0.07, 5.0), (0.02, None)):
        flown += policies(make_steady, "observer", {0: error}, onset, **randomised)
    rows = summarize(flown)
    base = next(r for r in rows if r["controller"] == "domain-randomised" and r["shifted"])
    row = next(r for r in rows if r["controller"] == "observer on domain-randomised" and r["shifted"])
    assert base["recovered_fraction"] == pytest.approx(0.5, rel=1e-2) and base["harmed"] is None
    assert row["recovered_fraction"] == pytest.approx(3 / 8, rel=1e-2)
    assert row["base_recovered_fraction"] == pytest.approx(-1 / 4, rel=1e-2)
    assert row["harmed"] == 8 and row["base"] == "domain-randomised" and row["base_difference_cm"] > 0


def test_an_adapter_on_another_policy_needs_that_policy_frozen(make_steady: Make) -> None:
    flown = make_steady("frozen", [0.1, 0.1])
    with pytest.raises(ValueError, match="evaluate 'domain-randomised' and 'observer on domain-randomised'"):
        summarize(flown + make_steady("observer", [0.1, 0.1], policy="domain-randomised"))


def test_an_oracle_is_a_row_without_harm_and_without_a_level_to_return_to(make_steady: Make) -> None:
    flown = make_steady("frozen", [0.1, 0.1]) + make_steady("frozen", [0.02, 0.02], policy="oracle")
    rows = summarize(flown)
    assert [row["controller"] for row in rows] == ["frozen", "oracle"]
    assert rows[1]["difference_cm"] == pytest.approx(-8.0, rel=1e-3) and rows[1]["harmed"] is None
    assert np.isnan(rows[1]["recovery_s"]) and np.isnan(rows[1]["excess_area_cm_s"])


def test_training_seeds_that_flew_different_seeds_are_refused(make_episode: Make) -> None:
    flown = [make_episode(np.full(500, 0.1), training_seed=k, seed=10_000 + k) for k in (0, 1)]
    with pytest.raises(ValueError, match="training seeds 0, 1 flew different seeds"):
        summarize(flown)


def test_a_run_that_never_recovers_counts_as_infinite_in_the_median(make_episode: Make) -> None:
    def recovery(recovering: int) -> float:
        calm, lasting = np.full(500, 1 / 64), np.append(np.full(250, 1 / 64), np.full(250, 0.5))
        errors = [calm] * recovering + [lasting] * (5 - recovering)
        return summarize([make_episode(error, seed=10_000 + i) for i, error in enumerate(errors)])[0]["recovery_s"]

    assert recovery(3) == 0.0 and recovery(2) == np.inf


def test_what_only_cyclic_shifts_have_is_nan_without_them(make_episode: Make, make_steady: Make) -> None:
    row = summarize(make_steady("frozen", [0.125, 0.25]))[0]
    names = ("after_effect_cm", "forgetting_cm", "second_exposure_ratio")
    assert all(np.isnan(row[name]) for name in names)
    error = np.concatenate([np.full(150, 1 / 64), np.full(100, 0.25), np.full(100, 3 / 64), np.full(150, 0.125)])
    cyclic = [make_episode(error, 3.0, ends_s=(5.0, 7.0), seed=10_000 + i) for i in range(2)]
    row = summarize(cyclic)[0]
    ratio = (0.125 - 1 / 64) / (0.25 - 1 / 64)
    assert row["second_exposure_ratio"] == pytest.approx(ratio)
    assert row["after_effect_cm"] == pytest.approx(100 * 2 / 64) and np.isnan(row["forgetting_cm"])


def test_a_flight_is_scored_as_its_row_says_and_names_its_pair(make_steady: Make) -> None:
    calm = make_steady("frozen", [0.02, 0.03], None) + make_steady("observer", [0.02, 0.03], None)
    flown = make_steady("frozen", [0.125, 0.25]) + make_steady("observer", [0.0625, 0.5]) + calm
    flights = score(cells(flown))
    frozen, adapted = flights["wind", "frozen"], flights["wind", "observer"]
    assert [flight["rmse_cm"] for flight in adapted] == pytest.approx([6.25, 50.0])
    assert [flight["harmed"] for flight in adapted] == [False, True]
    assert [flight["unshifted_rmse_cm"] for flight in frozen] == pytest.approx([2.0, 3.0])
    assert (frozen[0]["base"], frozen[0]["harmed"], adapted[0]["base"]) == (None, None, "frozen")
    assert [(flight["training_seed"], flight["seed"]) for flight in frozen] == [("0", 10_000), ("0", 10_001)]
    row = row_of(summarize(flown), "wind", "observer")
    assert row["errors_cm"] == {"0": [flight["rmse_cm"] for flight in adapted]} and row["seeds"] == [10_000, 10_001]
    assert row["crashed"] == {"0": [False, False]}
