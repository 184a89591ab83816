"""The shifts by name. A new one is one file here and one line below."""

from __future__ import annotations

from ..shift import Shift
from .motor_loss import MotorLoss
from .payload import Payload
from .wind import Wind

SHIFTS: dict[str, type[Shift]] = {shift.name: shift for shift in (Payload, Wind, MotorLoss)}

__all__ = ["SHIFTS", "MotorLoss", "Payload", "Wind"]
