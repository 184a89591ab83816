"""Wind fields: closed forms, MIL-F-8785C's spectra, independent rows."""

import json

import numpy as np
import pytest
from scipy.signal import welch

from undrift.envs.drone.wind import (
    FOOT,
    WIND_FIELDS,
    ConstantWind,
    DiscreteGust,
    DrydenTurbulence,
    OscillatingWind,
    WindShear,
    WindSum,
    wind_from_dict,
)

FIELDS = [
    ConstantWind(),
    WindShear(),
    WindShear(profile="power"),
    DiscreteGust(at=0.1, rise=0.2),
    OscillatingWind(),
    DrydenTurbulence(),
    WindSum((ConstantWind(), DrydenTurbulence(heading=0.3), DiscreteGust(at=0.1))),
]


def streams(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def along_x(field, altitude=10.0, time=0.0):
    """The field's velocity at one resting vehicle."""
    state = field.start(1, streams(0))
    return field.velocity(
        state, np.array([0]), np.array([time]), np.array([[0.0, 0.0, altitude]]), np.zeros((1, 3)), 0.02
    )[0]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_row_of_a_batch_equals_a_single_run_to_the_bit(field):
    batch, single = field.start(5, streams(1, 2, 3, 4, 5)), field.start(1, streams(3))
    rng = np.random.default_rng(0)
    for step in range(150):
        position, velocity = rng.uniform(0.0, 40.0, (5, 3)), rng.normal(0.0, 2.0, (5, 3))
        time, dt = np.full(5, 0.02 * step), np.full(5, 0.02)
        rows = field.velocity(batch, np.arange(5), time, position, velocity, dt)
        row = field.velocity(single, np.array([0]), time[:1], position[2:3], velocity[2:3], 0.02)
        np.testing.assert_array_equal(rows[2], row[0])


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_rows_that_begin_again_leave_the_others_alone(field):
    state, alone = field.start(3, streams(1, 2, 3)), field.start(1, streams(2))
    here, still = np.full((3, 3), 5.0), np.zeros((3, 3))
    for step in range(100):
        if step % 30 == 7:
            fresh = field.start(1, streams(step))
            for key, rows in fresh.items():
                state[key][[0]] = rows
        time = np.full(3, 0.02 * step)
        rows = field.velocity(state, np.arange(3), time, here, still, 0.02)
        row = field.velocity(alone, np.array([0]), time[:1], here[:1], still[:1], 0.02)
        np.testing.assert_array_equal(rows[1], row[0])


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_survives_the_trip_through_json(field):
    assert wind_from_dict(json.loads(json.dumps(field.to_dict()))) == field


def test_every_field_of_the_registry_is_tested_here():
    assert {field.name for field in FIELDS} == set(WIND_FIELDS)


def test_a_heading_is_drawn_per_episode_unless_it_is_given():
    air = ConstantWind(speed=5.0).start(200, streams(*range(200)))["along"]
    headings = np.arctan2(air[:, 1], air[:, 0])
    assert headings.min() < -2.9 and headings.max() > 2.9 and abs(headings.mean()) < 0.4
    np.testing.assert_allclose(along_x(ConstantWind(speed=5.0, heading=np.pi / 2)), [0.0, 5.0, 0.0], atol=1e-12)


def test_shear_follows_its_profile():
    log, power = (WindShear(speed=6.0, profile=p, heading=0.0) for p in ("log", "power"))
    for field in (log, power):
        assert along_x(field, 20 * FOOT)[0] == pytest.approx(6.0)
    # MIL-F-8785C: u = W20 ln(h / z0) / ln(20 / z0) in ft.
    assert along_x(log, 100 * FOOT)[0] == pytest.approx(6.0 * np.log(100 / 0.15) / np.log(20 / 0.15))
    assert along_x(log, 0.01)[0] == 0.0
    assert along_x(power, 40 * FOOT)[0] == pytest.approx(6.0 * 2 ** (1 / 7))
    assert along_x(power, -1.0)[0] == 0.0


def test_a_gust_rises_as_one_minus_cosine_holds_and_falls():
    gust = DiscreteGust(speed=9.0, at=2.0, rise=1.0, hold=3.0, heading=0.0)
    speeds = {t: along_x(gust, time=t)[0] for t in (0.0, 2.0, 2.25, 2.5, 3.0, 5.0, 6.0, 6.5, 7.0, 9.0)}
    quarter = 4.5 * (1 - np.cos(np.pi / 4))
    expected = [0.0, 0.0, quarter, 4.5, 9.0, 9.0, 9.0, 4.5, 0.0, 0.0]
    np.testing.assert_allclose(list(speeds.values()), expected, atol=1e-12)


def test_the_oscillating_wind_is_neural_flys():
    for time in (0.0, 1.0, 4.5):
        expected = 8.5 + 2.4 * np.sin(time)
        np.testing.assert_allclose(along_x(OscillatingWind(heading=0.0), time=time), [expected, 0.0, 0.0], atol=1e-12)


def test_a_sum_adds_its_parts_and_lends_them_its_heading():
    wind = WindSum((ConstantWind(speed=3.0), ConstantWind(speed=1.0, heading=0.0)), heading=np.pi / 2)
    np.testing.assert_allclose(along_x(wind), [1.0, 3.0, 0.0], atol=1e-12)


def fly_through(speed, altitude, dt, steps, n=1, velocity=(0.0, 0.0, 0.0), seed=0):
    """Turbulence [steps, n, 3] along, across and up, at a steady altitude and velocity."""
    field = DrydenTurbulence(speed=speed, heading=0.0)
    state = field.start(n, np.random.default_rng(seed).spawn(n))
    here, moving = np.full((n, 3), altitude), np.tile(velocity, (n, 1))
    return np.array([field.velocity(state, np.arange(n), np.zeros(n), here, moving, dt) for _ in range(steps)])


def intensities(speed, feet):
    """MIL-F-8785C 3.7.3.4, by hand."""
    sigma_w = 0.1 * speed
    sigma_u = sigma_w / (0.177 + 0.000823 * feet) ** 0.4
    return np.array([sigma_u, sigma_u, sigma_w])


@pytest.mark.parametrize(("feet", "dt"), [(20, 0.004), (20, 1.0), (200, 0.02), (1000, 5.0)])
def test_turbulence_has_the_intensity_of_its_altitude_at_any_step(feet, dt):
    # Over many episodes the variance is that of the stationary distribution from the first sample to the last.
    air = fly_through(speed=15.4, altitude=feet * FOOT, dt=dt, steps=20, n=6000)
    for sample in (air[0], air[-1]):
        np.testing.assert_allclose(sample.std(0), intensities(15.4, feet), rtol=0.04)
        np.testing.assert_allclose(sample.mean(0) / intensities(15.4, feet), 0.0, atol=0.05)


@pytest.mark.parametrize(("feet", "factor"), [(3, 10), (2000, 1000)])
def test_the_model_is_held_at_the_ends_of_its_range(feet, factor):
    outside = fly_through(10.0, feet * FOOT, 0.02, 50)
    np.testing.assert_allclose(outside, fly_through(10.0, factor * FOOT, 0.02, 50), rtol=1e-9)


def test_the_spectrum_is_drydens():
    speed, feet, dt, forward = 10.0, 50.0, 0.02, -8.0
    air = fly_through(speed, feet * FOOT, dt, 8192, n=32, velocity=(forward, 0.0, 0.0))
    frequency, measured = welch(air, fs=1 / dt, nperseg=2048, axis=0, detrend=False)
    measured = measured.mean(1)
    airspeed = abs(forward - speed)
    length = np.array([feet / (0.177 + 0.000823 * feet) ** 1.2] * 2 + [feet]) * FOOT
    sigma = intensities(speed, feet)
    # Per Hz: Phi(Omega) dOmega with Omega = 2 pi f / V.
    per_hz = 2 * np.pi / airspeed
    for axis in range(3):
        x2 = (length[axis] * frequency * per_hz) ** 2
        shape = 2 / (1 + x2) if axis == 0 else (1 + 3 * x2) / (1 + x2) ** 2
        expected = per_hz * sigma[axis] ** 2 * length[axis] / np.pi * shape
        # Above 5 Hz the sampled signal's spectrum folds; below 0.1 Hz the window is too short.
        band = (frequency > 0.1) & (frequency < 5.0)
        ratio = measured[band, axis] / expected[band]
        assert ratio.mean() == pytest.approx(1.0, abs=0.05)
        thirds = [part.mean() for part in np.array_split(ratio, 3)]
        np.testing.assert_allclose(thirds, 1.0, atol=0.1)


def test_turbulence_stands_still_for_a_vehicle_that_drifts_with_the_wind():
    air = fly_through(speed=6.0, altitude=10.0, dt=0.02, steps=50, velocity=(6.0, 0.0, 0.0))
    np.testing.assert_allclose(air, air[:1].repeat(50, 0), atol=1e-6)


def test_the_components_follow_the_heading():
    fields = [DrydenTurbulence(heading=heading) for heading in (0.0, np.pi / 2)]
    u, turned = (along_x(field) for field in fields)
    np.testing.assert_allclose(turned, [-u[1], u[0], u[2]], rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "storm"}, "unknown wind field 'storm'; the fields are: constant, shear"),
        ({}, "unknown wind field None"),
        ({"name": "constant", "sped": 3.0}, "has no 'sped'; it has: heading, speed"),
        ({"name": "constant", "speed": -1.0}, "ConstantWind.speed is -1.0: it must be in m/s, at least 0"),
        ({"name": "constant", "heading": float("nan")}, "an angle in rad"),
        ({"name": "shear", "profile": "linear"}, '"log" or "power"'),
        ({"name": "shear", "roughness": 7.0}, "below 6.1"),
        ({"name": "shear", "exponent": -1.0}, "at least 0"),
        ({"name": "gust", "at": -1.0}, "in s, at least 0"),
        ({"name": "gust", "rise": 0.0}, "in s, above 0"),
        ({"name": "gust", "hold": float("inf")}, "in s, at least 0"),
        ({"name": "oscillating", "amplitude": -2.0}, "in m/s, at least 0"),
        ({"name": "oscillating", "angular_frequency": 0.0}, "in rad/s, above 0"),
        ({"name": "dryden", "speed": float("inf")}, "in m/s, at least 0"),
        ({"name": "sum", "parts": []}, "one wind field or more"),
        ({"name": "sum", "parts": [{"name": "sum", "parts": [{"name": "constant"}]}]}, "none of them a sum"),
    ],
)
def test_bad_fields_are_refused_with_what_is_valid(values, message):
    with pytest.raises(ValueError, match=message):
        wind_from_dict(values)
