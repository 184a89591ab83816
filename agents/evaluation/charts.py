"""The geometry of the report's charts, as SVG path strings and pixel positions; the template only draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..episode import Episode
from . import metrics
from .statistics import performance_profile
from .summary import BASE, CM, Cells, base_of, comparison_onset, label, onset_of, pair_key, rmse

BEFORE_S, AFTER_S, BIN_S = 2.0, 6.0, 0.1
FLOOR_CM = 0.05
TIME_SIZE = (360.0, 212.0)
TIME_FRAME = (32.0, 22.0, 352.0, 178.0)
PAIR_SIZE = (260.0, 270.0)
PAIR_FRAME = (32.0, 22.0, 250.0, 238.0)
PROFILE_SIZE = (460.0, 240.0)
PROFILE_FRAME = (32.0, 22.0, 450.0, 208.0)
STRIP_WIDTH = 120.0


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] onto the pixels [start, end], logarithmically unless ``linear``; values outside are clipped."""

    low: float
    high: float
    start: float
    end: float
    linear: bool = False

    def __call__(self, values: Any) -> Any:
        scale = (lambda x: x) if self.linear else np.log
        clipped = np.clip(values, self.low, self.high)
        share = (scale(clipped) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[dict[str, Any]]:
        """At most seven round values inside the range, each with its pixel ``at`` and ``label``."""
        candidates = [(1, 2, 5), (1, 3), (1,)]
        decades = 10.0 ** np.arange(np.floor(np.log10(self.low)), np.ceil(np.log10(self.high)) + 1)
        values: list[float] = []
        for mantissas in candidates:
            values = [m * d for d in decades for m in mantissas if self.low <= m * d <= self.high]
            if len(values) <= 7:
                break
        return [{"at": float(self(value)), "label": f"{value:g}"} for value in values]


def log_range(values: Any, margin: float = 1.25) -> tuple[float, float]:
    """Range in cm that holds all finite values with a margin, at least a factor of four wide."""
    found = np.clip(np.asarray(values, dtype=np.float64), FLOOR_CM, None)
    low, high = float(np.nanmin(found)) / margin, float(np.nanmax(found)) * margin
    return low, max(high, 4 * low)


def error_over_time(grouped: Cells) -> list[dict[str, Any]]:
    """One small multiple a scenario: median and interquartile band of the error over time, of each controller.

    All share one logarithmic error axis, so that heights compare across scenarios; time 0 is the onset.
    """
    onset = comparison_onset(grouped)
    bands = {key: _quartiles(group, onset) for key, group in grouped.items()}
    low, high = log_range(np.concatenate([quartiles.ravel() for _, quartiles in bands.values()]))
    left, top, right, bottom = TIME_FRAME
    y = Axis(low, high, bottom, top)
    start, end = min(t[0] for t, _ in bands.values()), max(t[-1] for t, _ in bands.values())
    x = Axis(start - BIN_S, end + BIN_S, left, right, linear=True)
    every = 2 if end - start > 5 else 1
    seconds = [s for s in range(int(np.ceil(x.low)), int(x.high) + 1) if s % every == 0]
    x_ticks = [{"at": float(x(second)), "label": _signed(second)} for second in seconds]
    return [
        {
            "label": label(grouped[scenario, BASE]),
            "shifted": bool(grouped[scenario, BASE][0].meta["shifts"]),
            "onset": float(x(0.0)),
            "x_ticks": x_ticks,
            "y_ticks": y.ticks(),
            "series": [
                {"controller": controller, "band": _band(x(t), y(q[0]), y(q[2])), "line": _line(x(t), y(q[1]))}
                for (name, controller), (t, q) in bands.items()
                if name == scenario
            ],
        }
        for scenario in _scenarios(grouped)
    ]


def paired_flights(grouped: Cells) -> list[dict[str, Any]]:
    """One small multiple a scenario: post-shift RMSE of each flight against its pair, the same policy left frozen.

    Points above the shaded edge are harmed, as `metrics.harmed` defines it.
    """
    onset = comparison_onset(grouped)
    errors = {key: CM * rmse(group, onset) for key, group in grouped.items()}
    low, high = log_range(np.concatenate(list(errors.values())))
    left, top, right, bottom = PAIR_FRAME
    x, y = Axis(low, high, left, right), Axis(low, high, bottom, top)
    base = np.geomspace(low, high, 60)
    edge = np.maximum(metrics.HARM_RATIO * base, base + CM * metrics.HARM_MARGIN)
    return [
        {
            "label": label(grouped[scenario, BASE]),
            "x_ticks": x.ticks(),
            "y_ticks": y.ticks(),
            "equal": _line(x(base), y(base)),
            "harm": _line(x(base), y(edge)) + f"L{left:.1f},{top:.1f}Z",
            "points": [
                point
                for (name, controller), group in grouped.items()
                if name == scenario and controller != (own := base_of(group[0]))
                for point in _points(
                    controller, group, grouped[name, own], errors[name, controller], errors[name, own], x, y
                )
            ],
        }
        for scenario in _scenarios(grouped)
    ]


def error_profile(grouped: Cells) -> dict[str, Any]:
    """Share of all shifted flights whose post-shift RMSE is at most so much, for each controller flown under every shift.

    Unshifted flights where there are no others.
    """
    onset = comparison_onset(grouped)
    shifted = {scenario for (scenario, _), group in grouped.items() if group[0].meta["shifts"]}
    shifted = shifted or set(_scenarios(grouped))
    errors: dict[str, list[np.ndarray]] = {}
    for (scenario, controller), group in grouped.items():
        if scenario in shifted:
            errors.setdefault(controller, []).append(CM * rmse(group, onset))
    pooled = {name: np.concatenate(each) for name, each in errors.items() if len(each) == len(shifted)}
    left, top, right, bottom = PROFILE_FRAME
    x = Axis(*log_range(np.concatenate(list(pooled.values()))), left, right)
    y = Axis(0.0, 1.0, bottom, top, linear=True)
    thresholds = np.geomspace(x.low, x.high, 200)
    return {
        "x_ticks": x.ticks(),
        "y_ticks": [{"at": float(y(share)), "label": f"{100 * share:.0f}"} for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
        "series": [
            {"controller": name, "line": _line(x(thresholds), y(performance_profile(values, thresholds)))}
            for name, values in pooled.items()
        ],
    }


def interval_strips(rows: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """For each row of `summarize` the pixel positions of its error and interval on one logarithmic axis."""
    keys = ("rmse_low_cm", "rmse_cm", "rmse_high_cm")
    axis = Axis(*log_range([row[key] for row in rows for key in keys]), 4.0, STRIP_WIDTH - 4.0)
    strips = []
    for row in rows:
        low, middle, high = (float(axis(row[key])) for key in keys)
        strips.append(
            {"low": middle if np.isnan(low) else low, "at": middle, "high": middle if np.isnan(high) else high}
        )
    return strips


def _scenarios(grouped: Cells) -> list[str]:
    return list(dict.fromkeys(scenario for scenario, _ in grouped))


def _quartiles(group: Sequence[Episode], default_onset: float) -> tuple[np.ndarray, np.ndarray]:
    """Bin centres [n] s from the onset, and quartiles [3, n] cm over flights of the mean error in each bin."""
    dt = group[0].dt
    width = max(1, round(BIN_S / dt))
    errors = [metrics.scored_error(episode) for episode in group]
    firsts = [metrics.onset_step(episode, onset_of(episode, default_onset)) for episode in group]
    before = min(round(BEFORE_S / dt), *firsts) // width * width
    after = min(round(AFTER_S / dt), *(len(error) - first for error, first in zip(errors, firsts, strict=True)))
    window = np.stack([error[first - before : first + after] for error, first in zip(errors, firsts, strict=True)])
    edges = np.arange(0, before + after, width)
    counts = np.diff(np.append(edges, before + after))
    means = np.add.reduceat(window, edges, axis=1) / counts
    return (edges + (counts + 1) / 2 - before) * dt, CM * np.percentile(means, [25, 50, 75], axis=0)


def _points(
    controller: str,
    group: list[Episode],
    base: list[Episode],
    errors: np.ndarray,
    base_errors: np.ndarray,
    x: Axis,
    y: Axis,
) -> list[dict[str, Any]]:
    harmed = metrics.harmed(errors / CM, base_errors / CM)
    return [
        {
            "controller": controller,
            "x": float(x(base_error)),
            "y": float(y(error)),
            "crashed": episode.crashed,
            "harmed": bool(worse),
            "label": "training seed {}, seed {}: ".format(*pair_key(episode))
            + f"frozen {base_error:.1f} cm{' (crashed)' * partner.crashed}, "
            + f"{controller} {error:.1f} cm{' (crashed)' * episode.crashed}",
        }
        for episode, partner, error, base_error, worse in zip(group, base, errors, base_errors, harmed, strict=True)
    ]


def _line(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    return _line(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])) + "Z"


def _signed(second: int) -> str:
    return f"{second:+d}".replace("-", "\u2212") if second else "0"
