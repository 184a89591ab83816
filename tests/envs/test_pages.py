"""The pages of the tasks say what the code does: names, magnitudes, arguments and their defaults are compared."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from undrift.envs import ENVIRONMENTS, make_batch
from undrift.envs.driving.base import CarEnv
from undrift.envs.drone.base import DroneEnv

from .conftest import DOCS, quoted, rows, section

FAMILIES = {"drone": DroneEnv, "driving": CarEnv}


def family(env_id: str) -> str:
    return next(name for name, kind in FAMILIES.items() if issubclass(ENVIRONMENTS[env_id], kind))


def page(env_id: str) -> str:
    task = re.fullmatch("undrift/(?:Drone|Car)(.*)-v0", env_id)[1].lower()
    return (DOCS / family(env_id) / f"{task}.md").read_text()


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_the_observation_table_names_every_channel_in_order_with_its_magnitude(env_id):
    """A row names one channel, or with "to" the first and the last of several."""
    env = make_batch(env_id, 1)
    told: list[str] = []
    for names, _, _, magnitude, _ in rows(section(page(env_id), "Observation")):
        first, *last = map(env.observation_names.index, quoted(names))
        channels = slice(first, (last or [first])[0] + 1)
        told += env.observation_names[channels]
        np.testing.assert_allclose(env.observation_scale[channels], float(magnitude), rtol=1e-6, err_msg=names)
    assert tuple(told) == env.observation_names


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_reward_terms_and_info_are_all_told_and_no_others(env_id):
    env = make_batch(env_id, 1)
    env.reset([0])
    info = env.step(np.zeros((1, len(env.action_names))))[4]
    terms = [name for row in rows(section(page(env_id), "Reward")) for name in quoted(row[0])]
    assert [f"reward/{term}" for term in terms] == [name for name in info if name.startswith("reward/")]
    others = [name for row in rows(section(page(env_id), "Info")) for name in quoted(row[0])]
    assert set(others) == {name for name in info if not name.startswith("reward/")}


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_tasks_own_arguments_and_their_defaults_are_told(env_id):
    told = {quoted(name)[0]: default for name, default, _ in rows(section(page(env_id), "Arguments"))}
    own = inspect.signature(ENVIRONMENTS[env_id]).parameters.values()
    expected = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY}
    inherited = {"episode_s": inspect.signature(FAMILIES[family(env_id)]).parameters["episode_s"].default}
    assert told == {name: f"`{value!r}`".replace("'", '"') for name, value in (inherited | expected).items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_shared_arguments_and_their_defaults_are_told(name):
    index = (DOCS / name / "index.md").read_text()
    told = {quoted(row[0])[0]: row[1] for row in rows(section(index, "Arguments of all tasks"))}
    # What is the batch's, or what a task gives and tells itself.
    hidden = {"num_envs", "channels", "task", "signals", "build", "road", "noises", "episode_s"}
    shared = [p for p in inspect.signature(FAMILIES[name]).parameters.values() if p.name not in hidden]
    assert told == {p.name: f"`{p.default!r}`".replace("'", '"') for p in shared}
