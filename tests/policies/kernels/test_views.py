"""Arrays of kernels that count nobody's: views of an argument's memory, and room on the stack."""

import sys

import numpy as np
import pytest

from undrift.policies.kernels.backend import helper, lean
from undrift.policies.kernels.views import scratch, vector, view


@lean
def write_through(memory, begin, rows, columns):
    seen = view(memory, begin, (rows, columns), np.float64)
    for i in range(rows):
        for j in range(columns):
            seen[i, j] = 10 * i + j


def test_a_view_is_of_the_memory_itself_in_rows():
    memory = np.full(8, -1.0)
    write_through(memory, 1, 2, 3)
    np.testing.assert_array_equal(memory, [-1, 0, 1, 2, 10, 11, 12, -1])


@lean
def first_bits(memory):
    return view(memory, 1, (2,), np.float32)[1]


def test_a_view_may_be_of_another_type_and_of_a_view():
    singles = np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    assert first_bits(singles.view(np.float64)) == 3.5


@lean
def of_columns(memory):
    return view(memory, 0, (1,), np.float64)[0]


def test_memory_with_gaps_has_no_view():
    with pytest.raises(Exception, match="without gaps"):
        of_columns(np.zeros((4, 4))[:, 1])


@helper
def total_of_own(count):
    own, total = vector(count), 0.0
    for k in range(count):
        own[k] = k
    for k in range(count):
        total += own[k]
    return total


@lean
def totals(counts, out):
    both = scratch((2, counts.shape[0]), np.int64)
    for i in range(counts.shape[0]):
        both[0, i], both[1, i] = i, -1
    for i in range(counts.shape[0]):
        out[i] = total_of_own(counts[i])
    return both[0].sum() + both[1].sum()


def test_room_on_the_stack_is_each_kernels_own_and_is_given_back():
    counts = np.full(10_000, 1000)  # 80 MB, were it not given back
    out = np.empty(len(counts))
    assert totals(counts, out) == sum(range(len(counts))) - len(counts)
    assert np.unique(out).tolist() == [499500.0]


def test_kernels_leave_the_count_of_their_arguments_alone():
    memory = np.zeros(8)
    count = sys.getrefcount(memory)
    for _ in range(10):
        write_through(memory, 0, 2, 2)
    assert sys.getrefcount(memory) == count
