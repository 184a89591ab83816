from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def memory_tasks(load):
    return load("memory_tasks")


def test_the_tasks_show_positions_and_hide_velocities(memory_tasks):
    for task, velocities in ((memory_tasks.CARTPOLE, [1, 3]), (memory_tasks.PENDULUM, [2])):
        env = task.make(frames=1)
        shown, _ = env.reset(seed=0)
        full, _ = env.unwrapped.reset(seed=0)
        positions = np.delete(full, velocities)
        np.testing.assert_allclose(shown * task.scale, positions, rtol=1e-6)
        assert env.observation_space.contains(shown)
    hopper = memory_tasks.HOPPER.make(frames=1)
    shown, _ = hopper.reset(seed=0)
    np.testing.assert_allclose(shown, hopper.unwrapped.data.qpos[1:], rtol=1e-6)


def test_a_run_reports_every_tenth_of_itself_and_is_read_back_under_its_own_settings_alone(memory_tasks, tmp_path):
    study = memory_tasks.quick(memory_tasks.STUDIES["cartpole-ppo"])
    result = memory_tasks.train(study, "stacked-mlp", 0)
    steps, clock = np.array([(row["steps"], row["cpu_s"]) for row in result["checkpoints"]]).T
    assert len(steps) == 11 and steps[0] == clock[0] == 0 and steps[-1] == study.steps
    assert (np.diff(steps) >= 0).all() and (np.diff(clock) > 0).all() and result["peak_mib"] > 50

    file = tmp_path / "run.json"
    assert memory_tasks.read(file, study) is None
    file.write_text(json.dumps(result))
    assert memory_tasks.read(file, study) == result
    assert memory_tasks.read(file, dataclasses.replace(study, units=7)) is None


def test_returns_at_equal_time_lie_between_checkpoints(memory_tasks):
    checkpoints = [
        {"cpu_s": 0.0, "returns": [0.0, 10.0]},
        {"cpu_s": 2.0, "returns": [4.0, 20.0]},
        {"cpu_s": 3.0, "returns": [5.0, 50.0]},
    ]
    assert memory_tasks.returns_after(checkpoints, 1.0) == [2.0, 15.0]
    assert memory_tasks.returns_after(checkpoints, 99.0) == [5.0, 50.0]
