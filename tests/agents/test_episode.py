"""An episode survives the disk unchanged, and a bad one says what is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undrift.agents.episode import ARRAYS, DRAWN, OPTIONAL, Episode, machine, versions


def fields(steps: int = 50, planned: int = 50, **meta: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    facts = {
        "env_id": "undrift/DroneTrack-v0",
        "scenario": "wind 8 m/s",
        "shifts": [
            {"name": "wind", "kind": "wind", "onset_s": 0.5},
            {"name": "payload", "kind": "payload", "onset_s": 0.3},
        ],
        "adapter": "observer",
        "training_seed": 0,
        "seed": 10_000,
        "dt": 0.02,
        "planned_steps": planned,
        "crashed": False,
        "crash_time_s": None,
        "guard_events": [{"step": 4, "reason": "non-finite observation"}],
    }
    return {
        "meta": facts | meta,
        "time": (np.arange(steps) + 1) * 0.02,
        "observation": rng.normal(size=(steps, 34)),
        "policy_action": rng.uniform(-1, 1, (steps, 4)),
        "action": rng.uniform(-1, 1, (steps, 4)),
        "reward": rng.normal(size=steps),
        "terminated": np.zeros(steps, bool),
        "truncated": np.arange(steps) == steps - 1,
        "qpos": rng.normal(size=(steps, 7)),
        "qvel": rng.normal(size=(steps, 6)),
        "reference": rng.normal(size=(steps, 3)),
        "error": rng.uniform(0, 0.1, steps),
        "shift": np.arange(steps)[:, None] >= [25, 15],
        "wind": np.zeros((steps, 3)),
        "payload": np.zeros(steps),
        "motor_effectiveness": np.ones((steps, 4)),
        "estimate": np.zeros((steps, 0)),
        "step_time": np.full(steps, 2e-5),
        "view": rng.normal(size=(steps, 34)),
        "scene": {"steering": rng.normal(size=steps)},
    }


def test_save_and_load_return_the_same_episode_to_the_bit(tmp_path: Path) -> None:
    episode = Episode(**fields())
    loaded = Episode.load(episode.save(tmp_path / "deep" / "episode.npz"))
    assert loaded.meta == episode.meta
    np.testing.assert_array_equal(loaded.scene["steering"], episode.scene["steering"])
    for name in ARRAYS | OPTIONAL:
        before, after = getattr(episode, name), getattr(loaded, name)
        assert before.dtype == after.dtype and np.array_equal(before, after), name


def test_actions_keep_double_precision_so_that_they_replay_exactly(tmp_path: Path) -> None:
    given = fields()
    loaded = Episode.load(Episode(**given).save(tmp_path / "episode.npz"))
    assert np.array_equal(loaded.action, given["action"])


def test_an_episode_can_be_read_without_what_only_pictures_need(tmp_path: Path) -> None:
    whole = Episode(**fields())
    light = Episode.load(whole.save(tmp_path / "episode.npz"), drawn=False)
    assert light.scene == {} and {name: getattr(light, name).shape for name in DRAWN} == dict.fromkeys(DRAWN, (50, 0))
    for name in set(ARRAYS) - set(DRAWN):
        np.testing.assert_array_equal(getattr(light, name), getattr(whole, name))


def test_numpy_facts_are_stored_as_plain_json(tmp_path: Path) -> None:
    episode = Episode(**fields(seed=np.int64(10_003), ids=np.arange(3)))
    loaded = Episode.load(episode.save(tmp_path / "episode.npz"))
    assert loaded.meta["seed"] == 10_003 and loaded.meta["ids"] == [0, 1, 2]


def test_onset_is_that_of_the_first_shift_and_none_without_one() -> None:
    assert Episode(**fields()).onset_s == pytest.approx(0.3)
    assert Episode(**fields(shifts=[]) | {"shift": np.zeros((50, 0))}).onset_s is None


def test_onset_is_the_recorded_one_and_the_planned_one_only_where_the_flight_ended_before() -> None:
    recorded = np.arange(50)[:, None] >= [40, 35]
    assert Episode(**fields() | {"shift": recorded}).onset_s == pytest.approx(0.7)
    assert Episode(**fields(steps=10, crashed=True)).onset_s == 0.3


def test_a_crashed_episode_is_shorter_than_planned() -> None:
    episode = Episode(**fields(steps=30, planned=50, crashed=True, crash_time_s=0.6))
    assert (episode.steps, episode.planned_steps, episode.crashed) == (30, 50, True)


def test_missing_facts_are_named() -> None:
    given = fields()
    del given["meta"]["dt"], given["meta"]["seed"]
    with pytest.raises(ValueError, match="lacks seed, dt; required: env_id"):
        Episode(**given)


@pytest.mark.parametrize("name", ARRAYS | OPTIONAL)
def test_an_array_of_another_length_is_refused_by_name(name: str) -> None:
    given = fields()
    given[name] = given[name][:-1]
    culprit = "reward|observation" if name == "time" else name
    with pytest.raises(ValueError, match=f"'({culprit})' has shape .* expected \\[\\d+"):
        Episode(**given)


def test_an_array_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'wind' has shape \(50, 2\); expected \[50, 3\]"):
        Episode(**fields() | {"wind": np.zeros((50, 2))})
    with pytest.raises(ValueError, match=r"'error' has shape \(50, 1\); expected \[50\]"):
        Episode(**fields() | {"error": np.zeros((50, 1))})


def test_an_array_of_the_scene_of_another_length_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"scene\['steering'\] has 49 rows; expected 50"):
        Episode(**fields() | {"scene": {"steering": np.zeros(49)}})


def test_what_the_policy_was_shown_is_the_observation_and_what_was_changed_of_it() -> None:
    given = fields()
    np.testing.assert_allclose(Episode(**given).shown, given["observation"] + given["view"], atol=1e-6)


def test_a_file_without_view_and_scene_is_read_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = Episode(**fields()).save(tmp_path / "episode.npz")
    with np.load(path) as stored:
        np.savez(path, **{name: stored[name] for name in stored if name != "view" and not name.startswith("scene/")})
    episode = Episode.load(path)
    assert episode.view.shape == (50, 0) and episode.scene == {}
    with pytest.raises(ValueError, match="does not record what its policy was shown"):
        _ = episode.shown


def test_no_step_at_all_or_more_than_planned_is_refused() -> None:
    with pytest.raises(ValueError, match="1 <= T <= planned_steps = 50"):
        Episode(**fields(steps=0))
    with pytest.raises(ValueError, match="1 <= T <= planned_steps = 40"):
        Episode(**fields(planned=40))


@pytest.mark.parametrize("kept", [0, 10, 1000, -30])
def test_a_truncated_file_gives_one_clear_error(tmp_path: Path, kept: int) -> None:
    path = Episode(**fields()).save(tmp_path / "episode.npz")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="episode.npz is not a complete episode file .*record it again"):
        Episode.load(path)


def test_a_damaged_file_gives_one_clear_error(tmp_path: Path) -> None:
    path = Episode(**fields()).save(tmp_path / "episode.npz")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a complete episode file"):
        Episode.load(path)


def test_some_other_npz_gives_one_clear_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="not a complete episode file"):
        Episode.load(tmp_path / "other.npz")


def test_an_episode_of_another_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = Episode(**fields()).save(tmp_path / "episode.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["meta"] = np.array(str(arrays["meta"]).replace('"format": 2', '"format": 1'))
    del arrays["qvel"]  # which format 1 lacked
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="format 1, this version reads 2"):
        Episode.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no episode file at .*gone.npz"):
        Episode.load(tmp_path / "gone.npz")


def test_facts_that_json_does_not_know_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds a set"):
        Episode(**fields(labels={"a"})).save(tmp_path / "episode.npz")
    assert os.listdir(tmp_path) == []


def test_versions_name_what_is_installed_without_importing_it() -> None:
    found = versions()
    assert found["numpy"] == np.__version__ and found["mujoco"] == metadata.version("mujoco")
    assert set(found) == {
        "undrift",
        "python",
        "mujoco",
        "gymnasium",
        "torch",
        "numpy",
        "stable_baselines3",
        "numba",
        "machine",
    }
    assert "cores" in machine()
    code = (
        "import sys, undrift.agents.episode as e; e.versions(); print({'torch', 'mujoco', 'numba'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
