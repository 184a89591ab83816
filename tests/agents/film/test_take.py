"""A take puts episodes of one flight on one clock, and refuses episodes of different flights."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents.film import Take

from .conftest import ONSET_S, Fly, changed


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 5), ("scenario", "another"), ("dt", 0.01), ("planned_steps", 400), ("env_kwargs", {})]
)
def test_episodes_of_different_flights_are_refused_by_naming_the_difference(fly: Fly, key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"no pair: they differ in {key} "):
        Take((fly("wind", "frozen"), changed(fly("wind", "integral"), **{key: value})))


def test_episodes_with_different_references_are_refused(fly: Fly) -> None:
    other = fly("wind", "integral")
    moved = changed(other)
    moved.reference = other.reference + 0.01
    with pytest.raises(ValueError, match="reference paths differ"):
        Take((fly("wind", "frozen"), moved))


def test_an_environment_without_films_is_refused_by_naming_those_with(fly: Fly) -> None:
    with pytest.raises(
        ValueError, match=r"no film of 'CartPole-v1'; filmed are undrift/DroneHover-v0.* `undrift.agents.film.Recorder`"
    ):
        Take((changed(fly("wind", "frozen"), env_id="CartPole-v1"),))


@pytest.mark.parametrize("count", [0, 3])
def test_other_than_one_or_two_episodes_are_refused(fly: Fly, count: int) -> None:
    with pytest.raises(ValueError, match=f"one or two episodes, got {count}"):
        Take((fly("wind", "frozen"),) * count)


@pytest.mark.parametrize(
    ("scenario", "sentences"),
    [
        ("wind", ["Wind 8 m/s arrives"]),
        ("payload", ["Payload +60 % arrives"]),
        ("motor", ["One motor loses 40 %"]),
        ("dead motor", ["One motor fails"]),
        ("none", []),
    ],
)
def test_changes_say_what_the_recorded_world_does(fly: Fly, scenario: str, sentences: list[str]) -> None:
    assert Take((fly(scenario, "frozen"),)).changes == sentences


def test_changes_speak_of_all_motors_and_of_several_shifts_at_once(fly: Fly) -> None:
    episode = changed(fly("wind", "frozen"))
    after = episode.time > ONSET_S
    episode.motor_effectiveness = np.where(after[:, None], 0.6, 1.0) * np.ones(4)
    assert Take((episode,)).changes == ["Wind 8 m/s arrives", "All motors lose 40 %"]


def test_a_shift_that_leaves_no_trace_in_the_arrays_is_named(fly: Fly) -> None:
    late = {
        "name": "sensor bias",
        "kind": "sensor_bias",
        "onset_s": ONSET_S,
        "schedule": {"name": "abrupt", "at": ONSET_S},
    }
    assert Take((changed(fly("wind", "frozen"), shifts=[late]),)).changes == ["Wind 8 m/s arrives", "Sensor bias"]


def test_labels_tell_frozen_from_adapting_and_two_adapters_by_name(fly: Fly) -> None:
    frozen, integral = fly("wind", "frozen"), fly("wind", "integral")
    assert Take((frozen, integral)).labels == ("frozen", "adapting")
    assert Take((integral, changed(integral, adapter="observer"))).labels == ("integral", "observer")


def test_the_window_surrounds_the_shift_at_the_frame_rate(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"), fly("wind", "integral")))
    assert take.window(1.0, 2.0, 25.0) == range(25, 175, 2)
    assert take.window(5.0, 50.0, 50.0) == range(0, 200, 1)


def test_the_window_of_a_flight_that_never_reached_the_shift_shows_its_end(fly: Fly) -> None:
    fallen = changed(fly("wind", "frozen"), steps=60, crashed=True)
    assert Take((fallen,)).window(0.4, 2.0, 50.0) == range(40, 60)


def test_a_crashed_drone_stays_at_its_last_finite_position(fly: Fly) -> None:
    fallen = changed(fly("wind", "frozen"), steps=100, crashed=True)
    fallen.qpos[-1] = np.nan
    take = Take((fallen, fly("wind", "integral")))
    assert [take.row(fallen, step) for step in (50, 98, 99, 150)] == [50, 98, 98, 98]
    assert [take.crashed(fallen, step) for step in (99, 100)] == [False, True]
    assert take.longest is take.episodes[1]
    assert take.steps == 200


def test_slow_motion_around_the_shift_shows_every_step_as_often_as_asked(fly: Fly) -> None:
    take = Take((fly("wind", "frozen"),))
    steps = take.frames(1.0, 2.0, 25.0, slow=4.0)
    slow = [step for step in steps if take.is_slow(step)]
    assert steps[0] == 25 and 172 <= steps[-1] < 175
    assert sorted(steps) == steps and sorted(set(slow)) == list(range(slow[0], slow[-1] + 1))
    assert len(slow) == pytest.approx(
        2 * len(set(slow)), abs=1
    )  # 25 frames a second at a quarter of the speed, of 50 steps
    assert take.frames(1.0, 2.0, 25.0) == list(take.window(1.0, 2.0, 25.0))


def test_the_mass_is_that_of_the_bare_vehicle(fly: Fly) -> None:
    assert Take((fly("payload", "frozen"),)).vehicle_mass == pytest.approx(0.64)
