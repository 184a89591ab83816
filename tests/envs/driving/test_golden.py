"""A recorded drive of every car. `python -m tests.envs.driving.test_golden` records them anew, for another MuJoCo."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from undrift.envs import Always, Bank, Friction, Slope, Wind
from undrift.envs.driving.vehicle import CARS, load_car

from .conftest import Plane, fixed

GOLDEN = Path(__file__).with_name("golden.json")


def world(vehicle):
    """A slippery and tilted road, in the wind, and half a kilogram 10 cm behind the centre of mass."""
    car, load, place = load_car(vehicle), 0.5, -0.1
    mass = car.mass + load
    inertia = car.yaw_inertia + car.mass * load / mass * place**2
    loaded = fixed(
        mass=[0.0, mass],
        centre_of_mass=[np.zeros(3), [place * load / mass, 0.0, 0.0]],
        inertia=[np.zeros((3, 3)), inertia * np.eye(3)],
    )
    sure = {"spread": 0.0, "schedule": Always()}
    return (
        *loaded,
        Friction(factor=0.9, **sure),
        Friction(factor=0.8, where="front", **sure),
        Bank(angle=0.05, either_side=False, **sure),
        Slope(angle=0.03, direction=0.0, **sure),
        Wind(speed=3.0 * np.sqrt(2.0), heading=np.pi / 4, **sure),
    )


def drive(vehicle):
    """Poses [6, 3] every 0.4 s."""
    env = Plane(1, vehicle=vehicle, speed=4.0, noise=0.0, shifts=world(vehicle))
    env.reset([7])
    poses = []
    for step in range(120):
        env.step(np.array([[0.5 * np.sin(0.1 * step), 0.5 * np.cos(0.07 * step)]]))
        if step % 20 == 19:
            poses.append(env.qpos[0].copy())
    return np.array(poses)


@pytest.mark.parametrize("vehicle", CARS)
def test_a_car_drives_as_recorded(vehicle):
    golden = json.loads(GOLDEN.read_text())
    if mujoco.__version__ != golden["mujoco"]:
        pytest.skip(f"recorded with MuJoCo {golden['mujoco']}, this is {mujoco.__version__}: trajectories may differ")
    # Other processors round sines and square roots differently.
    np.testing.assert_allclose(drive(vehicle), golden["poses"][vehicle], rtol=0, atol=1e-7)


if __name__ == "__main__":
    recorded = {vehicle: drive(vehicle).tolist() for vehicle in CARS}
    GOLDEN.write_text(json.dumps({"mujoco": mujoco.__version__, "poses": recorded}, indent=1) + "\n")
