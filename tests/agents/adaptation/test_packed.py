"""pack: what kernels read of a component, in one array."""

from typing import NamedTuple

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import estimator
from undrift.agents.adaptation.compensators import car, drone, generic
from undrift.agents.adaptation.compiled import helper
from undrift.agents.adaptation.packed import integer, integers, pack, real, reals


class Known(NamedTuple):
    gain: float
    places: np.ndarray
    matrix: np.ndarray
    none: np.ndarray
    first: int
    used: bool


@helper
def unpacked(packed):
    matrix = reals(packed, 2).reshape(-1, 3)
    return real(packed, 0), integers(packed, 1), matrix, reals(packed, 3), integer(packed, 4), integer(packed, 5)


def test_a_kernel_has_every_field_back_as_it_was():
    known = Known(0.1, np.array([7, -1, 3]), np.arange(6.0).reshape(2, 3), np.zeros(0), -1, True)
    for value, expected in zip(unpacked(pack(known)), known, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert unpacked(pack(known))[1].dtype == np.int64


COMPONENTS = {
    estimator: lambda: estimator.DisturbanceObserver(Run.reference().nominal),
    generic: lambda: generic.GenericCompensator(Run.reference().nominal),
    drone: lambda: drone.DroneCompensator.of(Run.reference().nominal),
    car: lambda: car.CarCompensator.of(Run.load("runs/reference-car-track-s0").nominal),
}


@pytest.mark.parametrize("module", COMPONENTS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_constant_of_a_component_comes_back_under_its_own_name(module):
    component = COMPONENTS[module]()
    unpacked = module._constants_of(component.constants)._asdict()
    unpacked.pop("lead", None)  # kernels take it over its filter's time constant
    own = {name: value for name, value in unpacked.items() if hasattr(component, name)}
    assert len(own) >= 8 and list(unpacked)[-1] in own
    for name, value in own.items():
        np.testing.assert_array_equal(np.ravel(value), np.ravel(getattr(component, name)), err_msg=name)
