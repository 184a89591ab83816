"""Run folders: whole or refused with one line that names the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from undrift.agents import run as run_module
from undrift.agents.run import FILES, Run, find, new_run, read_curve

REFERENCE = Run.reference().folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the reference run."""
    return Path(shutil.copytree(REFERENCE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_reference_run_is_whole_and_flies() -> None:
    run = Run.reference()
    observation = np.zeros((1, len(run.policy.observation_names)), np.float32)
    action, _ = run.policy.step(observation, run.policy.initial_state(1), np.array([run.nominal.dt]))
    assert run.env_id == "undrift/DroneTrack-v0"
    assert np.isfinite(action).all()
    assert tuple(run.nominal.observation_names) == run.policy.observation_names
    assert run.config["versions"]["undrift"]


def test_the_reference_run_learned(folder: Path) -> None:
    curve = Run.load(folder).curve
    assert curve["mean_error_m"][-1] < 0.1 * max(curve["mean_error_m"])
    assert curve["steps"] == sorted(curve["steps"])


def test_a_run_is_found_by_folder_by_name_and_as_reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "RUNS", folder.parent)
    hashes = {Run.load(which).policy.sha256 for which in (folder, str(folder), "copy", "reference")}
    assert len(hashes) == 1
    assert Run.load("copy").name == "copy"


def test_an_unknown_run_is_refused_with_the_runs_there_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "RUNS", folder.parent)
    with pytest.raises(FileNotFoundError, match="no run 'absent'.*reference, copy"):
        find("absent")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        Run.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) * 2 // 3 - 1])
    with pytest.raises(ValueError, match=name.partition(".")[0]) as caught:
        Run.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["[]", '{"seed": 0}', '{"recipe": {}, "seed": 0}', "null", '{"recipe": 1, "seed": 0}']
)
def test_a_config_without_its_facts_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is no run's config"):
        Run.load(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "policy.safetensors")
    tensors["actor.0.bias"][0] = np.nan
    save_file(tensors, folder / "policy.safetensors")
    with pytest.raises(ValueError, match=r"policy\.(safetensors|json)"):
        Run.load(folder)


def fill(folder: Path) -> None:
    for name in FILES:
        shutil.copy(REFERENCE / name, folder / name)


def test_a_new_run_appears_whole(tmp_path: Path) -> None:
    with new_run(tmp_path / "runs" / "new") as partial:
        assert not (tmp_path / "runs" / "new").exists()
        fill(partial)
    assert Run.load(tmp_path / "runs" / "new").seed == json.loads((REFERENCE / "config.json").read_text())["seed"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["new"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path / "new") as partial:
        fill(partial)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_run_without_all_its_files_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nominal.json"), new_run(tmp_path / "new") as partial:
        fill(partial)
        (partial / "nominal.json").unlink()
    assert not list(tmp_path.iterdir())


def test_a_run_is_never_overwritten(folder: Path) -> None:
    before = (folder / "policy.safetensors").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="exists already"), new_run(folder):
        pytest.fail("the block must not begin")
    assert (folder / "policy.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "steps,error\n1,0.5\n2\n", "steps,error\n1,zero\n"])
def test_a_curve_that_is_no_table_of_numbers_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "curve.csv").write_text(content)
    with pytest.raises(ValueError, match=r"curve\.csv is not a whole learning curve"):
        read_curve(tmp_path / "curve.csv")
