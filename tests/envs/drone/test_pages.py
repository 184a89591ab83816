"""The pages in docs/drone say what the code does: names, magnitudes, arguments and figures are compared."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from undrift.envs import ENVIRONMENTS, VEHICLES, load_vehicle, make_batch
from undrift.envs.drone.base import DroneEnv
from undrift.envs.drone.physics import INTERFACES
from undrift.envs.drone.sensors import Sensors
from undrift.envs.drone.vehicle import GRAVITY
from undrift.envs.drone.wind import WIND_FIELDS

PAGES = Path(__file__).parents[3] / "docs" / "drone"
INDEX = (PAGES / "index.md").read_text()
TASKS = {env_id: env_id.removeprefix("undrift/Drone").removesuffix("-v0").lower() for env_id in ENVIRONMENTS}


def page(env_id: str) -> str:
    return (PAGES / f"{TASKS[env_id]}.md").read_text()


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables' rows, without their heads."""
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    heads = {k - 1 for k, row in enumerate(table) if set(row[0]) == {"-"}}
    return [row for k, row in enumerate(table) if k not in heads and set(row[0]) != {"-"}]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


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
    info = env.step(np.zeros((1, 4)))[4]
    terms = [name for row in rows(section(page(env_id), "Reward")) for name in quoted(row[0])]
    assert [f"reward/{term}" for term in terms] == [name for name in info if name.startswith("reward/")]
    others = [name for row in rows(section(page(env_id), "Info")) for name in quoted(row[0])]
    assert set(others) == {name for name in info if not name.startswith("reward/")}


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_tasks_own_arguments_and_their_defaults_are_told(env_id):
    told = {quoted(name)[0]: default for name, default, _ in rows(section(page(env_id), "Arguments"))}
    own = inspect.signature(ENVIRONMENTS[env_id]).parameters.values()
    expected = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY}
    inherited = {"episode_s": inspect.signature(DroneEnv).parameters["episode_s"].default}
    assert told == {name: f"`{value!r}`".replace("'", '"') for name, value in (inherited | expected).items()}


def test_the_shared_arguments_and_their_defaults_are_told():
    told = {quoted(name)[0]: default for name, default, _ in rows(section(INDEX, "Arguments of all tasks"))}
    hidden = {
        "num_envs",
        "channels",
        "task",
        "signals",
        "build",
        "episode_s",
    }  # the batch's, a task's, told by each task
    shared = [p for name, p in inspect.signature(DroneEnv).parameters.items() if name not in hidden]
    assert told == {p.name: f"`{p.default!r}`".replace("'", '"') for p in shared}


@pytest.mark.parametrize("name", VEHICLES)
def test_the_vehicles_figures_are_those_of_its_file(name):
    v = load_vehicle(name)
    column = 1 + VEHICLES.index(name)
    told = {row[0]: row[column] for row in rows(section(INDEX, "Vehicles"))}
    expected = {
        "mass": f"{1000 * v.mass:.0f} g",
        "inertia": ", ".join(f"{1e6 * i:.5g}" for i in v.inertia) + " kg mm²",
        "between opposite rotors": f"{2000 * np.linalg.norm(v.rotor_positions[0]):.0f} mm",
        "propeller radius": f"{1000 * v.rotor_radius:.0f} mm",
        "thrust of a rotor": f"{v.max_rotor_thrust:.3g} N",
        "thrust to weight": f"{v.thrust_to_weight:.2f}",
        "torque per thrust": f"{1000 * v.torque_per_thrust:.3g} mm",
        "motor time constant": f"{1000 * v.motor_time_constant:.3g} ms",
        "body drag, linear": f"{v.linear_drag:g} N s/m",
        "body drag, quadratic": f"{v.quadratic_drag:g} N s²/m²",
        "rotor drag": ", ".join(f"{1e6 * d:.3g}" for d in v.rotor_drag) + " mg/rad",
        "hovers for": f"{v.hover_endurance / 60:.0f} min",
    }
    assert told == expected


@pytest.mark.parametrize("name", VEHICLES)
def test_what_an_action_of_one_asks_for_is_the_vehicles(name):
    v = load_vehicle(name)
    column = 2 + VEHICLES.index(name)
    told = [(quoted(row[0])[0], row[1], row[column]) for row in rows(section(INDEX, "Action"))]
    most, rates = f"{v.mass * GRAVITY * (1 + v.thrust_range):.3g} N", [f"±{r:g} rad/s" for r in v.max_rates]
    expected = [
        ("motors", "each rotor's thrust", f"{v.max_rotor_thrust:.3g} N"),
        ("rates", "collective thrust", most),
        ("rates", "roll and pitch rate", rates[0]),
        ("rates", "yaw rate", rates[2]),
        ("attitude", "collective thrust", most),
        ("attitude", "roll, pitch", f"±{v.max_tilt:g} rad"),
        ("attitude", "yaw rate", rates[2]),
        ("velocity", "velocity along x, y", f"±{v.max_velocity[0]:g} m/s"),
        ("velocity", "velocity along z", f"±{v.max_velocity[2]:g} m/s"),
        ("velocity", "yaw rate", rates[2]),
    ]
    assert told == expected
    assert rates[0] == rates[1] and v.max_velocity[0] == v.max_velocity[1]
    assert set(INTERFACES) == {interface for interface, _, _ in told}


def test_the_wind_fields_and_the_sensors_are_all_told():
    assert [quoted(row[0])[0] for row in rows(section(INDEX, "Wind"))] == list(WIND_FIELDS)
    sensors = Sensors()
    told = [(quoted(row[0])[0], row[2]) for row in rows(section(INDEX, "Sensors"))]
    assert told == [
        (name, f"{getattr(sensors, name).noise:g}" if getattr(sensors, name) else "none")
        for name in ("position", "velocity", "attitude", "body_rates", "specific_force")
    ]
