"""Constants of components, as kernels read them."""

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import estimator
from undrift.agents.adaptation.compensators import car, drone, generic

COMPONENTS = {
    estimator: lambda: estimator.DisturbanceObserver(Run.reference().nominal),
    generic: lambda: generic.GenericCompensator(Run.reference().nominal),
    drone: lambda: drone.DroneCompensator.of(Run.reference().nominal),
    car: lambda: car.CarCompensator.of(Run.load("runs/reference-car-track-s0").nominal),
}


@pytest.mark.parametrize("module", COMPONENTS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_constant_of_a_component_comes_back_under_its_own_name(module):
    component = COMPONENTS[module]()
    unpacked = module._constants_of.py_func(component.constants)._asdict()
    unpacked.pop("lead", None)  # kernels take it over its filter's time constant
    own = {name: value for name, value in unpacked.items() if hasattr(component, name)}
    assert len(own) >= 8 and list(unpacked)[-1] in own
    for name, value in own.items():
        np.testing.assert_array_equal(np.ravel(value), np.ravel(getattr(component, name)), err_msg=name)
