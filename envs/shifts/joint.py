"""Resistance of joints: viscous damping and dry friction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude, require

_NO_CONSTRAINTS = mujoco.mjtDisableBit.mjDSBL_CONSTRAINT.value
_NO_FRICTION = mujoco.mjtDisableBit.mjDSBL_FRICTIONLOSS.value


@dataclass(frozen=True, kw_only=True)
class JointShift(PlantShift):
    """Makes a resistance r of joints factor * r + added."""

    site: ClassVar[str] = "model"
    unit: ClassVar[str]

    joint: str = "all"
    factor: Magnitude = magnitude(1.0, "factor", least=0.0)
    added: Magnitude = magnitude(0.0, "in the joint's unit", least=0.0)

    @property
    def label(self) -> str:
        change = f"x{self.text('factor')}" if self.factor != 1.0 else ""
        change += f" +{self.text('added')} {self.unit}" if self.added != 0.0 else ""
        where = "all joints" if self.joint == "all" else self.joint
        return f"{self.name.replace('_', ' ')} of {where} {change.strip()}"

    def check(self, world: World) -> None:
        super().check(world)
        joints = [name for name in dict.fromkeys(_joint_of_dof(world.plant.model)) if name]
        if not joints:
            raise ValueError(f"shift {self.name!r} is of joints between bodies, of which this environment has none.")
        require(self.joint in ("all", *joints), self, "joint", self.joint, f'"all", or one of {", ".join(joints)}')

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        meant = [name != "" and self.joint in ("all", name) for name in _joint_of_dof(world.plant.model)]
        chosen = np.array(meant, dtype=float)
        return np.concatenate([chosen * (self.factor - 1), chosen * self.added])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        (name,) = self.changes
        excess, added = np.split(memory * strength[:, None], 2, axis=1)
        plant[name][ids] = plant[name][ids] * (1 + excess) + added


@dataclass(frozen=True, kw_only=True)
class JointDamping(JointShift):
    """Viscous damping d of a joint, whose force is -d times its velocity, becomes factor * d + added.

    Args:
        joint: name of the joint, "joint_" and its index if it has none; "all" is every joint between bodies.
        factor: of the damping there is, at least 0.
        added: N m s/rad of a joint that turns, N s/m of one that slides.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such joint.
    """

    name: ClassVar[str] = "joint_damping"
    unit: ClassVar[str] = "N m s/rad"
    changes = ("joint_damping",)

    added: Magnitude = magnitude(1.0, "N m s/rad or N s/m", least=0.0)


@dataclass(frozen=True, kw_only=True)
class JointFriction(JointShift):
    """Dry friction of a joint, a force up to f against its motion, becomes factor * f + added (MuJoCo's frictionloss).

    Args:
        joint: name of the joint, "joint_" and its index if it has none; "all" is every joint between bodies.
        factor: of the friction there is, at least 0.
        added: N m of a joint that turns, N of one that slides.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such joint.
    """

    name: ClassVar[str] = "joint_friction"
    unit: ClassVar[str] = "N m"
    changes = ("joint_friction",)

    added: Magnitude = magnitude(1.0, "N m or N", least=0.0)

    def check(self, world: World) -> None:
        super().check(world)
        if world.plant.model.opt.disableflags & (_NO_CONSTRAINTS | _NO_FRICTION):
            raise ValueError(
                f"shift {self.name!r} is a constraint to MuJoCo, and this model's constraints are disabled."
            )


def _joint_of_dof(model: mujoco.MjModel) -> list[str]:
    """[dofs] names of the joints; "" for those of a body that floats freely."""
    free = mujoco.mjtJoint.mjJNT_FREE
    names = ["" if model.jnt_type[j] == free else model.joint(j).name or f"joint_{j}" for j in range(model.njnt)]
    return [names[j] for j in model.dof_jntid]
