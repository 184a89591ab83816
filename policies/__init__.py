from .. import __version__ as __version__  # isort: skip
from importlib import import_module
from typing import Any

# Names load on first use, so that importing a torch-free part (the deployed policy, the kernels) stays torch-free.
_EXPORTS = {
    "CELLS": "cells",
    "Cell": "cell",
    "CfC": "cells.cfc",
    "DeployedPolicy": "deployed",
    "LiquidPolicy": "sb3",
    "Wiring": "wiring",
    "check_cell": "checks",
    "make_cell": "cells",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
