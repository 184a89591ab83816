"""Drift: a batch whose simulations shift differently, episode by episode, is what each of them is alone."""

import numpy as np
import pytest

from undrift.envs import (
    Abrupt,
    ActionDelay,
    Always,
    Cyclic,
    Dropout,
    MissedTicks,
    Payload,
    Pulse,
    Ramp,
    SensorBias,
    SensorDelay,
    SensorDrift,
    SensorNoise,
    Wind,
    make_batch,
    make_shift,
)

from .conftest import CAR_SHIFTS, NATIVE_SHIFTS

ON_DRONE = [name for name in NATIVE_SHIFTS if name not in CAR_SHIFTS]
COMPOUND = [
    [],
    [Payload(schedule=Ramp(at=0.1, duration=0.2)), Wind(schedule=Pulse(at=0.1, duration=0.1)), SensorNoise()],
    [ActionDelay(seconds=0.06, schedule=Always()), Dropout(schedule=Abrupt(0.1)), SensorNoise(schedule=Abrupt(0.1))],
    [SensorDelay(schedule=Cyclic(at=0.04, period=0.1)), MissedTicks(schedule=Always())],
]


def assert_equal_alone(task, scenarios, **kwargs):
    """Fly the scenarios as one batch and each by itself; the first is begun anew now and then, the others are not."""
    batch = make_batch(task, len(scenarios), shifts=scenarios, **kwargs)
    singles = [make_batch(task, shifts=scenario, **kwargs) for scenario in scenarios]
    rows, rng = batch.reset(range(len(scenarios))), np.random.default_rng(0)
    alone = [single.reset([k])[0] for k, single in enumerate(singles)]
    for step in range(30):
        np.testing.assert_array_equal(rows, alone)
        actions = rng.uniform(-0.3, 0.3, (len(scenarios), len(batch.action_names)))
        rows, _, _, _, info = batch.step(actions)
        results = [single.step(actions[[k]]) for k, single in enumerate(singles)]
        alone = [result[0][0] for result in results]
        np.testing.assert_array_equal(info["dt"], [result[4]["dt"][0] for result in results])
        if step % 7 == 6:
            rows[0], alone[0] = batch.reset([100 + step], np.array([0]))[0], singles[0].reset([100 + step])[0]


@pytest.mark.parametrize(("task", "names"), [("DroneTrack", ON_DRONE), ("CarTrack", CAR_SHIFTS)])
def test_a_batch_of_all_shifts_equals_single_runs_to_the_bit(task, names):
    assert_equal_alone(task, [[make_shift(name, schedule=Pulse(at=0.1, duration=0.3))] for name in names])


def test_a_batch_of_compounds_equals_single_runs_to_the_bit():
    assert_equal_alone("DroneTrack", COMPOUND)
    assert_equal_alone("DroneTrack", COMPOUND[::-1], clock={"jitter": 0.3, "missed": 0.2})


def test_simulations_that_draw_different_magnitudes_from_one_shift_equal_single_runs_to_the_bit():
    shifts = [
        ActionDelay(seconds=(0.0, 0.2), schedule=Always()),
        SensorDelay(seconds=(0.0, 0.2), schedule=Abrupt(0.1)),
        SensorDrift(rate=(0.0, 1.0), schedule=Always()),
        Payload(fraction=(0.0, 1.0), schedule=Always()),
    ]
    assert_equal_alone("DroneTrack", [shifts] * 6)


@pytest.mark.parametrize(
    "shifts",
    [
        [Payload(forward=0.05, spread=0.0), Wind(heading=0.5, spread=0.0)],
        [SensorBias(distribution="fixed"), ActionDelay()],
    ],
)
def test_what_does_not_depend_on_an_order_does_not_depend_on_the_order_of_the_shifts(shifts):
    ordered, reversed_ = (make_batch("DroneTrack", shifts=s) for s in (shifts, shifts[::-1]))
    np.testing.assert_array_equal(ordered.reset([0]), reversed_.reset([0]))
    for _ in range(300):
        action = np.full((1, 4), 0.05)
        np.testing.assert_array_equal(ordered.step(action)[0], reversed_.step(action)[0])


def test_a_batch_is_refused_with_another_number_of_scenarios():
    with pytest.raises(ValueError, match="2 sequences of shifts for 3 simulations"):
        make_batch("DroneTrack", 3, shifts=[[], [Wind()]])
