"""The answer: how every controller compares with the frozen policy over all scenarios, and that in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .statistics import CONFIDENCE, Interval, bootstrap_interval
from .summary import BASE

ALPHA = round(1 - CONFIDENCE, 9)
"""A difference counts if its p-value after Holm's correction is smaller."""


def verdicts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each controller but the frozen policy does over all scenarios, from the rows of `summarize`, best first.

    Best: the largest ``reduction``, the geometric mean over shifted scenarios and training seeds of frozen error /
    controller's error, with its interval ``reduction_low`` to ``reduction_high``. One that was not flown in every shifted
    scenario (an oracle) cannot be ranked with the others: ``complete`` is False, and it comes last.

    ``helps`` and ``hurts`` name the shifted scenarios whose error is lower, or higher, than that of the frozen policy
    with a p-value below 5 % after Holm's correction over all rows; ``undecided`` the rest. ``recovered`` is the mean of
    the recovered fractions there are (NaN without one). What compares with the own base is None where the controller is
    a base: ``harmed``, ``crashes_added``, ``crashes_removed``, and ``tax``, the paired difference without a shift (None
    too if that was not flown).
    """
    frozen = {row["scenario"]: row for row in rows if row["controller"] == BASE}
    names = dict.fromkeys(row["controller"] for row in rows if row["controller"] != BASE)
    found = [_verdict(name, [row for row in rows if row["controller"] == name], frozen) for name in names]
    return sorted(found, key=lambda verdict: (not verdict["complete"], -verdict["reduction"]))


def headline(rows: Sequence[dict[str, Any]]) -> str:
    """Does adapting help here, and does it ever hurt? A sentence or two, from the rows of `summarize`."""
    found = verdicts(rows)
    adapting = [verdict for verdict in found if verdict["adapts"]]
    if not found:
        return "Only the frozen policy was flown, so there is nothing to compare it with."
    if not adapting:
        return "No adapting controller was flown; the table ranks policies that stay as they are."
    best = adapting[0]
    if not best["shifted"]:
        return f"No shift was flown; without one, {best['controller']} costs {cm(best['tax'].estimate, sign=True)} cm."
    return f"{_helps(best)}; {_hurts(best)}.{_beaten(best, found)}"


def cm(value: float, sign: bool = False) -> str:
    """A length in cm as people read it."""
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "\u2212")


def _verdict(controller: str, rows: list[dict[str, Any]], frozen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shifted = [row for row in rows if row["shifted"]]
    significant = [row for row in shifted if row["p_holm"] < ALPHA]
    helps = [row["scenario"] for row in significant if row["difference_cm"] < 0]
    hurts = [row["scenario"] for row in significant if row["difference_cm"] > 0]
    reduction = _reduction(shifted, [frozen[row["scenario"]] for row in shifted])
    adapts = rows[0]["harmed"] is not None
    differences = ("base_difference_cm", "base_difference_low_cm", "base_difference_high_cm")
    taxes = [Interval(*(row[name] for name in differences)) for row in rows if adapts and not row["shifted"]]

    def added_up(name: str) -> int | None:
        return sum(row[name] for row in rows) if adapts else None

    return {
        "controller": controller,
        "adapts": adapts,
        "shifted": [row["scenario"] for row in shifted],
        "complete": len(shifted) == sum(row["shifted"] for row in frozen.values()),
        "helps": helps,
        "hurts": hurts,
        "undecided": [row["scenario"] for row in shifted if row["scenario"] not in helps + hurts],
        "reduction": reduction.estimate,
        "reduction_low": reduction.low,
        "reduction_high": reduction.high,
        "recovered": _mean_known([row["recovered_fraction"] for row in shifted]),
        "flights": sum(row["episodes"] for row in rows),
        "crashes": sum(row["crashes"] for row in rows),
        "harmed": added_up("harmed"),
        "crashes_added": added_up("crashes_added"),
        "crashes_removed": added_up("crashes_removed"),
        "tax": taxes[0] if taxes else None,
        "guard_events": sum(row["guard_events"] for row in rows),
    }


def _reduction(rows: list[dict[str, Any]], frozen: list[dict[str, Any]]) -> Interval:
    """Geometric mean over scenarios and training seeds of frozen / controller's mean error; 1 without a scenario."""
    if not rows:
        return Interval(1.0, float("nan"), float("nan"))
    tables = [np.array(list(row["errors_cm"].values())) for row in (*frozen, *rows)]
    found = bootstrap_interval(*tables, of=_log_ratio)
    return Interval(*(float(np.exp(bound)) for bound in (found.estimate, found.low, found.high)))


def _log_ratio(*means: np.ndarray) -> np.ndarray:
    """Mean over scenarios of log(frozen / controller), of the scenarios' frozen errors and then the controller's."""
    logs = np.log(np.stack(means))
    return (logs[: len(means) // 2] - logs[len(means) // 2 :]).mean(axis=0)


def _helps(verdict: dict[str, Any]) -> str:
    helped, flown, adapter = len(verdict["helps"]), len(verdict["shifted"]), verdict["controller"]
    harms = verdict["hurts"] or verdict["crashes_added"] > verdict["crashes_removed"]
    if not helped:
        answer = "No" if harms else "Undecided"
        return f"{answer}: {adapter} cuts the error after the shift in no shifted scenario with confidence"
    answer = "Yes" if helped == flown and not harms else "In part"
    over = "" if helped == flown else " over all of them"
    where = _count(helped, flown, "shifted scenario")
    return f"{answer}: {adapter} cuts the error after the shift in {where}, {verdict['reduction']:.1f}-fold on average{over}"


def _hurts(verdict: dict[str, Any]) -> str:
    worse, added, removed = verdict["harmed"], verdict["crashes_added"], verdict["crashes_removed"]
    crashes = f"crashes {added} flight{'s' * (added != 1)} that frozen survives" if added else "adds no crash"
    if added and removed:
        crashes += f", spares {removed} that frozen crashes"
    flights = f"makes {worse or 'none'} of {verdict['flights']} flights worse than frozen"
    if verdict["hurts"]:
        return f"it {crashes}, {flights} and raises the mean error in {', '.join(verdict['hurts'])}"
    return f"it {crashes} and {flights}"


def _beaten(best: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """The policy that does better without adapting, if there is one."""
    leader = found[0]
    if leader["adapts"] or not leader["complete"] or leader["reduction"] <= best["reduction"]:
        return ""
    return f" Without adapting, {leader['controller']} does better: {leader['reduction']:.1f}-fold."


def _count(some: int, all_of: int, noun: str) -> str:
    plural = noun + "s" * (all_of != 1)
    if some == all_of:
        return f"the one {noun}" if all_of == 1 else f"all {all_of} {plural}"
    return f"{some} of {all_of} {plural}"


def _mean_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
