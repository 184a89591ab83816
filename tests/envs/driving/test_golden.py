"""A recorded drive of every car. `python tests/envs/driving/test_golden.py` records them anew, for another MuJoCo."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from undrift.envs.driving.vehicle import CARS

GOLDEN = Path(__file__).with_name("golden.json")
WORLD = {
    "friction_front": 0.8,
    "wheel_friction": 0.9,
    "payload": 0.5,
    "payload_place": -0.1,
    "bank": 0.05,
    "slope": 0.03,
    "wind": 3.0,
}


def drive(build, vehicle):
    """Poses [6, 3] every 0.4 s on a slippery and tilted road, with a payload, in the wind."""
    env = build(1, vehicle=vehicle, speed=4.0, noise=0.0, randomise={name: (x, x) for name, x in WORLD.items()})
    env.reset([7])
    poses = []
    for step in range(120):
        env.step(np.array([[0.5 * np.sin(0.1 * step), 0.5 * np.cos(0.07 * step)]]))
        if step % 20 == 19:
            poses.append(env.qpos[0].copy())
    return np.array(poses)


@pytest.mark.parametrize("vehicle", CARS)
def test_a_car_drives_as_recorded(plane, vehicle):
    golden = json.loads(GOLDEN.read_text())
    if mujoco.__version__ != golden["mujoco"]:
        pytest.skip(f"recorded with MuJoCo {golden['mujoco']}, this is {mujoco.__version__}: trajectories may differ")
    # Other processors round sines and square roots differently.
    np.testing.assert_allclose(drive(plane, vehicle), golden["poses"][vehicle], rtol=0, atol=1e-7)


if __name__ == "__main__":
    from conftest import Plane

    recorded = {vehicle: drive(Plane, vehicle).tolist() for vehicle in CARS}
    GOLDEN.write_text(json.dumps({"mujoco": mujoco.__version__, "poses": recorded}, indent=1) + "\n")
