"""Contacts: they act when something is touched, and leaving them out in free flight changes nothing."""

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from undrift.envs import make_batch
from undrift.envs.drone import base
from undrift.envs.drone.clearance import IN_FREE_FLIGHT, Obstacles
from undrift.envs.drone.vehicle import VEHICLES


def falling(vehicle, height, speed=0.0, tilt=(1.0, 0.0, 0.0, 0.0), **kwargs):
    env = make_batch("DroneTrack", 1, vehicle=vehicle, interface="motors", noise=0.0, crash_distance=1e9, **kwargs)
    env.reset([0])
    env.place(0, [0.0, 0.0, height], [0.0, 0.0, speed], np.array(tilt))
    env.batch.act[:] = 0.0
    return env


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize(("height", "speed"), [(1.0, 0.0), (3.0, -15.0)])
@pytest.mark.parametrize("clock", [None, {"missed": 0.5}])
def test_a_falling_drone_lands_and_stays(vehicle, height, speed, clock):
    env = falling(vehicle, height, speed, (1.0, 0.1, 0.05, 0.0), clock=clock)
    lowest, touched = np.inf, False
    for _ in range(250):
        env.step(-np.ones((1, 4)))
        lowest, touched = min(lowest, env.qpos[0, 2]), touched or env.contact[0]
    assert touched and env.contact[0]
    # It lies flat on its hull; on impact the soft contact gives way by no more than a step's travel.
    assert env.qpos[0, 2] == pytest.approx(env.vehicle.height / 2, abs=0.003)
    assert lowest > -15.0 * env.dt
    assert np.abs(env.qvel[0]).max() < 0.05


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_a_drone_that_is_thrown_at_a_wall_stays_on_its_side(vehicle, speed):
    def wall(spec):
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.2, 5, 5], pos=[3, 0, 3])

    env = falling(vehicle, 4.0, build=wall)
    env.qvel[0, 0] = speed
    touched = False
    for _ in range(60):
        env.step(np.zeros((1, 4)))
        touched = touched or (env.contact[0] and env.qpos[0, 2] > 1.0)
    assert touched == (speed > 5.0)
    assert env.qpos[0, 0] < 2.8


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_trajectories_are_the_same_to_the_bit_with_contacts_always_on(vehicle, monkeypatch):
    """From high up down to the floor, along it and off again."""

    def fly():
        env = make_batch("DroneTrack", 4, vehicle=vehicle, crash_distance=1e9)
        env.reset([0, 1, 2, 3])
        flown, free = [], []
        for step in range(300):
            env.step(np.full((4, 4), [-0.5 if step < 130 else 0.9, 0.02, 0.01, 0.1]))
            flown.append(env.batch.state.copy())
            free.append(env._flags != 0)
        return np.array(flown), np.array(free)

    toggled, free = fly()
    monkeypatch.setattr(base, "switch_contacts", always_on)
    untouched, never_free = fly()
    np.testing.assert_array_equal(toggled, untouched)
    assert 0.2 < free.mean() < 0.95 and not never_free.any()


def always_on(distance, qvel, span, radius, acceleration, flags):
    flags[:] = 0
    return True


def test_far_from_everything_contacts_are_off_and_near_the_floor_they_are_on():
    env = make_batch("DroneTrack", 3)
    env.reset([0, 1, 2])
    for i, (height, speed) in enumerate([(5.0, 0.0), (0.2, 0.0), (5.0, -500.0)]):
        env.place(i, [0, 0, height], [0, 0, speed])
    env.step(np.zeros((3, 4)))
    np.testing.assert_array_equal(env._flags, [IN_FREE_FLIGHT, 0, 0])


SHAPES = """
<mujoco><worldbody>
  <geom type="plane" size="0 0 1"/>
  <geom type="box" size=".3 .2 .5" pos="2 0 1" euler="20 30 40"/>
  <geom type="cylinder" size=".3 .6" pos="-2 0 1.5" euler="50 0 10"/>
  <geom type="capsule" size=".2 .5" pos="0 2 1.5" euler="0 70 0"/>
  <geom type="sphere" size=".4" pos="0 -2 1"/>
  <geom type="box" size="1 1 1" pos="0 0 3" contype="0" conaffinity="0"/>
  <body mocap="true" pos="2 2 2"><geom type="box" size=".2 .4 .1" pos=".1 .2 .3" euler="0 40 0"/></body>
  <body name="drone"><freejoint/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
    <geom name="point" type="sphere" size="1e-6"/></body>
</worldbody></mujoco>
"""


def test_distances_agree_with_mujocos():
    model = mujoco.MjModel.from_xml_string(SHAPES)
    data, batch = mujoco.MjData(model), Batch(model, nsim=1, nthread=1)
    obstacles = Obstacles(model, batch, "drone")
    rng = np.random.default_rng(0)
    point = model.geom("point").id
    solid = [g for g in range(model.ngeom) if model.geom_contype[g] and g != point]
    nearest = set()
    for _ in range(200):
        place, gate = rng.uniform([-3, -3, 0.1], [3, 3, 3]), rng.uniform(-1, 1, 7)
        data.qpos[:3] = place
        data.mocap_pos[0] = batch.mocap_pos[0, 0] = gate[:3] + [1, 1, 2]
        data.mocap_quat[0] = batch.mocap_quat[0, 0] = gate[3:] / np.linalg.norm(gate[3:])
        mujoco.mj_forward(model, data)
        expected = [mujoco.mj_geomDistance(model, data, point, g, 10.0, None) for g in solid]
        if min(expected) < 0.01:
            continue
        nearest.add(int(np.argmin(expected)))
        assert obstacles.distance(place[None])[0] == pytest.approx(min(expected), abs=1e-4)
    assert nearest == set(range(len(solid)))


def test_a_point_inside_an_obstacle_is_at_a_negative_distance():
    model = mujoco.MjModel.from_xml_string(SHAPES)
    obstacles = Obstacles(model, Batch(model, nsim=1, nthread=1), "drone")
    inside = {
        "box": [2, 0, 1],
        "cylinder": [-2, 0, 1.5],
        "capsule": [0, 2, 1.5],
        "sphere": [0, -2, 1],
        "floor": [5, 5, -1],
    }
    depths = {"box": -0.2, "cylinder": -0.3, "capsule": -0.2, "sphere": -0.4, "floor": -1.0}
    for name, place in inside.items():
        assert obstacles.distance(np.array([place], dtype=float))[0] == pytest.approx(depths[name])
