"""Shifts of how the world looks: light, texture, fog and the camera's pose. They act on pictures alone."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class Light(PlantShift):
    """All lights, the headlight among them and what fog scatters, are `factor` times as bright.

    Args:
        factor: of the brightness; 0 is darkness.
        schedule: when. Strength scales factor - 1.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "light"
    site: ClassVar[str] = "appearance"
    changes = ("light",)

    factor: Magnitude = magnitude(0.4, "factor", least=0.0)

    @property
    def label(self) -> str:
        return f"light x{self.text('factor')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.factor])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["light"][ids] *= 1 + strength * (memory[:, 0] - 1)


@dataclass(frozen=True, kw_only=True)
class Texture(PlantShift):
    """The colours of the ground, and of the obstacles that are in the model, are multiplied with one of this hue.

    A picture shows nothing brighter than white: what is brighter is cut off.

    Args:
        hue: degrees, 0 red, 120 green, 240 blue; None draws one per episode.
        saturation: 0 leaves the colours as they are, 1 lets nothing but the hue through.
        brightness: factor beside that.
        schedule: when. Strength mixes white with the colour.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "texture"
    site: ClassVar[str] = "appearance"
    changes = ("tint",)

    hue: Magnitude = magnitude(None, "degrees")
    saturation: Magnitude = magnitude(0.5, "share", least=0.0, most=1.0)
    brightness: Magnitude = magnitude(1.0, "factor", least=0.0)

    @property
    def label(self) -> str:
        hue = "any hue" if self.hue is None else f"hue {self.text('hue')}°"
        return f"texture of {hue} {self.text('saturation', '.0%')}, x{self.text('brightness')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        hue = rng.uniform(0, 360) if self.hue is None else self.hue
        return self.brightness * np.array(colorsys.hsv_to_rgb(hue / 360 % 1, self.saturation, 1.0))

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["tint"][ids] *= 1 + strength[:, None] * (memory - 1)


@dataclass(frozen=True, kw_only=True)
class Fog(PlantShift):
    """Fog that hides all beyond `visibility`; nearer by, it takes its share linearly from an eighth of that on.

    Densities, 1 / visibility, of several add.

    Args:
        visibility: m.
        schedule: when. Strength scales the density.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "fog"
    site: ClassVar[str] = "appearance"
    changes = ("fog",)

    visibility: Magnitude = magnitude(8.0, "m", above=0.0)

    @property
    def label(self) -> str:
        return f"fog, {self.text('visibility')} m"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([1 / self.visibility])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["fog"][ids] += strength * memory[:, 0]


@dataclass(frozen=True, kw_only=True)
class CameraShift(PlantShift):
    """The vehicle's camera is mounted elsewhere, or looks elsewhere: moved and turned about its own nominal axes.

    Its turn is the rotation vector (roll, pitch, yaw), to which several add up. Cameras that follow the vehicle from
    outside stay where they are.

    Args:
        forward: m along where it looked.
        left: m.
        up: m.
        roll: degrees about the axis forward; positive, its left side goes up.
        pitch: degrees about the axis to the left; positive, it looks down.
        yaw: degrees about the axis upwards; positive, it looks to the left.
        schedule: when. Strength scales all of them.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "camera_shift"
    site: ClassVar[str] = "appearance"
    changes = ("camera_position", "camera_rotation")

    forward: Magnitude = magnitude(0.0, "m")
    left: Magnitude = magnitude(0.0, "m")
    up: Magnitude = magnitude(0.0, "m")
    roll: Magnitude = magnitude(0.0, "degrees")
    pitch: Magnitude = magnitude(10.0, "degrees")
    yaw: Magnitude = magnitude(0.0, "degrees")

    @property
    def label(self) -> str:
        units = {"forward": " m", "left": " m", "up": " m", "roll": "°", "pitch": "°", "yaw": "°"}
        parts = [f"{name} {self.text(name)}{unit}" for name, unit in units.items() if getattr(self, name) != 0]
        return f"camera {', '.join(parts) or 'as it is, 0 m'}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.forward, self.left, self.up, *np.radians([self.roll, self.pitch, self.yaw])])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        shift = strength[:, None] * memory
        plant["camera_position"][ids] += shift[:, :3]
        plant["camera_rotation"][ids] += shift[:, 3:]
