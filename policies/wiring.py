"""Who is connected to whom: the directed, signed graph of a cell's neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROLES = ("motor", "command", "inter")
_SYMBOLS = {-1: "-", 0: ".", 1: "+"}
_POLARITIES = {symbol: polarity for polarity, symbol in _SYMBOLS.items()}


@dataclass(frozen=True, eq=False)
class Wiring:
    """A complete wiring: signed adjacency matrices and the role of every neuron.

    Neurons are numbered motor first, then command, then inter, so the outputs of a cell are its first states.
    Build one with `Wiring.dense`, `Wiring.random`, `Wiring.ncp`, `Wiring.auto_ncp` or `Wiring.lane_keeping`.

    Parameters
    ----------
    sensory : int8 [inputs, units], polarity of the synapse from input i to neuron j: +1 excitatory, -1 inhibitory, 0 none.
    recurrent : int8 [units, units], polarity of the synapse from neuron i to neuron j.
    roles : role of each neuron, "motor", "command" or "inter", in that order.

    Raises ValueError when shapes, polarities or roles are inconsistent.
    """

    sensory: NDArray[np.int8]
    recurrent: NDArray[np.int8]
    roles: tuple[str, ...]

    def __post_init__(self) -> None:
        units = len(self.roles)
        for name, shape in (("sensory", (len(self.sensory), units)), ("recurrent", (units, units))):
            polarity = np.array(getattr(self, name))
            if polarity.shape != shape:
                raise ValueError(f"{name} must be {list(shape)} for {units} roles, got {list(polarity.shape)}")
            if not np.isin(polarity, (-1, 0, 1)).all():
                raise ValueError(f"{name} must hold polarities -1, 0 or +1 only")
            polarity = polarity.astype(np.int8)
            polarity.setflags(write=False)
            object.__setattr__(self, name, polarity)
        if unknown := sorted(set(self.roles) - set(ROLES)):
            raise ValueError(f"unknown role {unknown[0]!r}; the roles are {', '.join(ROLES)}")
        if "motor" not in self.roles or len(self.sensory) < 1:
            raise ValueError("a wiring needs at least one input and one motor neuron")
        if list(self.roles) != sorted(self.roles, key=ROLES.index):
            raise ValueError("number the motor neurons first, then the command neurons, then the inter neurons")

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        return self.sensory.shape[0]

    @property
    def units(self) -> int:
        """Number of neurons."""
        return len(self.roles)

    @property
    def outputs(self) -> int:
        """Number of motor neurons."""
        return self.roles.count("motor")

    @property
    def is_dense(self) -> bool:
        """Whether every input reaches every neuron and every neuron every other."""
        return bool(self.sensory.all() and self.recurrent.all())

    def neurons(self, role: str) -> range:
        """The numbers of the neurons with a role. Raises ValueError on an unknown role."""
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}; the roles are {', '.join(ROLES)}")
        count = self.roles.count(role)
        first = self.roles.index(role) if count else 0
        return range(first, first + count)

    @property
    def layers(self) -> list[range]:
        """The neurons of each layer from the inputs to the outputs: inter, command, motor, or one layer without command neurons."""
        if not self.neurons("command"):
            return [range(self.units)]
        return [self.neurons(role) for role in ("inter", "command", "motor") if self.neurons(role)]

    @property
    def layer_synapses(self) -> list[NDArray[np.bool_]]:
        """For each layer, which of its inputs (the layer before; for the first the wiring's inputs) reach which of its neurons."""
        layers = self.layers
        polarities = [self.sensory[:, layers[0]]]
        polarities += [self.recurrent[before][:, after] for before, after in pairwise(layers)]
        return [polarity != 0 for polarity in polarities]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wiring) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.sensory.tobytes(), self.recurrent.tobytes(), self.roles))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description; one string of "+", "-" and "." per row of an adjacency matrix."""
        return {
            "sensory": _to_rows(self.sensory),
            "recurrent": _to_rows(self.recurrent),
            "roles": {role: self.roles.count(role) for role in ROLES},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Wiring:
        """The inverse of `to_dict`. Raises ValueError when a key is missing or a row holds another character."""
        if missing := {"sensory", "recurrent", "roles"} - set(data):
            raise ValueError(
                f"a wiring needs the keys sensory, recurrent and roles; {', '.join(sorted(missing))} missing"
            )
        roles = tuple(role for role in data["roles"] for _ in range(data["roles"][role]))
        return cls(_from_rows(data["sensory"]), _from_rows(data["recurrent"]), roles)

    @classmethod
    def dense(cls, inputs: int, units: int, outputs: int | None = None) -> Wiring:
        """Everything connected to everything, all excitatory; the first `outputs` neurons (default: all) are motor neurons."""
        outputs = units if outputs is None else outputs
        _check_counts(inputs=inputs, units=units, outputs=outputs)
        if outputs > units:
            raise ValueError(f"outputs ({outputs}) cannot exceed units ({units})")
        roles = ("motor",) * outputs + ("inter",) * (units - outputs)
        return cls(np.ones((inputs, units), np.int8), np.ones((units, units), np.int8), roles)

    @classmethod
    def random(
        cls, inputs: int, units: int, outputs: int | None = None, sparsity: float = 0.5, seed: int = 1111
    ) -> Wiring:
        """Synapses at random, two in three of them excitatory; the first `outputs` neurons (default: all) are motor neurons.

        `sparsity` in [0, 1) is the share of possible synapses left out. One seed gives the graph of ncps 1.0.1's `Random`.
        """
        roles = cls.dense(inputs, units, outputs).roles
        _check_sparsity(sparsity)
        rng = np.random.default_rng(seed)
        # ncps draws the polarity of a sensory synapse twice and keeps the second
        recurrent = _scatter(rng, (units, units), sparsity, draws=1)
        sensory = _scatter(rng, (inputs, units), sparsity, draws=2)
        return cls(sensory, recurrent, roles)

    @classmethod
    def ncp(
        cls,
        inputs: int,
        inter: int,
        command: int,
        motor: int,
        sensory_fanout: int,
        inter_fanout: int,
        recurrent_command: int,
        motor_fanin: int,
        seed: int = 22222,
    ) -> Wiring:
        """A neural circuit policy: inputs -> inter -> command (recurrent) -> motor neurons, sparse and random.

        Each input reaches `sensory_fanout` inter neurons, each of these `inter_fanout` command neurons; `recurrent_command`
        synapses are drawn among the command neurons; each motor neuron listens to `motor_fanin` of them. A neuron that
        nothing reached is connected with the average degree. One seed gives the graph of ncps 1.0.1's `NCP`.

        Source: Lechner et al. 2020, "Neural circuit policies enabling auditable autonomy", doi:10.1038/s42256-020-00237-3.
        """
        _check_counts(inputs=inputs, inter=inter, command=command, motor=motor)
        for name, degree, layer, size in (
            ("sensory_fanout", sensory_fanout, "inter", inter),
            ("inter_fanout", inter_fanout, "command", command),
            ("motor_fanin", motor_fanin, "command", command),
        ):
            if not 1 <= degree <= size:
                raise ValueError(f"{name} must lie between 1 and the {size} {layer} neurons, got {degree}")
        if recurrent_command < 0:
            raise ValueError(f"recurrent_command cannot be negative, got {recurrent_command}")
        rng = np.random.RandomState(seed)
        roles = ("motor",) * motor + ("command",) * command + ("inter",) * inter
        sensory = np.zeros((inputs, len(roles)), np.int8)
        recurrent = np.zeros((len(roles), len(roles)), np.int8)
        motors, commands = np.arange(motor), np.arange(motor, motor + command)
        inters = np.arange(motor + command, len(roles))
        _connect(rng, sensory, np.arange(inputs), inters, sensory_fanout)
        _connect(rng, recurrent, inters, commands, inter_fanout)
        for _ in range(recurrent_command):
            source, target = rng.choice(commands), rng.choice(commands)
            recurrent[source, target] = _polarity(rng)
        _connect(rng, recurrent.T, motors, commands, motor_fanin)
        return cls(sensory, recurrent, roles)

    @classmethod
    def auto_ncp(cls, inputs: int, units: int, outputs: int, sparsity: float = 0.5, seed: int = 22222) -> Wiring:
        """A neural circuit policy from its size: 40 % of the neurons that are no motor neurons become command neurons.

        `sparsity` in [0, 1) is the share of possible synapses left out. One seed gives the graph of ncps 1.0.1's `AutoNCP`.
        Raises ValueError when `units` leaves fewer than three neurons beside the motor neurons.
        """
        _check_counts(inputs=inputs, units=units, outputs=outputs)
        if outputs >= units - 2:
            raise ValueError(f"auto_ncp needs units > outputs + 2, got {units} units and {outputs} outputs")
        _check_sparsity(sparsity)
        density = 1.0 - sparsity
        command = max(int(0.4 * (units - outputs)), 1)
        inter = units - outputs - command
        return cls.ncp(
            inputs,
            inter,
            command,
            outputs,
            sensory_fanout=max(int(inter * density), 1),
            inter_fanout=max(int(command * density), 1),
            recurrent_command=max(int(command * density * 2), 1),
            motor_fanin=max(int(command * density), 1),
            seed=seed,
        )

    @classmethod
    def lane_keeping(cls, inputs: int = 32, seed: int = 22222) -> Wiring:
        """The circuit that kept a car in its lane: 12 inter, 6 command and 1 motor neuron behind 32 features of a camera image.

        The fan-outs 6, 4 and 6 and the 6 recurrent draws give 32 x 6 + 12 x 4 + 6 + 6 = 252 synapses, less one for every
        pair of command neurons drawn twice. Four parameters for each of 252 and three for each neuron make the 1,065
        parameters of the paper, which counts 253 synapses.

        Source: Lechner et al. 2020, "Neural circuit policies enabling auditable autonomy", doi:10.1038/s42256-020-00237-3,
        figure 3 and table 2.
        """
        return cls.ncp(
            inputs,
            inter=12,
            command=6,
            motor=1,
            sensory_fanout=6,
            inter_fanout=4,
            recurrent_command=6,
            motor_fanin=6,
            seed=seed,
        )

    def draw(self) -> Figure:
        """A picture of the circuit from the inputs on the left to the motor neurons on the right; `savefig` writes it."""
        from .drawing import draw_wiring

        return draw_wiring(self)


def _scatter(rng: np.random.Generator, shape: tuple[int, int], sparsity: float, draws: int) -> NDArray[np.int8]:
    """Polarities with a share of `sparsity` zeros; each is the last of some draws."""
    polarity = np.zeros(shape[0] * shape[1], np.int8)
    synapses = rng.choice(len(polarity), size=round(len(polarity) * (1.0 - sparsity)), replace=False)
    polarity[synapses] = rng.choice([-1, 1, 1], size=(len(synapses), draws))[:, -1]
    return polarity.reshape(shape)


def _polarity(rng: np.random.RandomState) -> int:
    return int(rng.choice([-1, 1]))


def _connect(
    rng: np.random.RandomState, polarity: NDArray[np.int8], sources: NDArray, targets: NDArray, fanout: int
) -> None:
    """Connect every source to `fanout` random targets, then every target that was missed to an average number of sources."""
    missed = set(targets.tolist())
    for source in sources:
        for target in rng.choice(targets, size=fanout, replace=False):
            missed.discard(int(target))
            polarity[source, target] = _polarity(rng)
    fanin = min(max(int(len(sources) * fanout / len(targets)), 1), len(sources))
    for target in sorted(missed):
        for source in rng.choice(sources, size=fanin, replace=False):
            polarity[source, target] = _polarity(rng)


def _check_sparsity(sparsity: float) -> None:
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def _to_rows(polarity: NDArray[np.int8]) -> list[str]:
    return ["".join(_SYMBOLS[int(value)] for value in row) for row in polarity]


def _from_rows(rows: list[str]) -> NDArray[np.int8]:
    if strange := set("".join(rows)) - set(_POLARITIES):
        raise ValueError(f"adjacency rows use {' '.join(_POLARITIES)} only, found {min(strange)!r}")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("adjacency rows must have one length")
    return np.array([[_POLARITIES[symbol] for symbol in row] for row in rows], np.int8)
