"""Drift: the shifts of a batch of simulations at work. The one place that draws, times and applies them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .noise import Normals
from .shift import ClockShift, CommandShift, PlantShift, SensingShift, Shift, VaryingShift, World

Shifts = Sequence[Shift] | Sequence[Sequence[Shift]]
"""The shifts of all simulations, or a sequence of them for each."""
Acting = tuple[int, PlantShift, np.ndarray, np.ndarray]
"""A shift that is on somewhere: its column, itself, those simulations, and how strongly it acts in each."""


class Drift:
    """Draws the shifts of every episode, and changes a batch's plant, actions, clock and measurements by them.

    Simulations may have different shifts; each draws from its own stream, so that its episode is that of a batch of one.

    Args:
        world: the environment.
        shifts: what shifts in all simulations, or a sequence for each.
        num_envs: simulations.
        horizon: s that an episode lasts at most; infinite where nothing limits it.

    Raises:
        ValueError: a shift does not fit the world, sets in after the episode's end, or there are more or fewer sequences
            than simulations.
    """

    def __init__(self, world: World, shifts: Shifts, num_envs: int, horizon: float) -> None:
        self.shifts, self._own = _in_columns(shifts, num_envs)
        for shift in self.shifts:
            shift.check(world)
            shift.schedule.check(horizon)
        self._world, self._horizon = world, horizon
        self._all = np.arange(num_envs)
        self._member = np.zeros((num_envs, len(self.shifts)), dtype=bool)
        for i, columns in enumerate(self._own):
            self._member[i, columns] = True
        self._everywhere = bool(self._member.all())
        # The simulations that have each shift: a slice where all have it, for slices copy nothing.
        self._rows = [slice(None) if column.all() else np.flatnonzero(column) for column in self._member.T]
        self.strength = np.zeros((num_envs, len(self.shifts)))
        """[N, K] in [0, 1], how strongly each shift acts in each simulation during the present control step."""
        self._memory = [np.zeros((num_envs, 0)) for _ in self.shifts]
        self._times = [np.zeros((num_envs, 0)) for _ in self.shifts]
        self._normals = [Normals(num_envs, shift.width(world)) for shift in self.shifts]
        numbered = list(enumerate(self.shifts))
        plant_shifts = [(k, shift) for k, shift in numbered if isinstance(shift, PlantShift)]
        self._plant_shifts = sorted(plant_shifts, key=lambda pair: pair[1].late)
        self._varying = [(k, shift) for k, shift in numbered if isinstance(shift, VaryingShift)]
        self._sensing = [(k, shift) for k, shift in numbered if isinstance(shift, SensingShift)]
        self._commands = [(k, shift) for k, shift in numbered if isinstance(shift, CommandShift)]
        self._clocks = [(k, shift) for k, shift in numbered if isinstance(shift, ClockShift)]
        self._names = _changed_by([shift for _, shift in self._plant_shifts])
        self._moving_names = _restored_with(_changed_by([shift for _, shift in self._varying]), self._plant_shifts)
        self._moving = [(k, shift) for k, shift in self._plant_shifts if set(shift.changes) & set(self._moving_names)]
        self._set_strength(self._all, 0.0)

    @property
    def distorts_clock(self) -> bool:
        """Whether a shift changes how long control steps last."""
        return bool(self._clocks)

    @property
    def distorts_actions(self) -> bool:
        """Whether a shift changes which actions arrive."""
        return bool(self._commands)

    @property
    def distorts_sensors(self) -> bool:
        """Whether a shift changes what is measured."""
        return bool(self._sensing)

    def begin(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Draw the shifts of new episodes of the simulations `ids` from children of their streams, and apply those that are on."""
        # Streams of their own: the shifted and the unshifted episode of a seed share everything up to the onset.
        for i, rng in zip(ids, rngs, strict=True):
            for k, stream in zip(self._own[i], rng.spawn(len(self._own[i])), strict=True):
                shift = self.shifts[k].drawn(stream)
                _put(self._memory, k, i, shift.draw(stream, self._world))
                _put(self._times, k, i, shift.schedule.draw(stream, self._horizon))
                self._normals[k].restart(np.array([i]), [stream])
        if self.shifts:
            self._set_strength(ids, self._strengths(ids, np.zeros(len(ids))))
            self._apply(ids, self._acting(ids, self._plant_shifts), self._names)

    def end(self) -> None:
        """Undo what the shifts have changed of the plant; nothing acts until `begin`."""
        self._set_strength(self._all, 0.0)
        self._apply(self._all, (), self._names)

    def onsets(self) -> np.ndarray:
        """[N, K] s at which each shift first acts in the present episodes; infinite where a simulation has not got it."""
        onsets = [shift.schedule.onsets(times) for shift, times in zip(self.shifts, self._times, strict=True)]
        return np.where(self._member, np.stack(onsets, axis=1), np.inf) if onsets else np.zeros(self.strength.shape)

    def update(self, time: np.ndarray, dt: np.ndarray) -> None:
        """Bring the plant to `time` [N] s, `dt` [N] s after the last control step began."""
        if not self.shifts:
            return
        strength = self._strengths(slice(None), time)
        different = strength != self.strength
        for k, shift in self._varying:
            rows = self._rows[k]
            memory = self._memory[k][rows]
            shift.evolve(memory, strength[rows, k], self._normals[k].next(self._all[rows]), time[rows], dt[rows])
            self._memory[k][rows] = memory
        if different.any():
            self._set_strength(self._all, strength)
            ids = np.union1d(np.flatnonzero(different.any(1)), self._in_motion)
            self._apply(ids, self._acting(ids, self._plant_shifts), self._names)
        elif self._in_motion.size:
            self._apply(self._in_motion, self._moving_now, self._moving_names)

    def command(self, actions: np.ndarray) -> np.ndarray:
        """The actions [N, A] that arrive when these are sent."""
        for k, shift in self._commands:
            rows = self._rows[k]
            memory, arriving = self._memory[k][rows], actions.copy()
            arriving[rows] = shift.command(memory, self.strength[rows, k], actions[rows])
            self._memory[k][rows], actions = memory, arriving
        return actions

    def ticks(self, lengths: np.ndarray) -> np.ndarray:
        """Physics steps [N] that the next control step lasts, planned to last `lengths` [N]."""
        for k, shift in self._clocks:
            rows = self._rows[k]
            memory, lasting = self._memory[k][rows], lengths.copy()
            normals = self._normals[k].next(self._all[rows])
            lasting[rows] = shift.ticks(memory, self.strength[rows, k], normals, lengths[rows])
            self._memory[k][rows], lengths = memory, lasting
        return np.maximum(lengths, 1)

    def measure(self, ids: np.ndarray, time: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """What the simulations `ids` measure at `time` [n] s in place of `measured` [n, C]."""
        for k, shift in self._sensing:
            has = slice(None) if isinstance(self._rows[k], slice) else self._member[ids, k]
            # All rows are a slice: views, and no copies.
            rows = self._rows[k] if np.array_equal(ids, self._all) else ids[has]
            memory, seen = self._memory[k][rows], measured.copy()
            normals = self._normals[k].next(ids[has])
            seen[has] = shift.measure(memory, self.strength[rows, k], normals, time[has], measured[has])
            self._memory[k][rows], measured = memory, seen
        return measured

    def _strengths(self, ids: np.ndarray | slice, time: np.ndarray) -> np.ndarray:
        strength = np.empty((len(time), len(self.shifts)))
        for k, shift in enumerate(self.shifts):
            strength[:, k] = shift.schedule.strength(time, self._times[k][ids])
        return strength if self._everywhere else strength * self._member[ids]

    def _set_strength(self, ids: np.ndarray, strength: np.ndarray | float) -> None:
        self.strength[ids] = strength
        # Which shifts move the plant at every control step, and where, stays as it is as long as the strengths do.
        self._in_motion = np.flatnonzero(self.strength[:, [k for k, _ in self._varying]].any(1))
        self._moving_now = self._acting(self._in_motion, self._moving)

    def _acting(self, ids: np.ndarray, shifts: Sequence[tuple[int, PlantShift]]) -> list[Acting]:
        """Those of the shifts that act in any of the simulations `ids`."""
        found = [(k, shift, ids[self.strength[ids, k] > 0]) for k, shift in shifts]
        return [(k, shift, on, self.strength[on, k]) for k, shift, on in found if on.size]

    def _apply(self, ids: np.ndarray, acting: Sequence[Acting], names: Sequence[str]) -> None:
        plant = self._world.plant
        plant.restore(ids, names)
        for k, shift, on, strength in acting:
            shift.apply(plant, on, self._memory[k][on], strength)
        plant.commit(ids, names)


def _in_columns(shifts: Shifts, num_envs: int) -> tuple[tuple[Shift, ...], list[list[int]]]:
    """The shifts of each different sequence side by side, and for each simulation the columns of its own."""
    if all(isinstance(shift, Shift) for shift in shifts):
        return tuple(shifts), [list(range(len(shifts)))] * num_envs  # type: ignore[arg-type]
    if len(shifts) != num_envs:
        raise ValueError(
            f"{len(shifts)} sequences of shifts for {num_envs} simulations: give one each, or one for all."
        )
    scenarios: list[list[Shift]] = []
    first: list[int] = []
    own: list[list[int]] = []
    for each in shifts:
        scenario = list(each)  # type: ignore[arg-type]
        if scenario not in scenarios:
            first.append(sum(map(len, scenarios)))
            scenarios.append(scenario)
        start = first[scenarios.index(scenario)]
        own.append(list(range(start, start + len(scenario))))
    return tuple(shift for scenario in scenarios for shift in scenario), own


def _changed_by(shifts: Sequence[PlantShift]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for shift in shifts for name in shift.changes))


def _restored_with(names: tuple[str, ...], shifts: Sequence[tuple[int, PlantShift]]) -> tuple[str, ...]:
    """The parameters to restore together with `names`: a shift of one of them is applied anew, and so are all its others."""
    while True:
        touched = [shift for _, shift in shifts if set(shift.changes) & set(names)]
        if set(_changed_by(touched)) <= set(names):
            return names
        names = _changed_by(touched)


def _put(table: list[np.ndarray], k: int, row: int, values: np.ndarray) -> None:
    """Write a row of table[k], which gets as many columns as its longest row has values; zeros follow those of a shorter one."""
    if (lacking := len(values) - table[k].shape[1]) > 0:
        table[k] = np.pad(table[k], ((0, 0), (0, lacking)))
    table[k][row] = 0.0
    table[k][row, : len(values)] = values
