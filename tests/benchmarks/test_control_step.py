"""The columns of the control step's benchmark, from times that were made by hand."""

from __future__ import annotations

import numpy as np
import pytest


def test_the_steady_p99_is_rid_of_what_slows_the_machine_and_keeps_what_is_the_steps_own(load):
    figures = load("control_step").figures
    env_step, control = np.full(1000, 100.0), np.full(1000, 70.0)
    env_step[100:150], control[100:150] = 200.0, 140.0  # everything is slow
    control[500:520] = 90.0  # these steps are
    env_step[700] = 50.0
    row = figures(control, env_step)
    assert row["p50_us"] == 70.0 and row["p99_us"] == 140.0 and row["env_p99"] == 2.0
    assert row["steady_p99_us"] == pytest.approx(90.0)
