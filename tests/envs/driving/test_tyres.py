"""The tyre against the magic formula and against a rolling wheel's equations."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from undrift.envs.driving.physics import constants
from undrift.envs.driving.tyres import magic_formula, roll
from undrift.envs.driving.vehicle import CARS, load_car

STIFFNESS = 8.0


def settle(car, peak, along, across, wheel_speed=None, seconds=3.0, timestep=0.004, **torques):
    """A wheel whose hub moves steadily; it rolls freely from the hub's speed on, unless `wheel_speed` holds it."""
    deflection, speed = np.zeros(2), along / car["wheel_radius"] if wheel_speed is None else wheel_speed
    for _ in range(round(seconds / timestep)):
        turned, slip, *pull = roll(
            car,
            along,
            across,
            speed,
            torques.get("torque", 0.0),
            torques.get("resisting", 0.0),
            peak,
            STIFFNESS,
            timestep,
            deflection,
        )
        speed = turned if wheel_speed is None else wheel_speed
    return turned, slip, np.array(pull)


@pytest.fixture(params=CARS)
def vehicle(request):
    return load_car(request.param)


@pytest.fixture
def car(vehicle):
    return constants(vehicle)[0]


@pytest.fixture
def peak(vehicle):
    """Of a wheel that bears a quarter of the weight, N."""
    return vehicle.weight / 4


def test_the_formula_rises_with_slope_bcd_to_its_peak_and_falls_beyond():
    shape, peak = 1.45, 10.0
    assert magic_formula(1e-6, peak, STIFFNESS, shape) == pytest.approx(peak * STIFFNESS * shape * 1e-6, rel=1e-6)
    at_peak = np.tan(0.5 * np.pi / shape) / STIFFNESS
    assert magic_formula(at_peak, peak, STIFFNESS, shape) == pytest.approx(peak)
    assert magic_formula(4 * at_peak, peak, STIFFNESS, shape) < 0.95 * peak


@pytest.mark.parametrize("tangent", [0.01, -0.05, 0.15])
def test_a_rolling_wheel_pulls_sideways_as_the_formula_says_of_its_slip_angle(car, peak, tangent):
    _, slip, pull = settle(car, peak, 5.0, 5.0 * tangent)
    expected = magic_formula(abs(tangent), peak, STIFFNESS, car["tyre_shape"])
    assert slip == pytest.approx(abs(tangent), rel=1e-3)
    np.testing.assert_allclose(pull, [0.0, -np.sign(tangent) * expected], rtol=1e-3, atol=1e-6 * peak)


def test_a_braked_and_sliding_wheel_pulls_against_its_sliding_within_the_friction_circle(car, peak):
    turned, slip, pull = settle(car, peak, 8.0, 3.0, resisting=1e6)
    assert turned == 0.0 and slip > 0.7
    np.testing.assert_allclose(pull / np.hypot(*pull), np.array([-8.0, -3.0]) / np.hypot(8.0, 3.0), atol=1e-3)
    assert 0.7 * peak < np.hypot(*pull) <= peak


def test_a_wheel_under_steady_torque_pulls_with_torque_over_radius(car, peak):
    torque = 0.5 * peak * car["wheel_radius"]
    _, _, pull = settle(car, peak, 6.0, 0.0, torque=torque)
    np.testing.assert_allclose(pull, [0.5 * peak, 0.0], rtol=1e-6)


def test_what_resists_stops_a_wheel_and_never_turns_it_back(car, peak):
    deflection, speed, speeds, brake = np.zeros(2), 20.0, [], 2 * peak * car["wheel_radius"]
    for _ in range(200):
        speed = roll(car, 0.0, 0.0, speed, 0.0, brake, peak, STIFFNESS, 0.004, deflection)[0]
        speeds.append(speed)
    assert speeds[-1] == 0.0 and min(speeds) >= 0.0


def test_the_force_follows_a_step_in_slip_as_the_carcass_equations_say(car, peak):
    """(σ ds/dt = u - V s) solved apart, at a slip where the tyre is linear; 4 ms against an adaptive solver."""
    along, tangent = 2.0, 1e-3
    length, damping = car["relaxation_length"], car["settling_time"]
    across = along * tangent

    solved = solve_ivp(lambda _, s: (across - along * s) / length, (0, 0.4), [0.0], rtol=1e-9, dense_output=True)
    deflection, wheel_speed = np.zeros(2), along / car["wheel_radius"]
    for step in range(1, 101):
        wheel_speed, slip, *_ = roll(car, along, -across, wheel_speed, 0, 0, peak, STIFFNESS, 0.004, deflection)
        seen = (length * solved.sol(0.004 * step)[0] + damping * across) / (length + damping * along)
        assert slip == pytest.approx(seen, abs=0.06 * tangent)


@pytest.mark.parametrize("timestep", [0.001, 0.004])
def test_a_wheel_that_spins_up_from_rest_settles_at_any_timestep(car, peak, timestep):
    turned, slip, pull = settle(
        car, peak, 0.0, 0.0, seconds=4.0, timestep=timestep, torque=0.3 * peak * car["wheel_radius"]
    )
    assert abs(turned) < 1e-6 and slip > 0
    np.testing.assert_allclose(pull, [0.3 * peak, 0.0], rtol=1e-6, atol=1e-6 * peak)
