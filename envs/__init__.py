"""Gymnasium environments in MuJoCo, and the shifts that change them in mid-episode. Importing this registers them."""

from .. import __version__ as __version__
from .clock import Clock
from .driving.vehicle import CARS, Car, load_car
from .drone.trajectory import Waypoints
from .drone.vehicle import VEHICLES, Vehicle, load_vehicle
from .elapsed import ElapsedTime
from .registry import ENVIRONMENTS, EXPERTS, full_id, make_batch, register
from .scenario import Scenario, make_shift, one_by_one
from .schedule import SCHEDULES, Abrupt, Always, Schedule
from .shift import Shift
from .shifts import SHIFTS, MotorLoss, Payload, Wind
from .signals import Signals
from .simulation import BatchEnv, GymEnv

register()

__all__ = [
    "CARS",
    "ENVIRONMENTS",
    "EXPERTS",
    "SCHEDULES",
    "SHIFTS",
    "VEHICLES",
    "Abrupt",
    "Always",
    "BatchEnv",
    "Car",
    "Clock",
    "ElapsedTime",
    "GymEnv",
    "MotorLoss",
    "Payload",
    "Scenario",
    "Schedule",
    "Shift",
    "Signals",
    "Vehicle",
    "Waypoints",
    "Wind",
    "full_id",
    "load_car",
    "load_vehicle",
    "make_batch",
    "make_shift",
    "one_by_one",
]
