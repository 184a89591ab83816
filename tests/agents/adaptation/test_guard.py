"""The guard: what it repairs, shrinks and rolls back, and that it says so."""

import numpy as np

from undrift.agents.adaptation import Guard

STEPS = np.array([7, 7])
OWN = np.zeros((2, 2))
LAST = np.full((2, 2), 0.3)


def reasons(guard):
    return [(event.step, event.row, event.reason.split(":")[0]) for event in guard.events]


def test_a_channel_that_is_not_finite_is_held_and_logged():
    guard = Guard()
    observation = np.array([[1.0, np.nan], [2.0, 3.0]])
    repaired, fresh = guard.repair(observation, np.full((2, 2), 9.0), STEPS)
    np.testing.assert_array_equal(repaired, [[1.0, 9.0], [2.0, 3.0]])
    np.testing.assert_array_equal(fresh, [False, True])
    assert reasons(guard) == [(7, 0, "observation not finite")]


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
