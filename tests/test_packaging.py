"""The wheel that a clean clone builds: what is in it, and that it works where nothing else of the project is."""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import undrift

ROOT = Path(__file__).parents[1]
SHIPPED = ("agents/", "envs/", "policies/")


def run(*command: str | Path, cwd: Path) -> str:
    process = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def committed_files() -> list[str]:
    """What a clone of this tree would hold: everything that git does not ignore."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    return [name for name in listed if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = tmp_path_factory.mktemp("clone")
    for name in committed_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, clone, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with undrift's wheel in it; what undrift depends on comes from the running environment."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path from a .pth file is searched, but its own .pth files are not read: the checkout stays out of sight.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


def test_the_wheel_holds_the_three_folders_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = {f"undrift/{name}" for name in committed_files() if name.startswith(SHIPPED)}
    assert inside == folders | {"undrift/__init__.py", "undrift/py.typed"}


@pytest.mark.parametrize(
    "name",
    [
        "undrift/envs/drone/drone.xml",
        "undrift/envs/drone/vehicles/racer.json",
        "undrift/agents/recipes/DroneTrack.json",
        "undrift/agents/reference/policy.json",
        "undrift/agents/reference/policy.safetensors",
        "undrift/agents/reference/nominal.json",
        "undrift/agents/reference/nominal.safetensors",
        "undrift/agents/reference/history.json",
        "undrift/agents/reference/history.safetensors",
        "undrift/agents/evaluation/report.css",
        "undrift/agents/evaluation/report.html.j2",
    ],
)
def test_the_wheel_holds_its_data(wheel: Path, name: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo(name).file_size > 0


def test_the_wheel_carries_the_version_the_licence_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"undrift-{undrift.__version__}.dist-info"
        assert "MIT" in archive.read(f"{info}/licenses/LICENSE").decode()
        assert "undrift = undrift.agents.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_an_installed_undrift_is_imported_from_its_environment(empty_environment: Path, tmp_path: Path) -> None:
    where = run(empty_environment / "bin/python", "-c", "import undrift; print(undrift.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(empty_environment)


def test_an_installed_undrift_flies_its_reference_policy(empty_environment: Path, tmp_path: Path) -> None:
    fly = """
from undrift import envs
from undrift.agents.run import Run
import numpy as np
run = Run.reference()
env = envs.make_batch(run.env_id, 1, seed=0)
obs, state = env.reset([1]), run.policy.initial_state(1)
for _ in range(150):
    action, state = run.policy.step(obs, state, np.full(1, env.dt))
    obs, *_, info = env.step(action)
print(float(info["position_error"][0]))
"""
    error_m = float(run(empty_environment / "bin/python", "-c", fly, cwd=tmp_path))
    assert error_m < 0.1


def test_an_installed_undrift_has_its_command(empty_environment: Path, tmp_path: Path) -> None:
    assert run(empty_environment / "bin/undrift", "--version", cwd=tmp_path).split() == ["undrift", undrift.__version__]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    return dict(pin.split("==") for pin in pins)


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    groups = [line for group in project["dependency-groups"].values() for line in group if isinstance(line, str)]
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras, *groups]
    return [Requirement(line) for line in lines]


def test_the_lock_file_pins_everything_that_the_project_asks_for() -> None:
    pins = locked()
    unmet = [str(r) for r in wanted() if pins.get(canonicalize_name(r.name)) not in r.specifier]
    assert not unmet


def test_the_lock_file_pins_what_those_need_in_turn() -> None:
    pins, seen = locked(), set()
    queue = [canonicalize_name(requirement.name) for requirement in wanted()]
    while queue:
        name = queue.pop()
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of a group that is not installed here
            continue
        for need in map(Requirement, needs):
            child = canonicalize_name(need.name)
            applies = need.marker is None or need.marker.evaluate({"extra": ""})
            pinned_by_torch = name == "torch" and child.startswith(("nvidia-", "triton", "cuda-"))
            if applies and not pinned_by_torch and child not in seen:
                seen.add(child)
                queue.append(child)
    assert not seen - pins.keys()
