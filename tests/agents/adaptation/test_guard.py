"""The guard: what it repairs, shrinks and rolls back, and that it says so."""

import numpy as np
import pytest

from undrift.agents import Run
from undrift.agents.adaptation import Frozen, Guard, Integral, Observer, State, Transition

STEPS = np.array([7, 7])
OWN = np.zeros((2, 2))
LAST = np.full((2, 2), 0.3)
SAMPLED = np.array([1])
NOTHING = State({})
REFERENCE = Run.reference().nominal
IDLE = Frozen(REFERENCE)


def reasons(guard):
    return [(event.step, event.row, event.reason.split(":")[0]) for event in guard.events]


def test_a_channel_that_is_not_finite_is_held_and_logged():
    guard = Guard()
    observation = np.array([[1.0, np.nan], [2.0, 3.0]])
    repaired, fresh = guard.repair(observation, np.full((2, 2), 9.0), SAMPLED, STEPS)
    np.testing.assert_array_equal(repaired, [[1.0, 9.0], [2.0, 3.0]])
    np.testing.assert_array_equal(fresh, [False, True])
    assert reasons(guard) == [(7, 0, "observation not finite")]


def test_a_sample_that_repeats_the_last_one_to_the_bit_is_not_fresh_and_logged():
    guard = Guard()
    observation, last = np.array([[1.0, 0.3], [1.0, 0.4]]), np.full((2, 2), 0.3)
    repaired, fresh = guard.repair(observation, last, SAMPLED, STEPS)
    np.testing.assert_array_equal(repaired, observation)
    np.testing.assert_array_equal(fresh, [False, True])
    assert reasons(guard) == [(7, 0, "sample repeats the last one")]
    assert Guard(enabled=False).repair(observation, last, SAMPLED, STEPS)[1].all()


def test_the_first_sample_of_an_episode_repeats_none():
    assert Guard().repair(LAST, LAST, SAMPLED, np.zeros(2, int))[1].all()


def test_a_proposal_beyond_its_authority_is_shrunk():
    guard = Guard(authority=0.5)
    _, sent, _ = guard.admit_action(OWN, np.array([[0.4, -0.9], [0.1, 0.0]]), LAST, NOTHING, NOTHING, STEPS)
    np.testing.assert_allclose(sent, [[0.4, -0.5], [0.1, 0.0]])
    assert reasons(guard) == [(7, 0, "proposed action beyond its authority")]


def test_to_shrink_one_row_leaves_the_others_to_the_bit():
    own, proposed = np.array([[0.1], [0.7]]), np.array([[9.0], [0.1]])
    _, sent, _ = Guard().admit_action(own, proposed, own, NOTHING, NOTHING, STEPS)
    assert (own + (proposed - own))[1] != proposed[1]
    np.testing.assert_array_equal(sent[1], proposed[1])


def test_a_proposal_that_is_not_finite_gives_way_to_the_policys_own():
    proposed = np.array([[np.inf, 0.0], [0.1, 0.0]])
    _, sent, _ = Guard().admit_action(OWN, proposed, LAST, NOTHING, NOTHING, STEPS)
    np.testing.assert_allclose(sent, [[0.0, 0.0], [0.1, 0.0]])


def test_a_policy_that_is_not_finite_holds_the_last_action():
    guard = Guard(enabled=False)
    own = np.array([[np.nan, 0.0], [0.0, 0.0]])
    held, sent, _ = guard.admit_action(own, own, LAST, NOTHING, NOTHING, STEPS)
    np.testing.assert_allclose(sent, [[0.3, 0.3], [0.0, 0.0]])
    np.testing.assert_array_equal(held, sent)


def test_a_view_beyond_its_limit_is_shrunk():
    guard = Guard(seen_limit=1.0)
    seen, _ = guard.admit_view(OWN, np.array([[3.0, 0.5], [0.0, np.nan]]), IDLE, NOTHING, NOTHING, STEPS)
    np.testing.assert_allclose(seen, [[1.0, 0.5], [0, 0]])
    assert len(guard.events) == 2


def test_what_is_asked_for_is_no_part_of_the_limit():
    class Modest(Frozen):
        def ask_less(self, state, observation):
            return 0.5 * observation

    guard, measured = Guard(seen_limit=1.0), np.array([[30.0, 0.0], [30.0, 0.0]])
    proposed = np.array([[15.5, 0.0], [13.0, 0.0]])
    seen, _ = guard.admit_view(measured, proposed, Modest(REFERENCE), NOTHING, NOTHING, STEPS)
    np.testing.assert_allclose(seen, [[15.5, 0.0], [14.0, 0.0]])
    assert [(event.row, event.reason) for event in guard.events] == [
        (1, "proposed observation beyond its limit: shrunk")
    ]


def test_a_state_that_is_not_finite_is_rolled_back_in_its_row_only():
    guard = Guard()
    before = State({"d": [[1.0], [2.0]], "age": [3, 3]})
    after = State({"d": [[np.nan], [5.0]], "age": [4, 4]})
    _, beside_view = guard.admit_view(OWN, OWN, IDLE, before, after, STEPS)
    *_, beside_action = guard.admit_action(OWN, OWN, LAST, before, after, STEPS)
    for kept in (guard.admit_state(before, after, STEPS), beside_view, beside_action):
        np.testing.assert_array_equal(kept["d"], [[1.0], [5.0]])
        np.testing.assert_array_equal(kept["age"], [3, 4])
    assert reasons(guard) == [(7, 0, "adapter's state not finite")]
    assert Guard(enabled=False).admit_state(before, after, STEPS) is after


def test_switched_off_it_lets_proposals_through():
    guard = Guard(enabled=False, authority=0.1)
    proposal = np.full((2, 2), 0.9)
    np.testing.assert_array_equal(guard.admit_action(OWN, proposal, LAST, NOTHING, NOTHING, STEPS)[1], proposal)
    assert not guard.events


def scored(nominal, learned, shadow):
    """An observer and the state of two vehicles that have learned d = 9, before d = 4 was kept, and have these losses."""
    observer = Observer(nominal)
    state = observer.initial_state(2)
    state |= {"d": np.full((2, 2), 9.0), "kept_d": np.full((2, 2), 4.0)}
    return observer, state | {"loss": np.array([learned, [5.0, 5.0], shadow]).T}


def review(guard, observer, state, rounds):
    worse = np.zeros(2, int)
    for step in range(1, rounds + 1):
        state, worse = guard.review(observer, state, worse, np.full(2, step))
    return state


def test_what_predicts_worse_than_the_shadow_is_rolled_back_in_its_row_once_it_has_lasted(nominal):
    guard = Guard(patience=5)
    observer, state = scored(nominal, learned=[1.0, 0.5], shadow=[0.5, 0.6])
    assert review(guard, observer, state, rounds=4)["d"][:, 0].tolist() == [9.0, 9.0]
    assert review(guard, observer, state, rounds=5)["d"][:, 0].tolist() == [4.0, 9.0]
    assert reasons(guard) == [(5, 0, "adapter predicts worse than before")]


def test_what_predicts_no_worse_becomes_the_shadow(nominal):
    observer, state = scored(nominal, learned=[1.0, 0.5], shadow=[0.99, 0.6])
    kept = review(Guard(keep_every=3), observer, state, rounds=3)
    assert kept["kept_d"][:, 0].tolist() == [4.0, 9.0]
    np.testing.assert_array_equal(kept["loss"][1], [0.5, 5.0, 0.5])


@pytest.mark.parametrize("guard", [Guard(enabled=False, patience=1), Guard(loss_margin=np.inf, patience=1)])
def test_without_the_shadow_nothing_is_rolled_back(guard, nominal):
    observer, state = scored(nominal, learned=[9.0, 9.0], shadow=[0.0, 0.0])
    assert review(guard, observer, state, rounds=9)["d"][:, 0].tolist() == [9.0, 9.0]


def test_repetitions_are_one_event_and_another_after_a_pause():
    guard = Guard()
    for step in (5, 7, 8, 300):
        guard.repair(LAST, LAST, SAMPLED, np.full(2, step))
    first, _, second, _ = guard.events
    assert (first.step, first.last, first.count) == (5, 8, 3)
    assert (second.step, second.last, second.count) == (300, 300, 1)


def test_a_sample_permits_what_its_action_did_and_each_restraint_can_be_switched_off():
    wish, activity = np.array([[1.5, 0.2], [-0.97, 0.0]]), np.array([0.1, 0.0])
    guard = Guard(unwind=2.0, leak=0.3, dead_zone=0.7)
    saturated, excited, unwind, leak, zone = guard.permit(wish, activity, STEPS)
    np.testing.assert_array_equal(saturated, [[True, False], [False, False]])
    np.testing.assert_array_equal(excited, [True, False])
    np.testing.assert_array_equal(unwind, [1.0, 0.0])
    assert (leak, zone) == (0.3, 0.7)
    assert reasons(guard) == [(7, 1, "commands at rest"), (7, 0, "action beyond its bounds")]
    for free in (Guard(enabled=False), Guard(freeze=False, unwind=0.0, leak=0.0, dead_zone=0.0, excitation=0.0)):
        saturated, excited, unwind, leak, zone = free.permit(wish, activity, STEPS)
        assert not saturated.any() and excited.all() and not unwind.any() and (leak, zone) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("changed", "terminated", "settings"),
    [
        ({}, False, {}),
        ({}, np.array([False, False]), {"freeze": False}),
        ({}, np.array([False, True]), {}),
        ({}, False, {"enabled": False}),
        ({"observation": LAST}, False, {}),
        ({"observation": LAST}, False, {"hold_stale": False}),
        ({"observation": np.array([[np.nan, 0.0], [1.0, 2.0]])}, False, {}),
        ({"wish": np.array([[0.99], [0.0]])}, False, {}),
        ({"wish": np.array([[0.0], [-1.5]])}, False, {}),
        ({"activity": np.array([0.0, 1.0])}, False, {}),
    ],
)
def test_a_sample_is_admitted_as_it_is_repaired_and_permitted(changed, terminated, settings):
    whole, parts = Guard(**settings), Guard(**settings)
    sample = {"observation": LAST + 0.1, "wish": np.array([[0.9], [-0.9]]), "activity": np.array([0.1, 0.1])} | changed
    observation, wish, activity = sample.values()
    following, usable, permitted = whole.admit_sample(observation, LAST, SAMPLED, terminated, wish, activity, STEPS)
    expected, fresh = parts.repair(observation, LAST, SAMPLED, STEPS)
    np.testing.assert_array_equal(following, expected)
    np.testing.assert_array_equal(usable, fresh & ~np.asarray(terminated))
    for got, wanted in zip(permitted, parts.permit(wish, activity, STEPS), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert whole.events == parts.events


@pytest.mark.parametrize("d", [9.0, np.nan])
@pytest.mark.parametrize("acted", [True, False])
@pytest.mark.parametrize(
    ("learned", "worse", "step"), [(0.5, 0, 7), (0.5, 0, 50), (9.0, 0, 7), (9.0, 24, 7), (0.5, 3, 7)]
)
def test_what_was_learned_is_admitted_finite_where_a_vehicle_acted_and_as_reviewed(
    d, acted, learned, worse, step, nominal
):
    observer, before = scored(nominal, learned=[0.5, 0.5], shadow=[0.6, 0.6])
    after = before | {"d": np.array([[7.0, 7.0], [d, 7.0]]), "loss": np.array([[0.5, 5.0, 0.6], [learned, 5.0, 0.6]])}
    guard, steps, acted, worse = Guard(), np.full(2, step), np.array([True, acted]), np.array([0, worse])
    got, counted = guard.admit_learned(observer, before, after, acted, worse, steps)
    parts = Guard()
    expected = parts.admit_state(before, after, steps).where(acted, before)
    expected, count = parts.review(observer, expected, worse, steps)
    np.testing.assert_array_equal(got.rows, expected.rows)
    np.testing.assert_array_equal(counted, count)
    assert guard.events == parts.events


def test_integrals_rest_while_an_action_saturates_and_are_unwound_by_what_could_not_be_sent(nominal):
    adapter, error = Integral(nominal, gain=1.0), np.array([[0.1, 0.0, 0, 0, 0, 0, 0, 0]] * 3)
    sample = error, np.zeros((3, 1)), np.array([[False], [True], [True]]), error, np.ones(3, bool), np.full(3, 0.02)
    state = adapter.learn(
        State({"integral": np.full((3, 2), 0.3)}), Transition(*sample, unwind=np.array([0.0, 0.0, 5.0]))
    )
    np.testing.assert_allclose(state["integral"][:, 0], [0.302, 0.3, 0.27])


def test_an_integral_leaks_as_an_estimated_disturbance_does(nominal):
    nothing, ones = np.zeros((1, 8)), np.ones(1, dtype=bool)
    sample = Transition(nothing, np.zeros((1, 1)), ~ones[:, None], nothing, ones, np.full(1, 0.02), leak=0.5)
    state = Integral(nominal).learn(State({"integral": np.full((1, 2), 0.3)}), sample)
    np.testing.assert_allclose(state["integral"], 0.3 * (1 - 0.5 * 0.02))
