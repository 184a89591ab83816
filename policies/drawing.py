"""Pictures of wirings."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from .wiring import Wiring

SYNAPSES = {1: ("excitatory", "#1f77b4"), -1: ("inhibitory", "#d1495b")}
NEURONS = {"sensory": "#7f8c8d", "inter": "#4c6a92", "command": "#7d5ba6", "motor": "#e08e0b"}
POINTS = 24  # of a curve


def draw_wiring(wiring: Wiring) -> Figure:
    """The circuit in columns: sensory, inter, command and motor neurons from left to right.

    A synapse onward runs as a wave; one inside a column or back bulges to the right, the wider the further it reaches; one
    of a neuron onto itself is a small loop.
    """
    columns = {"sensory": range(wiring.inputs)} | {role: wiring.neurons(role) for role in ("inter", "command", "motor")}
    columns = {role: numbers for role, numbers in columns.items() if numbers}
    places = {role: _column(x, len(numbers)) for x, (role, numbers) in enumerate(columns.items())}
    neurons = np.concatenate([places[role] for role in ("motor", "command", "inter") if role in places])
    tallest = max(map(len, places.values()))
    figure = Figure(figsize=(2.6 * len(columns) + 1.2, min(max(0.22 * tallest, 3.2), 12.0) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    _draw_synapses(figure, axes, wiring, places["sensory"], neurons)
    size = min(max(4000.0 / tallest, 30.0), 160.0)
    for role, points in places.items():
        x, y = points.T
        axes.scatter(x, y, s=size, c=NEURONS[role], edgecolors="white", linewidths=1.0, zorder=3)
        axes.annotate(
            f"{role}\n{len(points)}",
            (x[0], 1.0),
            (0, 12),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=NEURONS[role],
            weight="bold",
        )
    return figure


def _column(x: float, count: int) -> NDArray[np.float64]:
    """Where a column's neurons lie, the first on top; few neurons keep to the middle."""
    half = 0.5 * min(1.0, (count - 1) / 7)
    return np.stack([np.full(count, x), np.linspace(0.5 + half, 0.5 - half, count)], 1)


def _draw_synapses(
    figure: Figure, axes: Axes, wiring: Wiring, inputs: NDArray[np.float64], neurons: NDArray[np.float64]
) -> None:
    curves: list[NDArray[np.float64]] = []
    polarities = []
    for adjacency, sources in ((wiring.sensory, inputs), (wiring.recurrent, neurons)):
        for source, target in np.argwhere(adjacency):
            curves.append(_curve(sources[source], neurons[target]))
            polarities.append(int(adjacency[source, target]))
    alpha = min(max(12.0 / math.sqrt(len(curves) + 1), 0.08), 0.75)
    colors = [SYNAPSES[polarity][1] for polarity in polarities]
    axes.add_collection(LineCollection(curves, colors=colors, alpha=alpha, linewidths=0.9))
    right = max(float(points[:, 0].max()) for points in (neurons, *curves))
    axes.set(xlim=(-0.3, right + 0.3), ylim=(-0.03, 1.03))
    handles = [
        Line2D([], [], color=color, linewidth=2, label=f"{polarities.count(polarity)} {name}")
        for polarity, (name, color) in SYNAPSES.items()
    ]
    title = f"{len(curves)} synapses"
    figure.legend(handles=handles, title=title, loc="outside lower center", ncols=2, frameon=False)


def _curve(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The line of a synapse, [POINTS, 2]."""
    along = np.linspace(0.0, 1.0, POINTS)[:, None]
    angle = np.pi * along
    if start[0] < end[0]:
        rise = along * along * (3.0 - 2.0 * along)
        return start + np.hstack([along, rise]) * (end - start)
    if np.array_equal(start, end):
        return start + 0.04 * np.hstack([1.0 - np.cos(2.0 * angle), 0.5 * np.sin(2.0 * angle)])
    bulge = np.array([0.06 + 0.5 * abs(end[1] - start[1]), 0.0])
    return 0.5 * (start + end) + 0.5 * np.cos(angle) * (start - end) + np.sin(angle) * bulge
