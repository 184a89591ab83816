"""Drag: as much as a vehicle of that drag has."""

import numpy as np

from undrift.envs import Always, Drag
from undrift.envs.drone.vehicle import load_vehicle

from .flights import aloft, fly


def test_it_multiplies_the_drag_of_body_and_rotors():
    vehicle = load_vehicle("racer").to_dict() | {"rotor_drag": [1e-5, 1e-5, 2e-5]}
    coefficients = {name: vehicle[name] for name in ("linear_drag", "quadratic_drag", "rotor_drag")}
    draggy = vehicle | {name: (2.5 * np.array(value)).tolist() for name, value in coefficients.items()}
    shifted, built = aloft(Drag(factor=2.5, schedule=Always()), vehicle=vehicle), aloft(vehicle=draggy)
    poses = []
    for env in (shifted, built):
        env.place(0, [0.0, 0.0, 50.0], velocity=[4.0, -2.0, 1.0])
        poses.append(fly(env, np.random.default_rng(2).uniform(-0.3, 0.3, (20, 4))))
    np.testing.assert_allclose(*poses, rtol=0, atol=1e-12)


def test_without_drag_nothing_slows_the_vehicle_down():
    env = aloft(Drag(factor=0.0, schedule=Always()))
    env.place(0, [0.0, 0.0, 50.0], velocity=[4.0, 0.0, 0.0])
    fly(env, np.zeros((25, 4)))
    np.testing.assert_allclose(env.qvel[0, :3], [4.0, 0.0, 0.0], atol=1e-9)
