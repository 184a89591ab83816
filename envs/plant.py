"""Plant: the physical parameters of a batch that shifts may change, each with its nominal value."""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch


class Plant:
    """Per-simulation parameters of one moving body and its actuators, live in the simulation.

    mass [N] kg; inertia [N, 3] kg m², principal, body frame; actuator_gain [N, nu], 1 nominal, 0 dead;
    wind [N, 3] m/s and force [N, 3] N (a push at the centre of mass), world frame.
    """

    strongest_push = np.inf
    """The largest acceleration that `push` can give, m/s²."""

    def __init__(self, batch: Batch, model: mujoco.MjModel, body: str) -> None:
        body_id = model.body(body).id
        self._batch = batch
        self._mass = batch.expand("body_mass")[:, body_id]
        self._inertia = batch.expand("body_inertia")[:, body_id]
        self._gain = batch.expand("actuator_gainprm")[:, :, 0]
        self._nominal_gain = self._gain.copy()
        # MuJoCo's own fluid model is off (density 0): the field is the wind that physics.py's drag feels.
        self._wind = batch.expand("opt.wind")
        self._force = batch.bind("xfrc_applied")[:, body_id, :3]
        self.nominal_mass = float(model.body_mass[body_id])
        self.nominal_inertia = model.body_inertia[body_id].copy()
        self.mass = self._mass.copy()
        self.inertia = self._inertia.copy()
        self.actuator_gain = np.ones_like(self._gain)
        self.wind = self._wind.copy()
        self.force = self._force.copy()

    @property
    def actuators(self) -> int:
        return self.actuator_gain.shape[1]

    def push(self, acceleration: np.ndarray) -> None:
        """Accelerate every simulation's tracked rates, [N, E] m/s², here those along world x, y and z, from now on."""
        self.force[:] = acceleration * self.mass[:, None]
        self.commit(np.arange(len(self.mass)))

    def restore(self, ids: np.ndarray) -> None:
        """Nominal values for the simulations `ids`; takes effect with `commit`."""
        self.mass[ids] = self.nominal_mass
        self.inertia[ids] = self.nominal_inertia
        self.actuator_gain[ids] = 1.0
        self.wind[ids] = 0.0
        self.force[ids] = 0.0

    def commit(self, ids: np.ndarray) -> None:
        """Write the parameters of `ids` into the simulation, and what MuJoCo derives from them."""
        self._gain[ids] = self._nominal_gain[ids] * self.actuator_gain[ids]
        self._wind[ids] = self.wind[ids]
        self._force[ids] = self.force[ids]
        self._set_body(ids, self.mass[ids], self.inertia[ids])

    def _set_body(self, ids: np.ndarray, mass: np.ndarray, inertia: np.ndarray) -> None:
        changed = (self._mass[ids] != mass) | (self._inertia[ids] != inertia).any(1)
        if changed.any():
            self._mass[ids], self._inertia[ids] = mass, inertia
            # Subtree masses and inverse weights follow only through mj_setConst.
            self._batch.set_const(ids[changed])
