"""An evaluation can be stopped anywhere, and spread over processes: its figures stay the same."""

import dataclasses
import json
import pickle
import re

import numpy as np
import pytest

from undrift.agents import Run, evaluate
from undrift.agents.evaluation.evaluate import plan
from undrift.agents.evaluation.external import ExternalPolicy
from undrift.agents.evaluation.jobs import unfinished
from undrift.envs import Abrupt, Payload, Scenario

RUN = Run.reference()
ENV = {"episode_s": 1.5}
SCENARIOS = [
    Scenario("no shift", RUN.env_id, ENV),
    Scenario("payload +60%", RUN.env_id, ENV, (Payload(schedule=Abrupt(0.5)),)),
]
ADAPTERS = ["frozen", "integral"]
SEEDS = range(10_000, 10_003)


def contents(folder):
    """The files of a report, without how long the controllers took."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    page, figures = found["report.html"].decode(), json.loads(found["report.json"])
    timing, less = figures.pop("timing"), re.sub(r'<section id="timing".*?</section>', "", page, flags=re.DOTALL)
    assert timing and len(less) < len(page)
    return found | {"report.html": less, "report.json": figures}


class Stop:
    """Ctrl-C when so many jobs are done."""

    def __init__(self, after):
        self.after, self.told = after, []

    def __call__(self, done, total, now):
        self.told.append((done, total))
        if done == self.after:
            raise KeyboardInterrupt


def test_stopped_and_gone_on_with_in_two_processes_a_report_is_the_undisturbed_one_to_the_byte(tmp_path):
    evaluate([RUN], ADAPTERS, SCENARIOS, SEEDS, tmp_path / "undisturbed")
    out, stop = tmp_path / "stopped", Stop(after=1)
    with pytest.raises(KeyboardInterrupt) as stopped:
        evaluate([RUN], ADAPTERS, SCENARIOS, SEEDS, out, stop)
    assert stopped.value.__notes__ == [
        f"1 of 4 jobs are done and kept in {out}.unfinished: the same call goes on from there"
    ]
    assert not out.exists()
    again = Stop(after=None)
    evaluate([RUN], ADAPTERS, SCENARIOS, SEEDS, out, again, jobs=2)
    assert again.told == [(done, 4) for done in (1, 2, 3, 4)]
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "undisturbed"]


class Hovering:
    """Any object with `predict`; it gives up where it is told to."""

    def __init__(self, gives_up_after):
        self.steps_left = gives_up_after

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.steps_left -= 1
        if self.steps_left < 0:
            raise RuntimeError("out of memory")
        return np.zeros((len(observation), 4)), None


def test_an_error_tells_its_job_and_what_is_kept_and_only_the_rest_is_flown_when_it_is_mended(tmp_path):
    failing, mended = (
        ExternalPolicy(Hovering(steps), RUN.env_id, kind="hover", sha256="ab") for steps in (100, 10_000)
    )
    with pytest.raises(RuntimeError, match="out of memory") as failed:
        evaluate([RUN, failing], ["frozen"], SCENARIOS, SEEDS, tmp_path / "out")
    job, kept = failed.value.__notes__
    assert job == "while flying payload +60%, frozen, hover-s0" and kept.startswith("3 of 4 jobs")
    told = Stop(after=None)
    evaluate([RUN, mended], ["frozen"], SCENARIOS, SEEDS, tmp_path / "out", told)
    assert told.told == [(3, 4), (4, 4)]


def test_what_another_evaluation_left_is_kept_and_half_a_job_is_flown_again(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate([RUN], ADAPTERS, SCENARIOS, SEEDS, out, Stop(after=3))
    half = tmp_path / "out.unfinished" / ".half.partial"
    half.mkdir()
    evaluate([RUN], ["frozen"], SCENARIOS[1:], SEEDS, out)
    assert not half.exists()
    told = Stop(after=None)
    evaluate([RUN], ADAPTERS, SCENARIOS, SEEDS, out, told)
    assert told.told[0] == (2, 4)


def test_two_evaluations_into_one_folder_at_a_time_are_refused(tmp_path):
    with unfinished(tmp_path / "out"), pytest.raises(ValueError, match="another evaluation into .*out is under way"):
        evaluate([RUN], ["frozen"], SCENARIOS, SEEDS, tmp_path / "out")


JOB = plan([RUN], ["auto"], SCENARIOS, SEEDS)[1]


def retrained(part):
    """The reference run with one weight of its policy, or of its nominal model, a little other."""
    changed = pickle.loads(pickle.dumps(getattr(RUN, part)))
    next(iter(changed.tensors.values())).flat[0] += 1e-4
    return dataclasses.replace(RUN, **{part: changed})


@pytest.mark.parametrize(
    "change",
    [
        {"adapter": "frozen"},
        {"seeds": (10_000, 10_001)},
        {"policy": "domain-randomised"},
        {"scenario": dataclasses.replace(SCENARIOS[1], shifts=(Payload(schedule=Abrupt(0.6)),))},
        {"entrant": retrained("policy")},
        {"entrant": retrained("nominal")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_flights_of_a_job_changes_its_fingerprint(change):
    assert dataclasses.replace(JOB).fingerprint() == JOB.fingerprint()
    assert dataclasses.replace(JOB, **change).fingerprint() != JOB.fingerprint()
