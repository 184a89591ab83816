"""Chart: curves over time that are uncovered as a film plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .brush import FAINT, RGBA, SMOOTH, SOFT, Box, Brush


@dataclass(frozen=True)
class Curve:
    """Values [K] at times [K] s, in one ink; dotted or drawn through."""

    time: np.ndarray
    values: np.ndarray
    ink: RGBA
    dotted: bool = False


class Chart:
    """Draws curves in a box.

    Args:
        brush: of the film.
        box: where the curves go; numbers stand left of it.
        span: first and last time, s.
        limits: the values at the lower and at the upper edge; what lies beyond is drawn on the edge.
        curves: those, the last on top.
    """

    def __init__(
        self, brush: Brush, box: Box, span: tuple[float, float], limits: tuple[float, float], curves: Sequence[Curve]
    ) -> None:
        self.brush, self.box, self.span, self.limits = brush, box, span, limits
        self.curves = self._paint(curves)

    def x(self, time: float) -> float:
        x0, _, x1, _ = self.box
        return x0 + (x1 - x0) * (time - self.span[0]) / max(self.span[1] - self.span[0], 1e-9)

    def y(self, value: float) -> float:
        _, y0, _, y1 = self.box
        low, high = self.limits
        return float(np.clip(y1 - (y1 - y0) * (value - low) / (high - low), y0, y1))

    def rule(self, pen: ImageDraw.ImageDraw) -> None:
        """Draw the lines at round values, with their numbers."""
        x0, _, x1, _ = self.box
        for value in ticks(*self.limits):
            y = self.y(value)
            pen.line(self.brush.box((x0, y, x1, y)), fill=FAINT, width=1)
            self.brush.text(pen, (x0 - 8, y), f"{value:g}".replace("-", "−"), 15, SOFT, anchor="rm")

    def reveal(self, image: Image.Image, time: float) -> None:
        """Show the curves up to this time."""
        left, top, _, bottom = self.brush.box(self.box)
        drawn = self.curves.crop((0, 0, max(1, self.brush.px(self.x(time)) - left), bottom - top))
        image.paste(drawn, (left, top), drawn)

    def _paint(self, curves: Sequence[Curve]) -> Image.Image:
        """Every curve to its end on a picture of the box."""
        left, top, right, bottom = self.brush.box(self.box)
        layer = Image.new("RGBA", (SMOOTH * (right - left), SMOOTH * (bottom - top)))
        pen, width = ImageDraw.Draw(layer), SMOOTH * self.brush.px(3)
        scale = self.brush.scale
        for curve in curves:
            path = [
                (SMOOTH * (self.x(t) * scale - left), SMOOTH * (self.y(v) * scale - top))
                for t, v in zip(curve.time, curve.values, strict=True)
            ]
            if not curve.dotted:
                pen.line(path, fill=curve.ink, width=width, joint="curve")
                continue
            every = max(1, round(0.012 * len(path)))
            for x, y in path[::every]:
                pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=curve.ink)
        return layer.resize((right - left, bottom - top), Image.Resampling.BOX)


def ticks(low: float, high: float) -> list[float]:
    """Two to five round values from `low` to `high`."""
    magnitude = 10.0 ** np.floor(np.log10(high - low))
    step = next(s * magnitude for s in (0.1, 0.2, 0.5, 1, 2, 5) if (high - low) / (s * magnitude) < 4)
    first = np.ceil(low / step - 1e-9)
    return [float(round(k * step, 10)) + 0.0 for k in np.arange(first, high / step - 1e-9)]
