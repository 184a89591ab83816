"""The control step's benchmark: what its columns are made of."""

from __future__ import annotations

import numpy as np


def test_a_step_that_was_interrupted_is_in_the_p99_by_the_clock_and_one_that_is_always_slow_in_that_of_the_steps(load):
    control, waited = np.full((5, 1000), 30.0), np.full((5, 1000), 30.0)
    control[:, :20] = 50.0
    control[1, 100:180], waited[2, 500:560] = 90.0, 70.0
    row = load("control_step").figures(control, waited)
    assert row == {"p50_us": 30.0, "p99_us": 90.0, "steps_p99_us": 50.0, "machine_p99_us": 70.0}


def test_the_busy_loop_takes_as_long_as_it_is_told_to(load):
    benchmark = load("control_step")
    per_us = benchmark.busy_loops_per_us()
    assert benchmark.busy(3) != benchmark.busy(4)
    assert 10 < per_us < 10_000
