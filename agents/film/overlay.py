"""What is written over the picture: what shifts and when, the error of each vehicle, what is done about it, how it went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ...envs.drone.looks import FAULT
from ..episode import Episode
from ..evaluation.metrics import post_shift_return, post_shift_rmse, recovery_time
from .brush import DARK, FAINT, INK, PALE, PLATE, SHIFT, SOFT, Box, Brush, ink_of
from .chart import Chart, Curve
from .disturbance import strongest_disturbance
from .scene import colours
from .take import Take
from .world import WorldIcons

PANEL_Y = (546.0, 708.0)
CHART_Y = (584.0, 672.0)
NUMBERS_Y = 556
COLUMN, ALONE = 172, 250  # width of an episode's figures, and of all of them, at least
CHANNEL, EFFORT = 46, 184  # width of an action's bars, and of all of them, at least
LEGEND = 16  # what the chart of the disturbance is lower for its legend

BANNER_S = 1.7
SUMMARY_S = 1.8
GUARD_S = 1.2
READOUT_S = 0.2  # the numbers change this often, and show the mean since they last did

_COMMANDS = {"rate_x": "roll", "rate_y": "pitch", "rate_z": "yaw", "yaw_rate": "yaw", "steering": "steer"}


class Overlay:
    """Writes on the pictures of one take.

    Args:
        take: the episodes.
        steps: control steps of the frames, in order; they span the time axis of the charts.
        size: width and height of the pictures in pixels.
        legend: what the marks in the pictures mean.
        slow: how many times slower the film runs around the shift.
    """

    def __init__(
        self, take: Take, steps: Sequence[int], size: tuple[int, int], legend: str = "", slow: float = 1.0
    ) -> None:
        self.take, self.steps, self.legend, self.slow = take, steps, legend, slow
        self.brush = Brush(size)
        self.inks = [ink_of(colour) for colour in colours(take)]
        self.span = self._time(steps[0]), self._time(steps[-1])
        self.recovery = [_recovery(e, take.onset_s) if take.tracks else None for e in take.episodes]
        self.guarded = [sorted({event["step"] for event in e.meta.get("guard_events", ())}) for e in take.episodes]
        self.world = WorldIcons(take, self.brush)
        self._lay_out()
        self.still = self._still()
        self.tags = [
            (self.brush.pill(label, 19, ink, PLATE), self.brush.pill(f"{label}: crashed", 19, ink_of(FAULT), PLATE))
            for label, ink in zip(take.labels, self.inks, strict=True)
        ]
        self.banner = self.brush.pill(" · ".join(take.changes), 36, DARK, SHIFT) if take.changes else None
        self.summary = self.brush.pill(summary(take), 27, INK, (9, 14, 28, 235)) if take.onset_s is not None else None

    def draw(
        self, picture: np.ndarray, step: int, tags: Sequence[tuple[float, float]], across: np.ndarray
    ) -> np.ndarray:
        """Write on one picture.

        Args:
            picture: uint8 [height, width, 3].
            step: its control step.
            tags: pixel (x, y) at which each vehicle's name is to stand; none where it is not to.
            across: [2, 3] the world vectors that point right and away in the picture, for the wind's arrow.

        Returns:
            A new picture, uint8 [height, width, 3].
        """
        image = Image.fromarray(np.ascontiguousarray(picture))
        image.paste(self.still, (0, 0), self.still)
        pen = ImageDraw.Draw(image, "RGBA")
        for index, place in enumerate(tags):
            self._tag(image, index, step, place)
        self.world.draw(image, pen, step, across)
        self._reveal(image, step)
        for index in range(len(self.take.episodes)):
            self._figures(pen, index, step)
        self._clock(pen, step)
        self._effort(image, pen, step)
        self._guard(image, step)
        self._announce(image, step)
        return np.asarray(image)

    def _lay_out(self) -> None:
        """The charts, from left to right: error, disturbance where an adapter estimates one; then room for the effort."""
        take = self.take
        channels = take.env.action_names
        self.channel = max(CHANNEL, EFFORT / len(channels))
        self.effort_x = self.brush.width - 36 - self.channel * len(channels)
        left, right = 84.0 + max(COLUMN * len(take.episodes), ALONE), self.effort_x - 30
        disturbance = strongest_disturbance(take.episodes[-1])
        middle = left + 0.56 * (right - left) if disturbance else right
        self.errors = self._error_chart((left, CHART_Y[0], middle, CHART_Y[1]))
        self.disturbance = None
        if disturbance:
            rows = slice(self.steps[0], take.row(take.episodes[-1], self.steps[-1]) + 1)
            time = take.episodes[-1].time[rows]
            true, estimate = disturbance.true[rows], disturbance.estimate[rows]
            curves = [Curve(time, estimate, self.inks[-1]), Curve(time, true, INK, dotted=True)]
            limits = _around(np.concatenate([true, estimate]))
            box = (middle + 62, CHART_Y[0] + LEGEND, right, CHART_Y[1])
            self.disturbance = Chart(self.brush, box, self.span, limits, curves)
            self.disturbance_name = f"disturbance {disturbance.axis}, m/s²"

    def _error_chart(self, box: Box) -> Chart:
        take = self.take
        shown = [(e, slice(self.steps[0], take.row(e, self.steps[-1]) + 1)) for e in take.episodes]
        largest = max(float(np.nanmax(e.error[rows])) for e, rows in shown)
        self.per_metre, self.unit = take.error_unit(largest)
        # A crash may lead far away; what happens near the path would be a line on the floor.
        ceiling = float(np.clip(1.05 * 100 * largest, 4.0, 100.0)) if self.unit == "cm" else 1.05 * largest
        curves = [
            Curve(e.time[rows], self.per_metre * e.error[rows], ink)
            for (e, rows), ink in zip(shown, self.inks, strict=True)
        ]
        return Chart(self.brush, box, self.span, (0.0, ceiling), curves)

    def _still(self) -> Image.Image:
        """All that never changes: title, plates, axes."""
        brush = self.brush
        layer = Image.new("RGBA", brush.size)
        scrim = np.linspace(150, 0, brush.px(130)).astype(np.uint8)[:, None]
        layer.paste((5, 9, 20), (0, 0, *brush.size))
        shade = np.zeros((brush.size[1], brush.size[0]), np.uint8)
        shade[: len(scrim)] = scrim
        layer.putalpha(Image.fromarray(shade))
        brush.plate(layer, (20, PANEL_Y[0], brush.width - 20, PANEL_Y[1]))
        pen = ImageDraw.Draw(layer)
        brush.text(pen, (28, 18), self._title(), 34, INK, bold=True, room=brush.width - 300)
        brush.text(pen, (29, 64), self._subtitle(), 19, PALE, room=brush.width - 300)
        for index, label in enumerate(self.take.labels):
            brush.text(pen, (44 + COLUMN * index, NUMBERS_Y), label.upper(), 18, self.inks[index], bold=True)
        self._axis(pen, self.errors, f"{self.take.error_name}, {self.unit}")
        if self.disturbance:
            self._axis(pen, self.disturbance, self.disturbance_name)
            y = PANEL_Y[0] + 30
            end = brush.text(pen, (self.disturbance.box[0] - 26, y), "··· true", 16, INK)
            brush.text(pen, (end + 16, y), "— estimated", 16, self.inks[-1])
        self._effort_axis(pen)
        self._mark_guard(pen)
        return layer

    def _title(self) -> str:
        if not self.take.changes:
            return "No shift: the world the policy was trained in"
        return f"{' · '.join(self.take.changes)} at {self.take.onset_s:.1f} s"

    def _subtitle(self) -> str:
        take = self.take
        if len(take.episodes) == 1:
            said = f"adapter: {take.episodes[0].meta['adapter']}"
        else:
            said = "Same policy, same task" if take.same_policy else "Same task"
            if "frozen" in take.labels:
                said += ": one frozen, one learning"
        return " · ".join(filter(None, (said, self.legend)))

    def _axis(self, pen: ImageDraw.ImageDraw, chart: Chart, name: str) -> None:
        """A chart's name, its lines and the times below it, counted from the shift."""
        x0, y0, x1, y1 = chart.box
        self.brush.text(pen, (x0 - 26, PANEL_Y[0] + 10), name, 16, SOFT, room=x1 - x0 + 26)
        chart.rule(pen)
        origin = self.take.onset_s or 0.0
        first, last = self.span
        shifted = bool(self.take.changes)
        every = int(np.ceil((last - first) * 52 / (x1 - x0)))
        for second in range(int(np.ceil(first - origin)), int(last - origin) + 1):
            if second % every == 0 and (second != 0 or not shifted):
                named = f"{second:+d} s".replace("-", "−") if shifted else f"{second} s"
                self.brush.text(pen, (chart.x(origin + second), y1 + 6), named, 15, SOFT, anchor="ma")
        if shifted and first <= origin <= last:
            x = chart.x(origin)
            pen.line(self.brush.box((x, y0 - 6, x, y1)), fill=SHIFT, width=self.brush.px(2))
            self.brush.text(pen, (x, y1 + 6), "shift", 15, SHIFT, True, "ma")

    def _reveal(self, image: Image.Image, step: int) -> None:
        """The curves up to now, a dot at the head of each."""
        now = self._time(step)
        self.errors.reveal(image, now)
        for index, episode in enumerate(self.take.episodes):
            row = self.take.row(episode, step)
            head = self.errors.x(float(episode.time[row])), self.errors.y(self.per_metre * float(episode.error[row]))
            ink = ink_of(FAULT) if self.take.crashed(episode, step) else self.inks[index]
            self.brush.disc(image, head, 5.5, ink)
        if self.disturbance:
            self.disturbance.reveal(image, now)

    def _figures(self, pen: ImageDraw.ImageDraw, index: int, step: int) -> None:
        """One episode in figures: the mean error of the last moments, whether it has recovered, what the guard did."""
        episode, brush, x = self.take.episodes[index], self.brush, 42 + COLUMN * index
        width = max(1, round(READOUT_S / self.take.dt))
        last = step - (step - self.steps[0]) % width
        if self.take.crashed(episode, step):
            brush.text(pen, (x, NUMBERS_Y + 26), "crashed", 34, ink_of(FAULT), bold=True)
            return
        row = self.take.row(episode, last)
        error = self.per_metre * float(np.mean(episode.error[max(0, row - width + 1) : row + 1]))
        end = brush.text(
            pen, (x, NUMBERS_Y + 20), f"{error:.1f}" if error < 99.95 else f"{error:.0f}", 46, INK, bold=True
        )
        brush.text(pen, (end + 6, NUMBERS_Y + 44), self.unit, 22, SOFT)
        recovery = self.recovery[index]
        if recovery is not None and self._time(step) > recovery + (self.take.onset_s or 0.0):
            brush.text(pen, (x + 2, NUMBERS_Y + 76), f"recovered in {recovery:.1f} s", 16, self.inks[index])
        if count := sum(event <= step for event in self.guarded[index]):
            brush.text(pen, (x + 2, NUMBERS_Y + 98), f"guard acted {count}×", 16, ink_of(FAULT))

    def _clock(self, pen: ImageDraw.ImageDraw, step: int) -> None:
        time, place = self._time(step), (44, PANEL_Y[1] - 30)
        slowed = f" · {self.slow:g}× slower" if self.slow > 1 and self.take.is_slow(step) else ""
        if self.take.onset_s is None:
            self.brush.text(pen, place, f"{time:.1f} s", 18, SOFT)
            return
        since = time - self.take.onset_s
        text = f"{time:.1f} s, {abs(since):.1f} s {'after' if since > 0 else 'before'} the shift{slowed}"
        self.brush.text(pen, place, text, 18, SHIFT if since > 0 else SOFT, room=self.errors.box[0] - 84)

    def _effort_axis(self, pen: ImageDraw.ImageDraw) -> None:
        x, (y0, y1) = self.effort_x, CHART_Y
        end = x + self.channel * len(self.take.env.action_names)
        self.brush.text(pen, (x, PANEL_Y[0] + 10), "action sent, limits ±1", 16, SOFT, room=end - x)
        for y, ink in ((y0, SOFT), ((y0 + y1) / 2, FAINT), (y1, SOFT)):
            pen.line(self.brush.box((x, y, end, y)), fill=ink, width=1)
        for k, name in enumerate(self.take.env.action_names):
            place = (x + self.channel * (k + 0.5), y1 + 6)
            self.brush.text(pen, place, _COMMANDS.get(name, name), 15, SOFT, anchor="ma", room=self.channel - 2)

    def _effort(self, image: Image.Image, pen: ImageDraw.ImageDraw, step: int) -> None:
        """A bar for each action of each episode between its limits, red at a limit."""
        middle, half = sum(CHART_Y) / 2, (CHART_Y[1] - CHART_Y[0]) / 2
        width = 0.7 * self.channel / len(self.take.episodes)
        for index, episode in enumerate(self.take.episodes):
            for k, action in enumerate(episode.action[self.take.row(episode, step)]):
                x = self.effort_x + self.channel * (k + 0.15) + width * index
                y = middle - half * float(action)
                ink = ink_of(FAULT) if abs(action) > 0.98 else self.inks[index]
                pen.rectangle(self.brush.box((x, min(y, middle) - 1, x + width - 2, max(y, middle) + 1)), fill=ink)

    def _mark_guard(self, pen: ImageDraw.ImageDraw) -> None:
        """A red tick on top of the error chart for every step at which a guard acted."""
        y = self.errors.box[1]
        for event in sorted({step for steps in self.guarded for step in steps}):
            if self.span[0] <= self._time(event) <= self.span[1]:
                x = self.errors.x(self._time(event))
                pen.line(self.brush.box((x, y - 8, x, y)), fill=ink_of(FAULT), width=self.brush.px(2))

    def _guard(self, image: Image.Image, step: int) -> None:
        """What the guard did a moment ago, in words."""
        for label, episode in zip(self.take.labels, self.take.episodes, strict=True):
            for event in episode.meta.get("guard_events", ())[::-1]:
                if 0 <= (step - event["step"]) * self.take.dt < GUARD_S:
                    said = self.brush.pill(f"guard of {label}: {event['reason']}", 18, INK, (150, 16, 32, 225))
                    self.brush.stamp(image, said, PANEL_Y[0] - 68)
                    return

    def _tag(self, image: Image.Image, index: int, step: int, place: tuple[float, float]) -> None:
        """The vehicle's name above it, as long as it is in its picture."""
        tag = self.tags[index][self.take.crashed(self.take.episodes[index], step)]
        x, y = round(place[0]) - tag.width // 2, round(place[1]) - tag.height
        if 0 <= place[0] < image.width and self.brush.px(60) <= y < self.brush.px(PANEL_Y[0]) - tag.height:
            image.paste(tag, (x, y), tag)

    def _announce(self, image: Image.Image, step: int) -> None:
        """The banner that pops up at the shift, and the result at the end."""
        if self.take.onset_s is None or self.banner is None or self.summary is None:
            return
        age = self._time(step) - self.take.onset_s
        left = self._time(self.steps[-1]) - self._time(step)
        if 0 < age < BANNER_S:
            pop = 1 + 0.35 * max(0.0, 1 - age / 0.24)
            self.brush.stamp(image, self.banner, 150, pop, min(1.0, (BANNER_S - age) / 0.3))
            self._flash(image, max(0.0, 1 - age / 0.5))
        elif left < SUMMARY_S:
            self.brush.stamp(image, self.summary, PANEL_Y[0] - 32, 1.0, min(1.0, (SUMMARY_S - left) / 0.3))

    def _flash(self, image: Image.Image, strength: float) -> None:
        """A frame of light around the picture."""
        pen, width = ImageDraw.Draw(image, "RGBA"), self.brush.px(16)
        for ring in range(width):
            alpha = round(200 * strength * (1 - ring / width) ** 2)
            pen.rectangle((ring, ring, image.width - 1 - ring, image.height - 1 - ring), outline=(*SHIFT[:3], alpha))

    def _time(self, step: int) -> float:
        return (step + 1) * self.take.dt


def summary(take: Take) -> str:
    """The result in one line, from the shift to the planned end of the episode, as every table has it: RMS error where the
    task is to hold it at zero, else the return."""
    onset = take.onset_s or 0.0
    if take.tracks:
        errors = [post_shift_rmse(episode, onset) for episode in take.episodes]
        texts = [f"{100 * error:.1f} cm" for error in errors]
    else:
        texts = [f"{post_shift_return(episode, onset):.0f}" for episode in take.episodes]
    said = ", ".join(
        f"{label} crashed" if episode.crashed else f"{label} {text}"
        for label, episode, text in zip(take.labels, take.episodes, texts, strict=True)
    )
    line = f"{'RMS error' if take.tracks else 'return'} after the shift: {said}"
    if not take.tracks or any(episode.crashed for episode in take.episodes):
        return line
    ratio = errors[0] / max(errors[-1], 1e-6)
    return f"{line}  →  {ratio:.1f}× closer" if ratio >= 1.2 else line


def _recovery(episode: Episode, onset_s: float | None) -> float | None:
    """Seconds from the shift until the error is small again; None where it never is, never was not, or nothing shifts."""
    found = np.inf if onset_s is None else recovery_time(episode, onset_s)
    return float(found) if 0 < found < np.inf else None


def _around(values: np.ndarray) -> tuple[float, float]:
    """Limits of a chart that holds zero and all but the rarest of the values."""
    low, high = np.quantile(values, [0.01, 0.99])
    low, high = min(low, 0.0), max(high, 0.0)
    room = max(0.15 * (high - low), 0.25)
    return float(low - room), float(high + room)
