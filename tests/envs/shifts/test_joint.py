"""Damping and dry friction of joints, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, JointDamping, JointFriction, Shifted, make_batch

from ..pendulum import DAMPING, INERTIA, LENGTH, MASS, Pendulum

STIFFNESS = MASS * 9.81 * LENGTH


@pytest.mark.parametrize(
    ("shifts", "damping"),
    [
        ([{"added": 0.15}], DAMPING + 0.15),
        ([{"factor": 4.0, "added": 0.0, "joint": "hinge"}], 4 * DAMPING),
        ([{"added": 0.1}, {"added": 0.2}], DAMPING + 0.3),
        ([{"factor": 2.0, "added": 0.0}, {"factor": 3.0, "added": 0.0}], 6 * DAMPING),
    ],
)
def test_a_damped_pendulum_swings_as_the_closed_form_says(shifts, damping):
    env = Shifted(Pendulum(), *(JointDamping(schedule=Abrupt(0.5), **fields) for fields in shifts))
    env.reset(seed=0)
    for _ in range(50):
        env.step(np.zeros(1))
    angle, rate = env.unwrapped.data.qpos[0], env.unwrapped.data.qvel[0]
    decay = damping / (2 * INERTIA)
    frequency = np.sqrt(STIFFNESS / INERTIA - decay**2)
    for step in range(1, 101):
        env.step(np.zeros(1))
        t = 0.01 * step
        swing = angle * np.cos(frequency * t) + (rate + decay * angle) / frequency * np.sin(frequency * t)
        assert env.unwrapped.data.qpos[0] == pytest.approx(np.exp(-decay * t) * swing, abs=1e-8)


def test_dry_friction_slows_a_turning_joint_steadily_and_holds_it_in_the_end():
    env = Shifted(Pendulum(), JointFriction(joint="hinge", added=0.2, schedule=Always()))
    env.reset(seed=0)
    model, data = env.unwrapped.model, env.unwrapped.data
    model.opt.gravity[:], model.dof_damping[:] = 0.0, 0.0
    data.qvel[:] = 0.2
    rates = []
    for _ in range(100):
        env.step(np.zeros(1))
        rates.append(data.qvel[0])
    time = 0.01 * np.arange(1, 101)
    expected = np.maximum(0.2 - 0.2 / INERTIA * time, 0.0)
    np.testing.assert_allclose(rates, expected, atol=2e-3)


def test_rows_of_a_batch_are_single_runs():
    yaw = {"joint": "yaw", "schedule": Abrupt(0.1)}
    scenarios = [[JointDamping(added=300.0, **yaw)], [JointDamping(added=100.0, **yaw)], []]
    batch = make_batch("CarTrack", 3, shifts=scenarios)
    singles = [make_batch("CarTrack", 1, shifts=shifts) for shifts in scenarios]
    batch.reset([0, 0, 0])
    for single in singles:
        single.reset([0])
    for _ in range(20):
        rows = batch.step(np.full((3, 2), 0.3))[0]
        np.testing.assert_array_equal(rows, [single.step(np.full((1, 2), 0.3))[0][0] for single in singles])
    assert (abs(batch.qvel[1:, 2]) > abs(batch.qvel[:-1, 2])).all()


def test_a_joint_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match='"all", or one of hinge'):
        Shifted(Pendulum(), JointDamping(joint="knee"))
    with pytest.raises(ValueError, match="at least 0"):
        JointFriction(added=-1.0)


def test_worlds_without_joints_or_without_constraints_are_refused():
    with pytest.raises(ValueError, match="of which this environment has none"):
        make_batch("DroneTrack", shifts=(JointDamping(),))
    with pytest.raises(ValueError, match="constraints are disabled"):
        make_batch("CarTrack", shifts=(JointFriction(),))
