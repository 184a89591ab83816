"""The true disturbance is zero before the shift, and what physics says after it; the estimate is the adapter's."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents import Episode
from undrift.agents.film.disturbance import strongest_disturbance, true_disturbance
from undrift.envs.drone.vehicle import GRAVITY

from .conftest import ONSET_S, Fly, changed


def test_nothing_disturbs_the_nominal_vehicle(fly: Fly, drive: Fly) -> None:
    for episode in (fly("none", "frozen"), drive("none", "frozen")):
        assert np.abs(true_disturbance(episode)[:, :2]).max() < 1e-3 * GRAVITY


def test_a_payload_takes_its_share_of_the_thrust(fly: Fly) -> None:
    """1.6 m a = T - 1.6 m g: without the payload the same thrust would accelerate by 1.6 (a + g) - g."""
    episode = fly("payload", "integral")
    upwards = true_disturbance(episode)[:, 2]
    assert np.abs(upwards[episode.time < ONSET_S]).max() < 1e-3 * GRAVITY
    acceleration = np.gradient(episode.qvel[:, 2].astype(float), episode.dt)
    steady = episode.time > ONSET_S + 1.0
    expected = -0.6 * (acceleration[steady] + GRAVITY)
    assert np.median(upwards[steady] / expected) == pytest.approx(1.0, abs=0.05)  # drag, too, divides by the mass


def test_wind_pushes_along_its_direction(fly: Fly) -> None:
    episode = fly("wind", "frozen")
    pushed = true_disturbance(episode)[episode.time > ONSET_S + 0.1, :2].mean(axis=0)
    wind = episode.wind[-1, :2]
    assert pushed @ wind > 0.98 * np.linalg.norm(pushed) * np.linalg.norm(wind) > 0


def test_a_car_is_disturbed_in_its_own_axes(drive: Fly) -> None:
    """Twice the mass halves what the motor gives."""
    episode = drive("payload", "frozen")
    forwards = true_disturbance(episode)[:, 0]
    assert np.abs(forwards[episode.time < ONSET_S]).max() < 0.05
    assert np.abs(forwards[episode.time > ONSET_S]).max() > 0.2


def test_the_estimate_of_the_strongest_axis_comes_close_to_the_truth(learned: Episode) -> None:
    found = strongest_disturbance(learned)
    assert found.axis == "along x"
    after = learned.time > learned.onset_s + 0.4
    true, estimate = found.true[after].mean(), found.estimate[after].mean()
    assert true > 1.0
    assert estimate == pytest.approx(true, rel=0.3)


def test_without_an_estimate_there_is_nothing_to_compare(fly: Fly) -> None:
    assert strongest_disturbance(fly("wind", "frozen")) is None
    integral = changed(fly("wind", "integral"), estimate_names=["integral/position_error_x"])
    assert strongest_disturbance(integral) is None
