"""Gusts: an Ornstein-Uhlenbeck process at any step."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Gusts, make_batch

ROWS = 5000


@pytest.mark.parametrize("dt", [0.02, 0.3])
def test_variance_and_correlation_are_those_of_the_process_at_any_step(dt):
    gusts, world, rng = Gusts(deviation=2.0, correlation_time=0.6), make_batch("DroneTrack"), np.random.default_rng(0)
    memory = np.array([gusts.draw(rng, world) for _ in range(ROWS)])
    before = memory[:, :3].copy()
    for _ in range(round(0.6 / dt)):
        gusts.evolve(memory, np.ones(ROWS), rng.standard_normal((ROWS, 3)), np.zeros(ROWS), np.full(ROWS, dt))
    for winds in (before, memory[:, :3]):
        np.testing.assert_allclose(winds.std(0), [2.0, 2.0, 1.0], rtol=0.04)
    correlation = (before * memory[:, :3]).mean(0) / [4.0, 4.0, 1.0]
    np.testing.assert_allclose(correlation, np.exp(-1.0), atol=0.05)


def test_the_air_moves_from_the_onset_on_and_anew_at_every_control_step():
    env = make_batch("DroneTrack", 2, shifts=(Gusts(schedule=Abrupt(0.1)),))
    env.reset([0, 1])
    winds = []
    for _ in range(10):
        env.step(np.zeros((2, 4)))
        winds.append(env.record()["wind"])
    assert not np.any(winds[:5]) and (np.diff(winds[5:], axis=0) != 0).all()
    assert not np.any(winds[9][0] == winds[9][1])
