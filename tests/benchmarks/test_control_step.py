"""The control step's benchmark: what its columns are made of."""

from __future__ import annotations

import numpy as np


def test_a_row_has_the_percentiles_of_its_steps_and_of_the_busy_loop_beside_them(load):
    control, waited = np.full(1000, 30.0), np.full(1000, 30.0)
    control[:20], waited[500:515] = 90.0, 70.0
    assert load("control_step").figures(control, waited) == {"p50_us": 30.0, "p99_us": 90.0, "machine_p99_us": 70.0}


def test_the_busy_loop_takes_as_long_as_it_is_told_to(load):
    benchmark = load("control_step")
    per_us = benchmark.busy_loops_per_us()
    assert benchmark.busy(3) != benchmark.busy(4)
    assert 10 < per_us < 10_000
