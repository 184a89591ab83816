"""Faults of actuators, measured on the thrust of the rotors."""

import numpy as np
import pytest

from undrift.envs import Abrupt, ActuatorBias, ActuatorLag, Always, DeadZone, MotorLoss, Saturation, Stuck, make_batch
from undrift.envs.drone.vehicle import GRAVITY, load_vehicle

from .flights import aloft, fly

RACER = load_vehicle("racer")
HOVER = RACER.hover_thrust / RACER.max_rotor_thrust
"""Share of the largest thrust at which the drone hovers."""


def settled(*shifts, action=(0.0, 0.0, 0.0, 0.0)):
    """Thrust of the rotors [4] as a share of the largest, a second after the action."""
    env = aloft(*shifts)
    fly(env, np.tile(action, (50, 1)))
    return env.batch.act[0] / env.vehicle.max_rotor_thrust


def asking(share):
    """The action [4] that asks each rotor for this share of its largest thrust, at most that of a hover."""
    return [share / HOVER - 1.0] * 4


def test_a_bias_is_added_to_what_one_rotor_is_asked_for():
    biased = settled(ActuatorBias(bias=0.1, actuator="rotor_2", schedule=Always()))
    np.testing.assert_allclose(biased, [HOVER, HOVER, HOVER + 0.1, HOVER], atol=1e-9)
    assert settled(ActuatorBias(bias=-0.1, actuator="all", schedule=Always()), action=asking(0.05)).max() < 1e-9


def test_a_lag_makes_the_step_response_that_of_the_longer_time_constant():
    env = aloft(ActuatorLag(lag=0.05, actuator="rotor_1", schedule=Always()))
    vehicle, step = env.vehicle, np.array([0.3, 0.3, 0.3, 0.3])
    for k in range(1, 16):
        fly(env, step[None])
        tau = vehicle.motor_time_constant + np.array([0.0, 0.05, 0.0, 0.0])
        rise = (vehicle.max_rotor_thrust - vehicle.hover_thrust) * step * (1 - np.exp(-k * env.dt / tau))
        np.testing.assert_allclose(env.batch.act[0], vehicle.hover_thrust + rise, rtol=1e-9)


def test_saturation_cuts_the_thrust_off_and_the_lowest_limit_counts():
    cut = [Saturation(limit=limit, actuator=which, schedule=Always()) for limit, which in ((0.7, "all"), (0.5, 3))]
    for shifts in (cut, cut[::-1]):
        np.testing.assert_allclose(settled(*shifts, action=[1.0] * 4), [0.7, 0.7, 0.7, 0.5], atol=1e-9)
    np.testing.assert_allclose(settled(*cut), HOVER, atol=1e-9)


@pytest.mark.parametrize(("asked", "given"), [(0.15, 0.0), (0.25, 0.25)])
def test_a_dead_zone_gives_nothing_below_its_threshold_and_all_above(asked, given):
    zones = [DeadZone(threshold=0.1, schedule=Always()), DeadZone(threshold=0.2, schedule=Always())]
    for shifts in (zones, zones[::-1]):
        np.testing.assert_allclose(settled(*shifts, action=asking(asked)), given, atol=1e-6)


def test_a_stuck_rotor_keeps_the_thrust_that_it_had_at_the_onset():
    env = aloft(Stuck(actuator=0, schedule=Abrupt(0.1)))
    actions = np.random.default_rng(4).uniform(-0.5, 0.5, (30, 4))
    fly(env, actions[:5])
    held = env.batch.act[0].copy()
    for action in actions[5:]:
        fly(env, action[None])
        assert env.batch.act[0, 0] == held[0]
        assert (env.batch.act[0, 1:] != held[1:]).all()


def test_a_dead_motor_lifts_nothing_and_says_that_it_is_dead():
    dead = MotorLoss(fraction=1.0, motor=2, schedule=Always())
    assert dead.label == "actuator 2 dead" and MotorLoss(fraction=0.4, motor="one").label == "one motor -40%"
    env = aloft(dead)
    fly(env, np.zeros((1, 4)))
    assert env.qvel[0, 2] / env.dt == pytest.approx(-GRAVITY / 4, rel=0.02)


@pytest.mark.parametrize("fault", [ActuatorBias, ActuatorLag, Saturation, DeadZone, Stuck])
def test_one_actuator_is_drawn_per_episode_and_an_unknown_one_refused(fault):
    shift = fault(actuator="one", schedule=Always())
    env = make_batch("DroneTrack", 40, seed=0, shifts=(shift,))
    env.reset()
    (name,) = shift.changes
    struck = env.plant[name] != env.plant.nominal(name)
    assert (struck.sum(1) == 1).all() and struck.any(0).all()
    with pytest.raises(ValueError, match=f"{fault.__name__}.actuator is 'wing'.*one of rotor_0"):
        make_batch("DroneTrack", shifts=(fault(actuator="wing"),))
