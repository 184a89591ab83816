"""The intelligent-driver model against its closed forms, and what a string of such drivers does."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from undrift.envs.driving.intelligent_driver import HARDEST_BRAKING, Driver, advance, desired_acceleration

DRIVER = Driver()


@pytest.mark.parametrize("speed", [0.0, 5.0, 15.0, 30.0])
def test_at_the_equilibrium_gap_nobody_accelerates(speed):
    """s_e(v) = (s0 + v T) / sqrt(1 - (v / v0)⁴)."""
    gap = (DRIVER.jam_gap + speed * DRIVER.headway) / np.sqrt(1 - (speed / 33.0) ** 4)
    assert desired_acceleration(DRIVER, speed, 33.0, gap, 0.0) == pytest.approx(0.0, abs=1e-12)


def test_on_a_free_road_the_speed_follows_the_models_equation():
    """dv/dt = a (1 - (v / v0)⁴), integrated by scipy."""
    reference = solve_ivp(lambda t, v: DRIVER.acceleration * (1 - (v / 33.0) ** 4), (0, 60), [0.0], rtol=1e-9)
    station, speed = 0.0, 0.0
    for _ in range(3000):
        station, speed = advance(station, speed, desired_acceleration(DRIVER, speed, 33.0, np.inf, 0.0), 0.02)
    assert speed == pytest.approx(reference.y[0, -1], abs=0.01)


def test_far_behind_a_standing_obstacle_braking_is_kinematic():
    """Where v Δv / (2 sqrt(a b)) outweighs the rest, the model brakes with (v² / 2 s)² / b."""
    driver, speed, gap = Driver(headway=0.0, jam_gap=0.0), 20.0, 100.0
    expected = -((speed**2 / (2 * gap)) ** 2) / driver.deceleration
    assert desired_acceleration(driver, speed, 1e6, gap, speed) == pytest.approx(
        expected + driver.acceleration, rel=1e-9
    )


def test_a_leader_that_pulls_away_leaves_the_jam_gap_only():
    assert desired_acceleration(DRIVER, 10.0, 33.0, 20.0, -30.0) == pytest.approx(
        DRIVER.acceleration * (1 - (10 / 33) ** 4 - (DRIVER.jam_gap / 20.0) ** 2)
    )


@pytest.mark.parametrize("gap", [0.1, 0.0, -1.0])
def test_nobody_brakes_harder_than_a_car_can(gap):
    assert desired_acceleration(DRIVER, 20.0, 33.0, gap, 20.0) == -HARDEST_BRAKING


def test_a_vehicle_that_stops_within_a_step_stands_and_does_not_roll_back():
    assert advance(7.0, 1.0, -2.0, 1.0) == (7.25, 0.0)
    assert advance(7.0, 3.0, -2.0, 1.0) == (9.0, 1.0)


def test_a_string_brakes_behind_a_stopping_leader_without_collision():
    """Ten cars at 25 m/s at their equilibrium gaps; the first brakes with 6 m/s² to a stop. They come to rest in order."""
    cars, length, speed = 10, 5.0, 25.0
    spacing = (DRIVER.jam_gap + speed * DRIVER.headway) / np.sqrt(1 - (speed / 33.0) ** 4) + length
    stations, speeds = -spacing * np.arange(cars), np.full(cars, speed)
    smallest = np.inf
    for _ in range(6000):
        gaps = stations[:-1] - stations[1:] - length
        smallest = min(smallest, gaps.min())
        accelerations = [-6.0] + [
            desired_acceleration(DRIVER, speeds[k], 33.0, gaps[k - 1], speeds[k] - speeds[k - 1])
            for k in range(1, cars)
        ]
        if speeds[0] == 0.0:
            accelerations[0] = 0.0
        moved = [advance(*state, 0.02) for state in zip(stations, speeds, accelerations, strict=True)]
        stations, speeds = np.array(moved).T
    assert smallest > 0.9 * DRIVER.jam_gap
    assert speeds.max() < 0.05
    np.testing.assert_allclose(gaps, DRIVER.jam_gap, atol=0.5)
