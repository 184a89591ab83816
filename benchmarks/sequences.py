"""What the cells learn from sequences, in five parts; every figure is on data that no model was fitted or tuned on.

a  Digits read row by row: a reservoir with a ridge readout, beside a widely read recipe, and what makes the difference.
b  A chaotic series at irregular times: each cell with the true elapsed time, with it as one more input, and without it.
c  The models of part b, unchanged, when their inputs are noisy or samples are missing.
d  Digits again: accuracy against the share of labels, and against the number of neurons.
e  Channels sampled at different rates: three ways to present the slow ones, beside the series without and with all of them.

`*_ci95` is the half-width of the 95 % interval of the mean over the seeds (Student's t). Accuracies are in percent, errors
are the root mean square over the standard deviation of the series (`nrmse`, 1: as good as the mean). The data are the same for
every seed; a seed draws weights and minibatches. All trained cells share one recipe (Adam, one learning rate, no search).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _report import Row, arguments, report, write_document
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.stats import t as student
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from undrift.policies import Cell
from undrift.policies.cells import make_cell
from undrift.policies.cells.reservoir import Reservoir
from undrift.policies.readout import Readout, ridge

Array = NDArray[np.float64]
Figures = dict[str, float]

BATCH, LEARNING_RATE, GRADIENT_NORM = 64, 5e-3, 1.0
CLASSES = 10
VALIDATION_SEED = 1000


@dataclass(frozen=True)
class Budget:
    """How much is spent: seeds, gradient steps of a trained cell, its units, units of a reservoir, sequences to learn from."""

    seeds: int = 5
    updates: int = 600
    units: int = 32
    reservoir_units: int = 256
    article_units: int = 1000
    sequences: int = 1024


QUICK = Budget(seeds=2, updates=2, units=8, reservoir_units=48, article_units=60, sequences=64)


def summary(values: list[Figures]) -> Figures:
    """The mean of each figure over the seeds, and the half-width of its interval."""
    row: Figures = {}
    for name in values[0]:
        seeds = np.array([value[name] for value in values])
        row[name] = float(seeds.mean())
        row[f"{name}_ci95"] = float(student.ppf(0.975, len(seeds) - 1) * seeds.std(ddof=1) / len(seeds) ** 0.5)
    return row


def over_seeds(name: str, budget: Budget, measure: Callable[..., Figures], *arguments: Any) -> Row:
    """The row of `measure(*arguments, seed)` over the seeds."""
    return {"name": name, **summary([measure(*arguments, seed) for seed in range(budget.seeds)])}


# --- part a: a reservoir reads digits ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Images [N, 8, 8] in [0, 1] and one-hot labels [N, 10]."""

    images: Array
    labels: Array

    def __getitem__(self, rows: NDArray[np.int64]) -> Digits:
        return Digits(self.images[rows], self.labels[rows])

    def split(self, share: float, seed: int) -> tuple[Digits, Digits]:
        """Two stratified parts, the second holding `share` of the digits."""
        rows = np.arange(len(self.labels))
        first, second = train_test_split(rows, test_size=share, stratify=self.labels.argmax(1), random_state=seed)
        return self[first], self[second]


@cache
def digits() -> tuple[Digits, Digits]:
    """scikit-learn's bundled digits: 1,437 to learn from and 360 to test on, the same for every seed."""
    images, labels = load_digits(return_X_y=True)
    return Digits(images.reshape(-1, 8, 8) / 16.0, np.eye(CLASSES)[labels]).split(0.2, seed=0)


@dataclass(frozen=True)
class Recipe:
    """How a reservoir reads digits.

    by_row: a digit is 8 steps of 8 inputs, else one step of 64; reset: every digit begins with the state zero, else all of them
    are one long series; all_states: the readout sees the states of all steps of a digit, else the last; penalty of the ridge
    readout, 0: the pseudo-inverse, without bias. The rest is the reservoir's.
    """

    units: int
    by_row: bool = True
    reset: bool = True
    all_states: bool = True
    penalty: float = 1.0
    leak: float = 0.6
    spectral_radius: float = 0.9
    input_scale: float = 1.0
    bias_scale: float = 0.1
    sparsity: float = 0.9

    def reservoir(self, seed: int) -> Reservoir:
        return Reservoir(
            8 if self.by_row else 64,
            self.units,
            leak=self.leak,
            spectral_radius=self.spectral_radius,
            input_scale=self.input_scale,
            bias_scale=self.bias_scale,
            sparsity=self.sparsity,
            seed=seed,
        ).double()

    def states(self, cell: Reservoir, data: Digits) -> Array:
        """What the readout sees, [N, features]."""
        count = len(data.images)
        steps = data.images.reshape(count if self.reset else 1, -1, cell.input_size)
        x = torch.from_numpy(steps).transpose(0, 1)
        states = cell.sequence(x, cell.initial_state(x.shape[1]))[0].transpose(0, 1).reshape(count, -1, self.units)
        return (states.flatten(1) if self.all_states else states[:, -1]).numpy()

    def accuracy(self, train: Digits, test: Digits, seed: int) -> float:
        cell = self.reservoir(seed)
        states = self.states(cell, train)
        if self.penalty > 0.0:
            readout = ridge(states, train.labels, self.penalty)
        else:
            readout = Readout(np.linalg.pinv(states) @ train.labels, np.zeros(CLASSES))
        return percent_right(readout(self.states(cell, test)), test.labels)


GRID = {"leak": (0.3, 0.6, 0.9), "input_scale": (0.5, 1.0), "penalty": (0.1, 1.0)}


def percent_right(outputs: Array, labels: Array) -> float:
    return 100.0 * float((outputs.argmax(1) == labels.argmax(1)).mean())


def tuned(recipe: Recipe, train: Digits) -> Recipe:
    """The best recipe of `GRID`, on a quarter of the digits to learn from, which the others are fitted without."""
    fit, validation = train.split(0.25, seed=1)
    grid = [
        dataclasses.replace(recipe, **dict(zip(GRID, values, strict=True)))
        for values in itertools.product(*GRID.values())
    ]
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + 2)
    return max(grid, key=lambda one: sum(one.accuracy(fit, validation, seed) for seed in seeds))


def article(train: Digits, test: Digits, units: int, seed: int) -> Figures:
    """The article's program on these digits: leak 0.1, spectral radius 0.9, a pseudo-inverse readout, no bias.

    The samples follow each other as one series, each a single step, and the state of a sample is the row that its step wrote. The
    recurrence reads the state after it has leaked. The program runs its series ten times, which changes nothing but its first
    row: that one is added to each time.
    """
    rng = np.random.default_rng(seed)
    recurrent = rng.standard_normal((units, units))
    recurrent *= 0.9 / np.abs(np.linalg.eigvals(recurrent)).max()
    read = rng.standard_normal((units, 64))

    def states(data: Digits, epochs: int) -> Array:
        rows = np.zeros((len(data.images), units))
        for i, image in enumerate(data.images.reshape(-1, 64)):
            if i > 0:
                rows[i] = 0.9 * rows[i - 1]
            for _ in range(epochs if i == 0 else 1):
                rows[i] += 0.1 * np.tanh(read @ image + recurrent @ rows[i])
        return rows

    readout = np.linalg.pinv(states(train, 10)) @ train.labels
    return {"accuracy": percent_right(states(test, 1) @ readout, test.labels)}


def read_digits(recipe: Recipe, train: Digits, test: Digits, seed: int) -> Figures:
    return {"accuracy": recipe.accuracy(train, test, seed)}


def linear_on_pixels(train: Digits, test: Digits, penalty: float) -> float:
    """Without any cell: a ridge readout of the 64 pixels."""
    readout = ridge(train.images.reshape(-1, 64), train.labels, penalty)
    return percent_right(readout(test.images.reshape(-1, 64)), test.labels)


def part_a(budget: Budget) -> Iterator[Row]:
    train, test = digits()
    # The article's recurrence, tanh(W (1 - leak) h), is the cell's at a spectral radius of (1 - leak) 0.9.
    theirs = Recipe(
        budget.article_units,
        by_row=False,
        reset=False,
        all_states=False,
        penalty=0.0,
        leak=0.1,
        spectral_radius=0.81,
        bias_scale=0.0,
        sparsity=0.0,
    )
    ours = tuned(Recipe(budget.reservoir_units), train)
    given = {
        "ridge": {"penalty": ours.penalty},
        "leak 0.9": {"leak": 0.9, "spectral_radius": 0.09},  # (1 - leak) 0.9 again
        "rows as steps": {"by_row": True},
        "reset before each digit": {"reset": True},
        "reset, ridge": {"reset": True, "penalty": ours.penalty},
        "reset, rows as steps": {"reset": True, "by_row": True},
        "reset, rows as steps, all states": {"reset": True, "by_row": True, "all_states": True},
    }
    taken = {
        "one long series": {"reset": False},
        "leak 0.1": {"leak": 0.1},
        "pseudo-inverse": {"penalty": 0.0},
        "last state only": {"all_states": False},
        "a digit is one step": {"by_row": False},
    }
    recipes = {"article, by our cell": theirs}
    recipes |= {f"article, {name}": dataclasses.replace(theirs, **change) for name, change in given.items()}
    recipes |= {"ours": ours}
    recipes |= {f"ours, {name}": dataclasses.replace(ours, **change) for name, change in taken.items()}
    yield over_seeds("digits/article", budget, article, train, test, theirs.units)
    for name, recipe in recipes.items():
        yield over_seeds(f"digits/{name}", budget, read_digits, recipe, train, test)
    yield {"name": "digits/linear on pixels", "accuracy": linear_on_pixels(train, test, ours.penalty)}
    settings = {name: getattr(ours, name) for name in GRID}
    yield {"name": "digits/chosen on the validation split", "units": ours.units, **settings}


# --- cells with a readout ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """What one cell reads: inputs x [T, N, I], elapsed times dt [T, N] in s or None, present [T, N] bool or None."""

    x: Tensor
    dt: Tensor | None = None
    present: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.x[:, rows], *(None if every is None else every[:, rows] for every in (self.dt, self.present))


class Model(nn.Module):
    """Cells, one for each stream, and a linear readout of what `view` makes of their outputs [N, T, O].

    A cell reads its stream and what the cells before it show.
    """

    def __init__(self, cells: list[Cell], outputs: int, view: Callable[[Tensor], Tensor], steps_read: int = 1) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.head = nn.Linear(steps_read * sum(cell.output_size for cell in cells), outputs)
        self.view = view

    def features(self, streams: list[Stream], rows: Tensor | slice = slice(None)) -> Tensor:
        outputs: list[Tensor] = []
        for cell, stream in zip(self.cells, streams, strict=True):
            x, dt, present = stream.rows(rows)
            h = cell.initial_state(x.shape[1])
            outputs.append(cell.sequence(torch.cat([x, *outputs], -1), h, dt, None, present)[0])
        return self.view(torch.cat(outputs, -1).transpose(0, 1))

    @torch.no_grad()
    def predict(self, streams: list[Stream]) -> Tensor:
        return self.head(self.features(streams))

    def fit(
        self, streams: list[Stream], targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], updates: int
    ) -> None:
        """Adam on everything; of a reservoir the readout alone, in closed form. targets [N, ...]."""
        if all(isinstance(cell, Reservoir) for cell in self.cells):
            readout = ridge(self.features(streams).flatten(0, -2), targets.flatten(0, -2), PENALTY)
            with torch.no_grad():
                self.head.weight.copy_(torch.from_numpy(readout.weight.T))
                self.head.bias.copy_(torch.from_numpy(readout.bias))
            return
        optimizer = torch.optim.Adam(self.parameters(), LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
        for _ in range(updates):
            rows = torch.randint(len(targets), (BATCH,))
            optimizer.zero_grad()
            loss(self.head(self.features(streams, rows)), targets[rows]).backward()
            nn.utils.clip_grad_norm_(self.parameters(), GRADIENT_NORM)
            optimizer.step()
            schedule.step()


def build(name: str, inputs: int, units: int, **settings: float) -> Cell:
    return make_cell({"cell": name, "input_size": inputs, "units": units, "period": PERIOD, **settings})


# --- part b: a chaotic series at irregular times ----------------------------------------------------------------------------

CELL_NAMES = ("cfc", "ltc", "diagonal", "gru", "lstm", "reservoir")
GATED = ("gru", "lstm")
CLOCKS = ("none", "channel", "elapsed")
PERIOD = 0.1  # mean interval between samples, in units of time of the Lorenz system; it orbits a wing in about 0.75
HORIZON = 0.2
STEPS, WARM_UP = 80, 16
# of the reservoir: the best of 0.3, 0.6 and 0.9 on a quarter of the sequences to learn from, fitted on the others
LEAK = {"none": 0.6, "channel": 0.9, "elapsed": 0.6}
PENALTY = 1e-3


@dataclass(frozen=True)
class Series:
    """Samples [T, N, 3] of Lorenz 1963, standardised; dt [T, N] before each; the same `HORIZON` later, `future` [N, T, 3]."""

    x: Tensor
    dt: Tensor
    future: Tensor


def lorenz(state: Array, elapsed: Array | float) -> Array:
    """The state [3, N] after `elapsed` [N]: time is stretched row by row, so one integration serves all rows."""

    def flow(_: float, flat: Array) -> Array:
        x, y, z = flat.reshape(state.shape)
        return (elapsed * np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])).ravel()

    solution = solve_ivp(flow, (0.0, 1.0), state.ravel(), "DOP853", t_eval=[1.0], rtol=1e-7, atol=1e-7)
    return solution.y[:, -1].reshape(state.shape)


@cache
def series(sequences: int) -> tuple[Series, Series]:
    """Sequences to learn from and as many to test on, from other starts, sampled at intervals of 0.02 + Exponential(0.08)."""
    rng = np.random.default_rng(0)
    state = lorenz(rng.normal([[0.0], [0.0], [25.0]], 5.0, (3, 2 * sequences)), 20.0)
    dt = 0.2 * PERIOD + rng.exponential(0.8 * PERIOD, (STEPS, 2 * sequences))
    samples = []
    for elapsed in dt:
        state = lorenz(state, elapsed)
        samples.append(state)
    x = np.stack(samples)  # [T, 3, N]
    future = lorenz(x.transpose(1, 0, 2).reshape(3, -1), HORIZON).reshape(3, STEPS, -1)
    learned = x[..., :sequences]
    mean, deviation = (statistic(learned, (0, 2), keepdims=True) for statistic in (np.mean, np.std))
    x, future = (x - mean) / deviation, (future - mean[0, :, None]) / deviation[0, :, None]
    values = [
        torch.tensor(array, dtype=torch.float32) for array in (x.transpose(0, 2, 1), dt, future.transpose(2, 1, 0))
    ]
    halves = slice(None, sequences), slice(sequences, None)
    first, second = (Series(values[0][:, half], values[1][:, half], values[2][half]) for half in halves)
    return first, second


def stream(x: Tensor, dt: Tensor, clock: str, present: Tensor | None = None) -> Stream:
    """What a cell with this clock reads of x [T, N, C].

    "elapsed": the true time since the last sample, as `dt`; "channel": the same as one more input, in periods; "none" and "channel"
    step by one period a sample.
    """
    if clock == "elapsed":
        return Stream(x, dt, present)
    if clock == "channel":
        x = torch.cat([x, since_last(dt, present)[..., None] / PERIOD], -1)
    # an absent sample takes no time: the next one is again one period later
    return Stream(x, None if present is None else PERIOD * present, present)


def since_last(dt: Tensor, present: Tensor | None) -> Tensor:
    """Time since the last present sample [T, N]."""
    if present is None:
        return dt
    since, waited = [], torch.zeros_like(dt[0])
    for elapsed, arrived in zip(dt, present, strict=True):
        waited = waited + elapsed
        since.append(waited)
        waited = torch.where(arrived, 0.0, waited)
    return torch.stack(since)


def settled(y: Tensor) -> Tensor:
    """[N, T, ...] after the warm-up, in which a cell has yet to see enough."""
    return y[:, WARM_UP:]


def nrmse(prediction: Tensor, target: Tensor) -> float:
    return float((prediction - target).square().mean().sqrt() / target.std())


def units(name: str, budget: Budget) -> int:
    return budget.reservoir_units if name == "reservoir" else budget.units


@cache
def forecaster(name: str, clock: str, budget: Budget, seed: int) -> Model:
    """Reads the first coordinate, forecasts it `HORIZON` ahead of every sample."""
    torch.manual_seed(seed)
    train, _ = series(budget.sequences)
    read = stream(train.x[..., :1], train.dt, clock)
    settings = {"seed": seed, "leak": LEAK[clock]} if name == "reservoir" else {}
    model = Model([build(name, read.x.shape[2], units(name, budget), **settings)], 1, settled)
    model.fit([read], settled(train.future[..., :1]), F.mse_loss, budget.updates)
    return model


def clocks(name: str) -> tuple[str, ...]:
    """The gated cells have no notion of time but an input: "elapsed" would be "channel" again."""
    return CLOCKS[:2] if name in GATED else CLOCKS


def forecast_error(name: str, clock: str, budget: Budget, seed: int) -> Figures:
    _, test = series(budget.sequences)
    prediction = forecaster(name, clock, budget, seed).predict([stream(test.x[..., :1], test.dt, clock)])
    return {"nrmse": nrmse(prediction, settled(test.future[..., :1]))}


def part_b(budget: Budget) -> Iterator[Row]:
    _, test = series(budget.sequences)
    now, later = settled(test.x[..., :1].transpose(0, 1)), settled(test.future[..., :1])
    yield {"name": "forecast/persistence", "nrmse": nrmse(now, later)}
    for name in CELL_NAMES:
        for clock in clocks(name):
            row = over_seeds(f"forecast/{name}, clock {clock}", budget, forecast_error, name, clock, budget)
            yield {**row, "trained": trained(forecaster(name, clock, budget, 0))}


def trained(model: Model) -> int:
    """How many numbers were learned."""
    return sum(parameter.numel() for parameter in model.parameters())


# --- part c: noise and missing samples --------------------------------------------------------------------------------------

NOISE = (0.05, 0.1, 0.3)
MISSING = (0.1, 0.3, 0.5)


def stressed_errors(name: str, clock: str, budget: Budget, seed: int) -> Figures:
    _, test = series(budget.sequences)
    model = forecaster(name, clock, budget, seed)
    x, target = test.x[..., :1], settled(test.future[..., :1])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=generator)
    chance = torch.rand(test.dt.shape, generator=generator)
    figures = {}
    for level in NOISE:
        figures[f"noise_{level:g}"] = nrmse(model.predict([stream(x + level * noise, test.dt, clock)]), target)
    for share in MISSING:
        present = chance >= share
        prediction, scored = model.predict([stream(x, test.dt, clock, present)]), settled(present.T)
        figures[f"missing_{share:g}"] = nrmse(prediction[scored], target[scored])
    return figures


def part_c(budget: Budget) -> Iterator[Row]:
    """Errors are counted at the samples that arrived."""
    for name in CELL_NAMES:
        for clock in clocks(name):
            yield over_seeds(f"stress/{name}, clock {clock}", budget, stressed_errors, name, clock, budget)


# --- part d: labels and neurons ---------------------------------------------------------------------------------------------

CLASSIFIERS = CELL_NAMES
LABELLED = (0.01, 0.1, 1.0)
SIZES = (0.25, 0.5, 1.0, 2.0)


def labelled(share: float, seed: int) -> Digits:
    """A stratified share of the digits to learn from; the rest is not used."""
    train, _ = digits()
    return train if share == 1.0 else train.split(share, seed)[1]


def classifier_accuracy(name: str, width: int, train: Digits, budget: Budget, seed: int) -> float:
    """A cell trained on digits row by row; its readout sees the outputs of all rows, as the reservoir's does."""
    torch.manual_seed(seed)
    _, test = digits()
    model = Model([build(name, 8, width)], CLASSES, lambda y: y.flatten(1), steps_read=8)
    x, tested = (torch.tensor(data.images, dtype=torch.float32).transpose(0, 1) for data in (train, test))
    model.fit([Stream(x)], torch.tensor(train.labels, dtype=torch.float32), F.cross_entropy, budget.updates)
    return percent_right(model.predict([Stream(tested)]).double().numpy(), test.labels)


@cache
def digits_accuracy(name: str, size: float, share: float, budget: Budget, seed: int) -> float:
    _, test = digits()
    train = labelled(share, seed)
    if name == "linear on pixels":
        return linear_on_pixels(train, test, Recipe.penalty)
    neurons = int(size * units(name, budget))
    if name == "reservoir":
        return Recipe(neurons).accuracy(train, test, seed)
    return classifier_accuracy(name, neurons, train, budget, seed)


def by_labels(name: str, budget: Budget, seed: int) -> Figures:
    return {f"labels_{share:.0%}": digits_accuracy(name, 1.0, share, budget, seed) for share in LABELLED}


def by_neurons(name: str, size: float, budget: Budget, seed: int) -> Figures:
    return {"accuracy": digits_accuracy(name, size, 1.0, budget, seed)}


def part_d(budget: Budget) -> Iterator[Row]:
    for name in ("linear on pixels", *CLASSIFIERS):
        yield over_seeds(f"labels/{name}", budget, by_labels, name, budget)
    for name, size in itertools.product(CLASSIFIERS, SIZES):
        neurons = int(size * units(name, budget))
        yield over_seeds(f"neurons/{name}, {neurons}", budget, by_neurons, name, size, budget)


# --- part e: channels at different rates ------------------------------------------------------------------------------------

RATE_CELLS = ("cfc", "diagonal", "gru")
SLOW_EVERY = 8
WAYS = ("slow channels left out", "held", "held, age", "own clock", "all channels fast")


def presentations(data: Series, width: int) -> dict[str, tuple[list[Stream], list[int]]]:
    """Ways to read a fast channel, z, and two slow ones, x and y, sampled every eighth time: the streams, and units for each.

    z alone cannot tell on which wing the state is: the system is symmetric in (x, y). No input is ever NaN. "held": slow
    channels keep their last values; "held, age": one more input tells for how many periods; "own clock": a smaller cell reads them,
    which steps only when they are sampled, by the time since they last were, and the cell that reads z reads it too.
    """
    steps = torch.arange(STEPS)
    last = steps - steps % SLOW_EVERY
    fast, slow, clock = data.x[..., 2:], data.x[..., :2], data.dt.cumsum(0)
    held, age = slow[last], (clock - clock[last])[..., None] / PERIOD
    sampled = (steps == last)[:, None].expand_as(data.dt)
    first = width // 4
    return {
        "slow channels left out": ([Stream(fast, data.dt)], [width]),
        "held": ([Stream(torch.cat([fast, held], -1), data.dt)], [width]),
        "held, age": ([Stream(torch.cat([fast, held, age], -1), data.dt)], [width]),
        "own clock": ([Stream(slow, data.dt, sampled), Stream(fast, data.dt)], [first, width - first]),
        "all channels fast": ([Stream(data.x, data.dt)], [width]),
    }


def rates_error(name: str, way: str, budget: Budget, seed: int) -> Figures:
    torch.manual_seed(seed)
    train, test = series(budget.sequences)
    streams, widths = presentations(train, budget.units)[way]
    cells: list[Cell] = []
    for one, width in zip(streams, widths, strict=True):
        cells.append(build(name, one.x.shape[2] + sum(cell.output_size for cell in cells), width))
    model = Model(cells, 3, settled)
    model.fit(streams, settled(train.future), F.mse_loss, budget.updates)
    prediction = model.predict(presentations(test, budget.units)[way][0])
    return {"nrmse": nrmse(prediction, settled(test.future))}


def part_e(budget: Budget) -> Iterator[Row]:
    for name, way in itertools.product(RATE_CELLS, WAYS):
        yield over_seeds(f"rates/{name}, {way}", budget, rates_error, name, way, budget)


PARTS = {"a": part_a, "b": part_b, "c": part_c, "d": part_d, "e": part_e}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--quick", action="store_true", help="the smallest budget: shows that it works, not how well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for part in options.only:
        measured = list(PARTS[part](QUICK if options.quick else Budget()))
        report(measured, None)
        rows += measured
    write_document(rows, options.json)


if __name__ == "__main__":
    main()
