"""DroneGates: gates, in order."""

import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.drone.gates import HEIGHT, RADIUS


def through_the_next_gate(env, offset=(0.0, 0.0), direction=1.0):
    """Let simulation 0 pass the plane of its next gate, that far sideways and upwards from the centre; the step's info."""
    gate = int(env.next_gate[0])
    centre, axis = env.gate_centre[0, gate].copy(), env.gate_axis[0, gate]
    sideways = np.array([-axis[1], axis[0], 0.0])
    start = centre - 0.1 * direction * axis + offset[0] * sideways + [0.0, 0.0, offset[1]]
    env.place(0, start, velocity=10.0 * direction * axis)
    return env.step(np.zeros((env.num_envs, 4)))


def fresh(**kwargs):
    env = make_batch("DroneGates", 1, noise=0.0, **kwargs)
    env.reset([3])
    return env


def test_a_gate_counts_when_it_is_passed_inside_the_opening_and_along_its_axis():
    env = fresh()
    first = int(env.next_gate[0])
    *_, info = through_the_next_gate(env)
    assert info["gates"][0] == 1 and env.next_gate[0] == (first + 1) % env.gates
    assert info["reward/gate"][0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("offset", [(1.0, 0.0), (0.0, 1.0)])
def test_passing_beside_a_gate_does_not_count(offset):
    info = through_the_next_gate(fresh(), offset)[-1]
    assert info["gates"][0] == 0 and info["reward/gate"][0] == 0.0


def test_passing_a_gate_backwards_does_not_count():
    assert through_the_next_gate(fresh(), direction=-1.0)[-1]["gates"][0] == 0


def test_a_lap_is_success():
    env = fresh()
    done = [bool(through_the_next_gate(env)[-1]["success"][0]) for _ in range(env.gates)]
    assert done == [False] * (env.gates - 1) + [True]


def test_hitting_the_frame_is_a_crash():
    env = fresh()
    _, _, terminated, _, info = through_the_next_gate(env, (env.opening / 2, 0.0))
    assert terminated[0] and info["crashed"][0] and info["reward/crash"][0] == -5.0


def test_the_observation_shows_the_next_two_gates():
    env = make_batch("DroneGates", 4, noise=0.0)
    seen = env.reset([0, 1, 2, 3])
    place = {name: i for i, name in enumerate(env.observation_names)}
    for n in range(4):
        for k, gate in enumerate(("gate", "second_gate")):
            number = (env.next_gate[n] + k) % env.gates
            there = seen[n, [place[f"{gate}_position_{a}"] for a in "xyz"]]
            np.testing.assert_allclose(there, env.gate_centre[n, number] - env.qpos[n, :3], atol=1e-5)
            axis = seen[n, [place[f"{gate}_axis_{a}"] for a in "xyz"]]
            np.testing.assert_allclose(axis, env.gate_axis[n, number], atol=1e-6)
        velocity = seen[n, [place[f"velocity_{a}"] for a in "xyz"]]
        np.testing.assert_allclose(velocity, env.qvel[n, :3], atol=1e-5)


def test_gates_stand_within_their_displacement_and_swing_by_their_motion():
    env = make_batch("DroneGates", 50, displacement=0.5, motion=1.0)
    env.reset(list(range(50)))
    angle = 2 * np.pi * np.arange(env.gates) / env.gates
    ring = np.stack([RADIUS * np.cos(angle), RADIUS * np.sin(angle), np.full(env.gates, HEIGHT)], axis=1)
    assert np.abs(env._home - ring).max() <= 0.5
    away = []
    for _ in range(40):
        env._move_gates(np.arange(50), env.time + len(away) * 0.2)
        away.append(np.linalg.norm(env.gate_centre - env._home, axis=2))
    assert np.max(away) == pytest.approx(1.0, abs=0.02)
    still = make_batch("DroneGates", 1)
    still.reset([0])
    before = still.gate_centre.copy()
    still.step(np.zeros((1, 4)))
    np.testing.assert_array_equal(still.gate_centre, before)


def test_the_way_made_is_rewarded_whatever_the_control_rate():
    rewards = []
    for rate in (50, 200):
        env = fresh(control_hz=rate)
        env.place(0, env.gate_centre[0, env.next_gate[0]] - 2.0 * env.gate_axis[0, env.next_gate[0]])
        env.qvel[0, :3] = 2.0 * env.gate_axis[0, env.next_gate[0]]
        env._before[0] = env.qpos[0, :3]
        rewards.append(env.step(np.zeros((1, 4)))[-1]["reward/progress"][0])
    assert rewards == pytest.approx([0.2, 0.2], abs=0.01)


@pytest.mark.parametrize(
    "kwargs, what",
    [
        ({"gates": 2}, "3 to 12"),
        ({"displacement": 3.0}, "0 to 1 m"),
        ({"motion": -1.0}, "0 to 1.5 m"),
        ({"pace": 0.0}, "above 0"),
        ({"opening": 0.3}, "3 times its radius"),
    ],
)
def test_a_course_that_cannot_be_flown_is_refused(kwargs, what):
    with pytest.raises(ValueError, match=what):
        make_batch("DroneGates", 1, **kwargs)
