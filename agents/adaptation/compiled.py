"""How the kernels of the adaptation are compiled: as those of the policies are, from helpers that files share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...policies.kernels import backend
from ...policies.kernels.backend import helper

# Compiled code is kept until its own file changes, or one of these, whose helpers the kernels of other files call.
_SHARED = ("cholesky.py", "demand.py", "nominal.py", "state.py", "thrust.py", "../../envs/driving/governor.py")

kernel = partial(backend.kernel, helpers=backend.HELPERS + backend.stamp(*map(Path(__file__).parent.joinpath, _SHARED)))

__all__ = ["helper", "kernel"]
