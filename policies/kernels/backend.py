"""Which backend a cell computes with, and what its kernels are compiled by; numpy and numba only.

A kernel is written once, as loops in Python. Where numba works they are compiled; where it is missing or fails the same
functions run as plain Python, correct and slow, and sequences are left to torch. One warning says so.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKENDS = ("auto", "torch", "numba")

#: The cells that can be deployed: `kernels/<name>.py` holds `prepare`, `step` and `compile_for`.
KERNELS = ("cfc", "diagonal", "gru", "lstm", "ltc", "mixed_memory", "reservoir")

# no "nnan": a NaN must come out as NaN
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}


LEAN = OPTIONS | {"_nrt": False}
"""Of kernels that make no arrays but on their stack: nobody then counts who holds which, which took a third of a control step."""


def _one() -> int:
    return 1


def _find_numba() -> tuple[Any, str]:
    """numba, tried on a function; or None, and why it does not work here."""
    try:
        import numba

        numba.njit(_one, cache=True, **LEAN)()
    except Exception as error:  # noqa: BLE001 - whatever stops a compiler, plain Python still computes
        return None, f"{type(error).__name__}: {error}"
    return (None, "NUMBA_DISABLE_JIT is set") if numba.config.DISABLE_JIT else (numba, "")


numba, _TROUBLE = _find_numba()


def stamp(*files: Path) -> bytes:
    """A hash of what files hold."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


HELPERS = stamp(
    *(
        Path(__file__).with_name(name)
        for name in ("actor.py", "arithmetic.py", "by_address.py", "packed.py", "views.py")
    )
)
"""Of what the kernels of this folder share."""


def helper(function: Callable[..., Any], options: Mapping[str, Any] = LEAN) -> Any:
    """A function that kernels call, compiled into them; as `lean`, unless `options` are others."""
    return function if numba is None else numba.njit(**options)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A helper of one line, written out where it is called; as a called function (`helper`) it was compiled for each
    constant argument."""
    return function if numba is None else numba.njit(inline="always")(function)


def kernel(function: Callable[..., Any], helpers: bytes = HELPERS, options: Mapping[str, Any] = OPTIONS) -> Any:
    """A function that Python calls; its compiled code is kept on disk for later processes, until `helpers` (the `stamp` of the
    files with the helpers that it calls) changes."""
    if numba is None:
        return function
    compiled = numba.njit(cache=True, **options)(function)
    kept_until_changed(compiled, helpers)
    return compiled


def lean(function: Callable[..., Any], helpers: bytes = HELPERS) -> Any:
    """A kernel of a control step: it makes no arrays but on its stack (`views.scratch`), and returns none."""
    return kernel(function, helpers, LEAN)


def kept_until_changed(compiled: Any, helpers: bytes) -> None:
    """Keep compiled code on disk until `helpers` (a `stamp`) changes, too."""
    # What is kept is valid while the file of the kernel is unchanged, says numba; here, that of its helpers as well. The
    # attribute is private: a numba that lacks it, or has another one, serves everyone but who edits the helpers.
    with suppress(AttributeError, TypeError):
        compiled._cache._cache_file._source_stamp += helpers


def check_backend(backend: str) -> None:
    """Raise a ValueError where there is no such backend."""
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")


def choose(backend: str, name: str, x: Any) -> ModuleType | None:
    """The kernels that the cell of this name runs a sequence x (a torch tensor) on; None: torch.

    Raises RuntimeError where the backend is "numba" and numba does not work here.
    """
    dtype = str(x.dtype).removeprefix("torch.")
    if backend == "torch" or x.device.type != "cpu" or dtype not in ("float32", "float64"):
        return None
    kernels = available(name, dtype)
    if kernels is None and backend == "numba":
        raise RuntimeError("backend 'numba' does not work here (see the warning); choose 'auto' or 'torch'")
    return kernels


@cache
def available(name: str, dtype: str) -> ModuleType | None:
    """The compiled kernels of a cell for "float32" or "float64"; None, with one warning, where numba is missing or fails."""
    if numba is None:
        warn_of_plain_python()
        return None
    kernels = import_module(f".{name}", __package__)
    try:
        kernels.compile_for(dtype)
    except Exception as error:  # noqa: BLE001 - whatever stops a compiler, torch still computes
        _warn(f"{type(error).__name__}: {error}")
        return None
    return kernels


def warn_of_plain_python() -> None:
    """Warn, the first time, where numba is missing or fails."""
    if numba is None:
        _warn(_TROUBLE)


@cache
def _warn(trouble: str) -> None:
    warnings.warn(
        f"numba does not work here ({trouble}): sequences are computed by torch, and deployed steps by plain Python, which "
        "takes milliseconds. Reinstall numba (`undrift doctor` says how), or choose backend='torch' for cells.",
        RuntimeWarning,
        stacklevel=4,
    )


def compile_kernels(
    names: Iterable[str] = (*KERNELS, "actor"),
    dtype: str = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compile kernels ahead of their use, or load what was compiled before. The first time on a machine takes a while.

    Parameters
    ----------
    names : cells, and "actor" for deployed policies; all of them, if not told.
    dtype : "float32" or "float64".
    progress : called before the first and after each, with how many are done and how many there are.
    """
    names = tuple(names)
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names))
        available(name, dtype)
    if progress is not None:
        progress(len(names), len(names))


def check_tensors(tensors: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise a ValueError that names the tensor which is missing, unknown, not of the expected shape or not finite."""
    if wrong := sorted(set(expected) ^ set(tensors)):
        raise ValueError(f"tensor {wrong[0]!r} is {'missing' if wrong[0] in expected else 'unknown'}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(f"tensor {name!r} must be {list(shape)}, got {list(tensors[name].shape)}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"tensor {name!r} holds values that are not finite")
