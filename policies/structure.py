"""Cells and deployed policies that gain or lose neurons while they are in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .deployed import DeployedPolicy
from .wiring import Wiring

if TYPE_CHECKING:
    import torch

    from .cell import Cell

P = TypeVar("P", "Cell", DeployedPolicy)
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Grown(Generic[P]):
    """A cell or policy with more neurons, and how to go on with it in the middle of an episode.

    policy : the new cell or policy; the old one is left as it is.
    source : for each of its state variables, the old one that it continues.
    """

    policy: P
    source: Numbers

    def state(self, h: Any) -> Any:
        """The state to go on from, for an old one h [..., H]; array or tensor."""
        return h[..., self.source]


@dataclass(frozen=True)
class Pruned(Grown[P]):
    """A cell or policy with fewer neurons or synapses, and what that cost on the given inputs.

    removed : numbers of the neurons that are gone, or (source, target) of the synapses, input i as source -1 - i.
    share : share of the parameters that are gone, those of missing synapses not counted.
    output_rms : root mean square of the old outputs that remain (of a deployed policy: its actions).
    change_rms : root mean square of their change.
    """

    removed: tuple[Any, ...]
    share: float
    output_rms: float
    change_rms: float


def grow(policy: P, units: int, *, optimizer: torch.optim.Optimizer | None = None, seed: int = 0) -> Grown[P]:
    """Add neurons, and their synapses, without changing what is computed.

    Each new neuron is a copy of an old one, a random one of the kind listed last in the wiring (inter neurons, where there are
    any): it has the same synapses with the same weights, and goes on from the same state. What others receive from the old
    neuron is divided at random between it and its copies, synapse by synapse, so that outputs stay the same but for
    rounding, while the gradients of old and new neuron differ from the first update on. Where all neurons are outputs (no
    wiring), the new ones are outputs too, listed last; the actor of a deployed policy divides its weights likewise.

    Source: Chen, Goodfellow, Shlens 2016, "Net2Net: accelerating learning via knowledge transfer", arXiv:1511.05641.

    Parameters
    ----------
    policy : a cell of the kinds cfc, ltc, diagonal, gru or lstm, or a deployed policy with one. It is left as it is.
    units : number of neurons to add.
    optimizer : one that trains the cell; it goes on with the new cell. What it has averaged for the old parameters is kept,
        for the new ones it starts from zero.
    seed : of the choice of neurons and of the shares.

    Raises ValueError on a number below 1, a cell of another kind, or an optimiser that does not train this cell.
    """
    if units < 1:
        raise ValueError(f"units is the number of neurons to add and must be at least 1, got {units}")
    rng = np.random.default_rng(seed)
    wiring = _wiring(policy.config)
    templates = np.resize(rng.permutation(wiring.neurons(wiring.roles[-1])), units)
    source = np.concatenate([np.arange(wiring.units), templates])
    return Grown(*_rebuild(policy, source, _rewire(wiring, source), rng, optimizer))


def prune(
    policy: P,
    fraction: float,
    x: Any,
    dt: Any = None,
    *,
    of: str = "neurons",
    optimizer: torch.optim.Optimizer | None = None,
) -> Pruned[P]:
    """Remove the weakest neurons, or the weakest synapses, and report what it cost.

    A synapse is as strong as the norm of its weights times the root mean square of what it reads on the inputs x. A neuron is
    as strong as the norm of its outgoing weights, to the actor of a deployed policy too, times that of its state; as an output
    of a bare cell it counts as read with weight 1. Motor neurons stay, unless all neurons are motor neurons (no wiring):
    then outputs go too. The last neuron of a kind stays, and the strongest synapse into each neuron. Synapses are those that
    the wiring names: all in ltc, those from inputs and from layer to layer in cfc.

    Source: magnitude pruning, Han et al. 2015, "Learning both weights and connections for efficient neural networks",
    arXiv:1506.02626, weighted with activity.

    Parameters
    ----------
    policy, optimizer : as for `grow`.
    fraction : share of the neurons or synapses to remove, in (0, 1).
    x : inputs [T, B, I] to measure with, observations in the units of the environment for a deployed policy.
    dt : [T, B] elapsed times in s; None: one period each.
    of : "neurons" or "synapses".

    Raises ValueError on a fraction outside (0, 1), or of which too few may go, and on synapses of a cell without a wiring.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction is the share of what to remove and lies in (0, 1), got {fraction}")
    if of not in ("neurons", "synapses"):
        raise ValueError(f"prune takes away neurons or synapses, got {of!r}")
    wiring = _wiring(policy.config)
    outputs, signals = _run(policy, x, dt)
    source = np.arange(wiring.units)
    if of == "neurons":
        removed: list[Any] = _weakest_neurons(policy, signals, fraction)
        source = np.delete(source, removed)
        wiring = _rewire(wiring, source)
    else:
        removed = _weakest_synapses(policy, signals, fraction)
        wiring = _cut(wiring, removed)
    slim, variables = _rebuild(policy, source, wiring, np.random.default_rng(0), optimizer)
    after, _ = _run(slim, x, dt)
    outputs = outputs if outputs.shape == after.shape else outputs[..., source]
    share = 1.0 - _size(slim) / _size(policy)
    return Pruned(slim, variables, tuple(removed), share, float(_rms(outputs)), float(_rms(after - outputs)))


@dataclass(frozen=True)
class _Layout:
    """Which neuron each index of a parameter belongs to.

    axes : for each axis, the number of the neuron at each position, or -1 - i where it is input i's; None for an axis
        without any.
    reads : the axis along which neurons and inputs are summed up with the parameter as their weight, if there is one.
    lacks : entries that do not count, as the wiring has no synapse there; None: all count.
    synapses : entries of such a weight that would not count if the wiring lost the synapse; None: none.
    positive : whether such a weight is the softplus of the parameter.
    """

    axes: tuple[Numbers | None, ...]
    reads: int | None = None
    lacks: NDArray[np.bool_] | None = None
    synapses: NDArray[np.bool_] | None = None
    positive: bool = False

    def weight(self, parameter: NDArray[Any]) -> NDArray[np.float64]:
        weight = np.asarray(parameter, np.float64)
        weight = np.logaddexp(0.0, weight) if self.positive else weight
        return weight if self.lacks is None else np.where(self.lacks, 0.0, weight)

    def labels(self, axis: int) -> Numbers:
        """Those of an axis that has neurons."""
        labels = self.axes[axis]
        assert labels is not None
        return labels


def _layouts(config: Mapping[str, Any]) -> dict[str, _Layout]:
    """The layout of every parameter that belongs to neurons, of a cell or of a deployed policy."""
    cell = _cell_config(config)
    if cell["cell"] not in _CELLS:
        raise ValueError(f"cell {cell['cell']!r} has no neurons to add or remove; the cells are {', '.join(_CELLS)}")
    layouts = _CELLS[cell["cell"]](cell)
    if config is cell:
        return layouts
    features = np.concatenate([_inputs(cell["input_size"]), np.arange(_wiring(cell).outputs)])
    return {f"cell.{name}": layout for name, layout in layouts.items()} | {
        "actor.0.weight": _Layout((None, features), 1)
    }


def _cfc(config: Mapping[str, Any]) -> dict[str, _Layout]:
    wiring = _wiring(config)
    layouts: dict[str, _Layout] = {}
    before = _inputs(wiring.inputs)
    for i, (layer, synapses) in enumerate(zip(wiring.layers, wiring.layer_synapses, strict=True)):
        own = np.array(layer)
        features = np.concatenate([before, own])
        heads = np.tile(own, 1 if config["mode"] == "pure" else 4)
        if config["backbone_units"] is None:
            named = np.zeros((len(heads), len(features)), np.bool_)
            named[: 2 * len(own) if config["compat"] == "ncps" else None, : len(before)] = True
            present = np.resize(np.hstack([synapses.T, np.ones((len(own), len(own)), np.bool_)]), named.shape)
            layouts |= _linear(f"layers.{i}.heads", heads, features, named & ~present, named & present)
        else:
            layouts |= _linear(f"layers.{i}.backbone", None, features) | _linear(f"layers.{i}.heads", heads, None)
            for k in range(config["backbone_layers"] - 1):
                layouts |= _linear(f"layers.{i}.deeper.{k}", None, None)
        if config["mode"] == "pure":
            layouts |= {f"layers.{i}.{name}": _Layout((own,)) for name in ("w_tau", "asymptote")}
        before = own
    return layouts


def _ltc(config: Mapping[str, Any]) -> dict[str, _Layout]:
    wiring = _wiring(config)
    own, motor = np.arange(wiring.units), np.arange(wiring.outputs)
    layouts = {name: _Layout((None,)) for name in ("input_gain", "input_bias")}
    layouts |= {name: _Layout((own,)) for name in ("leak_potential", "leak_conductance", "capacitance")}
    layouts |= {name: _Layout((motor,)) for name in ("output_gain", "output_bias")}
    groups = ("sensory", _inputs(wiring.inputs), wiring.sensory), ("recurrent", own, wiring.recurrent)
    for group, sources, polarity in groups:
        axes, lacks = (sources, own), polarity == 0
        layouts |= {f"{group}.{name}": _Layout(axes, lacks=lacks) for name in ("reversal", "slope", "threshold")}
        layouts[f"{group}.weight"] = _Layout(axes, 0, lacks, ~lacks, positive=True)
    return layouts


def _diagonal(config: Mapping[str, Any]) -> dict[str, _Layout]:
    own = np.arange(config["units"])
    return _linear("input", np.tile(own, 2), None) | {"feedback": _Layout((None, own)), "leak": _Layout((own,))}


def _gru(config: Mapping[str, Any]) -> dict[str, _Layout]:
    own = np.arange(config["units"])
    return _linear("input", np.tile(own, 3), None) | _linear("recurrent", np.tile(own, 3), own)


def _lstm(config: Mapping[str, Any]) -> dict[str, _Layout]:
    own = np.arange(config["units"])
    return _linear("input", np.tile(own, 4), None) | {"recurrent.weight": _Layout((np.tile(own, 4), own), reads=1)}


_CELLS: dict[str, Callable[[Mapping[str, Any]], dict[str, _Layout]]] = {
    "cfc": _cfc,
    "ltc": _ltc,
    "diagonal": _diagonal,
    "gru": _gru,
    "lstm": _lstm,
}


def _linear(
    name: str,
    rows: Numbers | None,
    columns: Numbers | None,
    lacks: NDArray[np.bool_] | None = None,
    synapses: NDArray[np.bool_] | None = None,
) -> dict[str, _Layout]:
    """Weight and bias of a linear map, which reads neurons where its columns are theirs."""
    reads = None if columns is None else 1
    return {f"{name}.weight": _Layout((rows, columns), reads, lacks, synapses), f"{name}.bias": _Layout((rows,))}


def _inputs(count: int) -> Numbers:
    return -1 - np.arange(count)


def _cell_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """That of the cell, of a deployed policy's configuration or of the cell's own."""
    return config["cell"] if "actor_layers" in config else config


def _wiring(config: Mapping[str, Any]) -> Wiring:
    cell = _cell_config(config)
    if cell.get("wiring") is None:
        return Wiring.dense(cell["input_size"], cell["units"])
    return Wiring.from_dict(cell["wiring"])


@dataclass(frozen=True)
class _Move:
    """How the entries of an array over neurons go over into those of a new one, whose neuron n continues source[n]."""

    old: _Layout
    new: _Layout
    source: Numbers

    def gather(self, value: NDArray[Any]) -> NDArray[Any]:
        return value[np.ix_(*[self._positions(axis, size) for axis, size in enumerate(value.shape)])]

    def weights(self, value: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Gathered, with each weight divided among the copies of the neuron that it reads."""
        gathered = self.gather(value)
        axis = self.new.reads
        if axis is None:
            return gathered
        at = self._positions(axis, value.shape[axis])
        share = np.moveaxis(rng.uniform(0.5, 1.5, gathered.shape), axis, -1)
        share = np.moveaxis(share / (share @ (at[:, None] == at)), -1, axis)
        if self.new.positive:
            weight = share * np.logaddexp(0.0, gathered, dtype=np.float64)
            divided = weight + np.log(-np.expm1(-weight))
            return np.where(share < 1.0, divided, gathered).astype(value.dtype)
        return (gathered * share).astype(value.dtype)

    def moments(self, value: NDArray[Any]) -> NDArray[Any]:
        """Gathered, with zeros at the entries of copies."""
        gathered = self.gather(value)
        for axis, neurons in enumerate(self.new.axes):
            if neurons is not None:
                np.moveaxis(gathered, axis, 0)[neurons > self.source.max()] = 0.0
        return gathered

    def _positions(self, axis: int, size: int) -> Numbers:
        """Where the entries along an axis come from: the k-th of a neuron from the k-th of the one it continues."""
        old, new = self.old.axes[axis], self.new.axes[axis]
        if old is None or new is None:
            return np.arange(size)
        continued = np.where(new < 0, new, self.source[np.maximum(new, 0)])
        return np.array(
            [np.flatnonzero(old == c)[np.count_nonzero(new[:p] == new[p])] for p, c in enumerate(continued)]
        )


def _rewire(wiring: Wiring, source: Numbers) -> Wiring:
    """The wiring of neurons that continue source."""
    roles = tuple(wiring.roles[neuron] for neuron in source)
    return Wiring(wiring.sensory[:, source], wiring.recurrent[np.ix_(source, source)], roles)


def _cut(wiring: Wiring, synapses: list[tuple[int, int]]) -> Wiring:
    """The wiring without some synapses, each source and target, with an input i as -1 - i."""
    recurrent, sensory = wiring.recurrent.copy(), wiring.sensory.copy()
    for before, after in synapses:
        if before < 0:
            sensory[-1 - before, after] = 0
        else:
            recurrent[before, after] = 0
    return Wiring(sensory, recurrent, wiring.roles)


def _rebuild(
    policy: P,
    source: Numbers,
    wiring: Wiring,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer | None,
) -> tuple[P, Numbers]:
    """The policy with the neurons that continue source, wired so, and where its state variables come from."""
    old = _cell_config(policy.config)
    new = {**old, "units": wiring.units}
    if old.get("wiring") is not None or not wiring.is_dense:
        new["wiring"] = wiring.to_dict()
    config = {**policy.config, "cell": new} if isinstance(policy, DeployedPolicy) else new
    before, after = _layouts(policy.config), _layouts(config)
    moves = {name: _Move(before[name], after[name], source) for name in before}
    states = [np.tile(np.arange(each["units"]), 2 if each["cell"] == "lstm" else 1) for each in (old, new)]
    variables = _Move(_Layout((states[0],)), _Layout((states[1],)), source).gather(np.arange(len(states[0])))
    if not isinstance(policy, DeployedPolicy):
        return _rebuild_cell(policy, config, moves, rng, optimizer), variables
    if optimizer is not None:
        raise ValueError("a deployed policy has no optimiser; pass the cell that it trains")
    tensors = {
        name: moves[name].weights(tensor, rng) if name in moves else tensor for name, tensor in policy.tensors.items()
    }
    return DeployedPolicy(config, tensors), variables


def _rebuild_cell(
    cell: Any,
    config: Mapping[str, Any],
    moves: Mapping[str, _Move],
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer | None,
) -> Any:
    import torch

    from .optim import replace_parameters

    with torch.random.fork_rng(devices=()):  # the weights it draws are replaced
        new = type(cell).from_config(config, backend=cell.backend).to(next(cell.parameters())).train(cell.training)
    for name, parameter in new.named_parameters():
        values = moves[name].weights(cell.get_parameter(name).detach().cpu().numpy(), rng)
        parameter.data.copy_(torch.from_numpy(values))
        parameter.requires_grad_(cell.get_parameter(name).requires_grad)
    if optimizer is not None:

        def carry(move: _Move) -> Callable[[torch.Tensor], torch.Tensor]:
            return lambda moment: torch.from_numpy(move.moments(moment.cpu().numpy())).to(moment)

        pairs = {cell.get_parameter(name): (new.get_parameter(name), carry(move)) for name, move in moves.items()}
        replace_parameters(optimizer, pairs)
    return new


def _tensors(policy: Any) -> dict[str, NDArray[Any]]:
    if isinstance(policy, DeployedPolicy):
        return policy.tensors
    return {name: parameter.detach().cpu().numpy() for name, parameter in policy.named_parameters()}


def _size(policy: Any) -> int:
    """Number of parameters that count."""
    lacking = (int(layout.lacks.sum()) for layout in _layouts(policy.config).values() if layout.lacks is not None)
    return sum(tensor.size for tensor in _tensors(policy).values()) - sum(lacking)


def _run(policy: Any, x: Any, dt: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outputs or actions [T, B, O] from a zero state on, and the root mean square of each neuron n, at [n], and input i,
    at [-1 - i]."""
    steps, rows = np.shape(x)[:2]
    elapsed = np.full((steps, rows), policy.period) if dt is None else np.asarray(dt)
    h = policy.initial_state(rows)
    if isinstance(policy, DeployedPolicy):
        inputs, states, outputs = np.asarray(x) / policy.config["observation_scale"], [], []
        for t in range(steps):
            action, h = policy.step(x[t], h, elapsed[t])
            states.append(h)
            outputs.append(action)
        return np.array(outputs), _signals(policy, np.array(states), inputs)
    import torch

    with torch.no_grad():
        states = policy.states(torch.as_tensor(x).to(h), h, torch.as_tensor(elapsed).to(h), None)
        outputs = policy.output(states).cpu().double().numpy()
    return outputs, _signals(policy, states.cpu().numpy(), np.asarray(x))


def _signals(policy: Any, states: NDArray[Any], inputs: NDArray[Any]) -> NDArray[np.float64]:
    shown = states[..., : _wiring(policy.config).units]
    return np.concatenate([_rms(shown, axis=(0, 1)), _rms(inputs, axis=(0, 1))[::-1]])


def _rms(values: NDArray[Any], axis: tuple[int, ...] | None = None) -> Any:
    return np.sqrt(np.square(values, dtype=np.float64).mean(axis))


def _weakest_neurons(policy: Any, signals: NDArray[np.float64], fraction: float) -> list[int]:
    """The numbers of the neurons to remove, in ascending order."""
    wiring, tensors = _wiring(policy.config), _tensors(policy)
    outgoing = np.zeros(len(signals))
    if not isinstance(policy, DeployedPolicy):
        outgoing[: wiring.outputs] = 1.0
    for name, layout in _layouts(policy.config).items():
        if layout.reads is not None:
            weight = np.moveaxis(layout.weight(tensors[name]), layout.reads, 0)
            np.add.at(outgoing, layout.labels(layout.reads), np.square(weight).sum(1))
    strength = (np.sqrt(outgoing) * signals)[: wiring.units]
    left = {role: wiring.roles.count(role) for role in wiring.roles}
    removed: list[int] = []
    wanted = round(fraction * wiring.units)
    for neuron in np.argsort(strength, kind="stable"):
        role = wiring.roles[neuron]
        fixed = role == "motor" and wiring.outputs < wiring.units
        if len(removed) < wanted and not fixed and left[role] > 1:
            removed.append(int(neuron))
            left[role] -= 1
    if not 0 < len(removed) == wanted:
        raise ValueError(f"a fraction of {fraction} is {wanted} of {wiring.units} neurons; 1 to {len(removed)} may go")
    return sorted(removed)


def _weakest_synapses(policy: Any, signals: NDArray[np.float64], fraction: float) -> list[tuple[int, int]]:
    """Source, an input i as -1 - i, and target of the synapses to remove, the weakest first."""
    tensors, units = _tensors(policy), _wiring(policy.config).units
    power = np.full((len(signals), units), np.nan)  # where there is no synapse
    for name, layout in _layouts(policy.config).items():
        if layout.synapses is not None and layout.reads is not None:
            square = np.moveaxis(np.square(layout.weight(tensors[name])), layout.reads, 0)
            there = np.moveaxis(layout.synapses, layout.reads, 0).nonzero()
            at = layout.labels(layout.reads)[there[0]], layout.labels(1 - layout.reads)[there[1]]
            power[at] = 0.0
            np.add.at(power, at, square[there])
    strength = np.sqrt(power) * signals[:, None]
    count = np.count_nonzero(~np.isnan(strength))
    if not count:
        raise ValueError("the cell has no synapses that a wiring could leave out; prune neurons")
    strength[strength == np.fmax.reduce(strength, 0)] = np.nan  # the strongest into each neuron stays
    sources, targets = np.nonzero(~np.isnan(strength))
    wanted = round(fraction * count)
    if not 0 < wanted <= len(sources):
        raise ValueError(f"a fraction of {fraction} is {wanted} of {count} synapses; 1 to {len(sources)} may go")
    weakest = np.argsort(strength[sources, targets], kind="stable")[:wanted]
    labels = np.where(sources < units, sources, sources - len(signals))
    return [(int(labels[k]), int(targets[k])) for k in weakest]
