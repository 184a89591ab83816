"""Sensors: today's white noise by default; bias, random walk and sampling rate where they are asked for."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from undrift.envs.drone.sensors import Sensor, Sensors

PERFECT = Sensors().scaled(0.0)


def generators(n, seed=0):
    return np.random.default_rng(seed).spawn(n)


def truth_of(n, attitude=None):
    """Position 1, velocity 2, some attitude, body rates 3, specific force 4."""
    rotation = Rotation.identity(n) if attitude is None else attitude
    parts = [np.full((n, 3), 1.0), np.full((n, 3), 2.0), rotation.as_matrix().reshape(n, 9), np.full((n, 3), 3.0)]
    return np.concatenate(parts, axis=1)


def sense(sensors, truth, times, seed=0):
    """Measured values [steps, n, channels] of a vehicle that stays as `truth` [n, channels] or follows truth(t)."""
    at = truth if callable(truth) else lambda t: truth
    n = len(at(0.0))
    rngs = generators(n, seed)
    state = sensors.start(n, rngs)
    measured = []
    for t in times:
        normals = np.array([rng.standard_normal(sensors.draws) for rng in rngs])
        measured.append(at(t) + sensors.error(state, np.arange(n), normals, np.full(n, t), at(t)))
    return np.array(measured)


def test_by_default_the_error_is_the_documented_white_noise_to_the_bit():
    sensors = Sensors()
    normals = np.random.default_rng(0).standard_normal((4, sensors.draws))
    deviation = np.array([0.01] * 3 + [0.03] * 3 + [0.01] * 9 + [0.05] * 3)
    error = sensors.error(sensors.start(4, generators(4)), np.arange(4), normals, np.zeros(4), truth_of(4))
    np.testing.assert_array_equal(error, normals * deviation)
    half = sensors.scaled(0.5)
    np.testing.assert_array_equal(
        half.error(half.start(4, generators(4)), np.arange(4), normals, np.zeros(4), truth_of(4)),
        normals * (0.5 * deviation),
    )


def test_without_a_bias_an_episode_starts_without_a_draw():
    rng = np.random.default_rng(3)
    Sensors().start(1, [rng])
    assert rng.random() == np.random.default_rng(3).random()


def test_an_accelerometer_adds_three_channels():
    sensors = Sensors(specific_force=Sensor(noise=0.2))
    assert (Sensors().channels, sensors.channels, sensors.draws) == (18, 21, 21)
    normals = np.ones((1, 21))
    truth = np.concatenate([truth_of(1), np.full((1, 3), 9.81)], axis=1)
    error = sensors.error(sensors.start(1, generators(1)), np.array([0]), normals, np.zeros(1), truth)
    np.testing.assert_array_equal(error[0, 18:], 0.2)


def test_a_bias_is_constant_in_an_episode_and_normal_over_episodes():
    sensors = Sensors.from_dict(PERFECT.to_dict() | {"body_rates": {"noise": 0.0, "bias": 0.2}})
    measured = sense(sensors, truth_of(4000), [0.0, 0.02, 7.0])
    np.testing.assert_array_equal(measured[0], measured[-1])
    bias = measured[0, :, 15:] - 3.0
    np.testing.assert_allclose(bias.std(0), 0.2, rtol=0.05)
    np.testing.assert_allclose(bias.mean(0), 0.0, atol=0.01)
    np.testing.assert_array_equal(measured[0, :, :6], truth_of(4000)[:, :6])


def test_an_attitude_bias_is_a_rotation_in_the_body_frame():
    attitude = Rotation.random(2000, random_state=1)
    sensors = Sensors.from_dict(PERFECT.to_dict() | {"attitude": {"noise": 0.0, "bias": 0.1}})
    measured = sense(sensors, truth_of(2000, attitude), [0.0])[0, :, 6:15].reshape(-1, 3, 3)
    off = (attitude.inv() * Rotation.from_matrix(measured)).as_rotvec()
    np.testing.assert_allclose(measured @ measured.swapaxes(1, 2), np.tile(np.eye(3), (2000, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(off.std(0), 0.1, rtol=0.06)


def test_a_bias_walks_with_the_root_of_time_whatever_the_clock():
    sensors = Sensors.from_dict(PERFECT.to_dict() | {"position": {"noise": 0.0, "bias_walk": 0.3}})
    for times in (np.arange(0.0, 4.001, 0.1), np.array([0.0, 0.5, 0.6, 3.0, 4.0])):
        measured = sense(sensors, truth_of(3000), times)
        np.testing.assert_array_equal(measured[0], truth_of(3000))
        np.testing.assert_allclose((measured[-1, :, :3] - 1.0).std(0), 0.3 * np.sqrt(4.0), rtol=0.05)


def test_a_slow_sensor_holds_its_last_sample_and_the_others_do_not_wait():
    def moving(t):
        truth = truth_of(2)
        truth[:, 0] += t
        truth[:, 3] += t
        return truth

    sensors = Sensors.from_dict(PERFECT.to_dict() | {"position": {"noise": 0.0, "rate_hz": 10.0}})
    times = np.arange(20) * 0.02
    measured = sense(sensors, moving, times)
    held = np.floor(times * 10 + 1e-6) / 10
    np.testing.assert_allclose(measured[:, 0, 0], 1.0 + held, atol=1e-12)
    np.testing.assert_allclose(measured[:, 0, 3], 2.0 + times, atol=1e-12)


def test_a_held_sample_keeps_its_noise():
    sensors = Sensors(position=Sensor(noise=1.0, rate_hz=5.0))
    measured = sense(sensors, truth_of(3), np.arange(50) * 0.02)
    new = (np.diff(measured[:, 0, 0]) != 0).nonzero()[0]
    np.testing.assert_array_equal(new, [9, 19, 29, 39])
    assert (np.diff(measured[:, :, 3], axis=0) != 0).all()


def test_a_rate_above_the_control_rate_samples_at_every_step():
    fast, always = (Sensors(position=Sensor(noise=1.0, rate_hz=rate)) for rate in (1000.0, None))
    times = np.arange(30) * 0.02
    np.testing.assert_allclose(sense(fast, truth_of(2), times), sense(always, truth_of(2), times), atol=1e-12)


def test_a_noise_density_becomes_the_deviation_at_the_rate():
    sensor = Sensor.from_density(0.002, rate_hz=400.0, bias=0.1)
    assert sensor == Sensor(noise=0.04, bias=0.1, rate_hz=400.0)


def test_rows_begin_again_alone_and_equal_single_runs_to_the_bit():
    drifting = Sensor(noise=0.1, bias=0.2, bias_walk=0.3, rate_hz=20.0)
    sensors = Sensors(position=drifting, velocity=drifting, attitude=drifting, body_rates=drifting)
    seeds = np.arange(5)
    rngs = [np.random.default_rng(s) for s in seeds]
    alone = [np.random.default_rng(3)]
    batch, single = sensors.start(5, rngs), sensors.start(1, alone)
    truth = truth_of(5, Rotation.random(5, random_state=2))
    for step in range(40):
        if step == 17:
            for key, rows in sensors.start(1, generators(1)).items():
                batch[key][[1]] = rows
        normals = np.array([rng.standard_normal(sensors.draws) for rng in rngs])
        time = np.full(5, 0.02 * step)
        time[1] = 0.02 * (step - 17) if step >= 17 else time[1]
        rows = sensors.error(batch, np.arange(5), normals, time, truth)
        row = sensors.error(single, np.array([0]), alone[0].standard_normal((1, sensors.draws)), time[3:4], truth[3:4])
        np.testing.assert_array_equal(rows[3], row[0])


def test_sensors_survive_the_trip_through_json():
    sensors = Sensors(position=Sensor(noise=0.02, bias=0.1, rate_hz=10.0), specific_force=Sensor(bias_walk=0.01))
    assert Sensors.from_dict(json.loads(json.dumps(sensors.to_dict()))) == sensors
    assert Sensors.from_dict(json.loads(json.dumps(Sensors().to_dict()))) == Sensors()


def test_what_is_left_out_keeps_its_default():
    sensors = Sensors.from_dict({"position": {"rate_hz": 10.0}})
    assert sensors == Sensors(position=Sensor(noise=0.01, rate_hz=10.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sonar": {}}, "no sensor 'sonar'; the sensors are: position, velocity, attitude"),
        ({"position": {"nois": 1.0}}, "no field 'nois'; its fields are: bias, bias_walk, noise, rate_hz"),
        ({"position": {"noise": -1.0}}, "Sensor.noise is -1.0: it must be finite and at least 0"),
        ({"position": {"bias": float("nan")}}, "Sensor.bias"),
        ({"position": {"rate_hz": 0.0}}, "Sensor.rate_hz is 0.0: it must be in Hz"),
        ({"position": None}, "every task shows it"),
    ],
)
def test_bad_sensors_are_refused_with_what_is_valid(values, message):
    with pytest.raises(ValueError, match=message):
        Sensors.from_dict(values)
