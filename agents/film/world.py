"""What the world does to the vehicles now, in icons at the upper right: whichever is ever off nominal."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ...envs.driving.looks import SLICK, SLIPPERY
from ...envs.drone.looks import FAULT
from .brush import DARK, FAINT, HEALTHY, PLATE, SHIFT, SMOOTH, SOFT, Brush, blend, ink_of
from .take import Take

FIRST_Y, ROW = 20.0, 92.0


class WorldIcons:
    """Draws wind, payload, motors, grip, and how strongly every other shift acts.

    Args:
        take: the episodes; the longest tells of the world.
        brush: of the film.
    """

    def __init__(self, take: Take, brush: Brush) -> None:
        self.take, self.brush = take, brush
        self.x = brush.width - 64

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw, step: int, across: np.ndarray) -> None:
        episode = self.take.longest
        row = self.take.row(episode, step)
        y = FIRST_Y
        if np.abs(episode.wind).max() > 0.1:
            self._wind(image, pen, y, across @ episode.wind[row])
            y += ROW
        if np.abs(episode.payload).max() > 1e-3:
            self._payload(image, pen, y, float(episode.payload[row]))
            y += ROW
        if episode.motor_effectiveness.min() < 0.995:
            self._motors(image, pen, y, episode.motor_effectiveness[row])
            y += ROW
        for label, driven in zip(self.take.labels, self.take.episodes, strict=True):
            friction = driven.scene.get("friction")
            if friction is not None and np.abs(friction - 1).max() > 0.01:
                self._grip(pen, y, label, friction[self.take.row(driven, step)])
                y += ROW
        for column, name in self.take.untraced:
            self._strength(pen, y, name, float(episode.shift[row, column]))
            y += 44

    def _wind(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, wind: np.ndarray) -> None:
        speed = float(np.hypot(*wind))
        box = (self.x - 40, y, self.x + 40, y + 80)
        edge = SMOOTH * self.brush.px(1.5)
        self.brush.shape(
            image, box, lambda pen, box: pen.ellipse(box, fill=PLATE, outline=(*SOFT[:3], 150), width=edge)
        )
        if speed > 0.1:
            along = np.array([wind[0], -wind[1]]) / speed
            aside = np.array([-along[1], along[0]])
            outline = [(30, 0), (4, 15), (4, 5), (-28, 5), (-28, -5), (4, -5), (4, -15)]
            corners = [tuple((40 + a * along + b * aside) * self.brush.scale * SMOOTH) for a, b in outline]
            self.brush.shape(image, box, lambda pen, _: pen.polygon(corners, fill=SHIFT))
        self._figure(pen, y, "wind", f"{speed:.1f} m/s", speed > 0.1)

    def _payload(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, mass: float) -> None:
        x, loaded = self.x, abs(mass) > 1e-3
        ink = SHIFT if loaded else FAINT
        self.brush.shape(
            image, (x - 26, y + 14, x + 26, y + 66), lambda pen, box: pen.rounded_rectangle(box, box[2] / 12, fill=ink)
        )
        tape = (x - 6, y + 14, x + 6, y + 66)
        self.brush.shape(image, tape, lambda pen, box: pen.rectangle(box, fill=(*DARK[:3], 110)))
        self._figure(pen, y, "payload", f"{mass:+.2f} kg" if loaded else "none", loaded)

    def _motors(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, effectiveness: np.ndarray) -> None:
        weakest = float(effectiveness.min())
        # rotor_0 is front left seen from above, then counterclockwise; a car has one motor
        places = ((-1, -1), (-1, 1), (1, 1), (1, -1)) if len(effectiveness) == 4 else ((0, 0),)
        for left, (i, j) in zip(effectiveness, places, strict=True):
            ink = blend(HEALTHY, ink_of(FAULT), 2 * (1 - float(left)))
            self.brush.disc(image, (self.x + 19 * i, y + 40 + 19 * j), 15, ink)
        lost = weakest < 0.995
        name = "motors" if len(effectiveness) > 1 else "motor"
        self._figure(pen, y, name, f"−{100 * (1 - weakest):.0f} %" if lost else "healthy", lost)

    def _grip(self, pen: ImageDraw.ImageDraw, y: float, label: str, friction: np.ndarray) -> None:
        """The four wheels from above, in the colour of the ground that they find."""
        for factor, (i, j) in zip(friction, ((-1, -1), (1, -1), (-1, 1), (1, 1)), strict=True):
            ink = blend(HEALTHY, ink_of(SLIPPERY), (1 - float(factor)) / (1 - SLICK))
            x, middle = self.x + 17 * i, y + 40 + 20 * j
            pen.rounded_rectangle(self.brush.box((x - 7, middle - 14, x + 7, middle + 14)), self.brush.px(4), fill=ink)
        lowest = float(friction.min())
        self._figure(pen, y, f"grip, {label}", f"×{lowest:.2f}", lowest < 0.99)

    def _strength(self, pen: ImageDraw.ImageDraw, y: float, name: str, strength: float) -> None:
        """A bar, full while the shift acts with all its strength."""
        right = self.brush.width - 24
        live = strength > 0
        self.brush.text(pen, (right, y), name, 18, SHIFT if live else SOFT, bold=live, anchor="ra", room=320)
        bar = (right - 160, y + 26, right, y + 32)
        pen.rectangle(self.brush.box(bar), fill=PLATE)
        if live:
            pen.rectangle(self.brush.box((bar[0], bar[1], bar[0] + 160 * strength, bar[3])), fill=SHIFT)

    def _figure(self, pen: ImageDraw.ImageDraw, y: float, name: str, value: str, live: bool) -> None:
        x = self.brush.width - 118
        self.brush.text(pen, (x, y + 14), name, 16, SOFT, anchor="ra")
        self.brush.text(pen, (x, y + 34), value, 26, SHIFT if live else SOFT, bold=True, anchor="ra")
