"""How far a drone is from everything it could touch, and when contacts can be left out for it."""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch
from numba import njit

PLANE, SPHERE, CAPSULE, CYLINDER, BOX = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in ("PLANE", "SPHERE", "CAPSULE", "CYLINDER", "BOX")
)
IN_FREE_FLIGHT = int(mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
"""Flags of a simulation that touches nothing."""


class Obstacles:
    """The colliding geoms that are not the vehicle's: fixed in the world, or on mocap bodies.

    Planes, spheres, capsules, cylinders and boxes are measured exactly; any other shape as its bounding sphere.
    """

    def __init__(self, model: mujoco.MjModel, batch: Batch, vehicle: str) -> None:
        body = model.geom_bodyid
        collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        geoms = np.flatnonzero(collides & (body != model.body(vehicle).id))
        mocap = model.body_mocapid[body[geoms]]
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        # Of geoms on mocap bodies the pose in the body, of the others that in the world.
        moves = mocap[:, None] >= 0
        self._geometry = (
            model.geom_type[geoms],
            model.geom_size[geoms],
            model.geom_rbound[geoms],
            np.where(moves, model.geom_pos[geoms], data.geom_xpos[geoms]),
            np.where(moves, model.geom_quat[geoms], [_quaternion(data.geom_xmat[g]) for g in geoms]),
            mocap,
            batch.bind("mocap_pos"),
            batch.bind("mocap_quat"),
        )

    def distance(self, points: np.ndarray) -> np.ndarray:
        """From points [N, >= 3] m in the world, one a simulation, to the nearest surface, [N] m; negative inside."""
        out = np.empty(len(points))
        _distance(points, *self._geometry, out)
        return out


@njit(cache=True)
def switch_contacts(
    distance: np.ndarray, qvel: np.ndarray, span: np.ndarray, radius: float, acceleration: float, flags: np.ndarray
) -> bool:
    """Switch contacts off for the simulations whose vehicle cannot touch anything; returns whether any are left on.

    Args:
        distance: [N] from the vehicle's centre to the nearest surface, m.
        qvel: [N, 6] velocity first, m/s.
        span: [N] time ahead, s.
        radius: of the sphere around the vehicle, m.
        acceleration: nothing accelerates the vehicle harder, m/s².
        flags: [N] MuJoCo's disable flags; written.
    """
    anywhere = False
    for n in range(distance.shape[0]):
        speed = np.sqrt(qvel[n, 0] ** 2 + qvel[n, 1] ** 2 + qvel[n, 2] ** 2)
        # No comparison with NaN is true: a simulation that diverged keeps its contacts.
        clear = distance[n] > radius + speed * span[n] + 0.5 * acceleration * span[n] ** 2
        flags[n] = IN_FREE_FLIGHT if clear else 0
        anywhere = anywhere or not clear
    return anywhere


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    out = np.empty(4)
    mujoco.mju_mat2Quat(out, matrix)
    return out


@njit(cache=True)
def _distance(
    points: np.ndarray,
    kind: np.ndarray,
    size: np.ndarray,
    bound: np.ndarray,
    position: np.ndarray,
    quaternion: np.ndarray,
    mocap: np.ndarray,
    mocap_position: np.ndarray,
    mocap_quaternion: np.ndarray,
    out: np.ndarray,
) -> None:
    local, offset = np.empty(3), np.empty(3)
    for n in range(points.shape[0]):
        out[n] = np.inf
        for g in range(kind.shape[0]):
            offset[:] = points[n, :3]
            if mocap[g] >= 0:
                _into_frame(offset, mocap_position[n, mocap[g]], mocap_quaternion[n, mocap[g]], local)
                offset[:] = local
            _into_frame(offset, position[g], quaternion[g], local)
            out[n] = min(out[n], _to_surface(kind[g], size[g], bound[g], local))


@njit(cache=True)
def _into_frame(point: np.ndarray, origin: np.ndarray, quaternion: np.ndarray, out: np.ndarray) -> None:
    """The point in a frame's own coordinates: R^T (point - origin)."""
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    a, b, c = point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]
    out[0] = (1 - 2 * (y * y + z * z)) * a + 2 * (x * y + w * z) * b + 2 * (x * z - w * y) * c
    out[1] = 2 * (x * y - w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z + w * x) * c
    out[2] = 2 * (x * z + w * y) * a + 2 * (y * z - w * x) * b + (1 - 2 * (x * x + y * y)) * c


@njit(cache=True)
def _to_surface(kind: int, size: np.ndarray, bound: float, p: np.ndarray) -> float:
    """Signed distance from a point in a geom's frame to its surface."""
    if kind == PLANE:
        return p[2]
    if kind == CAPSULE:
        along = max(abs(p[2]) - size[1], 0.0)
        return np.sqrt(p[0] ** 2 + p[1] ** 2 + along**2) - size[0]
    if kind == CYLINDER:
        return _outside(np.sqrt(p[0] ** 2 + p[1] ** 2) - size[0], abs(p[2]) - size[1], -np.inf)
    if kind == BOX:
        return _outside(abs(p[0]) - size[0], abs(p[1]) - size[1], abs(p[2]) - size[2])
    radius = size[0] if kind == SPHERE else bound
    return np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2) - radius


@njit(cache=True)
def _outside(a: float, b: float, c: float) -> float:
    """Signed distance to a corner, edge or face, from those to the faces."""
    return np.sqrt(max(a, 0.0) ** 2 + max(b, 0.0) ** 2 + max(c, 0.0) ** 2) + min(max(a, b, c), 0.0)
