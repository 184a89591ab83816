"""Scenarios and suites: JSON, what a suite promises, and that every scenario of every suite can be flown."""

import json
from collections import defaultdict

import gymnasium
import numpy as np
import pytest

from undrift.envs import ENVIRONMENTS, SUITES, Pulse, Scenario, Wind, load_suite, make_batch, make_scenario


@pytest.fixture(params=SUITES)
def suite(request):
    return load_suite(request.param)


def test_the_suites_are_these():
    assert set(SUITES) == {"drone-core", "drone-severe", "drone-timing", "car-core", "car-severe", "classic"}


def test_every_scenario_survives_the_trip_through_json(suite):
    for scenario in suite.scenarios:
        assert Scenario.from_dict(json.loads(json.dumps(scenario.to_dict()))) == scenario


def test_every_environment_of_a_suite_has_one_unshifted_arm(suite):
    calm = [scenario.env_id for scenario in suite.scenarios if not scenario.shifts]
    assert sorted(calm) == sorted({scenario.env_id for scenario in suite.scenarios})


def test_every_family_of_a_suite_has_three_severities(suite):
    found = defaultdict(list)
    for scenario in suite.scenarios:
        if scenario.shifts:
            found[scenario.env_id, scenario.family].append(scenario.severity)
    assert found and all(severities == [1, 2, 3] for severities in found.values()), dict(found)


def test_names_are_unique_and_shifts_are_told(suite):
    names = [scenario.name for scenario in suite.scenarios]
    assert len(set(names)) == len(names)
    assert suite.description


def test_all_scenarios_of_a_suite_of_ours_fly_in_one_batch(suite):
    scenarios = [scenario for scenario in suite.scenarios if scenario.env_id in ENVIRONMENTS]
    if not scenarios:
        pytest.skip("none of ours in it")
    env = make_batch(scenarios[0].env_id, len(scenarios), shifts=[scenario.shifts for scenario in scenarios])
    first = env.reset([7] * len(scenarios))
    np.testing.assert_array_equal(first, np.tile(first[0], (len(scenarios), 1)))
    for _ in range(3):
        observation, *_ = env.step(np.zeros(env.action.shape))
    np.testing.assert_array_equal(observation, np.tile(observation[0], (len(scenarios), 1)))


def test_a_scenario_of_any_environment_is_made_in_one_call():
    for scenario in (Scenario("gale", "DroneTrack", {"noise": 0.0}, (Wind(schedule=Pulse(0.0, 1.0)),)), classic()):
        env = make_scenario(scenario)
        env.reset(seed=1)
        assert env.step(env.action_space.sample())[4]["shift"].shape == (len(scenario.shifts),)
        env.close()


def classic():
    return next(scenario for scenario in load_suite("classic").scenarios if scenario.env_id == "Pendulum-v1")


def test_the_pendulum_of_the_classic_suite_is_made_with_its_gravity_and_gets_11():
    assert classic().env_kwargs == {"g": 9.81}
    values = [s.shifts[0].value for s in load_suite("classic").scenarios if s.family == "gravity"]
    assert 11.0 in values


def test_an_own_suite_is_read_from_a_file_and_gets_its_unshifted_arm(tmp_path):
    wanted = Scenario("breeze", "undrift/DroneTrack-v0", {}, (Wind(speed=3.0),), "wind", 1)
    values = {"name": "mine", "description": "one breeze", "scenarios": [wanted.to_dict()]}
    (tmp_path / "mine.json").write_text(json.dumps(values))
    assert load_suite(tmp_path / "mine.json").scenarios == (Scenario("no shift", "undrift/DroneTrack-v0"), wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no suite"),
        ('{"name": "a", "description": ""}', "scenarios"),
        ('{"name": "a", "description": "", "scenarios": [{"name": "x"}]}', "lacks 'env_id'"),
        (
            '{"name": "a", "description": "", "scenarios": [{"name": "x", "env_id": "y", "shifts": [], "b": 1}]}',
            "no field 'b'",
        ),
        (
            '{"name": "a", "description": "", "scenarios": [{"name": "x", "env_id": "y", "shifts": [{"name": "storm"}]}]}',
            "the shifts are: .*wind",
        ),
    ],
)
def test_a_bad_suite_is_refused_with_what_is_valid(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_suite(tmp_path / "bad.json")


def test_an_unknown_suite_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="drone-core"):
        load_suite("drone-cure")


def test_a_scenario_of_an_environment_that_is_not_registered_says_so():
    with pytest.raises(gymnasium.error.Error):
        make_scenario(Scenario("x", "Nowhere-v0"))
