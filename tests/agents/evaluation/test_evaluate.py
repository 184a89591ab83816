"""Evaluation: every policy, scenario and adapter on the same seeds, written whole."""

import dataclasses
import json

import imageio.v3
import pytest

from undrift.agents import Episode, Run, evaluate, summarize
from undrift.agents.evaluation.evaluate import plan
from undrift.envs import Abrupt, Payload, Scenario

RUN = Run.reference()
ENV = {"episode_s": 1.5}
SEEDS = range(10_000, 10_003)
SCENARIOS = [
    Scenario("no shift", RUN.env_id, ENV),
    Scenario("payload +60%", RUN.env_id, ENV, (Payload(schedule=Abrupt(0.5)),)),
]


def test_evaluate_flies_every_cell_on_paired_seeds_and_reports(tmp_path):
    told = []
    out = tmp_path / "evaluation"
    episodes = evaluate([RUN], ["frozen", "integral"], SCENARIOS, SEEDS, out, progress=lambda *at: told.append(at))
    assert len(episodes) == 2 * 2 * 3
    saved = sorted((out / "episodes").rglob("*.npz"))
    assert len(saved) == 12
    assert {Episode.load(path).meta["adapter"] for path in saved} == {"frozen", "integral"}
    assert told[1] == (1, 4, "no shift, integral, reference") and told[-1] == (4, 4, "")
    assert "<html" in (out / "report.html").read_text()
    assert json.loads((out / "report.json").read_text())["flights"] == 12
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation"]


def test_what_only_pictures_need_stays_on_disk_and_only_if_wanted(tmp_path):
    (episode,) = evaluate([RUN], ["frozen"], SCENARIOS[1:], SEEDS[:1], tmp_path / "kept")
    (saved,) = (tmp_path / "kept" / "episodes").rglob("*.npz")
    assert saved.relative_to(tmp_path).as_posix() == "kept/episodes/payload-plus60/frozen/reference/10000.npz"
    assert episode.qpos.shape == (75, 0) and Episode.load(saved).qpos.shape == (75, 7)
    evaluate([RUN], ["frozen"], SCENARIOS[1:], SEEDS[:1], tmp_path / "report", keep_episodes=False)
    assert (tmp_path / "report" / "report.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "report"]
    assert not list((tmp_path / "report").rglob("*.npz"))


def test_a_film_of_a_scenario_lies_beside_the_report_and_opens_from_a_strip(tmp_path):
    evaluate(
        [RUN], ["frozen", "auto"], SCENARIOS, SEEDS[:1], tmp_path / "out", keep_episodes=False, films=["payload +60%"]
    )
    frames = imageio.v3.improps(tmp_path / "out" / "payload-plus60.mp4", plugin="FFMPEG")
    assert frames.shape[-1] == 3
    assert 'href="payload-plus60.mp4"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("adapters", "scenario", "message"),
    [(["frozen", "auto"], "hail", "flown are: no shift, payload"), (["frozen"], "payload +60%", "fly both")],
)
def test_a_film_that_cannot_be_made_is_refused_before_anything_flies(tmp_path, adapters, scenario, message):
    with pytest.raises(ValueError, match=message):
        evaluate([RUN], adapters, SCENARIOS, SEEDS[:1], tmp_path / "out", films=[scenario])
    assert list(tmp_path.iterdir()) == []


def test_a_second_evaluation_gives_the_same_episodes(tmp_path):
    first, second = (
        evaluate([RUN], ["frozen", "observer"], SCENARIOS[1:], SEEDS[:2], tmp_path / name) for name in ("a", "b")
    )
    assert all((one.error == other.error).all() for one, other in zip(first, second, strict=True))


def test_an_unknown_adapter_is_refused_before_anything_flies_or_is_written(tmp_path):
    with pytest.raises(ValueError, match="the adapters are"):
        evaluate([RUN], ["frozen", "magic"], SCENARIOS, SEEDS[:2], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


RANDOMISED = dataclasses.replace(
    RUN, folder=RUN.folder.with_name("randomised"), config=RUN.config | {"kind": "domain-randomised"}
)


def test_a_randomised_run_flown_alone_is_its_own_base(tmp_path):
    alone = evaluate([RANDOMISED], ["frozen", "observer"], SCENARIOS, SEEDS[:2], tmp_path / "alone")
    rows = summarize(alone)
    assert [row["controller"] for row in rows] == 2 * ["frozen", "observer"]
    nominal = evaluate([RUN], ["frozen", "observer"], SCENARIOS, SEEDS[:2], tmp_path / "nominal")
    figures = ("rmse_cm", "difference_cm", "harmed")
    assert [[row[f] for f in figures] for row in rows] == [[row[f] for f in figures] for row in summarize(nominal)]


def test_a_run_trained_with_an_adapter_flown_alone_is_its_own_base():
    def policies(*entrants):
        return [job.policy for job in plan(entrants, ["frozen"], SCENARIOS[:1], SEEDS)]

    config = RUN.config | {"kind": "trained with auto"}
    with_adapter = dataclasses.replace(RUN, folder=RUN.folder.with_name("with-auto"), config=config)
    assert policies(with_adapter) == ["nominal"]
    assert policies(with_adapter, RANDOMISED) == ["trained with auto", "nominal"]
    assert policies(with_adapter, RANDOMISED, RUN) == ["trained with auto", "domain-randomised", "nominal"]


def test_beside_a_nominal_run_of_its_seed_a_randomised_one_is_compared_with_that(tmp_path):
    episodes = evaluate([RUN, RANDOMISED], ["frozen", "observer"], SCENARIOS[1:], SEEDS[:2], tmp_path / "both")
    controllers = [row["controller"] for row in summarize(episodes)]
    assert controllers == ["frozen", "domain-randomised", "observer", "observer on domain-randomised"]
    other = dataclasses.replace(RANDOMISED, config=RANDOMISED.config | {"seed": 3})
    with pytest.raises(ValueError, match=r"domain-randomised runs have training seeds \[3\], the nominal ones \[0\]"):
        evaluate([RUN, other], ["frozen"], SCENARIOS[1:], SEEDS[:2], tmp_path / "odd")


def test_runs_of_the_same_training_seed_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one at a time"):
        evaluate([RUN, dataclasses.replace(RUN)], ["frozen"], SCENARIOS, SEEDS[:2], tmp_path / "out")


def test_seeds_that_are_not_for_reports_are_refused_before_anything_flies_or_is_written(tmp_path):
    with pytest.raises(ValueError, match="episode seed 9999: .* reports those from 10000 on"):
        evaluate([RUN], ["frozen"], SCENARIOS, range(9_999, 10_002), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_would_overwrite_the_episodes_of_another_is_refused_before_anything_flies(tmp_path):
    again = dataclasses.replace(SCENARIOS[0], name="no-shift")
    with pytest.raises(ValueError, match="two scenarios are called 'no shift'"):
        evaluate([RUN], ["frozen"], [SCENARIOS[0], again], SEEDS[:2], tmp_path / "out")
    namesake = dataclasses.replace(RANDOMISED, folder=RUN.folder.parent / "elsewhere" / RUN.name)
    with pytest.raises(ValueError, match="two policies are called 'reference'"):
        evaluate([RUN, namesake], ["frozen"], SCENARIOS, SEEDS[:2], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_of_something_else_is_refused_before_anything_flies(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="choose another folder"):
        evaluate([RUN], ["frozen"], SCENARIOS, SEEDS[:2], tmp_path, progress=lambda *_: pytest.fail("flown"))
