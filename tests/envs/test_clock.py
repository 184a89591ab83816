"""Clock: control steps of uneven length, and the time that is told."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Clock, Wind, make_batch

UNEVEN = {"jitter": 0.3, "missed": 0.2}


def test_a_regular_clock_makes_every_control_step_one_period():
    env = make_batch("DroneTrack", 3)
    env.reset([0, 1, 2])
    for step in range(1, 4):
        info = env.step(np.zeros((3, 4)))[4]
        np.testing.assert_array_equal(info["dt"], 0.02)
        np.testing.assert_array_equal(env.time, step * 0.02)
    assert "step_duration" not in env.observation_names


def test_steps_last_whole_physics_steps_with_the_documented_distribution():
    lengths = Clock(**UNEVEN).draw(np.random.default_rng(0), 20_000, 10)
    assert lengths.dtype == np.int64 and lengths.min() == 7
    periods = np.rint(lengths / 10)
    np.testing.assert_allclose([(periods == k).mean() for k in (1, 2, 3)], [0.8, 0.16, 0.032], rtol=0.1)
    np.testing.assert_allclose(lengths[periods == 1].std(), 10 * 0.3 / np.sqrt(3), rtol=0.05)


@pytest.mark.parametrize("control_hz", [50, 100, 200])
def test_the_time_told_is_the_time_simulated(control_hz):
    env = make_batch("DroneTrack", 4, clock=UNEVEN, control_hz=control_hz, crash_distance=1e9)
    env.reset([0, 1, 2, 3])
    total, durations = np.zeros(4), []
    for _ in range(40):
        seen, _, _, _, info = env.step(np.zeros((4, 4)))
        total += info["dt"]
        durations.append(info["dt"])
        np.testing.assert_allclose(seen[:, env.observation_names.index("step_duration")], info["dt"], rtol=1e-6)
        np.testing.assert_allclose(env.time, total, rtol=1e-12)
        # MuJoCo's own clock, which counts the physics steps that were taken.
        np.testing.assert_allclose(env.batch.time, total, rtol=1e-9)
    assert len(np.unique(durations)) > 3


def test_before_the_first_step_the_period_is_shown():
    env = make_batch("DroneTrack", 1, clock=UNEVEN)
    assert env.reset([0])[0, -1] == np.float32(0.02)


def test_rows_of_a_batch_with_uneven_clocks_equal_single_runs_to_the_bit():
    shifts = (Wind(schedule=Abrupt(0.1)),)
    batch = make_batch("DroneTrack", 4, clock=UNEVEN, shifts=shifts)
    single = make_batch("DroneTrack", 1, clock=UNEVEN, shifts=shifts)
    rows, row = batch.reset([1, 2, 3, 4]), single.reset([3])
    rng = np.random.default_rng(0)
    for _ in range(80):
        np.testing.assert_array_equal(rows[2], row[0])
        actions = rng.uniform(-0.3, 0.3, (4, 4))
        rows, row = batch.step(actions)[0], single.step(actions[2:3])[0]


@pytest.mark.parametrize(
    ("clock", "message"),
    [({"jitter": 1.0}, r"in \[0, 1\)"), ({"missed": 0.95}, r"in \[0, 0.9\]"), ({"drift": 1.0}, "jitter, missed")],
)
def test_bad_clocks_are_refused_with_what_is_valid(clock, message):
    with pytest.raises(ValueError, match=message):
        make_batch("DroneTrack", clock=clock)


def test_the_clock_is_part_of_the_recorded_arguments():
    env = make_batch("DroneTrack", clock=Clock(**UNEVEN))
    assert make_batch("DroneTrack", **env.kwargs).clock == Clock(**UNEVEN)
