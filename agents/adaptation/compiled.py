"""How the kernels of the adaptation are compiled: as those of the policies are, from helpers that files share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...policies.kernels import backend
from ...policies.kernels.backend import helper, inlined

# Compiled code is kept until its own file changes, or one of these, whose functions are compiled into the kernels
# of others.
_SHARED = (
    "at_once.py",
    "blend.py",
    "cholesky.py",
    "compensators/car.py",
    "compensators/drone.py",
    "compensators/generic.py",
    "demand.py",
    "estimator.py",
    "guard.py",
    "nominal.py",
    "presentation.py",
    "shadow.py",
    "state.py",
    "thrust.py",
    "../../envs/driving/governor.py",
)

kernel = partial(backend.lean, helpers=backend.HELPERS + backend.stamp(*map(Path(__file__).parent.joinpath, _SHARED)))

__all__ = ["helper", "inlined", "kernel"]
