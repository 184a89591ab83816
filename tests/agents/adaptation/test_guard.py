"""The guard: what it repairs, shrinks and rolls back, and that it says so."""

import numpy as np

from undrift.agents.adaptation import Guard

STEPS = np.array([7, 7])
OWN = np.zeros((2, 2))
LAST = np.full((2, 2), 0.3)
SAMPLED = np.array([1])


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
    sent = guard.admit_action(OWN, np.array([[0.4, -0.9], [0.1, 0.0]]), LAST, STEPS)
    np.testing.assert_allclose(sent, [[0.4, -0.5], [0.1, 0.0]])
    assert reasons(guard) == [(7, 0, "proposed action beyond its authority")]


def test_a_proposal_that_is_not_finite_gives_way_to_the_policys_own():
    guard = Guard()
    sent = guard.admit_action(OWN, np.array([[np.inf, 0.0], [0.1, 0.0]]), LAST, STEPS)
    np.testing.assert_allclose(sent, [[0.0, 0.0], [0.1, 0.0]])


def test_a_policy_that_is_not_finite_holds_the_last_action():
    guard = Guard(enabled=False)
    own = np.array([[np.nan, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(guard.admit_action(own, own, LAST, STEPS), [[0.3, 0.3], [0.0, 0.0]])


def test_a_view_beyond_its_limit_is_shrunk():
    guard = Guard(seen_limit=1.0)
    np.testing.assert_allclose(
        guard.admit_view(OWN, np.array([[3.0, 0.5], [0.0, np.nan]]), STEPS), [[1.0, 0.5], [0, 0]]
    )
    assert len(guard.events) == 2


def test_a_state_that_is_not_finite_is_rolled_back_in_its_row_only():
    guard = Guard()
    before = {"d": np.array([[1.0], [2.0]]), "age": np.array([3, 3])}
    after = {"d": np.array([[np.nan], [5.0]]), "age": np.array([4, 4])}
    kept = guard.admit_state(before, after, STEPS)
    np.testing.assert_array_equal(kept["d"], [[1.0], [5.0]])
    np.testing.assert_array_equal(kept["age"], [3, 4])
    assert reasons(guard) == [(7, 0, "adapter's state not finite")]


def test_switched_off_it_lets_proposals_through():
    guard = Guard(enabled=False, authority=0.1)
    proposal = np.full((2, 2), 0.9)
    np.testing.assert_array_equal(guard.admit_action(OWN, proposal, LAST, STEPS), proposal)
    assert not guard.events


def review(guard, loss, rounds):
    learned, kept, worse = {"d": np.array([[9.0], [9.0]])}, {"d": np.zeros((2, 1))}, np.zeros(2, int)
    for step in range(1, rounds + 1):
        learned, kept, worse = guard.review(learned, kept, worse, np.array(loss), np.full(2, step))
    return learned["d"][:, 0], kept["d"][:, 0]


def test_a_state_that_predicts_worse_than_none_is_rolled_back_in_its_row_once_it_has_lasted():
    guard = Guard(patience=5, snapshot_every=50)
    assert review(guard, [[1.0, 0.5], [0.5, 1.0]], rounds=4)[0].tolist() == [9.0, 9.0]
    assert review(guard, [[1.0, 0.5], [0.5, 1.0]], rounds=5)[0].tolist() == [0.0, 9.0]
    assert reasons(guard) == [(5, 0, "adapter predicts worse than without it")]


def test_a_state_that_predicts_well_is_kept_to_go_back_to():
    _, kept = review(Guard(patience=5, snapshot_every=3), [[1.0, 0.5], [0.5, 1.0]], rounds=3)
    assert kept.tolist() == [0.0, 9.0]


def test_without_the_guard_nothing_is_rolled_back():
    assert review(Guard(enabled=False, patience=1), [[1.0, 0.0], [1.0, 0.0]], rounds=9)[0].tolist() == [9.0, 9.0]
