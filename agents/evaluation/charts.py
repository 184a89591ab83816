"""The geometry of the report's charts, as SVG path strings and pixel positions; the template only draws them.

A panel is what the template needs to draw one, in a picture of ``SIZE`` with the axes along ``FRAME``: ``label`` in words,
``text``, what it shows for those who cannot see it, the axes ``x`` and ``y``, each with its ``title`` and ``ticks``, and
``series``, a list with the ``controller`` and its paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..episode import Episode
from . import metrics
from .statistics import median_interval, performance_profile, wilson
from .summary import BASE, CM, Cells, Flight, Flights, comparison_onset, labels, onset_of, training_seeds

BEFORE_S, AFTER_S, BIN_S = 2.0, 6.0, 0.1
FLOOR_CM = 0.05
SIZE = (360.0, 214.0)
FRAME = (34.0, 24.0, 352.0, 180.0)
"""Left, top, right and bottom in pixels."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

Panel = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] onto the pixels [start, end]; values outside are clipped.

    Args:
        scale: what is spaced evenly: log of the value, the value itself, or `signed_log` of it.
    """

    low: float
    high: float
    start: float
    end: float
    scale: Callable[[Any], Any] = np.log

    def __call__(self, values: Any) -> Any:
        clipped = np.clip(values, self.low, self.high)
        share = (self.scale(clipped) - self.scale(self.low)) / (self.scale(self.high) - self.scale(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self, values: Sequence[float] | None = None, text: Callable[[float], str] = "{:g}".format) -> list[Panel]:
        """The values, each with its pixel ``at`` and ``label``; without any at most seven round ones of a log axis."""
        return [{"at": float(self(value)), "label": text(value)} for value in values or self._round_values()]

    def _round_values(self) -> list[float]:
        decades = 10.0 ** np.arange(np.floor(np.log10(self.low)), np.ceil(np.log10(self.high)) + 1)
        values: list[float] = []
        for mantissas in ((1, 2, 5), (1, 3), (1,)):
            values = [m * d for d in decades for m in mantissas if self.low <= m * d <= self.high]
            if len(values) <= 7:
                break
        return values


def linear(values: Any) -> Any:
    """Even spacing of the values themselves."""
    return np.asarray(values, dtype=np.float64)


def signed_log(values: Any) -> Any:
    """Logarithmic on both sides of zero, linear below the margin of `metrics.harmed`; of values in cm."""
    return np.arcsinh(linear(values) / (CM * metrics.HARM_MARGIN))


def log_range(values: Any, margin: float = 1.25) -> tuple[float, float]:
    """Range in cm that holds all finite values with a margin, at least a factor of four wide."""
    found = np.clip(np.asarray(values, dtype=np.float64), FLOOR_CM, None)
    low, high = float(np.nanmin(found)) / margin, float(np.nanmax(found)) * margin
    return low, max(high, 4 * low)


def error_over_time(grouped: Cells) -> list[Panel]:
    """One panel a scenario: median error over time of each controller, with its 95 % interval.

    Over evaluation seeds of the median over training seeds, so that its n values are independent. All share one logarithmic error axis,
    so that heights compare across scenarios; time 0 is the onset.
    """
    default = comparison_onset(grouped)
    medians = {key: _median_over_time(group, default) for key, group in grouped.items()}
    left, top, right, bottom = FRAME
    y = Axis(*log_range(np.concatenate([curve.ravel() for _, curve in medians.values()])), bottom, top)
    start, end = (extreme(t[at] for t, _ in medians.values()) for extreme, at in ((min, 0), (max, -1)))
    x = Axis(start - BIN_S, end + BIN_S, left, right, linear)
    every = 2 if end - start > 5 else 1
    seconds = [s for s in range(int(np.ceil(x.low)), int(x.high) + 1) if s % every == 0]
    panels, called = [], labels(grouped)
    for scenario in _scenarios(grouped):
        flown = grouped[scenario, BASE]
        shifted = bool(flown[0].meta["shifts"])
        last = {name: f"{middle[-1]:.1f} cm" for (at, name), (_, (_, middle, _)) in medians.items() if at == scenario}
        panels.append(
            {
                **_panel(called[scenario], last),
                "shifted": shifted,
                "onset": float(x(0.0)),
                "x": _axis("s after the shift" if shifted else "s, no shift", x.ticks(seconds, _signed)),
                "y": _axis("error, cm", y.ticks()),
                "series": [
                    {"controller": controller, "band": _band(x(t), y(low), y(high)), "line": _line(x(t), y(middle))}
                    for (name, controller), (t, (low, middle, high)) in medians.items()
                    if name == scenario
                ],
            }
        )
    return panels


def recovery_curves(flights: Flights) -> list[Panel]:
    """Share of flights that have recovered by a time after the onset, with Wilson's 95 % interval.

    One panel a shifted scenario; before them, where there are several, one of all their flights, for each controller that
    was flown in every one. Left out is a cell with a flight that has no recovery time (`metrics.recovery_time` is NaN).
    """
    timed = {key: flown for key, flown in flights.items() if not np.isnan([f["recovery_s"] for f in flown]).any()}
    names = _scenarios(timed)
    panels = [
        _recovery(flights[name, BASE][0]["label"], {who: flown for (at, who), flown in timed.items() if at == name})
        for name in names
    ]
    pooled = _pooled(timed, names)
    return [_recovery(f"all {len(names)} shifts", pooled), *panels] if len(names) > 1 and pooled else panels


def paired_differences(flights: Flights) -> list[Panel]:
    """One panel a scenario: how much worse each flight of an adapting controller is than its pair, sorted.

    The pair is the flight of the same seeds by the same policy left frozen; above 0 adapting is worse. ``marks`` is one
    path of all flights, ``harmed`` those that `metrics.harmed` counts or that crash, each with a text that names it.
    """
    pairs = {key: (flown, flights[key[0], flown[0]["base"]]) for key, flown in flights.items() if flown[0]["base"]}
    if not pairs:
        return []
    differences = {key: _column(flown) - _column(base) for key, (flown, base) in pairs.items()}
    largest = max(float(np.abs(values).max()) for values in differences.values())
    left, top, right, bottom = FRAME
    x, limit = Axis(0.0, 1.0, left, right, linear), max(1.25 * largest, 1.0)
    y = Axis(-limit, limit, bottom, top, signed_log)
    powers = [10.0**power for power in range(3) if 10.0**power < limit]
    ticks = y.ticks([*(-power for power in reversed(powers)), 0.0, *powers], _signed)
    return [
        {
            **_panel(flights[scenario, BASE][0]["label"], _harm_said(scenario, pairs)),
            "zero": float(y(0.0)),
            "x": _axis("flights, best to worst, %", x.ticks(SHARES, _percent)),
            "y": _axis("adapting less frozen, cm", ticks),
            "series": [
                _marks(controller, *pairs[scenario, controller], differences[scenario, controller], x, y)
                for name, controller in pairs
                if name == scenario
            ],
        }
        for scenario in _scenarios(pairs)
    ]


def error_profile(flights: Flights) -> Panel:
    """Share of all shifted flights whose post-shift RMSE is at most so much, for each controller flown under every shift.

    Unshifted flights where there are no others.
    """
    shifted = {key: flown for key, flown in flights.items() if flown[0]["shifted"]} or flights
    pooled = {name: _column(flown) for name, flown in _pooled(shifted, _scenarios(shifted)).items()}
    left, top, right, bottom = FRAME
    x = Axis(*log_range(np.concatenate(list(pooled.values()))), left, right)
    y = Axis(0.0, 1.0, bottom, top, linear)
    thresholds = np.geomspace(x.low, x.high, 200)
    return {
        **_panel("all shifts", {name: f"median {np.median(each):.1f} cm" for name, each in pooled.items()}),
        "x": _axis("error after the shift, cm", x.ticks()),
        "y": _axis("flights with at most that error, %", y.ticks(SHARES, _percent)),
        "series": [
            {"controller": name, "band": "", "line": _line(x(thresholds), y(performance_profile(values, thresholds)))}
            for name, values in pooled.items()
        ],
    }


def _panel(name: str, said: dict[str, str]) -> Panel:
    return {"label": name, "text": "; ".join(f"{controller} {value}" for controller, value in said.items())}


def _axis(title: str, ticks: list[Panel]) -> dict[str, Any]:
    return {"title": title, "ticks": ticks}


def _scenarios(keys: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(scenario for scenario, _ in keys))


def _pooled(flights: Flights, scenarios: Sequence[str]) -> dict[str, list[Flight]]:
    """All flights of each controller that was flown in every one of the scenarios."""
    controllers = dict.fromkeys(controller for _, controller in flights)
    complete = [name for name in controllers if all((scenario, name) in flights for scenario in scenarios)]
    return {name: [flight for at in scenarios for flight in flights[at, name]] for name in complete}


def _column(flown: Sequence[Flight]) -> np.ndarray:
    return np.array([flight["rmse_cm"] for flight in flown])


def _median_over_time(group: Sequence[Episode], default_onset: float) -> tuple[np.ndarray, np.ndarray]:
    """Bin centres [n] s from the onset; median error in each bin and its interval, [3, n] cm."""
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
    by_seed = np.median(means.reshape(len(training_seeds(group)), -1, len(edges)), axis=0)
    return (edges + (counts + 1) / 2 - before) * dt, CM * median_interval(by_seed)


def _recovery(name: str, flown: dict[str, list[Flight]]) -> Panel:
    left, top, right, bottom = FRAME
    x, y = Axis(0.0, AFTER_S, left, right, linear), Axis(0.0, 1.0, bottom, top, linear)
    times = np.arange(0.0, AFTER_S + BIN_S / 2, BIN_S)
    series, said = [], {}
    for controller, flights in flown.items():
        recovered = np.sort([flight["recovery_s"] for flight in flights])
        counts = np.searchsorted(recovered, times + 1e-9, side="right")
        shares = [wilson(int(count), len(flights)) for count in counts]
        low, middle, high = (y([getattr(share, at) for share in shares]) for at in ("low", "estimate", "high"))
        series.append({"controller": controller, "band": _band(x(times), low, high), "line": _line(x(times), middle)})
        said[controller] = f"{_percent(shares[-1].estimate)} %"
    return {
        **_panel(name, said),
        "x": _axis("s after the shift", x.ticks(range(0, int(AFTER_S) + 1, 2))),
        "y": _axis("flights recovered, %", y.ticks(SHARES, _percent)),
        "series": series,
    }


def _harm_said(scenario: str, pairs: dict[tuple[str, str], Any]) -> dict[str, str]:
    return {
        controller: f"{sum(flight['harmed'] for flight in flown)} of {len(flown)} flights made worse"
        for (name, controller), (flown, _) in pairs.items()
        if name == scenario
    }


def _marks(
    controller: str, flown: list[Flight], base: list[Flight], differences: np.ndarray, x: Axis, y: Axis
) -> Panel:
    order = np.argsort(differences, kind="stable")
    at_x, at_y = x((np.arange(len(order)) + 0.5) / len(order)), y(differences[order])
    named = [
        {
            "x": float(across),
            "y": float(up),
            "crashed": flown[index]["crashed"],
            "label": "training seed {training_seed}, seed {seed}: ".format(**flown[index])
            + f"frozen {base[index]['rmse_cm']:.1f} cm{' (crashed)' * base[index]['crashed']}, "
            + f"{controller} {flown[index]['rmse_cm']:.1f} cm{' (crashed)' * flown[index]['crashed']}",
        }
        for index, across, up in zip(order, at_x, at_y, strict=True)
        if flown[index]["harmed"] or flown[index]["crashed"]
    ]
    path = "".join(f"M{across:.1f},{up:.1f}h0" for across, up in zip(at_x, at_y, strict=True))
    return {"controller": controller, "marks": path, "harmed": named}


def _line(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """A closed path between two curves; empty where there is no interval."""
    if np.isnan(low).any():
        return ""
    return _line(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])) + "Z"


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\u2212") if value else "0"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
