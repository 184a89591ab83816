"""State: what an adapter remembers of its vehicles, by name for people and side by side in memory for kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ...policies.kernels.views import view
from .compiled import inlined


class State(Mapping[str, np.ndarray]):
    """Named arrays [N, ...], one row per vehicle, packed as float64 (truth values and whole numbers too) into one array.

    `state["d"]` is a view, and `state | {"d": new}` another state. A kernel takes all at once: `rows`, and where the
    fields stand that it knows (`parts`); it writes into those of a `copy`.

    Args:
        arrays: the fields, all of the same N.
    """

    __slots__ = ("layout", "rows")

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        values = {name: np.asarray(value, dtype=np.float64) for name, value in arrays.items()}
        self.layout = _layout_of(tuple((name, value.shape[1:]) for name, value in values.items()))
        flat = [value.reshape(len(value), prod(value.shape[1:])) for value in values.values()]
        self.rows = np.concatenate(flat, axis=1) if flat else np.zeros((0, 0))
        """[N, S] all fields, C-ordered."""

    def __getitem__(self, name: str) -> np.ndarray:
        columns, shape = self.layout.fields[name]
        field = self.rows[:, columns]
        return field if len(shape) == 1 else field.reshape(len(field), *shape)

    def __setitem__(self, name: str, value: Any) -> None:
        self[name][...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.fields)

    def __len__(self) -> int:
        return len(self.layout.fields)

    def __or__(self, changed: Mapping[str, Any]) -> State:
        """This state with fields changed or added."""
        return State({**self, **changed})

    def copy(self) -> State:
        """This state in memory of its own."""
        return self.at(self.rows.copy())

    def where(self, rows: np.ndarray, other: State) -> State:
        """This state where rows [N] is true, `other` elsewhere."""
        # Without fields there are no rows.
        return self.at(np.where(rows[: len(self.rows), None], self.rows, other.rows))

    def parts(self, *fields: type) -> np.ndarray:
        """Where in a row the fields of NamedTuple classes stand, one class after the other: [F, 2] first and last plus one, for
        `part`."""
        return _parts(self.layout, fields)

    def at(self, rows: np.ndarray) -> State:
        """The same fields in other memory, rows [N, S]."""
        state = object.__new__(State)
        state.layout, state.rows = self.layout, rows
        return state


class Layout:
    """Slice within a row and shape of every field; the same object for the same fields."""

    def __init__(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
        self.fields: dict[str, tuple[slice, tuple[int, ...]]] = {}
        start = 0
        for name, shape in shapes:
            self.fields[name] = slice(start, start + prod(shape)), shape
            start += prod(shape)


_layout_of = cache(Layout)


@cache
def _parts(layout: Layout, fields: tuple[type, ...]) -> np.ndarray:
    columns = [layout.fields[name][0] for each in fields for name in each._fields]  # type: ignore[attr-defined]
    return np.array([(each.start, each.stop) for each in columns])


@inlined
def part(row, parts, k):  # type: ignore[no-untyped-def]
    """The k-th of the fields that `State.parts` found, of the row [S] of one vehicle: a view, [...] in one dimension."""
    return view(row, parts[k, 0], (parts[k, 1] - parts[k, 0],), np.float64)
