"""The oracle: the base's own weights, trained on under one shift, and marked as what it is."""

import dataclasses
import json

import numpy as np
import pytest

from undrift.agents import Run, evaluate
from undrift.agents.evaluation.evaluate import fly
from undrift.agents.evaluation.oracle import fine_tune, load_actor
from undrift.agents.training import Recipe
from undrift.agents.vec_env import make_vec_env
from undrift.envs import Abrupt, Payload, Scenario, Wind

BASE = Run.reference()
SHIFT = Payload(fraction=0.6, schedule=Abrupt(0.5))
SHORT = {"episode_s": 1.5}
SCENARIOS = [
    Scenario("no shift", BASE.env_id, SHORT),
    Scenario("heavy", BASE.env_id, SHORT, (SHIFT,)),
    Scenario("gale", BASE.env_id, SHORT, (Wind(schedule=Abrupt(0.5)),)),
]
SEEDS = range(10_000, 10_002)


@pytest.fixture(scope="module")
def small_base():
    """The reference run with a recipe that is quick to go on with."""
    recipe = BASE.config["recipe"] | {"n_envs": 16}
    recipe["ppo"] = recipe["ppo"] | {"n_steps": 16, "seq_len": 16, "batch_size": 128, "n_epochs": 1}
    return dataclasses.replace(BASE, config=BASE.config | {"recipe": recipe})


@pytest.fixture(scope="module")
def oracle(small_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "oracle"
    return Run.load(fine_tune(small_base, [SHIFT], folder, steps=512))


def test_the_oracle_is_a_run_that_says_what_it_is(oracle):
    assert (oracle.kind, oracle.seed, oracle.env_id) == ("oracle", BASE.seed, BASE.env_id)
    told = oracle.config["oracle"]
    assert (told["base"], told["base_sha256"], told["steps"]) == (BASE.name, BASE.policy.sha256, 512)
    [shift] = told["shifts"]
    assert (shift["name"], shift["fraction"], shift["schedule"]["name"]) == ("payload", 0.6, "always")
    assert oracle.curve["steps"] == [256, 512]
    assert BASE.kind == "nominal"


def test_it_goes_on_from_the_weights_of_its_base(oracle):
    ours, theirs = oracle.policy.tensors, BASE.policy.tensors
    assert set(ours) == set(theirs)
    moved = {name: np.abs(ours[name] - theirs[name]).max() for name in ours}
    assert 0 < max(moved.values()) < 0.02


def test_the_actor_that_is_copied_answers_as_the_deployed_one():
    recipe = Recipe.from_dict(BASE.config["recipe"])
    learner = dataclasses.replace(recipe, n_envs=2).learner(make_vec_env(recipe.env_id, 2), seed=0)
    assert learner.policy.deployed(BASE.policy.observation_names).sha256 != BASE.policy.sha256
    load_actor(learner.policy, BASE.policy)
    assert learner.policy.deployed(BASE.policy.observation_names).sha256 == BASE.policy.sha256


def test_a_recipe_that_does_not_build_the_policy_is_refused():
    recipe = Recipe.from_dict(BASE.config["recipe"])
    for other in ({"units": 32}, {"net_arch": {"pi": [96], "vf": [8]}}):
        small = dataclasses.replace(recipe, n_envs=2, policy=recipe.policy | other)
        with pytest.raises(ValueError, match="recipe does not build its policy"):
            load_actor(small.learner(make_vec_env(recipe.env_id, 2), seed=0).policy, BASE.policy)


def test_an_oracle_of_an_oracle_is_refused(oracle, tmp_path):
    with pytest.raises(ValueError, match="is not a nominal run but of kind 'oracle'"):
        fine_tune(oracle, [SHIFT], tmp_path / "again", steps=1)
    assert list(tmp_path.iterdir()) == []


def test_it_flies_its_own_shift_as_it_is_and_stands_in_the_report(oracle, tmp_path):
    flown = evaluate([BASE, oracle], ["frozen", "observer"], SCENARIOS, SEEDS, tmp_path / "out")
    mine = [episode for episode in flown if episode.meta["policy"] == "oracle"]
    assert {(episode.meta["scenario"], episode.meta["adapter"]) for episode in mine} == {("heavy", "frozen")}
    assert len(mine) == len(SEEDS) and len(flown) == (3 * 2 + 1) * len(SEEDS)
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["scenario"] for row in stored["rows"] if row["controller"] == "oracle"] == ["heavy"]
    for kind in ("html", "md"):
        text = (tmp_path / "out" / f"report.{kind}").read_text()
        assert "heavy: 512 steps" in text and "a reference, not an upper bound" in text


def test_an_oracle_whose_shift_is_not_flown_is_refused(oracle):
    with pytest.raises(ValueError, match=r"is an oracle of .*'fraction': 0\.6.*: fly just that"):
        fly([BASE, oracle], ["frozen"], [SCENARIOS[0], SCENARIOS[2]], SEEDS)
    lighter = Scenario("light", BASE.env_id, SHORT, (Payload(fraction=0.3),))
    with pytest.raises(ValueError, match="fly just that"):
        fly([BASE, oracle], ["frozen"], [SCENARIOS[0], lighter], SEEDS)


def test_an_oracle_of_two_shifts_at_once_meets_both_together_alone(small_base, tmp_path):
    both = (SHIFT, Wind(speed=3.0, schedule=Abrupt(0.5)))
    oracle = Run.load(fine_tune(small_base, both, tmp_path / "both", steps=256))
    with pytest.raises(ValueError, match="fly just that"):
        fly([BASE, oracle], ["frozen"], SCENARIOS, SEEDS)
    flown = fly([BASE, oracle], ["frozen"], [*SCENARIOS, Scenario("heavy in wind", BASE.env_id, SHORT, both)], SEEDS)
    assert {e.meta["scenario"] for e in flown if e.meta["policy"] == "oracle"} == {"heavy in wind"}


def test_an_oracle_without_its_base_is_refused(oracle):
    with pytest.raises(ValueError, match=r"the oracle runs have training seeds \[.*\], the nominal ones \[\]"):
        fly([oracle], ["frozen"], SCENARIOS, SEEDS)
