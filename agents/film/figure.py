"""A still picture of what went on in a network during an episode."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ...policies.deployed import DeployedPolicy
from ...policies.sensitivity import sensitivity
from ..episode import Episode
from ..files import write_atomically
from .network import Circuit
from .take import Take

_STEPS = 200  # of the episode that are differentiated


def save_neurons(policy: DeployedPolicy, episode: Episode, path: str | Path) -> Path:
    """Write `draw_neurons` as a picture: ``.png``, ``.svg`` or ``.pdf``. Raises ValueError on another suffix."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{path} must end in .png, .svg or .pdf, or as a film in .mp4, .webm or .gif")
    figure, content = draw_neurons(policy, episode), io.BytesIO()
    figure.savefig(content, format=path.suffix.lower()[1:], dpi=110)
    write_atomically(path, content.getvalue())
    return path


def draw_neurons(policy: DeployedPolicy, episode: Episode) -> Figure:
    """Error, states and effective time constants of all neurons over time, and the saliency before and after the shift.

    Saliency: the mean of |da / dx|, how much of each action a change of each observation channel by its typical magnitude
    would change (`Sensitivity.action_by_input`).

    Raises:
        ValueError: another policy flew the episode, or it does not record what the policy was shown.
    """
    circuit, take = Circuit(policy, episode), Take((episode,))
    steps = np.linspace(0, episode.steps - 1, min(_STEPS, episode.steps)).astype(int)
    slopes = sensitivity(policy, circuit.shown[steps], circuit.states[steps], circuit.dt[steps])
    time, onset = episode.time, take.onset_s
    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(f"{' · '.join(take.changes) or 'no shift'}: {episode.meta['adapter']}", weight="bold")
    left, right = figure.subfigures(1, 2)  # type: ignore[misc]
    error, states, constants = left.subplots(3, 1, sharex=True, height_ratios=[1, 2, 2])
    per_metre, unit = take.error_unit(float(episode.error.max()))
    error.plot(time, per_metre * episode.error, color="#0a84a8")
    error.set(ylabel=f"{take.error_name},\n{unit}", ylim=(0, None))
    _image(states, circuit.states[1:, : circuit.units].T, time, "state", cmap="coolwarm", symmetric=True)
    tau = np.clip(slopes.time_constants[:, : circuit.units], 1e-3, 1e2)
    _image(constants, tau.T, time[steps], "effective time constant, s", cmap="viridis", norm=LogNorm())
    constants.set_xlabel("time, s")
    for axes in (error, states, constants):
        if onset is not None:
            axes.axvline(onset, color="#c99700", linewidth=1.5)
    _saliencies(right, policy, take, time[steps], np.abs(slopes.action_by_input))
    return figure


def _saliencies(figure, policy: DeployedPolicy, take: Take, time: np.ndarray, saliency: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    """Channels down, actions across; one panel before the shift, one after, in one scale."""
    onset = take.onset_s
    parts = {"whole episode": np.ones(len(time), bool)}
    if onset is not None and (time > onset).any() and (time <= onset).any():
        parts = {"before the shift": time <= onset, "after the shift": time > onset}
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    means = [saliency[rows].mean(axis=0).T for rows in parts.values()]
    largest = max(float(mean.max()) for mean in means)
    for axes, name, mean in zip(panels, parts, means, strict=True):
        shown = axes.imshow(mean, aspect="auto", cmap="magma", vmin=0.0, vmax=largest)
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(mean.shape[1]), take.env.action_names, rotation=45, ha="right", fontsize=8)
    panels[0].set_yticks(range(policy.input_size), policy.observation_names, fontsize=7)
    figure.colorbar(shown, ax=panels, label="saliency: |change of action| per typical change of the channel")


def _image(
    axes: Axes, values: np.ndarray, time: np.ndarray, name: str, symmetric: bool = False, **look: object
) -> None:
    """Neurons down, time across."""
    if symmetric:
        limit = max(float(np.quantile(np.abs(values), 0.98)), 1e-6)
        look |= {"vmin": -limit, "vmax": limit}
    extent = (float(time[0]), float(time[-1]), len(values) - 0.5, -0.5)
    shown = axes.imshow(values, aspect="auto", extent=extent, interpolation="nearest", **look)  # type: ignore[arg-type]
    axes.set_ylabel("neuron")
    axes.figure.colorbar(shown, ax=axes, label=name)
