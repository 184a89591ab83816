"""Plant: the physical parameters of a batch of simulations that shifts may change, each with its nominal value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Parameter:
    """What a parameter is counted in, its nominal value, how many of it a simulation has, and its bounds."""

    unit: str
    nominal: float = 0.0
    count: int = 0
    """0: one number; else so many."""
    least: float = -np.inf
    most: float = np.inf


class Simulations(Protocol):
    """What holds the models: a `mujoco.batch.Batch`, or something that looks like one."""

    def expand(self, name: str, /) -> np.ndarray:
        """The field `name` of every simulation's model, [N, ...], live."""

    def bind(self, name: str, /) -> np.ndarray:
        """The field `name` of every simulation's data, [N, ...], live."""

    def set_const(self, ids: Any, /) -> Any:
        """Bring up to date what MuJoCo derives from the models of `ids`."""


BODY = {"mass": "kg", "inertia": "kg m²", "centre_of_mass": "m", "link_length": "factor"}
"""Parameters of every body of a model, [N, bodies], [N, bodies, 3, 3], [N, bodies, 3] and [N, bodies]: the inertia is the tensor
about the centre of mass, in body axes; the centre of mass in the body's frame. The link's length stretches all places in
the body's frame, about its origin: of geoms, sites and joints, of the centre of mass, and where the bodies that it carries are
hinged; capsules grow as long, other geoms keep their size, and masses and inertias theirs."""

_DIRECT = {
    "gravity": ("opt.gravity", "m/s²"),
    "wind": ("opt.wind", "m/s"),
    "friction": ("geom_friction", "1"),
    "joint_damping": ("dof_damping", "N m s/rad or N s/m"),
    "joint_friction": ("dof_frictionloss", "N m or N"),
}
"""Parameters that are fields of MuJoCo's model."""


class Plant:
    """Per-simulation parameters: `plant[name]` is an array of N rows, to be changed in place.

    `restore`, change, then `commit`: what is derived from them follows with the last.

    Args:
        num_envs: simulations.
        actuators: names of what the actions move, in the order of the parameters `actuator_…` [N, actuators].
        motors: those among them that drive; None is all.
        parameters: what there is, by name.
    """

    model: mujoco.MjModel
    """Of a `ModelPlant` alone, as are `body` and `surfaces`: a shift requires a parameter of the model before it looks at them."""
    body: int
    surfaces: Mapping[str, tuple[int, ...]]
    """Geoms that rub against others, by name; one without a name is "geom_" and its index."""

    def __init__(
        self,
        num_envs: int,
        actuators: Sequence[str] = (),
        motors: Sequence[str] | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> None:
        self.actuators = tuple(actuators)
        self.motors = self.actuators if motors is None else tuple(motors)
        own = dict(parameters or {})
        columns = [(name, float, (p.count,)) if p.count else (name, float) for name, p in own.items()]
        self.values = np.zeros(num_envs, np.dtype(columns))
        """[N] the parameters, for compiled code."""
        for name, parameter in own.items():
            self.values[name] = parameter.nominal
        self._values: dict[str, np.ndarray] = {name: self.values[name] for name in own}
        self._nominal: dict[str, np.ndarray] = {name: values.copy() for name, values in self._values.items()}
        self._own = tuple(own)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that there are."""
        return self._own

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._values:
            self.require(name, "a shift")
        return self._values[name]

    def nominal(self, name: str) -> np.ndarray:
        """The unshifted values [N, ...] of a parameter."""
        self[name]
        return self._nominal[name]

    def require(self, name: str, who: str) -> None:
        """Raise ValueError unless there is a parameter of this name; `who` asks for it."""
        if name not in self.names:
            raise ValueError(
                f"{who} changes {name!r}, which this environment has not; it has: {', '.join(self.names)}."
            )

    def restore(self, ids: np.ndarray, names: Sequence[str]) -> None:
        """Nominal values for the simulations `ids`; takes effect with `commit`."""
        for name in names:
            values = self[name]
            values[ids] = self._nominal[name][ids]

    def commit(self, ids: np.ndarray, names: Sequence[str]) -> None:
        """Let what is derived from these parameters of `ids` follow."""


class ModelPlant(Plant):
    """A plant with a model, live in the simulation.

    Of any model these may change: BODY; gravity [N, 3]; wind [N, 3], world frame, what drag and fluid forces feel; friction
    [N, geoms, 3]; joint_damping and joint_friction [N, dofs]; force and torque [N, bodies, 3], at the centres of mass, world
    frame. A kind of vehicle has more.

    Args:
        simulations: what holds the models and the data.
        model: the nominal model.
        body: name or index of the body that moves about, for shifts that name none.
        actuators: names of what the actions move, in the order of the parameters `actuator_…` [N, actuators].
        motors: those among them that drive; None is all.
        parameters: what this kind of plant has besides, by name.
    """

    strongest_push = np.inf
    """The largest acceleration that `push` can give, m/s²."""

    def __init__(
        self,
        simulations: Simulations,
        model: mujoco.MjModel,
        body: str | int,
        actuators: Sequence[str] = (),
        motors: Sequence[str] | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> None:
        own = {"mass": Parameter("kg"), "link_length": Parameter("factor", 1.0)} | dict(parameters or {})
        super().__init__(len(simulations.expand("body_mass")), actuators, motors, own)
        self.model = model
        self.body = model.body(body).id
        geoms = {model.geom(i).name or f"geom_{i}": (i,) for i in range(model.ngeom)}
        self.surfaces = {"all": tuple(range(model.ngeom))} | geoms
        self._simulations = simulations
        self._hinges = _hinges(model)
        # In `values` these two are those of `body`; by their names they are those of every body.
        self.values["mass"] = model.body_mass[self.body]
        for name in ("mass", "link_length"):
            del self._values[name], self._nominal[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*BODY, *_DIRECT, "force", "torque", *super().names)))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._values and name in self.names:
            self._values[name] = values = self._expand(name)
            self._nominal[name] = values.copy()
        return super().__getitem__(name)

    def push(self, acceleration: np.ndarray) -> None:
        """Accelerate every simulation's tracked rates, [N, E] m/s², here those along world x, y and z, from now on."""
        self["force"][:, self.body] = acceleration * self["mass"][:, self.body, None]

    def commit(self, ids: np.ndarray, names: Sequence[str]) -> None:
        if any(name in BODY for name in names):
            for name in ("mass", "link_length"):
                self.values[name][ids] = self[name][ids, self.body]
            self._write(ids, self._bodies(ids) | (self._places(ids) if "link_length" in names else {}))

    def _expand(self, name: str) -> np.ndarray:
        """The array behind a parameter: a live view where it is a field of MuJoCo's, else an array for `commit` to write."""
        if name in _DIRECT:
            return self._simulations.expand(_DIRECT[name][0])
        if name in ("force", "torque"):
            return self._simulations.bind("xfrc_applied")[:, :, slice(3) if name == "force" else slice(3, 6)]
        if name == "mass":
            return self._simulations.expand("body_mass").copy()
        if name == "centre_of_mass":
            return self._simulations.expand("body_ipos").copy()
        if name == "link_length":
            return np.ones((len(self.values), self.model.nbody))
        axes = Rotation.from_quat(self._simulations.expand("body_iquat").reshape(-1, 4), scalar_first=True).as_matrix()
        principal = self._simulations.expand("body_inertia")
        turned = axes.reshape(*principal.shape, 3)
        return turned * principal[:, :, None, :] @ turned.swapaxes(2, 3)

    def _bodies(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Mass, centre of mass and inertia in the models' terms; the axes of an inertia that was not changed stay."""
        inertia, stretch = self["inertia"][ids], self["link_length"][ids, :, None] - 1.0
        nominal = (inertia == self._nominal["inertia"][ids]).all((2, 3))[..., None]
        principal, axes = principal_axes(inertia)
        return {
            "body_mass": self["mass"][ids],
            "body_ipos": self["centre_of_mass"][ids] + stretch * self.model.body_ipos,
            "body_inertia": np.where(nominal, self.model.body_inertia, principal),
            "body_iquat": np.where(nominal, self.model.body_iquat, axes),
        }

    def _places(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """What the lengths of the links decide, in the models' terms."""
        model, length = self.model, self["link_length"][ids, :, None]
        fields = {
            field: getattr(model, field) * length[:, owner]
            for field, owner in (
                ("geom_pos", model.geom_bodyid),
                ("site_pos", model.site_bodyid),
                ("jnt_pos", model.jnt_bodyid),
            )
        }
        # A body hangs at its hinge: that moves with the body that carries it, and away from its own stretched frame.
        carried = (model.body_pos + self._hinges) * (length[:, model.body_parentid] - 1.0)
        sizes = np.tile(model.geom_size, (len(ids), 1, 1))
        capsules = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)
        sizes[:, capsules, 1] *= length[:, model.geom_bodyid[capsules], 0]
        return fields | {"body_pos": model.body_pos + carried - self._hinges * (length - 1.0), "geom_size": sizes}

    def _write(self, ids: np.ndarray, fields: Mapping[str, np.ndarray]) -> None:
        """Write fields [n, ...] of the models of `ids`."""
        changed = np.zeros(len(ids), dtype=bool)
        for name, values in fields.items():
            live = self._simulations.expand(name)
            changed |= (live[ids] != values).reshape(len(ids), -1).any(1)
            live[ids] = values
        if changed.any():
            # Subtree masses, inverse weights and bounding volumes follow only through mj_setConst.
            self._simulations.set_const(ids[changed])


def _hinges(model: mujoco.MjModel) -> np.ndarray:
    """[bodies, 3] m from each body's origin to its first hinge or ball joint, in its parent's axes; 0 where it has none."""
    hinges = np.zeros((model.nbody, 3))
    turns = (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE) | (model.jnt_type == mujoco.mjtJoint.mjJNT_BALL)
    for joint in np.flatnonzero(turns)[::-1]:
        body = model.jnt_bodyid[joint]
        mujoco.mju_rotVecQuat(hinges[body], model.jnt_pos[joint], model.body_quat[body])
    return hinges


def principal_axes(inertia: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal moments [..., 3] of inertia tensors [..., 3, 3], and the quaternions [..., 4] of their axes.

    A diagonal tensor keeps its axes.
    """
    diagonal = np.diagonal(inertia, axis1=-2, axis2=-1)
    skew = (np.abs(np.triu(inertia, 1)).sum((-2, -1)) > 1e-12 * diagonal.sum(-1)) & (diagonal > 0).all(-1)
    moments, axes = diagonal.copy(), np.zeros((*diagonal.shape[:-1], 4))
    axes[..., 0] = 1.0
    if skew.any():
        moments[skew], turned = np.linalg.eigh(inertia[skew])
        turned[np.linalg.det(turned) < 0, :, 0] *= -1.0
        axes[skew] = Rotation.from_matrix(turned).as_quat(scalar_first=True)
    return moments, axes
