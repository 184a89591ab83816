"""Compiled code is kept on disk: no kernel may outlive the helpers that it was compiled from."""

import importlib
import pkgutil

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
    ours = {name.rpartition(".")[2] + ".py" for name in lenders if name.startswith(adaptation.__name__)}
    assert ours == set(_SHARED)
    assert lenders - {f"{adaptation.__name__}.{name.removesuffix('.py')}" for name in _SHARED} <= {
        "undrift.policies.kernels.arithmetic"
    }
