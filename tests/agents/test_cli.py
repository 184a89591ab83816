"""The command line: what each command does, and one line for each thing a user can get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecNormalize

import undrift
import undrift.envs
from undrift.agents import cli, make_vec_env, peers
from undrift.agents.episode import Episode
from undrift.agents.film import FilmUnavailable
from undrift.agents.run import Run
from undrift.envs import SCHEDULES, SHIFTS, Abrupt, Always, Cyclic, MotorLoss, Scenario, Wind


def run_cli(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, output and errors of `undrift words`."""
    before, sys.argv = sys.argv, ["undrift", *map(str, words)]
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    script = """
import sys
from undrift.agents.cli import main
sys.argv = ["undrift", "--help"]
try:
    main()
finally:
    print("imported:", {"numpy", "mujoco", "numba", "torch"} & set(sys.modules))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "imported: set()" in answer.stdout
    for command in ("train", "import", "evaluate", "compare", "oracle", "render", "neurons", "watch", "demo", "doctor"):
        assert command in answer.stdout


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(capsys, "--version") == (0, f"undrift {undrift.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "explanation"),
    [
        (("train", "--env", "Submarine"), "DroneTrack"),
        (("train", "--seed", "100"), "0 to 99"),
        (("train", "--with-adapter", "auto"), "--from reference"),
        (("train", "--from", "reference", "--with-adapter", "magic"), "the adapters are: frozen"),
        (("train", "--env", "DroneHover", "--from", "reference"), "was trained on undrift/DroneTrack-v0"),
        (("evaluate", "reference", "--seed", "1000"), "from 10000 on"),
        (("oracle", "absent", "--shift", "wind"), "reference"),
        (("oracle", "reference", "--shift", "meteor"), "payload, push,"),
        (("import", "absent.zip"), "absent.zip"),
        (("evaluate", "absent"), "reference"),
        (("evaluate", "reference", "--adapter", "magic"), "frozen, integral, l1, observer, drone, car, history, auto"),
        (("evaluate", "reference", "--shift", "meteor"), "payload, push,"),
        (("evaluate", "reference", "--shift", "wind:colour=1"), "speed"),
        (("evaluate", "reference", "--shift", "wind:8"), "wind:speed=8"),
        (("evaluate", "reference", "--shift", "wind:speed=-1"), "at least 0"),
        (("evaluate", "reference", "--shift", "wind@sometimes"), "random_onset"),
        (("evaluate", "reference", "--shift", "bank"), "'bank'"),
        (("evaluate", "reference", "--suite", "drone-cure"), "drone-core"),
        (("evaluate", "reference", "--suite", "drone-core", "--shift", "wind"), "not both"),
        (("evaluate", "reference", "--suite", "car-core"), "CarTrack"),
        (("evaluate", "reference", "--peer", "model.zip"), "RecurrentPPO=model.zip"),
        (("evaluate", "reference", "--peer", "DQN=model.zip"), "DDPG, RecurrentPPO"),
        (("evaluate", "reference", "--peer", "PPO=absent.zip"), "absent.zip"),
        (("render", "absent.npz"), "absent.npz"),
        (("render",), "--run"),
        (("render", "--run", "reference", "--scenario", "meteor"), "payload, push,"),
        (("render", "a.npz", "--size", "4k"), "480p, 540p, 720p"),
        (("neurons", "absent"), "reference"),
        (("neurons", "reference", "absent.npz"), "absent.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_one_line_that_says_what_is_right(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], explanation: str
) -> None:
    out = ("--out", tmp_path / {"render": "out.mp4", "neurons": "out.png"}.get(words[0], "out"))
    code, _, errors = run_cli(capsys, *words, *out)
    assert code == 2
    assert errors.count("\n") == 1 and errors.startswith("error: ")
    assert explanation in errors
    assert not list(tmp_path.iterdir())


def test_a_damaged_run_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    for file in Run.reference().folder.glob("*.*"):
        (tmp_path / "broken" / file.name).write_bytes(file.read_bytes()[:100])
    code, _, errors = run_cli(capsys, "evaluate", tmp_path / "broken", "--out", tmp_path / "out")
    assert code == 2
    assert errors.count("\n") == 1 and "broken" in errors
    assert not (tmp_path / "out").exists()


def test_a_damaged_episode_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "episode.npz").write_bytes(b"PK\x03\x04 and no more")
    code, _, errors = run_cli(capsys, "render", tmp_path / "episode.npz", "--out", tmp_path / "film.mp4")
    assert code == 2
    assert errors.count("\n") == 1 and "episode.npz" in errors
    assert not (tmp_path / "film.mp4").exists()


def test_a_run_is_flown_and_filmed_and_its_network_looked_into(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flight = ("--scenario", "wind@pulse:at=0.5,duration=1", "--seed", "100")
    code, output, errors = run_cli(
        capsys, "render", "--run", "reference", *flight, "--out", tmp_path / "f.png", "--inside", "reference"
    )
    if "OpenGL" in errors:
        pytest.skip(errors)
    assert code == 0 and str(tmp_path / "f.png") in output
    episodes = sorted((tmp_path / "f-episodes").rglob("*.npz"))
    assert sorted(Episode.load(path).meta["adapter"] for path in episodes) == ["auto", "frozen"]
    code, output, _ = run_cli(capsys, "neurons", "reference", episodes[0], "--out", tmp_path / "neurons.png")
    assert code == 0 and str(tmp_path / "neurons.png") in output
    pictures = [tmp_path / name for name in ("f.png", "neurons.png")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_where_nothing_can_be_drawn_the_episodes_are_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FilmUnavailable("no film: apt-get install libegl1")

    monkeypatch.setattr("undrift.agents.film.writer.render", refuse)
    hover = ("--run", "runs/reference-hover-s0", "--scenario", "no shift", "--adapter", "frozen")
    code, _, errors = run_cli(capsys, "render", *hover, "--out", tmp_path / "film.mp4")
    (episode,) = (tmp_path / "film-episodes").rglob("*.npz")
    assert code == 2 and "apt-get install libegl1" in errors and str(episode) in errors
    assert Episode.load(episode).meta["seed"] == 20_000


def test_a_scenario_of_a_suite_is_found_by_its_name() -> None:
    assert cli.parse_scenario("payload +30 %", "DroneTrack", 5.0).family == "payload"
    assert cli.parse_scenario("no shift", "DroneTrack", 5.0).shifts == ()
    assert cli.parse_scenario("wind:speed=6", "undrift/DroneTrack-v0", 2.0).shifts == (
        Wind(speed=6, schedule=Abrupt(2.0)),
    )


def test_watching_without_a_display_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, _, errors = run_cli(capsys, "watch", "reference")
    if sys.platform == "linux":
        assert code == 2 and errors.count("\n") == 1 and "undrift render --run" in errors


def test_a_policy_of_sb3_is_made_a_run_by_one_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough = partial(peers.fit_nominal_model, simulations=4, steps=20, iterations=5)
    monkeypatch.setattr(peers, "fit_nominal_model", rough)
    env = VecNormalize(make_vec_env("DroneHover", 2, seed=0))
    A2C("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, seed=0, device="cpu").learn(20).save(tmp_path / "mine.zip")
    env.save(str(tmp_path / "mine.pkl"))
    given = ("--env", "DroneHover", "--algorithm", "A2C", "--normaliser", tmp_path / "mine.pkl", "--seed", "7")
    code, output, _ = run_cli(capsys, "import", tmp_path / "mine.zip", *given, "--out", tmp_path)
    run = Run.load(tmp_path / "mine")
    assert code == 0 and f"evaluate {tmp_path / 'mine'}" in output
    assert (run.env_id, run.seed, run.config["imported"]["algorithm"]) == ("undrift/DroneHover-v0", 7, "A2C")
    assert run.policy.config["observation_clip"] == 10.0


def test_a_shift_is_written_by_name_and_fields() -> None:
    assert cli.parse_shift("wind", 5.0) == Wind(schedule=Abrupt(5.0))
    assert cli.parse_shift("wind:speed=6,heading=0.5", 2.0) == Wind(speed=6, heading=0.5, schedule=Abrupt(2.0))
    assert cli.parse_shift("motor_loss:motor=one", 5.0) == MotorLoss(motor="one", schedule=Abrupt(5.0))
    assert cli.parse_shift("motor_loss:motor=2", 5.0) == MotorLoss(motor=2, schedule=Abrupt(5.0))


def test_a_schedule_is_written_behind_the_shift() -> None:
    assert cli.parse_shift("wind@always", 5.0) == Wind(schedule=Always())
    assert cli.parse_shift("wind:speed=3@cyclic:at=2,period=4", 5.0) == Wind(speed=3, schedule=Cyclic(at=2, period=4))


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_every_shift_can_be_asked_for_by_its_name(name: str) -> None:
    assert cli.parse_shift(name, 3.0).name == name


def test_evaluate_flies_frozen_and_no_shift_on_the_same_seeds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (
        "--adapter",
        "observer",
        "--shift",
        "payload:fraction=0.5",
        "--at",
        "2",
        "--episodes",
        "2",
        "--jobs",
        "1",
        "--out",
        tmp_path,
    )
    code, output, errors = run_cli(capsys, "evaluate", "reference", *words)
    assert code == 0, errors
    assert "observer" in output and "no shift" in output
    assert str(tmp_path / "report.html") in output
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert {row["adapter"] for row in rows} == {"frozen", "observer"}
    assert {row["scenario"] for row in rows} == {"no shift", "payload +50%"}
    episodes = [Episode.load(path) for path in sorted(tmp_path.rglob("*.npz"))]
    assert len(episodes) == 2 * 2 * 2
    for episode in episodes:
        assert episode.meta["shifts"] == [] or episode.onset_s == 2.0
    seeds = {(e.meta["adapter"], e.meta["scenario"]): set() for e in episodes}
    for episode in episodes:
        seeds[episode.meta["adapter"], episode.meta["scenario"]].add(episode.meta["seed"])
    assert len({frozenset(each) for each in seeds.values()}) == 1


def test_two_evaluations_are_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("--shift", "wind", "--adapter", "frozen", "--seeds", "2", "--jobs", "1", "--at", "3", "--no-keep-episodes")
    assert run_cli(capsys, "evaluate", "reference", *words, "--out", tmp_path / "a")[0] == 0
    assert [path.name for path in (tmp_path / "a").iterdir() if path.is_dir()] == []
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    code, output, _ = run_cli(capsys, "compare", tmp_path / "a", tmp_path / "a")
    assert code == 0 and output.startswith("Of 2 rows 0 became worse")
    report["rows"].pop()
    (tmp_path / "b.json").write_text(json.dumps(report))
    code, output, _ = run_cli(capsys, "compare", tmp_path / "a", tmp_path / "b.json")
    assert code == 2 and "wind 8 m/s, frozen: the second report did not fly it" in output
    code, _, errors = run_cli(capsys, "compare", tmp_path / "a", tmp_path / "absent")
    assert code == 2 and errors.startswith("error: there is no report at") and errors.count("\n") == 1


def test_an_interrupted_evaluation_says_what_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(job: object, folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("undrift.agents.evaluation.jobs.Job.save", interrupt)
    code, _, errors = run_cli(capsys, "evaluate", "reference", "--jobs", "1", "--out", tmp_path / "out")
    assert code == 130 and "stopped; 0 of 12 jobs are done and kept in" in errors.replace("\n", " ")


def test_what_train_writes_can_be_flown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, output, errors = run_cli(capsys, "train", "--seed", "3", "--steps", "1", "--out", tmp_path)
    assert code == 0, errors
    run = Run.load(tmp_path / "drone-track-cfc-s3")
    assert run.seed == 3
    assert f"undrift evaluate {run.folder}" in output
    action = run.controller("observer").act(np.zeros(len(run.policy.observation_names)))
    assert np.isfinite(action).all()
    code, _, errors = run_cli(capsys, "train", "--seed", "3", "--steps", "1", "--out", tmp_path)
    assert code == 2 and "exists already" in errors


def test_an_oracle_is_trained_on_the_shift_it_is_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("--shift", "wind:speed=6", "--steps", "1", "--out", tmp_path)
    code, output, errors = run_cli(capsys, "oracle", "reference", *words)
    assert code == 0, errors
    run = Run.load(tmp_path / "oracle-wind-6-m-s-reference")
    assert (run.kind, run.config["oracle"]["shifts"][0]["speed"]) == ("oracle", 6)
    assert f"undrift evaluate reference {run.folder} --shift wind:speed=6" in output


def doctor(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "undrift.agents.cli", "doctor"]
    variables = os.environ | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_the_doctor_finds_that_undrift_works_here() -> None:
    answer = doctor()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "undrift works here" in answer.stdout
    for name in ("Python", "simulation", "numba", "training", "reference run", "drawing", "video"):
        assert name in answer.stdout


def test_the_doctor_names_the_cure_for_what_can_be_done_without(tmp_path: Path) -> None:
    empty = str(tmp_path)
    answer = doctor(__EGL_VENDOR_LIBRARY_DIRS=empty, IMAGEIO_FFMPEG_EXE=f"{empty}/ffmpeg")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "FAIL drawing" in answer.stdout and "apt-get install libegl1" in answer.stdout
    assert "FAIL video" in answer.stdout and "imageio-ffmpeg" in answer.stdout
    assert "without what failed" in answer.stdout


def test_the_doctor_fails_without_something_essential(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, output, _ = run_cli(capsys, "doctor")
    assert code == 1
    assert "FAIL training" in output and "pip install --force-reinstall torch" in output


def test_a_suite_is_flown_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breeze = Scenario(
        "breeze", "undrift/DroneTrack-v0", {"episode_s": 3.0}, (Wind(speed=3.0, schedule=Abrupt(2.0)),), "wind", 1
    )
    suite = {"name": "mine", "description": "one breeze", "scenarios": [breeze.to_dict()]}
    (tmp_path / "mine.json").write_text(json.dumps(suite))
    words = (
        "--suite",
        tmp_path / "mine.json",
        "--adapter",
        "frozen",
        "--episodes",
        "2",
        "--out",
        tmp_path / "out",
        "--jobs",
        "1",
    )
    assert run_cli(capsys, "evaluate", "reference", *words)[0] == 0
    assert {row.name for row in (tmp_path / "out" / "episodes").iterdir()} == {"breeze", "no-shift"}


def test_the_shifts_are_listed_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run_cli(capsys, "shifts", "list")
    assert code == 0
    assert all(f"  {name} " in output for name in SHIFTS)
    assert all(schedule in output for schedule in SCHEDULES)


def test_a_shift_is_shown_with_fields_courses_and_a_line_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run_cli(capsys, "shifts", "show", "wind", "--schedule", "pulse:at=4.5,duration=9")
    assert code == 0
    assert "at least 0 m/s" in output and "fits undrift/DroneTrack-v0" in output
    drawn = next(line for line in output.splitlines() if line.startswith("pulse"))
    assert drawn == f"pulse        |{' ' * 15}{'█' * 30}{' ' * 15}|"
    line = output.splitlines()[-1]
    names: dict[str, Any] = {"gymnasium": gymnasium} | vars(undrift.envs)
    exec(line, names)  # noqa: S102 - that is the test
    assert names["env"].reset(seed=0)[1]["shift"] == [0.0]
    names["env"].close()
