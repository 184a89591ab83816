"""DroneReach: pillars and range finders."""

import mujoco
import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.drone.reach import PILLAR_RADIUS, RANGE


def test_range_finders_measure_the_distance_to_a_pillar():
    env = make_batch("DroneReach", 1, pillars=1, rays=8, noise=0.0)
    env.reset([0])
    env.place(0, np.array([0.0, 0.0, 2.0]), quaternion=np.array([np.cos(0.4), 0.0, 0.0, np.sin(0.4)]))
    env.pillar_centre[0, 0] = [3 * np.cos(0.8 + np.pi / 2), 3 * np.sin(0.8 + np.pi / 2), 0.0]
    expected = np.full(8, RANGE)
    expected[2] = 3 - PILLAR_RADIUS  # the third of eight looks to the left, a quarter turn from the heading
    np.testing.assert_allclose(env.ranges(np.array([0]))[0], expected, atol=1e-6)


def test_range_finders_stay_level_when_the_drone_tilts():
    env = make_batch("DroneReach", 1, pillars=0, rays=6, noise=0.0)
    env.reset([0])
    env.place(0, np.array([0.0, 0.0, 1.0]), quaternion=np.array([np.cos(0.3), np.sin(0.3), 0.0, 0.0]))
    np.testing.assert_array_equal(env.ranges(np.array([0])), RANGE)


def test_range_finders_agree_with_mujocos_own_rays():
    env = make_batch("DroneReach", 3, noise=0.0)
    env.reset([1, 2, 3])
    data = env.batch.get_data(1)
    mujoco.mj_forward(env.model, data)
    w, x, y, z = env.qpos[1, 3:7]
    heading = np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
    hit = np.zeros(1, dtype=np.int32)
    for k, found in enumerate(env.ranges(np.arange(3))[1]):
        angle = heading + 2 * np.pi * k / env.rays
        ray = np.array([np.cos(angle), np.sin(angle), 0.0])
        distance = mujoco.mj_ray(env.model, data, env.qpos[1, :3], ray, None, 1, env._body, hit)
        assert found == pytest.approx(RANGE if distance < 0 else min(distance, RANGE), abs=1e-9)


def test_pillars_leave_room_and_differ_between_episodes():
    env = make_batch("DroneReach", 30)
    env.reset(list(range(30)))
    for n in range(30):
        ends = np.stack([env.qpos[n, :2], env.target[n, :2]])
        places = np.concatenate([env.pillar_centre[n, :, :2], ends])
        apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 10 * np.eye(len(places))
        assert apart.min() >= 1.5
    assert len(np.unique(env.pillar_centre[:, 0, 0])) == 30


def test_flying_into_a_pillar_is_a_crash_and_nearness_costs():
    env = make_batch("DroneReach", 1, pillars=1, noise=0.0)
    env.reset([0])
    env.pillar_centre[0, 0] = [0.0, 0.0, 0.0]
    env.place(0, np.array([-0.9, 0.0, 2.0]), velocity=np.array([4.0, 0.0, 0.0]))
    costs, ended = [], False
    for _ in range(20):
        _, _, terminated, _, info = env.step(np.zeros((1, 4)))
        costs.append(info["reward/clearance"][0])
        if terminated[0]:
            ended = True
            break
    assert ended and info["crashed"][0]
    assert min(costs) < -0.1 and costs[0] > min(costs)


def test_nobody_flies_over_the_pillars():
    env = make_batch("DroneReach", 1)
    env.reset([0])
    env.qpos[0, 2] = 4.5
    assert env.step(np.zeros((1, 4)))[4]["crashed"][0]


def test_standing_at_the_target_is_success():
    env = make_batch("DroneReach", 1, noise=0.0)
    env.reset([0])
    env.place(0, env.target[0])
    _, reward, _, _, info = env.step(np.zeros((1, 4)))
    assert info["success"][0] and reward[0] > 0.9


@pytest.mark.parametrize("kwargs, what", [({"pillars": 40}, "0 to 20"), ({"rays": 2}, "at least 4")])
def test_a_field_that_cannot_be_is_refused(kwargs, what):
    with pytest.raises(ValueError, match=what):
        make_batch("DroneReach", 1, **kwargs)
