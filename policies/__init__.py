from .. import __version__ as __version__  # isort: skip
from importlib import import_module
from typing import Any

# Names load on first use, so that importing a torch-free part (the deployed policy, the kernels) stays torch-free.
_EXPORTS = {
    "CELLS": "cells",
    "Cell": "cell",
    "CfC": "cells.cfc",
    "DeployedPolicy": "deployed",
    "Diagonal": "cells.diagonal",
    "DiagonalRTRL": "online",
    "FeedForwardPolicy": "feed_forward",
    "GRU": "cells.gru",
    "LSTM": "cells.lstm",
    "LTC": "cells.ltc",
    "LiquidPolicy": "sb3",
    "MixedMemory": "cells.mixed_memory",
    "RTRL": "rtrl",
    "RecurrentLiquidPolicy": "sb3.recurrent",
    "Reservoir": "cells.reservoir",
    "Wiring": "wiring",
    "check_cell": "checks",
    "compile_kernels": "kernels.backend",
    "gradient_horizon": "inspection",
    "grow": "structure",
    "import_ncps": "ncps",
    "make_cell": "cells",
    "prune": "structure",
    "trace": "inspection",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
