"""A wide plane with a road drawn on it, for what concerns the car alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from undrift.envs import Always
from undrift.envs.driving.base import SENSORS, CarEnv
from undrift.envs.driving.road import Road
from undrift.envs.shift import PlantShift
from undrift.envs.signals import Signals

START = 100.0


class Plane(CarEnv):
    """Cars that begin 100 m along their road, at `speed`, and see what their sensors measure."""

    id = "Plane"

    def __init__(self, num_envs=1, *, speed=0.0, road=None, **shared):
        self._speed = speed
        nothing = Signals({}, (), {}, (), ())
        super().__init__(
            num_envs, road=road or straight(), channels=dict.fromkeys(SENSORS, 1.0), task={}, signals=nothing, **shared
        )

    def _start_task(self, index, rng):
        self.place(index, START, speed=self._speed)

    def _observe_task(self, ids, measured):
        return measured.astype(np.float32)

    def _score(self):
        return self._scored(("alive",), np.ones((self.num_envs, 1)), self._crashes(), self._errors())


def straight(length=4000.0, curvature=0.0, half_width=1000.0, friction=1.0, closed=False):
    """A road of points 1 m apart, straight or an arc."""
    station = np.arange(round(length)) * 1.0
    heading = curvature * station
    x, y = (np.sin(heading) / curvature, (1 - np.cos(heading)) / curvature) if curvature else (station, 0 * station)
    one = np.ones(len(station))
    friction = friction * one
    return Road(np.stack([x, y], axis=1), heading, curvature * one, half_width * one, friction, 3 * one, 1.0, closed)


@dataclass(frozen=True, kw_only=True)
class Fixed(PlantShift):
    """Gives parameters of the plant these values."""

    name = "fixed"
    site = "model"
    label = "fixed"

    values: Mapping[str, object]

    @property
    def changes(self):
        return tuple(self.values)

    def draw(self, rng, world):
        return np.zeros(0)

    def apply(self, plant, ids, memory, strength):
        for name, value in self.values.items():
            plant[name][ids] = value


def fixed(**parameters):
    """Shifts that give parameters of the plant other values from the first step on."""
    return (Fixed(values=parameters, schedule=Always()),)


@pytest.fixture
def plane():
    """plane(num_envs, speed=..., **arguments of CarEnv): a `Plane`, reset, with perfect sensors unless told."""

    def build(num_envs=1, **arguments):
        env = Plane(num_envs, **{"noise": 0.0} | arguments)
        env.reset(list(range(num_envs)))
        return env

    return build


@pytest.fixture
def road():
    return straight
