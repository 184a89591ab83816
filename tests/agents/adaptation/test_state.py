"""State: fields by name and one array for kernels, the same numbers."""

from typing import NamedTuple

import numpy as np
import pytest

from undrift.agents.adaptation import State
from undrift.agents.adaptation.state import part


class Known(NamedTuple):
    matrix: np.ndarray
    flag: np.ndarray


def make():
    return State({"flag": [True, False], "gain": np.arange(4.0).reshape(2, 2), "matrix": np.ones((2, 2, 3))})


def test_fields_are_views_of_one_array_whatever_their_shape():
    state = make()
    assert {name: value.shape for name, value in state.items()} == {"flag": (2,), "gain": (2, 2), "matrix": (2, 2, 3)}
    for name in state:
        state[name][1] = 7.0
    np.testing.assert_array_equal(state.rows[1], 7.0)
    np.testing.assert_array_equal(state.rows[0], [1.0, 0.0, 1.0, *np.ones(6)])


def test_a_change_makes_another_state_and_may_add_fields():
    state = make()
    after = state | {"gain": np.zeros((2, 2)), "count": np.array([3, 4])}
    np.testing.assert_array_equal(state["gain"], np.arange(4.0).reshape(2, 2))
    np.testing.assert_array_equal(after["gain"], 0.0)
    np.testing.assert_array_equal(after["count"], [3.0, 4.0])
    assert list(after) == ["flag", "gain", "matrix", "count"]


def test_a_copy_is_written_without_the_original():
    state = make()
    after = state.copy()
    after["matrix"] = np.zeros((2, 2, 3))
    assert state["matrix"].all() and not after["matrix"].any()
    with pytest.raises(KeyError, match="gian"):
        after["gian"] = np.zeros((2, 2))


def test_rows_are_chosen_from_either_state():
    chosen = make().where(np.array([False, True]), make() | {"gain": np.full((2, 2), 9.0)})
    np.testing.assert_array_equal(chosen["gain"], [[9.0, 9.0], [2.0, 3.0]])
    assert not State({}).where(np.array([False, True]), State({}))


def test_a_kernel_finds_its_fields_wherever_the_state_has_them():
    for state in (make(), State({"more": np.zeros((2, 5)), **make()})):
        parts = state.parts(Known)
        np.testing.assert_array_equal(part(state.rows[1], parts, 0).reshape(2, 3), state["matrix"][1])
        np.testing.assert_array_equal(part(state.rows[1], parts, 1), state["flag"][1:])
    with pytest.raises(KeyError, match="matrix"):
        State({"flag": np.zeros(2)}).parts(Known)
