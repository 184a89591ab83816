"""What is written over the picture: what shifts and when, the error of each drone, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...envs.drone.looks import FAULT
from ..episode import Episode
from ..evaluation.metrics import post_shift_rmse
from .scene import colours
from .take import Take

RGBA = tuple[int, int, int, int]
Box = tuple[float, float, float, float]

# Sizes and places are in pixels of a picture 720 lines high and 1280 wide; `Overlay` scales them.
LINES = 720
INK: RGBA = (244, 247, 252, 255)
PALE: RGBA = (216, 225, 240, 255)
SOFT: RGBA = (176, 190, 212, 255)
FAINT: RGBA = (150, 170, 200, 70)
PLATE: RGBA = (9, 14, 28, 222)
HEALTHY: RGBA = (70, 200, 130, 255)
SHIFT: RGBA = (255, 214, 64, 255)
NUMBERS_Y = 574
PANEL: Box = (20, 560, 1260, 704)
CHART: Box = (520, 594, 1236, 676)

BANNER_S = 1.7
SUMMARY_S = 1.8
READOUT_S = 0.2  # the numbers change this often, and show the mean since they last did
SMOOTH = 4  # shapes are drawn this much larger, then reduced


class Overlay:
    """Writes on the pictures of one take.

    Args:
        take: the episodes.
        steps: control steps of the frames, in order; they span the time axis of the chart.
        size: width and height of the pictures in pixels.
        vehicle_mass: of the bare drone in kg, to speak of a payload in per cent.
    """

    def __init__(self, take: Take, steps: range, size: tuple[int, int], vehicle_mass: float) -> None:
        self.take, self.steps, self.size = take, steps, size
        self.scale = size[1] / LINES
        self.width = size[0] / self.scale
        self.inks = [_ink(colour) for colour in colours(take)]
        self.changes = take.changes(vehicle_mass)
        self.ceiling = self._ceiling()
        self.still = self._still()
        self.curves = self._curves()
        self.tags = [
            (self._pill(label, 19, ink, PLATE), self._pill(f"{label}: crashed", 19, _ink(FAULT), PLATE))
            for label, ink in zip(take.labels, self.inks, strict=True)
        ]
        self.banner = self._pill(" · ".join(self.changes), 36, (20, 20, 24, 255), SHIFT) if self.changes else None
        self.summary = self._pill(_summary(take), 27, INK, (9, 14, 28, 235)) if take.onset_s is not None else None

    def draw(
        self, picture: np.ndarray, step: int, tags: Sequence[tuple[float, float]], across: np.ndarray
    ) -> np.ndarray:
        """Write on one picture.

        Args:
            picture: uint8 [height, width, 3].
            step: its control step.
            tags: pixel (x, y) at which each drone's name is to stand.
            across: [2, 3] the world vectors that point right and away in the picture, for the wind's arrow.

        Returns:
            A new picture, uint8 [height, width, 3].
        """
        image = Image.fromarray(np.ascontiguousarray(picture))
        image.paste(self.still, (0, 0), self.still)
        pen = ImageDraw.Draw(image, "RGBA")
        for index, place in enumerate(tags):
            self._tag(image, index, step, place)
        self._world(image, pen, step, across)
        self._readout(pen, step)
        self._reveal(image, step)
        self._announce(image, step)
        return np.asarray(image)

    def _still(self) -> Image.Image:
        """All that never changes: title, plates, axes."""
        layer = Image.new("RGBA", self.size)
        scrim = np.linspace(150, 0, self._px(130)).astype(np.uint8)[:, None]
        layer.paste((5, 9, 20), (0, 0, *self.size))
        shade = np.zeros((self.size[1], self.size[0]), np.uint8)
        shade[: len(scrim)] = scrim
        layer.putalpha(Image.fromarray(shade))
        self._shape(layer, self._panel, lambda pen, box: pen.rounded_rectangle(box, self._px(14) * SMOOTH, fill=PLATE))
        pen = ImageDraw.Draw(layer)
        self._text(pen, (28, 18), self._title(), 34, INK, bold=True, room=self.width - 250)
        self._text(pen, (29, 64), self._subtitle(), 19, PALE)
        for index, label in enumerate(self.take.labels):
            self._text(pen, (44 + 220 * index, NUMBERS_Y), label.upper(), 18, self.inks[index], bold=True)
        self._axes(pen)
        return layer

    def _title(self) -> str:
        if not self.changes:
            return "No shift: the world the policy was trained in"
        return f"{' · '.join(self.changes)} at {self.take.onset_s:.1f} s"

    def _subtitle(self) -> str:
        if len(self.take.episodes) == 1:
            return f"adapter: {self.take.episodes[0].meta['adapter']}"
        same = "Same policy, same path" if self.take.same_policy else "Same path"
        where = "on the road" if self.take.of_cars else "in flight"
        return f"{same}. One stays frozen, one keeps learning {where}." if "frozen" in self.take.labels else same

    def _axes(self, pen: ImageDraw.ImageDraw) -> None:
        x0, y0, x1, y1 = self._chart
        self._text(pen, (x0, PANEL[1] + 10), "distance from the path, cm", 16, SOFT)
        self._text(pen, (x1, PANEL[1] + 10), "white: where it should be", 16, SOFT, anchor="ra")
        for value in _ticks(self.ceiling):
            y = self._chart_y(value)
            pen.line(self._box((x0, y, x1, y)), fill=FAINT, width=1)
            self._text(pen, (x0 - 10, y), f"{value:g}", 15, SOFT, anchor="rm")
        first, last = self._time(self.steps[0]), self._time(self.steps[-1])
        origin = self.take.onset_s or 0.0
        for second in range(int(np.ceil(first - origin)), int(last - origin) + 1):
            if second != 0 or not self.changes:
                named = f"{second:+d} s".replace("-", "−") if self.changes else f"{second} s"
                self._text(pen, (self._chart_x(origin + second), y1 + 5), named, 15, SOFT, anchor="ma")
        if self.changes and first <= origin <= last:
            x = self._chart_x(origin)
            pen.line(self._box((x, y0 - 6, x, y1)), fill=SHIFT, width=self._px(2))
            self._text(pen, (x, y1 + 5), "shift", 15, SHIFT, True, "ma")

    def _curves(self) -> Image.Image:
        """Every curve to its end on a picture of the chart; the film uncovers it from the left."""
        box = self._box(self._chart)
        layer = Image.new("RGBA", (SMOOTH * (box[2] - box[0]), SMOOTH * (box[3] - box[1])))
        pen = ImageDraw.Draw(layer)
        for episode, ink in zip(self.take.episodes, self.inks, strict=True):
            rows = range(self.steps[0], self.take.row(episode, self.steps[-1]) + 1)
            points = [self._chart_point(episode, row) for row in rows]
            if len(points) > 1:
                path = [(SMOOTH * (x * self.scale - box[0]), SMOOTH * (y * self.scale - box[1])) for x, y in points]
                pen.line(path, fill=ink, width=SMOOTH * self._px(3), joint="curve")
        return layer.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BOX)

    def _reveal(self, image: Image.Image, step: int) -> None:
        """The curves up to now, a dot at the head of each."""
        left, top, _, bottom = self._box(self._chart)
        now = self._px(self._chart_x(self._time(step)))
        drawn = self.curves.crop((0, 0, max(1, now - left), bottom - top))
        image.paste(drawn, (left, top), drawn)
        for index, episode in enumerate(self.take.episodes):
            row = self.take.row(episode, step)
            ink = _ink(FAULT) if self.take.crashed(episode, step) else self.inks[index]
            self._disc(image, self._chart_point(episode, row), 5.5, ink)

    def _readout(self, pen: ImageDraw.ImageDraw, step: int) -> None:
        """The mean error of the last moments in large figures."""
        width = max(1, round(READOUT_S / self.take.dt))
        last = step - (step - self.steps[0]) % width
        for index, episode in enumerate(self.take.episodes):
            place = 42 + 220 * index, NUMBERS_Y + 22
            if self.take.crashed(episode, step):
                self._text(pen, (place[0], place[1] + 14), "crashed", 38, _ink(FAULT), bold=True)
                continue
            row = self.take.row(episode, last)
            error = 100 * float(np.mean(episode.error[max(0, row - width + 1) : row + 1]))
            end = self._text(pen, place, f"{error:.1f}" if error < 99.95 else f"{error:.0f}", 56, INK, bold=True)
            self._text(pen, (end + 8, place[1] + 29), "cm", 24, SOFT)
        self._clock(pen, self._time(step))

    def _clock(self, pen: ImageDraw.ImageDraw, time: float) -> None:
        place = (44, NUMBERS_Y + 96)
        if self.take.onset_s is None:
            self._text(pen, place, f"{time:.1f} s", 16, SOFT)
            return
        since = time - self.take.onset_s
        text = f"{time:.1f} s, {abs(since):.1f} s {'after' if since > 0 else 'before'} the shift"
        self._text(pen, place, text, 16, SHIFT if since > 0 else SOFT)

    def _world(self, image: Image.Image, pen: ImageDraw.ImageDraw, step: int, across: np.ndarray) -> None:
        """What the world does to the drones now, top right: wind, payload, motors, whichever is ever off nominal."""
        episode = self.take.longest
        row = self.take.row(episode, step)
        y = 20.0
        if np.abs(episode.wind).max() > 0.1:
            self._wind(image, pen, y, across @ episode.wind[row])
            y += 92
        if np.abs(episode.payload).max() > 1e-3:
            self._payload(image, pen, y, float(episode.payload[row]))
            y += 92
        if episode.motor_effectiveness.min() < 0.995:
            self._motors(image, pen, y, episode.motor_effectiveness[row])

    def _wind(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, wind: np.ndarray) -> None:
        speed = float(np.hypot(*wind))
        x = self.width - 64
        box = (x - 40, y, x + 40, y + 80)
        edge = SMOOTH * self._px(1.5)
        self._shape(image, box, lambda pen, box: pen.ellipse(box, fill=PLATE, outline=(*SOFT[:3], 150), width=edge))
        if speed > 0.1:
            along = np.array([wind[0], -wind[1]]) / speed
            aside = np.array([-along[1], along[0]])
            outline = [(30, 0), (4, 15), (4, 5), (-28, 5), (-28, -5), (4, -5), (4, -15)]
            corners = [tuple((40 + a * along + b * aside) * self.scale * SMOOTH) for a, b in outline]
            self._shape(image, box, lambda pen, _: pen.polygon(corners, fill=SHIFT))
        self._figure(pen, y, "wind", f"{speed:.1f} m/s", speed > 0.1)

    def _payload(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, mass: float) -> None:
        x, loaded = self.width - 64, abs(mass) > 1e-3
        ink = SHIFT if loaded else FAINT
        self._shape(
            image, (x - 26, y + 14, x + 26, y + 66), lambda pen, box: pen.rounded_rectangle(box, box[2] / 12, fill=ink)
        )
        tape = (x - 6, y + 14, x + 6, y + 66)
        self._shape(image, tape, lambda pen, box: pen.rectangle(box, fill=(20, 20, 24, 110)))
        self._figure(pen, y, "payload", f"{mass:+.2f} kg" if loaded else "none", loaded)

    def _motors(self, image: Image.Image, pen: ImageDraw.ImageDraw, y: float, effectiveness: np.ndarray) -> None:
        x, weakest = self.width - 64, float(effectiveness.min())
        # rotor_0 is front left seen from above, then counterclockwise; a car has one motor
        places = ((-1, -1), (-1, 1), (1, 1), (1, -1)) if len(effectiveness) == 4 else ((0, 0),)
        for left, (i, j) in zip(effectiveness, places, strict=True):
            ink = _blend(HEALTHY, _ink(FAULT), 2 * (1 - float(left)))
            self._disc(image, (x + 19 * i, y + 40 + 19 * j), 15, ink)
        lost = weakest < 0.995
        self._figure(
            pen,
            y,
            "motors" if len(effectiveness) > 1 else "motor",
            f"−{100 * (1 - weakest):.0f} %" if lost else "healthy",
            lost,
        )

    def _figure(self, pen: ImageDraw.ImageDraw, y: float, name: str, value: str, live: bool) -> None:
        self._text(pen, (self.width - 118, y + 14), name, 16, SOFT, anchor="ra")
        self._text(pen, (self.width - 118, y + 34), value, 26, SHIFT if live else SOFT, bold=True, anchor="ra")

    def _tag(self, image: Image.Image, index: int, step: int, place: tuple[float, float]) -> None:
        """The drone's name above it, as long as it is in the picture."""
        tag = self.tags[index][self.take.crashed(self.take.episodes[index], step)]
        x, y = round(place[0]) - tag.width // 2, round(place[1]) - tag.height
        if 0 <= place[0] < image.width and self._px(60) <= y < self._px(PANEL[1]) - tag.height:
            image.paste(tag, (x, y), tag)

    def _announce(self, image: Image.Image, step: int) -> None:
        """The banner that pops up at the shift, and the result at the end."""
        if self.take.onset_s is None or self.banner is None or self.summary is None:
            return
        age = self._time(step) - self.take.onset_s
        left = self._time(self.steps[-1]) - self._time(step)
        if 0 < age < BANNER_S:
            pop = 1 + 0.35 * max(0.0, 1 - age / 0.24)
            self._stamp(image, self.banner, 150, pop, min(1.0, (BANNER_S - age) / 0.3))
            self._flash(image, max(0.0, 1 - age / 0.5))
        elif left < SUMMARY_S:
            self._stamp(image, self.summary, 516, 1.0, min(1.0, (SUMMARY_S - left) / 0.3))

    def _stamp(self, image: Image.Image, pill: Image.Image, y: float, zoom: float, opacity: float) -> None:
        width, height = round(pill.width * zoom), round(pill.height * zoom)
        shown = pill.resize((width, height), Image.Resampling.BILINEAR) if zoom > 1 else pill
        mask = shown.getchannel("A").point(lambda value: round(value * opacity))
        image.paste(shown, ((image.width - width) // 2, self._px(y) - height // 2), mask)

    def _flash(self, image: Image.Image, strength: float) -> None:
        """A frame of light around the picture."""
        pen = ImageDraw.Draw(image, "RGBA")
        for ring in range(self._px(16)):
            alpha = round(200 * strength * (1 - ring / self._px(16)) ** 2)
            pen.rectangle((ring, ring, image.width - 1 - ring, image.height - 1 - ring), outline=(*SHIFT[:3], alpha))

    def _pill(self, text: str, size: float, ink: RGBA, plate: RGBA) -> Image.Image:
        font = _font(self._px(size), True)
        while font.getlength(text) > 0.9 * self.size[0]:
            font = _font(int(font.size) - 1, True)
        width, height = int(font.getlength(text)) + self._px(1.5 * size), self._px(1.8 * size)
        pill = Image.new("RGBA", (SMOOTH * width, SMOOTH * height), (*plate[:3], 0))
        ImageDraw.Draw(pill).rounded_rectangle((0, 0, *pill.size), SMOOTH * height // 2, fill=plate)
        pill = pill.resize((width, height), Image.Resampling.BOX)
        ImageDraw.Draw(pill).text((width / 2, height / 2), text, ink, font, "mm")
        return pill

    def _shape(self, image: Image.Image, box: Box, paint: Callable[[ImageDraw.ImageDraw, Box], None]) -> None:
        """Draw a smooth-edged shape: ``paint`` gets a pen on a picture of the box, ``SMOOTH`` times as large."""
        left, top, right, bottom = self._box(box)
        layer = Image.new("RGBA", (SMOOTH * (right - left), SMOOTH * (bottom - top)))
        paint(ImageDraw.Draw(layer), (0, 0, layer.width - 1, layer.height - 1))
        layer = layer.resize((right - left, bottom - top), Image.Resampling.BOX)
        if image.mode == "RGBA":
            image.alpha_composite(layer, (left, top))
        else:
            image.paste(layer, (left, top), layer)

    def _disc(self, image: Image.Image, centre: tuple[float, float], radius: float, ink: RGBA) -> None:
        x, y = centre
        box = (x - radius, y - radius, x + radius, y + radius)
        self._shape(image, box, lambda pen, box: pen.ellipse(box, fill=ink))

    def _text(
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
        """Write, in smaller letters if ``room`` is short; returns where the text ends, x."""
        font = _font(self._px(size), bold)
        while font.getlength(text) > room * self.scale:
            font = _font(int(font.size) - 1, bold)
        pen.text((place[0] * self.scale, place[1] * self.scale), text, ink, font, anchor)
        return place[0] + font.getlength(text) / self.scale

    @property
    def _panel(self) -> Box:
        return PANEL[0], PANEL[1], self.width - 20, PANEL[3]

    @property
    def _chart(self) -> Box:
        return 80 + 220 * len(self.take.episodes), CHART[1], self.width - 44, CHART[3]

    def _chart_point(self, episode: Episode, row: int) -> tuple[float, float]:
        y = self._chart_y(100 * float(episode.error[row]))
        return self._chart_x(float(episode.time[row])), max(y, self._chart[1])

    def _chart_x(self, time: float) -> float:
        first, last = self._time(self.steps[0]), self._time(self.steps[-1])
        x0, _, x1, _ = self._chart
        return x0 + (x1 - x0) * (time - first) / max(last - first, self.take.dt)

    def _chart_y(self, centimetres: float) -> float:
        _, y0, _, y1 = self._chart
        return y1 - (y1 - y0) * centimetres / self.ceiling

    def _ceiling(self) -> float:
        """Top of the chart in cm: the largest error shown, at least 4 cm, at most a metre."""
        errors = [episode.error[self.steps[0] : self.steps[-1] + 1] for episode in self.take.episodes]
        return float(np.clip(105 * max(np.nanmax(error, initial=0) for error in errors), 4.0, 100.0))

    def _time(self, step: int) -> float:
        return (step + 1) * self.take.dt

    def _px(self, length: float) -> int:
        return max(1, round(length * self.scale))

    def _box(self, box: Box) -> tuple[int, int, int, int]:
        left, top, right, bottom = (round(value * self.scale) for value in box)
        return left, top, right, bottom


def _summary(take: Take) -> str:
    """The result in one line: RMS error from the shift to the planned end of the episode, as every table has it."""
    onset = take.onset_s or 0.0
    errors = [post_shift_rmse(episode, onset) for episode in take.episodes]
    texts = [
        f"{label} crashed" if episode.crashed else f"{label} {100 * error:.1f} cm"
        for label, episode, error in zip(take.labels, take.episodes, errors, strict=True)
    ]
    summary = f"RMS error after the shift: {', '.join(texts)}"
    ratio = errors[0] / max(errors[-1], 1e-6)
    fair = ratio >= 1.2 and not any(episode.crashed for episode in take.episodes)
    return f"{summary}  →  {ratio:.1f}× closer to the path" if fair else summary


def _ticks(ceiling: float) -> list[float]:
    """Two to four round values from 0 to the ceiling."""
    step = next(step for step in (1, 2, 5, 10, 20, 50) if ceiling / step < 4)
    return [float(value) for value in np.arange(0, ceiling, step)]


def _ink(colour: tuple[float, float, float]) -> RGBA:
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue, 255


def _blend(first: RGBA, last: RGBA, share: float) -> RGBA:
    share = min(max(share, 0.0), 1.0)
    red, green, blue, alpha = (round(a + share * (b - a)) for a, b in zip(first, last, strict=True))
    return red, green, blue, alpha


@lru_cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries along, so that films look alike on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
