from __future__ import annotations

import csv
import dataclasses
import json
from functools import partial

import numpy as np
import pytest

from undrift.agents.adaptation import identification
from undrift.agents.run import Run
from undrift.agents.training import Recipe, print_progress, torch_threads, train
from undrift.agents.vec_env import BatchVecEnv
from undrift.envs import RandomOnset, Wind, load_suite, make_batch
from undrift.envs.shifts import shift_from_dict, shift_to_dict


def small_recipe() -> Recipe:
    recipe = Recipe.load("DroneTrack")
    ppo = recipe.ppo | {"n_steps": 16, "seq_len": 16, "batch_size": 128, "n_epochs": 1}
    return dataclasses.replace(recipe, n_envs=16, total_timesteps=1024, ppo=ppo, history=None)


def json_of(recipe: Recipe) -> Recipe:
    """The recipe with lists in place of tuples, as a file gives it back."""
    return Recipe.from_dict(json.loads(json.dumps(dataclasses.asdict(recipe))))


@pytest.fixture(scope="module", autouse=True)
def _rough_nominal_model():
    """What the nominal model is fitted with is nothing to these tests."""
    rough = partial(identification.fit_nominal_model, simulations=16, steps=40, iterations=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identification, "fit_nominal_model", rough)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one small run in it, "a", and the progress its training reported."""
    folder, told = tmp_path_factory.mktemp("runs"), []
    train(small_recipe(), folder / "a", seed=5, progress=lambda row, total: told.append((row["steps"], total)))
    return folder, told


def test_training_writes_a_whole_run_and_nothing_beside_it(runs):
    folder, told = runs
    assert sorted(path.name for path in folder.iterdir()) == ["a"]
    run = Run.load(folder / "a")
    env = make_batch("DroneTrack")
    assert run.env_id == env.id and run.seed == 5
    assert run.policy.observation_names == env.observation_names
    assert run.policy.period == env.dt
    assert told == [(steps, 1024) for steps in (256, 512, 768, 1024)]


def test_the_config_says_how_to_train_the_run_again(runs):
    config = json.loads((runs[0] / "a" / "config.json").read_text())
    assert Recipe.from_dict(config["recipe"]) == small_recipe()
    assert {"undrift", "mujoco", "torch", "numpy", "stable_baselines3", "python"} <= set(config["versions"])
    assert config["machine"]


def test_the_curve_has_a_row_for_every_rollout(runs):
    with (runs[0] / "a" / "curve.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["steps"] for row in rows] == [256, 512, 768, 1024]
    assert all(0.0 < row["mean_error_m"] < 3.0 and row["mean_reward"] < 1.0 for row in rows)
    assert np.all(np.diff([row["seconds"] for row in rows]) > 0)


def test_the_same_recipe_and_seed_train_to_the_same_bits(runs):
    recipe = small_recipe()

    def trained(seed: int) -> str:
        with torch_threads(recipe.threads):
            env = BatchVecEnv(make_batch(recipe.env_id, recipe.n_envs, seed, **recipe.env_kwargs), stagger=True)
            learner = recipe.learner(env, seed).learn(recipe.total_timesteps)
        return learner.policy.deployed(env.batch.observation_names).sha256

    assert trained(5) == Run.load(runs[0] / "a").policy.sha256 != trained(6)


@pytest.fixture(scope="module")
def special(tmp_path_factory):
    """A run whose recipe begins with imitation, in randomised wind, and asks for a small history encoder; and the recipe."""
    gale = Wind(speed=(2.0, 6.0), schedule=RandomOnset(earliest=0.0, latest=3.0))
    own = {"imitation": {"total_timesteps": 512}, "randomised": [shift_to_dict(gale)]}
    sizes = {"units": 4, "rounds": 1, "simulations": 2, "steps": 20, "epochs": 1}
    own["history"] = sizes | {"scenarios": [[shift_to_dict(gale)]], "sensing": [], "env_kwargs": {"noise": 1.0}}
    recipe = dataclasses.replace(small_recipe(), **own)
    folder = train(recipe, tmp_path_factory.mktemp("runs") / "special", seed=5)
    return Run.load(folder), recipe


def test_a_recipe_can_begin_with_imitation_of_the_expert(runs, special):
    run, recipe = special
    with (run.folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["steps"]) for row in rows] == [256, 512, 768, 1024]
    assert np.all(np.diff([float(row["seconds"]) for row in rows]) > 0)
    assert Recipe.from_dict(run.config["recipe"]) == json_of(recipe)
    assert run.policy.sha256 != Run.load(runs[0] / "a").policy.sha256


def test_a_run_trained_under_random_shifts_says_so_and_with_which_ranges(runs, special):
    assert (special[0].kind, Run.load(runs[0] / "a").kind) == ("domain-randomised", "nominal")
    assert special[0].config["recipe"]["randomised"][0]["speed"] == [2.0, 6.0]


def test_every_simulation_draws_its_own_from_the_ranges_of_a_recipe():
    gale = Wind(speed=(2.0, 6.0), spread=0.0, schedule=RandomOnset(earliest=0.5, latest=1.0))
    batch = dataclasses.replace(small_recipe(), randomised=[shift_to_dict(gale)]).env(seed=0).batch
    batch.reset()
    assert not batch.plant["wind"].any()
    speeds = []
    for _ in range(52):
        batch.step(np.zeros((16, 4)))
        speeds.append(np.linalg.norm(batch.plant["wind"], axis=1))
    onsets = (np.array(speeds) > 0).argmax(axis=0) * batch.dt
    assert onsets.min() >= 0.5 and len(np.unique(onsets)) > 5
    assert speeds[-1].min() > 2.0 and speeds[-1].max() < 6.0 and np.ptp(speeds[-1]) > 2.0


def test_a_run_has_a_history_encoder_where_its_recipe_asks_for_one(runs, special):
    encoder = special[0].nominal.encoder
    assert encoder.trained["scenarios"] == json_of(special[1]).history["scenarios"] and encoder.trained["units"] == 4
    assert Run.load(runs[0] / "a").nominal.encoder is None


@pytest.mark.parametrize("name", ["CarTrackRandomised", "DroneTrackRandomised", "DroneTrackWide"])
def test_the_randomised_recipes_build_their_environments(name):
    env = dataclasses.replace(Recipe.load(name), n_envs=4).env(seed=0)
    env.reset()
    assert len(np.unique(env.batch.plant.values["mass"])) == 4
    assert np.isfinite(env.step(np.zeros((4, len(env.batch.action_names))))[0]).all()


def test_the_governed_recipe_shifts_in_mid_episode_and_lowers_the_speed_of_some():
    env = dataclasses.replace(Recipe.load("CarTrackGoverned"), n_envs=32).env(seed=0)
    env.reset()
    onsets = env.batch.drift.onsets()
    assert len(np.unique(onsets)) == onsets.size and (onsets.min(axis=1) < 14.0).all()
    for _ in range(50):
        env.step(np.zeros((32, 2)))
    assert 0.0 < (env.batch.speed_scale < 0.99).mean() < 0.5


def test_a_recipe_with_an_unknown_shift_is_refused_before_anything_is_written(tmp_path):
    recipe = dataclasses.replace(small_recipe(), randomised=[{"name": "storm"}])
    with pytest.raises(ValueError, match="unknown shift 'storm'"):
        train(recipe, tmp_path / "run", seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["imitation", "randomised", "history"])
def test_a_recipe_that_does_not_speak_of_what_is_optional_does_without(field):
    data = dataclasses.asdict(small_recipe())
    del data[field]
    assert Recipe.from_dict(data) == small_recipe()


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """The reference policy, trained on with an adapter in the loop."""
    recipe = dataclasses.replace(small_recipe().continued(), total_timesteps=1280)
    folder = tmp_path_factory.mktemp("runs") / "continued"
    return Run.load(train(recipe, folder, seed=5, start=Run.reference(), adapter="integral"))


def test_a_policy_goes_on_from_a_run_by_small_steps(continued):
    start = Run.reference()
    observation = make_batch(start.env_id, 64).reset(list(range(64)))
    before, after = (
        run.policy.step(observation, run.policy.initial_state(64), np.full(64, 0.02))[0] for run in (start, continued)
    )
    assert 0 < np.abs(after - before).max() < 0.05
    assert continued.curve["steps"] == [256.0, 512.0, 768.0, 1024.0, 1280.0]
    assert continued.curve["mean_error_m"][0] < 1.5 * start.curve["mean_error_m"][-1] + 0.5


def test_a_run_says_what_it_started_from_and_with_which_adapter(continued):
    start = Run.reference()
    assert continued.config["start"] == {"run": start.name, "sha256": start.policy.sha256}
    assert (continued.config["adapter"], continued.kind) == ("integral", "trained with integral")


def test_a_recipe_made_for_going_on_starts_from_the_run_that_it_names(tmp_path):
    recipe = dataclasses.replace(small_recipe(), env_id="undrift/DroneHover-v0", start="reference")
    assert recipe.continued() is recipe
    with pytest.raises(ValueError, match="reference was trained on undrift/DroneTrack-v0"):
        train(recipe, tmp_path / "run", seed=0)


def test_a_start_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    hover = dataclasses.replace(Recipe.load("DroneHover").continued(), n_envs=4)
    wide = dataclasses.replace(small_recipe(), policy=small_recipe().policy | {"units": 32})
    for recipe, own, message in (
        (hover, {"start": Run.reference()}, "was trained on undrift/DroneTrack-v0"),
        (wide, {"start": Run.reference()}, "recipe does not build its policy"),
        (small_recipe(), {"start": Run.reference(), "adapter": "magic"}, "unknown adapter 'magic'"),
        (small_recipe(), {"adapter": "auto"}, "needs a nominal model to train with"),
    ):
        with pytest.raises(ValueError, match=message):
            train(recipe, tmp_path / "run", seed=0, **own)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_is_never_overwritten(runs):
    before = (runs[0] / "a" / "config.json").read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        train(small_recipe(), runs[0] / "a", seed=6)
    assert (runs[0] / "a" / "config.json").read_bytes() == before


@pytest.mark.parametrize("seed", [-1, 100, 10_000])
def test_a_seed_that_is_not_for_training_is_refused(tmp_path, seed):
    with pytest.raises(ValueError, match=f"training seed {seed}: training has the seeds 0 to 99"):
        train(small_recipe(), tmp_path / "run", seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_fails_leaves_nothing_behind(tmp_path):
    def interrupt(row, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_recipe(), tmp_path / "run", seed=0, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["DroneTrack", "undrift/DroneTrack-v0", "undrift.envs:undrift/DroneTrack-v0"])
def test_every_form_of_an_id_finds_its_recipe(name):
    assert Recipe.load(name).env_id == "undrift/DroneTrack-v0"


def test_wrong_recipes_are_refused_with_the_valid_names():
    with pytest.raises(ValueError, match="no recipe for 'DroneTrak'; there are recipes for .*DroneTrack"):
        Recipe.load("DroneTrak")
    data = dataclasses.asdict(Recipe.load("DroneTrack"))
    with pytest.raises(ValueError, match=r"missing: \[\], unknown: \['gama'\]"):
        Recipe.from_dict(data | {"gama": 0.9})


def test_the_learner_follows_its_recipe():
    recipe = dataclasses.replace(Recipe.load("DroneTrack"), n_envs=8)
    env = BatchVecEnv(make_batch(recipe.env_id, recipe.n_envs))
    learner = recipe.learner(env, seed=1)
    assert (learner.n_steps, learner.gamma, learner.bounds_coef) == (32, 0.98, 0.002)
    assert learner.lr_schedule(1.0) == pytest.approx(1e-3) and learner.lr_schedule(0.0) == pytest.approx(1e-4)
    assert learner.policy.cell.period == env.batch.dt
    np.testing.assert_array_equal(learner.policy.scale, env.batch.observation_scale)


def test_progress_tells_how_far_how_good_and_how_long(capsys):
    row = {"steps": 1_500_000, "seconds": 75.0, "mean_error_m": 0.123, "crashes_per_1k": 0.5, "mean_reward": 0.4}
    print_progress(row, 3_000_000)
    line = capsys.readouterr().out
    assert "1.50 of 3.00 M steps" in line and "12.3 cm" in line and "20,000 steps/s" in line and "75 s left" in line


@pytest.mark.parametrize(
    ("recipe", "suites", "known"),
    [
        ("DroneTrackRandomised", ("drone-core", "drone-timing", "drone-severe"), []),
        (
            "DroneTrackWide",
            ("drone-core", "drone-timing", "drone-severe"),
            ["payload +30 %, wind 5 m/s, one motor -20 %"],
        ),
        ("CarTrackRandomised", ("car-core", "car-severe"), []),
    ],
)
def test_the_hardest_of_each_family_of_a_suite_lies_outside_what_is_trained_for(recipe, suites, known):
    trained = [shift_from_dict(values) for values in Recipe.load(recipe).randomised]
    hardest = [scenario for suite in suites for scenario in load_suite(suite).scenarios if scenario.severity == 3]
    assert hardest
    within = [s.name for s in hardest if all(any(covers(t, shift) for t in trained) for shift in s.shifts)]
    assert within == known


@pytest.mark.parametrize("suite", ["drone-core", "drone-timing", "drone-severe"])
def test_the_hardest_of_each_family_of_a_suite_lies_outside_what_the_history_encoder_is_taught(suite):
    given = Recipe.load("DroneTrack").encoder_arguments()
    hardest = [scenario for scenario in load_suite(suite).scenarios if scenario.severity == 3]
    assert hardest
    taught = [[*shifts, *given["sensing"]] for shifts in given["scenarios"]]
    within = [
        s.name
        for s in hardest
        if any(all(any(covers(t, shift) for t in shifts) for shift in s.shifts) for shifts in taught)
    ]
    assert not within


def covers(trained, shift):
    """Whether every magnitude of the shift lies in the ranges that are trained for, spread apart."""
    if type(trained) is not type(shift):
        return False
    magnitudes = [f.name for f in dataclasses.fields(shift) if f.metadata and f.name != "spread"]
    pairs = [(np.atleast_1d(getattr(trained, name)), np.atleast_1d(getattr(shift, name))) for name in magnitudes]
    return all(
        None in known or None in flown or (min(known) <= min(flown) and max(flown) <= max(known))
        for known, flown in pairs
    )
