from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from undrift.agents import Run
from undrift.envs import load_suite


@pytest.fixture(scope="module")
def ablation(load):
    return load("ablation")


def settings(controller):
    """Every value that a constructor was given, by part."""
    adapter = controller.adapter
    model_based = getattr(adapter, "model_based", adapter)
    found = {("adapter", "name"): adapter.name}
    for part in (model_based.estimator, model_based.compensator):
        fields = [field.name for field in dataclasses.fields(part) if field.name not in ("nominal", "vehicle")]
        found |= {(type(part).__name__, name): getattr(part, name) for name in fields}
    return found | {("Guard", name): v for name, v in vars(controller.guard).items() if np.isscalar(v)}


def test_each_arm_differs_from_the_whole_in_what_its_name_says_and_in_nothing_else(ablation):
    arms, run = ablation.arms(), Run.reference()
    whole = settings(arms.pop(ablation.WHOLE)(run))
    seen = []
    for name, build in arms.items():
        changed = {key: value for key, value in settings(build(run)).items() if value != whole[key]}
        assert 1 <= len(changed) <= 2, f"{name}: {changed}"
        seen.append(changed)
    assert all(seen.count(changed) == 1 for changed in seen)


def test_the_scenarios_are_those_of_the_suites_and_set_in_at_the_onset(ablation):
    known = [s for suite in ("drone-core", "drone-severe", "drone-timing") for s in load_suite(suite).scenarios]
    chosen = [scenario for scenario in known if scenario.name in ablation.SCENARIOS]
    assert {scenario.name for scenario in chosen} == set(ablation.SCENARIOS)
    for shift in (shift for scenario in chosen for shift in scenario.shifts):
        assert shift.schedule.onset == ablation.ONSET_S


def test_an_arm_is_compared_with_the_whole_on_the_same_episodes(ablation):
    name = "wind 3 oscillating by 5 m/s"
    run, scenario = Run.reference(), next(s for s in load_suite("drone-core").scenarios if s.name == name)
    arms = ablation.arms()
    flown = {
        arm: ablation.fly(arms[arm], [scenario], [run], range(1000, 1002))
        for arm in (ablation.WHOLE, "no answer through the preview")
    }
    row = ablation._row("no answer", scenario.name, flown["no answer through the preview"], flown[ablation.WHOLE])
    assert row["difference_cm"] > 2.0 and row["difference_low_cm"] > 0.0
    assert ablation._row("whole", scenario.name, flown[ablation.WHOLE], flown[ablation.WHOLE])["difference_cm"] == 0.0
