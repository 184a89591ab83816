"""Brush: text and smooth-edged shapes on pictures of any size, in one set of units."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...envs.drawing import Colour

RGBA = tuple[int, int, int, int]
Box = tuple[float, float, float, float]

LINES = 720
"""Sizes and places are in pixels of a picture so many lines high; a brush scales them."""
INK: RGBA = (244, 247, 252, 255)
PALE: RGBA = (216, 225, 240, 255)
SOFT: RGBA = (176, 190, 212, 255)
FAINT: RGBA = (150, 170, 200, 70)
DARK: RGBA = (20, 20, 24, 255)
PLATE: RGBA = (9, 14, 28, 222)
HEALTHY: RGBA = (70, 200, 130, 255)
SHIFT: RGBA = (255, 214, 64, 255)

SMOOTH = 4  # shapes are drawn this much larger, then reduced


class Brush:
    """Writes and draws on pictures of one size.

    Args:
        size: width and height of the pictures in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.scale = size[1] / LINES
        self.width = size[0] / self.scale

    def px(self, length: float) -> int:
        """A length in whole pixels, at least 1."""
        return max(1, round(length * self.scale))

    def box(self, box: Box) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels."""
        left, top, right, bottom = (round(value * self.scale) for value in box)
        return left, top, right, bottom

    def text(
        self,
        pen: ImageDraw.ImageDraw,
        place: tuple[float, float],
        text: str,
        size: float,
        ink: RGBA,
        bold: bool = False,
        anchor: str = "la",
        room: float = np.inf,
    ) -> float:
        """Write, in smaller letters if `room` is short; returns where the text ends, x."""
        font = _fitting(text, self.px(size), bold, room * self.scale)
        pen.text((place[0] * self.scale, place[1] * self.scale), text, ink, font, anchor)
        return place[0] + font.getlength(text) / self.scale

    def shape(self, image: Image.Image, box: Box, paint: Callable[[ImageDraw.ImageDraw, Box], None]) -> None:
        """Draw a smooth-edged shape: `paint` gets a pen on a picture of the box, `SMOOTH` times as large."""
        left, top, right, bottom = self.box(box)
        layer = Image.new("RGBA", (SMOOTH * (right - left), SMOOTH * (bottom - top)))
        paint(ImageDraw.Draw(layer), (0, 0, layer.width - 1, layer.height - 1))
        layer = layer.resize((right - left, bottom - top), Image.Resampling.BOX)
        if image.mode == "RGBA":
            image.alpha_composite(layer, (left, top))
        else:
            image.paste(layer, (left, top), layer)

    def plate(self, image: Image.Image, box: Box) -> None:
        """A dark plate with round corners, to write on."""
        radius = self.px(14) * SMOOTH
        self.shape(image, box, lambda pen, box: pen.rounded_rectangle(box, radius, fill=PLATE))

    def disc(self, image: Image.Image, centre: tuple[float, float], radius: float, ink: RGBA) -> None:
        x, y = centre
        box = (x - radius, y - radius, x + radius, y + radius)
        self.shape(image, box, lambda pen, box: pen.ellipse(box, fill=ink))

    def pill(self, text: str, size: float, ink: RGBA, plate: RGBA) -> Image.Image:
        """A line of text on a plate of its own, at most nine tenths of the picture wide."""
        font = _fitting(text, self.px(size), True, 0.9 * self.size[0])
        width, height = int(font.getlength(text)) + self.px(1.5 * size), self.px(1.8 * size)
        pill = Image.new("RGBA", (SMOOTH * width, SMOOTH * height), (*plate[:3], 0))
        ImageDraw.Draw(pill).rounded_rectangle((0, 0, *pill.size), SMOOTH * height // 2, fill=plate)
        pill = pill.resize((width, height), Image.Resampling.BOX)
        ImageDraw.Draw(pill).text((width / 2, height / 2), text, ink, font, "mm")
        return pill

    def stamp(self, image: Image.Image, pill: Image.Image, y: float, zoom: float = 1.0, opacity: float = 1.0) -> None:
        """Put a pill in the middle of the picture, `y` from the top."""
        width, height = round(pill.width * zoom), round(pill.height * zoom)
        shown = pill.resize((width, height), Image.Resampling.BILINEAR) if zoom > 1 else pill
        mask = shown.getchannel("A").point(lambda value: round(value * opacity))
        image.paste(shown, ((image.width - width) // 2, self.px(y) - height // 2), mask)


def ink_of(colour: Colour) -> RGBA:
    """A colour in [0, 1] as an opaque ink."""
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue, 255


def blend(first: RGBA, last: RGBA, share: float) -> RGBA:
    """`share` of the way from the first to the last ink."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue, alpha = (round(a + share * (b - a)) for a, b in zip(first, last, strict=True))
    return red, green, blue, alpha


def _fitting(text: str, size: int, bold: bool, room: float) -> ImageFont.FreeTypeFont:
    """The largest font up to `size` in which the text is no wider than `room`; at least 1 pixel high."""
    font = _font(size, bold)
    while font.size > 1 and font.getlength(text) > room:
        font = _font(int(font.size) - 1, bold)
    return font


@lru_cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries along, so that films look alike on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
