"""Appearance: what may change of how a world looks. It concerns pictures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from .plant import Parameter

PARAMETERS = {
    "light": Parameter("factor", 1.0, least=0.0),
    "tint": Parameter("factor of red, green and blue", 1.0, 3, least=0.0),
    "fog": Parameter("1/m: 1 / visibility", 0.0, least=0.0),
    "camera_position": Parameter("m", 0.0, 3),
    "camera_rotation": Parameter("rad", 0.0, 3),
}
"""By name, as a `ModelPlant` takes them: the brightness of all lights; the colour with which those of ground and obstacles are
multiplied; the fog's density; the place of the vehicle's camera relative to the nominal one, and its rotation vector, both in
the camera's nominal axes, forward, left and up."""

_KINDS = ("ambient", "diffuse", "specular")
_TO_CAMERA = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
"""From forward, left and up to a camera's axes in MuJoCo: x to the right, y up, z backwards."""
_OF_MATERIAL = (0.5, 0.5, 0.5, 1.0)
"""Colour of a geom that has its material's."""


class Appearance:
    """The looks of a model: what they were, and what values of PARAMETERS make of them.

    Args:
        model: it is changed in place, in what concerns pictures alone.
        cameras: indices of the cameras on the vehicle.
    """

    def __init__(self, model: mujoco.MjModel, cameras: Sequence[int]) -> None:
        self._model, self._cameras = model, list(cameras)
        self._lights = [getattr(owner, prefix + kind) for kind in _KINDS for owner, prefix in _lit(model)]
        self._nominal_lights = [light.copy() for light in self._lights]
        still = (model.body_weldid == 0) | (model.body_mocapid >= 0)
        self._still = np.flatnonzero(still[model.geom_bodyid])
        self._nominal_rgba = model.geom_rgba[self._still]
        self._nominal_fog = np.array([model.vis.map.fogstart, model.vis.map.fogend, *model.vis.rgba.fog[:3]])
        self._position, self._rotation = model.cam_pos[self._cameras], model.cam_quat[self._cameras]
        self._shown = np.hstack([np.full(p.count or 1, p.nominal) for p in PARAMETERS.values()])

    def show(self, values: Mapping[str, np.ndarray]) -> bool:
        """Write one simulation's `values` of PARAMETERS into the model.

        Returns:
            Whether the fog has changed, which a rendering context reads but once: make it anew.
        """
        before, self._shown = self._shown, np.hstack([values[name] for name in PARAMETERS])
        if (self._shown == before).all():
            return False
        for light, nominal in zip(self._lights, self._nominal_lights, strict=True):
            light[:] = values["light"] * nominal
        self._paint(values["tint"])
        self._mount(values["camera_position"], values["camera_rotation"])
        return self._set_fog(float(values["fog"]), float(values["light"]))

    def _paint(self, tint: np.ndarray) -> None:
        model, rgba = self._model, self._nominal_rgba.copy()
        if (tint != 1.0).any():
            material = model.geom_matid[self._still]
            of_material = (rgba == _OF_MATERIAL).all(1) & (material >= 0)
            rgba[of_material] = model.mat_rgba[material[of_material]]
            rgba[:, :3] *= tint
        model.geom_rgba[self._still] = rgba

    def _mount(self, position: np.ndarray, rotation: np.ndarray) -> None:
        axes = Rotation.from_quat(self._rotation, scalar_first=True)
        turned = axes * Rotation.from_rotvec(_TO_CAMERA @ rotation)
        self._model.cam_pos[self._cameras] = self._position + axes.apply(_TO_CAMERA @ position)
        self._model.cam_quat[self._cameras] = turned.as_quat(scalar_first=True)

    def _set_fog(self, density: float, light: float) -> bool:
        model, (begins, ends, *colour) = self._model, self._nominal_fog
        share = 1.0 / max(density * ends * model.stat.extent, 1.0)  # of the nominal distances, which are in extents
        fog = np.array([share * begins, share * ends, *np.minimum(light * np.array(colour), 1.0)], dtype=np.float32)
        before = np.array([model.vis.map.fogstart, model.vis.map.fogend, *model.vis.rgba.fog[:3]], dtype=np.float32)
        model.vis.map.fogstart, model.vis.map.fogend = fog[:2]
        model.vis.rgba.fog[:3] = fog[2:]
        return bool((fog != before).any())


def _lit(model: mujoco.MjModel) -> tuple[tuple[object, str], ...]:
    """What has the fields of light, and what their names begin with: the model's lights, and the headlight."""
    return (model, "light_"), (model.vis.headlight, "")
