"""The shifts by name, and as JSON. A new one is one file here and one line below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..schedule import SCHEDULES, Schedule
from ..shift import Shift
from .appearance import CameraShift, Fog, Light, Texture
from .attribute import Attribute
from .brake_loss import BrakeLoss
from .centre_of_mass import CentreOfMass
from .delay import ActionDelay, SensorDelay
from .drag import Drag
from .dropout import Dropout, Frozen
from .faults import ActuatorBias, ActuatorLag, DeadZone, Saturation, Stuck
from .flat_tyre import FlatTyre
from .friction import Friction
from .friction_patches import FrictionPatches
from .gravity import Gravity
from .gusts import Gusts
from .gusty_wind import GustyWind
from .inertia import Inertia
from .joint import JointDamping, JointFriction
from .link_length import LinkLength
from .motor_loss import MotorLoss
from .oscillating_wind import OscillatingWind
from .payload import Payload
from .push import Push
from .quantisation import Quantisation
from .sensor_bias import SensorBias, SensorDrift
from .sensor_noise import SensorNoise
from .sensor_scale import SensorScale
from .slope import Bank, Slope
from .timing import ClockJitter, ControlRate, MissedTicks
from .torque import Torque
from .turbulence import Turbulence
from .wind import Wind

SHIFTS: dict[str, type[Shift]] = {
    shift.name: shift
    for shift in (
        Payload,
        Wind,
        MotorLoss,
        Inertia,
        Gravity,
        Drag,
        CentreOfMass,
        LinkLength,
        ActuatorBias,
        ActuatorLag,
        Saturation,
        DeadZone,
        Stuck,
        Gusts,
        OscillatingWind,
        Turbulence,
        Push,
        Torque,
        ActionDelay,
        SensorDelay,
        Dropout,
        Frozen,
        Quantisation,
        SensorBias,
        SensorDrift,
        SensorNoise,
        SensorScale,
        ClockJitter,
        ControlRate,
        MissedTicks,
        Attribute,
        JointDamping,
        JointFriction,
        BrakeLoss,
        FlatTyre,
        Friction,
        FrictionPatches,
        Bank,
        Slope,
        GustyWind,
        CameraShift,
        Fog,
        Light,
        Texture,
    )
}

__all__ = [
    "SHIFTS",
    "ActionDelay",
    "ActuatorBias",
    "ActuatorLag",
    "Attribute",
    "Bank",
    "BrakeLoss",
    "CameraShift",
    "CentreOfMass",
    "ClockJitter",
    "ControlRate",
    "DeadZone",
    "Drag",
    "Dropout",
    "FlatTyre",
    "Fog",
    "Friction",
    "FrictionPatches",
    "Frozen",
    "Gravity",
    "Gusts",
    "GustyWind",
    "Inertia",
    "JointDamping",
    "JointFriction",
    "Light",
    "LinkLength",
    "MissedTicks",
    "MotorLoss",
    "OscillatingWind",
    "Payload",
    "Push",
    "Quantisation",
    "Saturation",
    "SensorBias",
    "SensorDelay",
    "SensorDrift",
    "SensorNoise",
    "SensorScale",
    "Slope",
    "Stuck",
    "Texture",
    "Torque",
    "Turbulence",
    "Wind",
    "make_shift",
    "shift_from_dict",
    "shift_to_dict",
]


def make_shift(name: str, **kwargs: Any) -> Shift:
    """The shift called `name`, with its fields.

    Raises:
        ValueError: unknown name or field; the message lists the valid ones.
    """
    if name not in SHIFTS:
        raise ValueError(f"unknown shift {name!r}; the shifts are: {', '.join(sorted(SHIFTS))}.")
    known = {f.name for f in fields(SHIFTS[name])}
    if unknown := sorted(set(kwargs) - known):
        raise ValueError(f"shift {name!r} has no field {unknown[0]!r}; its fields are: {', '.join(sorted(known))}.")
    return SHIFTS[name](**kwargs)


def shift_to_dict(shift: Shift) -> dict[str, Any]:
    """JSON values from which `shift_from_dict` builds an equal shift."""
    values = {f.name: getattr(shift, f.name) for f in fields(shift) if f.name != "schedule"}
    return {"name": shift.name, **values, "schedule": {"name": shift.schedule.name, **vars(shift.schedule)}}


def shift_from_dict(values: Mapping[str, Any]) -> Shift:
    """The shift that `shift_to_dict` described; a field that is left out has its default.

    Raises:
        ValueError: an unknown name or field, of the shift or of its schedule; the message lists the valid ones.
    """
    given = dict(values)
    if "name" not in given:
        raise ValueError(f"a shift has no name; give one of: {', '.join(sorted(SHIFTS))}.")
    if "schedule" in given:
        schedule = {"name": ""} | dict(given["schedule"])
        given["schedule"] = make_schedule(schedule.pop("name"), **schedule)
    return make_shift(given.pop("name"), **given)


def make_schedule(name: str, **kwargs: Any) -> Schedule:
    """The schedule called `name`, with its fields.

    Raises:
        ValueError: unknown name or field; the message lists the valid ones.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; the schedules are: {', '.join(SCHEDULES)}.")
    known = [f.name for f in fields(SCHEDULES[name])]
    if unknown := sorted(set(kwargs) - set(known)):
        raise ValueError(
            f"schedule {name!r} has no field {unknown[0]!r}; its fields are: {', '.join(known) or 'none'}."
        )
    return SCHEDULES[name](**kwargs)
