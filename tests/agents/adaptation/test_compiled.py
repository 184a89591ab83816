"""Compiled code is kept on disk: no kernel may outlive the helpers that it was compiled from."""

import importlib
import pkgutil
import sys
from pathlib import Path

from undrift.agents import adaptation
from undrift.agents.adaptation.compiled import _SHARED


def test_every_file_with_helpers_that_another_one_calls_is_part_of_the_stamp():
    lenders = set()
    for found in pkgutil.walk_packages(adaptation.__path__, adaptation.__name__ + "."):
        if found.name.endswith("identification"):
            continue  # needs torch, compiles nothing
        module = importlib.import_module(found.name)
        compiled = [value for value in vars(module).values() if hasattr(value, "py_func")]
        lenders |= {value.py_func.__module__ for value in compiled} - {found.name}
    folder = Path(adaptation.__file__).parent
    shared = {(folder / name).resolve() for name in _SHARED}
    # What kernels of the policies share is part of every stamp.
    lent = {
        Path(str(sys.modules[name].__file__)).resolve() for name in lenders - {"undrift.policies.kernels.arithmetic"}
    }
    assert lent == shared
