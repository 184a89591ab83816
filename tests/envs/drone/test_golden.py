"""A recorded flight of every vehicle. `python tests/envs/drone/test_golden.py` records them anew, for another MuJoCo."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.drone.vehicle import VEHICLES

GOLDEN = Path(__file__).with_name("golden.json")


def fly(vehicle):
    """Poses [6, 7] every 0.4 s, with wind, ground effect and battery."""
    world = {"wind": {"name": "constant", "speed": 4.0, "heading": 0.5}, "battery": True, "ground_effect": True}
    env = make_batch("DroneTrack", 1, vehicle=vehicle, crash_distance=1e9, **world)
    env.reset([7])
    poses = []
    for step in range(120):
        env.step(np.array([[0.1, *(0.1 * np.sin(0.1 * step + np.arange(3)))]]))
        if step % 20 == 19:
            poses.append(env.qpos[0].copy())
    return np.array(poses)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_vehicle_flies_as_recorded(vehicle):
    golden = json.loads(GOLDEN.read_text())
    if mujoco.__version__ != golden["mujoco"]:
        pytest.skip(f"recorded with MuJoCo {golden['mujoco']}, this is {mujoco.__version__}: trajectories may differ")
    # Other processors round sines and square roots differently.
    np.testing.assert_allclose(fly(vehicle), golden["poses"][vehicle], rtol=0, atol=1e-7)


if __name__ == "__main__":
    poses = {vehicle: fly(vehicle).tolist() for vehicle in VEHICLES}
    GOLDEN.write_text(json.dumps({"mujoco": mujoco.__version__, "poses": poses}, indent=1) + "\n")
