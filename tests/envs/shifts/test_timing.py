"""Shifts of the control clock."""

from itertools import permutations

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, Clock, ClockJitter, ControlRate, MissedTicks, make_batch

from .flights import actions


def durations(steps, *shifts, num_envs=50, **kwargs):
    """[steps, num_envs] s that the control steps of DroneTrack took."""
    env = make_batch("DroneTrack", num_envs, crash_distance=1e9, shifts=shifts, **kwargs)
    env.reset(list(range(num_envs)))
    return np.array([env.step(actions(env, step))[4]["dt"] for step in range(steps)])


def frequencies(lengths, largest):
    return np.bincount(np.ravel(lengths), minlength=largest)[:largest] / np.size(lengths)


@pytest.mark.parametrize(
    ("shifts", "clock"),
    [
        ((ClockJitter(share=0.6, schedule=Always()),), Clock(jitter=0.6)),
        ((MissedTicks(probability=0.3, schedule=Always()),), Clock(missed=0.3)),
        (
            (ClockJitter(share=0.6, schedule=Always()), MissedTicks(probability=0.3, schedule=Always())),
            Clock(jitter=0.6, missed=0.3),
        ),
    ],
)
def test_steps_last_as_with_a_clock_that_does_the_same(shifts, clock):
    lengths = np.rint(durations(120, *shifts) / 0.004).astype(int)
    expected = clock.draw(np.random.default_rng(0), 60_000, 5)
    np.testing.assert_allclose(frequencies(lengths, 20), frequencies(expected, 20), atol=0.02)


@pytest.mark.parametrize(("period", "expected"), [(2.0, 0.04), (1.5, 0.028), (0.4, 0.008), (3.0, 0.06)])
def test_another_rate_makes_every_step_so_many_whole_physics_steps(period, expected):
    seen = durations(8, ControlRate(period=period, schedule=Abrupt(0.06)), num_envs=2)
    np.testing.assert_allclose(seen, np.repeat([[0.02], [expected]], [3, 5], axis=0) @ np.ones((1, 2)))


def test_the_channel_of_the_step_duration_the_clock_and_the_physics_agree():
    shifts = ClockJitter(share=0.5, schedule=Abrupt(0.1)), MissedTicks(probability=0.4, schedule=Abrupt(0.1))
    env = make_batch("DroneTrack", 4, clock=Clock(), crash_distance=1e9, shifts=shifts)
    env.reset([0, 1, 2, 3])
    total = np.zeros(4)
    for step in range(30):
        seen, _, _, _, info = env.step(actions(env, step))
        total += info["dt"]
        np.testing.assert_allclose(seen[:, env.observation_names.index("step_duration")], info["dt"], rtol=1e-6)
        np.testing.assert_allclose(env.batch.time, total, rtol=1e-9)
        assert step >= 5 or (info["dt"] == 0.02).all()
    assert len(np.unique(info["dt"])) > 1


def test_the_action_holds_for_as_long_as_a_step_lasts():
    slow, plain = (make_batch("DroneTrack", 1, shifts=s) for s in ((ControlRate(schedule=Always()),), ()))
    slow.reset([0])
    plain.reset([0])
    for step in range(5):
        slow.step(actions(slow, step))
        for _ in range(2):
            plain.step(actions(plain, step))
        np.testing.assert_array_equal(slow.qpos, plain.qpos)


def test_a_step_takes_one_physics_step_at_least():
    seen = durations(40, ControlRate(period=0.2, schedule=Always()), ClockJitter(share=0.9, schedule=Always()))
    assert seen.min() == pytest.approx(0.004)


def test_their_order_does_not_matter():
    env = make_batch("DroneTrack", 1)
    rng = np.random.default_rng(0)
    shifts = ClockJitter(share=0.7), MissedTicks(probability=0.5), ControlRate(period=1.5)
    given = [(shift, np.tile(shift.draw(rng, env), (1000, 1)), rng.standard_normal((1000, 1))) for shift in shifts]
    results = []
    for order in permutations(given):
        lengths = np.full(1000, 5)
        for shift, memory, normals in order:
            lengths = shift.ticks(memory, np.ones(1000), normals, lengths)
        results.append(lengths)
    assert all((lengths == results[0]).all() for lengths in results) and len(np.unique(results[0])) > 5
