"""Compiled code is kept on disk: no kernel may outlive the helpers that it was compiled from."""

import importlib
import pkgutil
import sys
from inspect import ismodule
from pathlib import Path

from undrift.agents import adaptation
from undrift.agents.adaptation.compiled import _SHARED


def test_every_file_with_helpers_that_another_one_calls_is_part_of_the_stamp():
    lenders = set()
    for found in pkgutil.walk_packages(adaptation.__path__, adaptation.__name__ + "."):
        if found.ispkg or found.name.endswith("identification"):
            continue  # compiles nothing; identification needs torch
        module = importlib.import_module(found.name)
        imported = [value for value in vars(module).values() if ismodule(value)]
        own = [each for each in imported if each.__name__.startswith(adaptation.__name__)]
        compiled = [value for each in (module, *own) for value in vars(each).values() if hasattr(value, "py_func")]
        lenders |= {value.py_func.__module__ for value in compiled} - {found.name}
    folder = Path(adaptation.__file__).parent
    shared = {(folder / name).resolve() for name in _SHARED}
    # What kernels of the policies share is part of every stamp.
    of_all = {f"undrift.policies.kernels.{name}" for name in ("arithmetic", "packed", "views")}
    lent = {Path(str(sys.modules[name].__file__)).resolve() for name in lenders - of_all}
    assert lent == shared
