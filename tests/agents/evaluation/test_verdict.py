"""The verdict on each controller, and the sentence that answers first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from undrift.agents.episode import Episode
from undrift.agents.evaluation.summary import summarize
from undrift.agents.evaluation.verdict import headline, verdicts

Make = Callable[..., Episode]


def row_of(rows: list[dict[str, Any]], scenario: str, adapter: str) -> dict[str, Any]:
    return next(row for row in rows if (row["scenario"], row["adapter"]) == (scenario, adapter))


def test_verdicts_sort_shifts_into_helped_hurt_and_undecided(make_steady: Make) -> None:
    def scenario(name: str, factors: list[float]) -> list[Episode]:
        base = np.linspace(0.25, 0.4, 8)
        adapted = [error * factor for error, factor in zip(base, factors, strict=True)]
        frozen = make_steady("frozen", base, scenario=name)
        return frozen + make_steady("observer", adapted, scenario=name)

    calm = make_steady("frozen", [0.02] * 8, None) + make_steady("observer", [0.0205] * 8, None)
    flown = calm + scenario("good", [0.25] * 8) + scenario("bad", [2.0] * 8)
    flown += scenario("mixed", [0.5, 1.5, 0.7, 1.4] * 2)
    (verdict,) = verdicts(summarize(flown))
    assert (verdict["helps"], verdict["hurts"], verdict["undecided"]) == (["good"], ["bad"], ["mixed"])
    assert (verdict["harmed"], verdict["flights"], verdict["crashes_added"]) == (12, 32, 0)
    assert verdict["tax"].estimate == pytest.approx(0.05, rel=1e-3)
    rows = summarize(flown)
    ratios = [row_of(rows, s, "frozen")["rmse_cm"] / row_of(rows, s, "observer")["rmse_cm"] for s in verdict["shifted"]]
    assert verdict["reduction"] == pytest.approx(np.prod(ratios) ** (1 / 3))


def test_the_adapter_that_reduces_the_error_most_comes_first(make_steady: Make) -> None:
    flown = [
        episode
        for adapter, error in (("frozen", 0.4), ("integral", 0.2), ("observer", 0.1))
        for episode in make_steady(adapter, [error, error])
    ]
    found = verdicts(summarize(flown))
    assert [(v["controller"], v["reduction"]) for v in found] == [
        ("observer", pytest.approx(4)),
        ("integral", pytest.approx(2)),
    ]


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


def test_the_reduction_is_a_geometric_mean_with_an_interval_that_narrows_with_seeds(make_steady: Make) -> None:
    def verdict(seeds: int) -> dict[str, Any]:
        factors = [0.25, 0.5] * (seeds // 2)
        flown = [
            episode
            for training_seed in (0, 1)
            for scenario in ("a", "b")
            for adapter, scale in (("frozen", [1.0] * seeds), ("observer", factors))
            for episode in make_steady(
                adapter, [0.5 * factor for factor in scale], scenario=scenario, training_seed=training_seed
            )
        ]
        return verdicts(summarize(flown))[0]

    few, many = verdict(8), verdict(32)
    assert few["reduction"] == many["reduction"] == pytest.approx(1 / 0.375, rel=1e-5)
    for found in (few, many):
        assert found["reduction_low"] < found["reduction"] < found["reduction_high"]
    widths = [found["reduction_high"] - found["reduction_low"] for found in (few, many)]
    assert widths[1] < 0.7 * widths[0]


def test_an_oracle_of_one_shift_is_not_ranked_among_those_that_flew_them_all(make_steady: Make) -> None:
    flown = [
        episode
        for scenario in ("a", "b")
        for adapter, error in (("frozen", 0.4), ("observer", 0.2))
        for episode in make_steady(adapter, [error] * 6, scenario=scenario)
    ]
    found = verdicts(summarize(flown + make_steady("frozen", [0.02] * 6, scenario="a", policy="oracle")))
    assert [(verdict["controller"], verdict["complete"]) for verdict in found] == [
        ("observer", True),
        ("oracle", False),
    ]
    assert (found[1]["harmed"], found[1]["adapts"], found[1]["shifted"]) == (None, False, ["a"])


def test_the_headline_admits_that_another_policy_does_better_without_adapting(make_steady: Make) -> None:
    flown = make_steady("frozen", [0.4] * 8) + make_steady("observer", [0.2] * 8)
    assert "Without adapting" not in headline(summarize(flown))
    flown += make_steady("frozen", [0.1] * 8, policy="domain-randomised")
    assert headline(summarize(flown)).endswith(
        "worse than frozen. Without adapting, domain-randomised does better: 4.0-fold."
    )


def test_the_headline_says_when_there_is_nothing_that_adapts(make_steady: Make) -> None:
    frozen = make_steady("frozen", [0.4] * 4)
    assert headline(summarize(frozen)) == "Only the frozen policy was flown, so there is nothing to compare it with."
    peer = make_steady("frozen", [0.1] * 4, policy="domain-randomised")
    assert headline(summarize(frozen + peer)).startswith("No adapting controller was flown;")


def test_the_headline_is_no_plain_yes_where_adapting_crashes_more_flights_than_it_saves(make_episode: Make) -> None:
    def flown(adapter: str, error: float, crashing: set[int]) -> list[Episode]:
        lengths = [499 if seed in crashing else 500 for seed in range(8)]
        return [
            make_episode(np.full(n, error), crashed=n < 500, planned=500, adapter=adapter, seed=seed)
            for seed, n in enumerate(lengths)
        ]

    adapting = flown("observer", 0.05, {0, 1})
    assert headline(summarize(flown("frozen", 0.9, {5, 6, 7}) + adapting)).startswith("Yes: observer cuts")
    fewer = headline(summarize(flown("frozen", 0.9, {5}) + adapting))
    assert fewer.startswith("In part: observer cuts the error after the shift in the one shifted scenario")
    assert "it crashes 2 flights that frozen survives, spares 1 that frozen crashes and makes none of 8" in fewer
