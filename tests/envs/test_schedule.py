"""Every schedule: its course in closed form, what it draws, and what it refuses."""

import numpy as np
import pytest

from undrift.envs import (
    SCHEDULES,
    Abrupt,
    Cyclic,
    Intermittent,
    Pulse,
    Ramp,
    RandomOnset,
    Sequence,
    Wind,
    make_batch,
)
from undrift.envs.shifts import shift_from_dict, shift_to_dict

TIME = np.arange(0.0, 20.0, 0.02)


def course(schedule, seed=0, horizon=20.0):
    """Strength at TIME in one episode."""
    times = schedule.draw(np.random.default_rng(seed), horizon)
    return schedule.strength(TIME, np.tile(times, (len(TIME), 1)))


@pytest.mark.parametrize("kind", SCHEDULES.values())
def test_every_schedule_is_off_before_its_onset_on_at_it_and_within_0_and_1(kind):
    schedule = kind()
    times = schedule.draw(np.random.default_rng(3), 20.0)
    onset = schedule.onsets(times[None])[0]
    strength = course(schedule, seed=3)
    assert ((strength >= 0) & (strength <= 1)).all()
    assert (strength[onset - 1e-9 > TIME] == 0).all()
    assert strength[TIME > onset][0] > 0
    assert onset >= schedule.onset


@pytest.mark.parametrize("kind", SCHEDULES.values())
def test_every_schedule_survives_the_trip_through_json(kind):
    shift = Wind(schedule=kind())
    assert shift_from_dict(shift_to_dict(shift)) == shift


@pytest.mark.parametrize("kind", SCHEDULES.values())
def test_every_schedule_draws_as_many_times_in_every_episode(kind):
    schedule = kind()
    lengths = {len(schedule.draw(np.random.default_rng(seed), 18.0)) for seed in range(5)}
    assert len(lengths) == 1


def test_a_ramp_rises_linearly_and_stays():
    strength = course(Ramp(at=2.0, duration=4.0))
    np.testing.assert_allclose(strength, np.clip((TIME - 2.0) / 4.0, 0, 1), atol=1e-12)


def test_a_pulse_steps_up_and_down():
    strength = course(Pulse(at=2.0, duration=3.0))
    np.testing.assert_array_equal(strength, (np.arange(len(TIME)) >= 100) & (np.arange(len(TIME)) < 250))


def test_a_cycle_goes_a_b_a_b():
    strength = course(Cyclic(at=2.0, period=4.0, duty=0.25))
    steps = np.arange(len(TIME)) - 100
    np.testing.assert_array_equal(strength, (steps >= 0) & (steps % 200 < 50))


def test_a_sequence_steps_through_its_strengths():
    strength = course(Sequence(times=(1.0, 2.0, 3.0), strengths=(0.5, 1.0, 0.0)))
    np.testing.assert_array_equal(strength[[0, 49, 50, 99, 100, 149, 150, 999]], [0, 0, 0.5, 0.5, 1, 1, 0, 0])


def test_an_intermittent_shift_is_on_and_off_for_its_mean_times():
    schedule = Intermittent(at=0.0, on=1.0, off=3.0)
    times = np.stack([schedule.draw(np.random.default_rng(seed), 40.0) for seed in range(4000)])
    share = np.mean([schedule.strength(np.full(len(times), t), times).mean() for t in np.arange(10.0, 40.0, 0.5)])
    assert share == pytest.approx(0.25, abs=0.01)
    lasting = np.diff(times, axis=1)
    assert lasting[:, ::2].mean() == pytest.approx(1.0, rel=0.02)
    assert lasting[:, 1::2].mean() == pytest.approx(3.0, rel=0.02)


def test_an_onset_is_drawn_per_episode_within_its_bounds():
    schedule = RandomOnset(earliest=2.0, latest=6.0)
    times = np.stack([schedule.draw(np.random.default_rng(seed), 18.0) for seed in range(2000)])
    onsets = schedule.onsets(times)
    assert onsets.min() >= 2 and onsets.max() <= 6
    assert np.mean(onsets) == pytest.approx(4.0, abs=0.1)


def test_each_simulation_of_a_batch_has_the_onset_that_it_drew():
    env = make_batch("DroneTrack", 3, shifts=(Wind(schedule=RandomOnset(0.1, 0.5)),))
    env.reset([1, 2, 3])
    onsets = env.drift.onsets()[:, 0]
    assert len(set(onsets)) == 3
    shown = np.array([env.step(np.zeros((3, 4)))[4]["shift"][:, 0] for _ in range(30)])
    np.testing.assert_array_equal(shown, (np.arange(30)[:, None] * env.dt >= onsets - 1e-9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Abrupt(-1.0), "Abrupt.at is -1.0: it must be a time in s"),
        (lambda: Abrupt(float("nan")), "Abrupt.at is nan"),
        (lambda: Ramp(duration=0.0), "Ramp.duration is 0.0: it must be a duration in s, above 0"),
        (lambda: Pulse(duration=float("inf")), "Pulse.duration"),
        (lambda: Cyclic(duty=1.0), r"Cyclic.duty is 1.0: it must be a share of the period, in \(0, 1\)"),
        (lambda: Intermittent(off=-2.0), "Intermittent.off"),
        (lambda: RandomOnset(5.0, 3.0), "RandomOnset.latest is 3.0: it must be at least the earliest onset, 5 s"),
        (lambda: Sequence((3.0, 2.0), (1.0, 0.0)), "Sequence.times"),
        (lambda: Sequence((1.0, 2.0), (1.0,)), "Sequence.strengths is .*: it must be 2 numbers"),
        (lambda: Sequence((1.0,), (0.0,)), "the first above 0"),
    ],
)
def test_bad_fields_are_refused_with_what_is_valid(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_onset_beyond_the_episode_is_refused_with_the_episode_length():
    with pytest.raises(ValueError, match=r"an episode lasts 18 s: give an onset in \[0, 18\) s"):
        make_batch("DroneTrack", 1, shifts=(Wind(schedule=Abrupt(18.0)),))
