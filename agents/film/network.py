"""Inside the network: the circuit that flew an episode, its neurons lit by their states and its synapses by what they carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...policies.deployed import DeployedPolicy
from ...policies.sensitivity import replay, sensitivity
from ...policies.wiring import Wiring
from ..episode import Episode
from .brush import INK, PALE, PLATE, RGBA, SHIFT, SMOOTH, SOFT, Box, Brush, blend
from .chart import Chart, Curve
from .encode import checked_film, encoder
from .scene import ADAPTING
from .take import Take

POSITIVE: RGBA = (255, 150, 60, 255)
NEGATIVE: RGBA = (60, 160, 255, 255)
REST: RGBA = (52, 60, 78, 255)
EDGES = 60
"""So many synapses of each kind are drawn, those that carry most."""
ROWS = 16
"""Neurons above each other, at most; more of a kind stand in several columns."""
INSET = (270.0, 232.0, 536.0)
"""Width of the inset at the right edge, its top and bottom."""

_ALONG = np.linspace(0.0, 1.0, 9)[:, None]
_WAVE = np.hstack([_ALONG, _ALONG * _ALONG * (3.0 - 2.0 * _ALONG)])  # of a line from (0, 0) to (1, 1)
_BOW = np.sin(np.pi * _ALONG) * [18.0, 0.0]
_SAMPLES = 24  # steps of the episode that the brightness of the synapses is measured on
_SHORT = {"previous_action": "last", "position_error": "error", "velocity_error": "speed error", "rotation": "attitude"}


class Circuit:
    """The network of an episode, at any of its steps.

    A neuron is lit by its state, the larger the slower it is (its effective time constant). A synapse from source s to neuron
    k is lit by |dh'_k / ds * s|: what the source's signal does to the neuron in this step.

    Args:
        policy: what flew the episode.
        episode: it records what the policy was shown.

    Raises:
        ValueError: another policy flew the episode, or it does not record what the policy was shown.
    """

    def __init__(self, policy: DeployedPolicy, episode: Episode) -> None:
        flown = episode.meta.get("policy_sha256")
        if flown is not None and flown != policy.sha256:
            raise ValueError(
                f"another policy flew this episode, that of run {episode.meta.get('run')!r}: give the run it was flown by"
            )
        self.policy, self.shown = policy, episode.shown
        self.dt = np.diff(episode.time, prepend=0.0)
        self.states = replay(policy, self.shown, self.dt)
        self.wiring = wiring_of(policy)
        self.units = self.wiring.units
        sampled = np.linspace(0, episode.steps - 1, min(_SAMPLES, episode.steps)).astype(int)
        self.state_scale = max(float(np.quantile(np.abs(self.states[1:, : self.units]), 0.98)), 1e-6)
        inputs, units = self.wiring.inputs, self.units
        self.kinds = np.s_[:inputs, :units], np.s_[inputs:, :units], np.s_[inputs:, units:]
        """Synapses from inputs, among neurons and to actions, in what `at` gives."""
        carried = np.abs([self._carried(step)[0] for step in sampled])
        self.carried_scale = np.ones(carried.shape[1:])
        for kind in self.kinds:
            self.carried_scale[kind] = max(float(np.quantile(carried[:, *kind], 0.99)), 1e-9)

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States [units] after a control step, in units of a large one; effective time constants [units] in s; and what each
        synapse carried [inputs + units, units + actions], in units of what a strong one of its kind carries."""
        carried, tau = self._carried(step)
        return self.states[step + 1, : self.units] / self.state_scale, tau, carried / self.carried_scale

    def _carried(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        x, h = self.shown[step : step + 1], self.states[step : step + 1]
        slopes = sensitivity(self.policy, x, h, self.dt[step : step + 1])
        inputs = x[0] / np.asarray(self.policy.config["observation_scale"])
        into = slopes.state_by_input[0, : self.units] * inputs
        among = slopes.state_by_state[0, : self.units, : self.units] * h[0, : self.units]
        out = slopes.action_by_state[0, :, : self.units] * self.states[step + 1, : self.units]
        # A cell that takes several small steps in one lets signals pass through neurons: only synapses are shown.
        into, among = into * (self.wiring.sensory.T != 0), among * (self.wiring.recurrent.T != 0)
        of_actions = np.concatenate([np.zeros((len(out), len(inputs))), out], axis=1)
        of_neurons = np.concatenate([into, among], axis=1)
        return np.concatenate([of_neurons, of_actions]).T, slopes.time_constants[0, : self.units]


class Graph:
    """Draws a circuit in a box: inputs left, neurons by their roles, actions right.

    Args:
        circuit: the network.
        brush: of the film.
        box: where it goes.
    """

    def __init__(self, circuit: Circuit, brush: Brush, box: Box) -> None:
        self.circuit, self.brush, self.box = circuit, brush, box
        wiring = circuit.wiring
        kinds = [role for role in ("inter", "command", "motor") if wiring.neurons(role)]
        columns = [-(-len(wiring.neurons(kind)) // ROWS) for kind in kinds]
        steps = 2 + sum(columns) + len(kinds)
        x, y = np.linspace(box[0] + 14, box[2] - 14, steps), (box[1] + 12, box[3] - 12)
        inputs = _spread(np.array([x[0]]), y, wiring.inputs)
        neurons, first = np.zeros((wiring.units, 2)), 1 + (len(kinds) > 0)
        for kind, wide in zip(kinds, columns, strict=True):
            numbers = list(wiring.neurons(kind))
            neurons[numbers] = _spread(x[first : first + wide], y, len(numbers))
            first += wide + 1
        self.actions = _spread(x[-1:], y, circuit.policy.action_size)
        self.sources = np.concatenate([inputs, neurons])
        self.targets = np.concatenate([neurons, self.actions])
        self.inputs = len(inputs)

    def draw(self, image: Image.Image, step: int, action: np.ndarray) -> None:
        """Paint the circuit after a control step, at which the policy asked for `action` [A]."""
        state, tau, carried = self.circuit.at(step)
        self.brush.shape(image, self.box, lambda pen, _: self._paint(pen, state, tau, carried, action, step))

    def _paint(
        self,
        pen: ImageDraw.ImageDraw,
        state: np.ndarray,
        tau: np.ndarray,
        carried: np.ndarray,
        action: np.ndarray,
        step: int,
    ) -> None:
        strength = np.abs(carried)
        for kind in self.circuit.kinds:
            masked = np.full(strength.shape, -1.0)
            masked[kind] = strength[kind]
            for flat in np.argsort(masked, axis=None)[-EDGES:]:
                source, target = np.unravel_index(flat, strength.shape)
                if masked[source, target] > 0:
                    self._edge(pen, self.sources[source], self.targets[target], float(carried[source, target]))
        inputs = self.circuit.shown[step] / np.asarray(self.circuit.policy.config["observation_scale"])
        for place, value in zip(self.sources[: self.inputs], inputs, strict=True):
            self._node(pen, place, 4.5, value / 2)
        for place, value, slow in zip(self.sources[self.inputs :], state, tau, strict=True):
            self._node(pen, place, _radius(slow, float(self.circuit.dt[step])), value)
        for place, value in zip(self.actions, action, strict=True):
            self._node(pen, place, 9.0, value)

    def _edge(self, pen: ImageDraw.ImageDraw, start: np.ndarray, end: np.ndarray, carried: float) -> None:
        share = min(abs(carried), 1.0)
        colour = (POSITIVE if carried > 0 else NEGATIVE)[:3]
        bow = _BOW if start[0] == end[0] else 0.0  # inside a column
        points = (start + _WAVE * (end - start) + bow - self.box[:2]) * self.brush.scale * SMOOTH
        width = round(SMOOTH * self.brush.scale * (0.6 + 1.6 * share))
        pen.line(points.ravel().tolist(), fill=(*colour, round(40 + 190 * share)), width=width)

    def _node(self, pen: ImageDraw.ImageDraw, place: np.ndarray, radius: float, value: float) -> None:
        ink = blend(REST, POSITIVE if value > 0 else NEGATIVE, abs(float(value)))
        x, y = (place - self.box[:2]) * self.brush.scale * SMOOTH
        r = radius * SMOOTH * self.brush.scale
        pen.ellipse((x - r, y - r, x + r, y + r), fill=ink, outline=(*SOFT[:3], 120), width=SMOOTH // 2)


class Inset:
    """The network in a corner of a film.

    Args:
        policy: what flew.
        episode: the one whose network is shown.
        size: width and height of the pictures in pixels.
    """

    def __init__(self, policy: DeployedPolicy, episode: Episode, size: tuple[int, int]) -> None:
        self.episode, self.brush = episode, Brush(size)
        width, top, bottom = INSET
        self.box = x0, _, x1, _ = self.brush.width - 20 - width, top, self.brush.width - 20, bottom
        self.graph = Graph(Circuit(policy, episode), self.brush, (x0 + 6, top + 26, x1 - 6, bottom - 26))

    def draw(self, picture: np.ndarray, step: int) -> np.ndarray:
        """The picture [height, width, 3] after a control step, with the network in it."""
        image = Image.fromarray(picture)
        row = min(step, self.episode.steps - 1)
        self.brush.plate(image, self.box)
        self.graph.draw(image, row, self.episode.policy_action[row])
        pen = ImageDraw.Draw(image, "RGBA")
        x0, y0, x1, y1 = self.box
        self.brush.text(pen, (x0 + 14, y0 + 7), f"its network: {self.graph.circuit.units} neurons", 16, PALE, True)
        self.brush.text(pen, (x0 + 14, y1 - 25), "inputs → neurons → actions", 16, SOFT, room=x1 - x0 - 28)
        return np.asarray(image)


def render_network(
    policy: DeployedPolicy,
    episode: Episode,
    path: str | Path,
    *,
    size: tuple[int, int],
    before: float = 2.0,
    after: float = 5.0,
    fps: float = 25.0,
    slow: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Film the inside of the network that flew an episode; arguments, formats and errors as `writer.render`."""
    path, take = Path(path), Take((episode,))
    checked_film(path, size)
    steps = take.frames(before, after, fps, slow)
    screen = _Screen(policy, take, steps, size)
    with encoder(path, size, 1 / (take.dt * take.window(before, after, fps).step)) as film:
        for done, step in enumerate(steps, 1):
            film(screen.draw(take.row(episode, step)))
            if progress is not None:
                progress(done, len(steps))
    return path


class _Screen:
    """The network in large, with all its states over time and the episode's error below."""

    def __init__(self, policy: DeployedPolicy, take: Take, steps: list[int], size: tuple[int, int]) -> None:
        self.take, self.episode, self.steps = take, take.episodes[0], steps
        self.brush, self.circuit = Brush(size), Circuit(policy, self.episode)
        width = self.brush.width
        split = 0.6 * width
        self.graph = Graph(self.circuit, self.brush, (150, 100, split, 640))
        self.raster_box: Box = (split + 60, 126, width - 30, 430)
        rows = slice(steps[0], take.row(self.episode, steps[-1]) + 1)
        per_metre, self.unit = take.error_unit(float(self.episode.error[rows].max()))
        time, error = self.episode.time[rows], per_metre * self.episode.error[rows].astype(float)
        span = (float(time[0]), float(time[-1]))
        ink: RGBA = (*(round(255 * c) for c in ADAPTING), 255)  # type: ignore[assignment]
        ceiling = max(1.05 * float(error.max()), 1.0)
        box = (split + 60, 490, width - 30, 640)
        self.chart = Chart(self.brush, box, span, (0.0, ceiling), [Curve(time, error, ink)])
        self.raster = self._raster(rows)
        self.still = self._still()

    def draw(self, row: int) -> np.ndarray:
        image = self.still.copy()
        self.graph.draw(image, row, self.episode.policy_action[row])
        now = float(self.episode.time[row])
        left, top, _, _ = self.brush.box(self.raster_box)
        uncovered = self.raster.crop((0, 0, max(1, self.brush.px(self.chart.x(now)) - left), self.raster.height))
        image.paste(uncovered, (left, top))
        self.chart.reveal(image, now)
        pen = ImageDraw.Draw(image, "RGBA")
        _, tau, _ = self.circuit.at(row)
        slow = f"median time constant {1e3 * float(np.median(tau)):.0f} ms"
        self.brush.text(pen, (28, 676), f"{now:.1f} s · {slow}", 20, PALE)
        onset = self.take.onset_s
        if onset is not None and now > onset:
            said = f"{' · '.join(self.take.changes)} · {now - onset:.1f} s ago"
            self.brush.text(pen, (self.brush.width - 30, 676), said, 20, SHIFT, True, "ra", self.brush.width / 2)
        return np.asarray(image)

    def _raster(self, rows: slice) -> Image.Image:
        """Every neuron's state over the time of the film."""
        states = self.circuit.states[1:][rows, : self.circuit.units].T / self.circuit.state_scale
        share = np.clip(np.abs(states), 0, 1)[..., None]
        colours = np.where(states[..., None] > 0, POSITIVE[:3], NEGATIVE[:3])
        pixels = np.round(np.array(REST[:3]) * (1 - share) + colours * share).astype(np.uint8)
        left, top, right, bottom = self.brush.box(self.raster_box)
        return Image.fromarray(pixels).resize((right - left, bottom - top), Image.Resampling.BILINEAR)

    def _still(self) -> Image.Image:
        image = Image.new("RGB", self.brush.size, PLATE[:3])
        pen, brush = ImageDraw.Draw(image, "RGBA"), self.brush
        episode, wiring = self.episode, self.circuit.wiring
        policy = self.circuit.policy
        title = f"Inside the network: {policy.config['cell']['cell']}, {wiring.units} neurons"
        brush.text(pen, (28, 18), title, 34, INK, True)
        _caption(brush, pen, (29, 64), brush.width - 60)
        x0, y0, _, _ = self.raster_box
        brush.text(pen, (x0, y0 - 26), "state of every neuron", 16, SOFT)
        brush.text(pen, (x0, self.chart.box[1] - 30), f"{self.take.error_name}, {self.unit}", 16, SOFT)
        self.chart.rule(pen)
        if (onset := self.take.onset_s) is not None and self.chart.span[0] <= onset <= self.chart.span[1]:
            x = self.chart.x(onset)
            pen.line(brush.box((x, y0, x, self.chart.box[3])), fill=SHIFT, width=brush.px(2))
            brush.text(pen, (x, self.chart.box[3] + 6), "shift", 15, SHIFT, True, "ma")
        for place, name in zip(self.graph.sources, policy.observation_names, strict=False):
            size = min(14.0, 0.95 * 520 / wiring.inputs)
            brush.text(pen, (place[0] - 12, place[1]), _short(name), size, SOFT, anchor="rm", room=134)
        for place, name in zip(self.graph.actions, self.take.env.action_names, strict=True):
            brush.text(pen, (place[0] - 4, place[1] - 14), name, 14, SOFT, anchor="mb")
        brush.text(pen, (brush.width - 30, 30), f"adapter: {episode.meta['adapter']}", 19, PALE, anchor="ra")
        return image


def wiring_of(policy: DeployedPolicy) -> Wiring:
    """The circuit of a policy's cell; of a cell without one, every neuron is connected with all."""
    cell = policy.config["cell"]
    return Wiring.from_dict(cell["wiring"]) if cell.get("wiring") else Wiring.dense(cell["input_size"], cell["units"])


def _caption(brush: Brush, pen: ImageDraw.ImageDraw, place: tuple[float, float], room: float) -> None:
    """What light and size mean."""
    said = "inputs → neurons → actions · orange +, blue − · large: slow · lines: what signals do"
    brush.text(pen, place, said, 16, SOFT, room=room)


def _spread(x: np.ndarray, y: tuple[float, float], count: int) -> np.ndarray:
    """[count, 2] places in columns at `x`, each from the top down and as tall as it needs."""
    rows = -(-count // len(x))
    number = np.arange(count)
    # Neighbouring columns are staggered, so that lines between them do not run through neurons.
    place = number % rows + 0.5 * (number // rows % 2)
    last = rows - 1 + 0.5 * (len(x) > 1)
    gap = min((y[1] - y[0]) / max(last, 1.0), 0.12 * (y[1] - y[0]))
    return np.stack([x[number // rows], (y[0] + y[1]) / 2 + gap * (place - last / 2)], axis=1)


def _radius(tau: float, dt: float) -> float:
    """Of a neuron with this effective time constant: from that of a step or less to that of 100 steps and more."""
    return 4.0 + 5.0 * float(np.clip(np.log10(max(tau, 1e-9) / dt) / 2, 0.0, 1.0))


def _short(name: str) -> str:
    for long, short in _SHORT.items():
        name = name.replace(long, short)
    return name.replace("_", " ")
