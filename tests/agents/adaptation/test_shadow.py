"""The shadow: what is kept and restored of an adapter's fields, and how both are scored."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from undrift.agents.adaptation import State
from undrift.agents.adaptation.shadow import keep, restore, score


class Fields(NamedTuple):
    d: np.ndarray
    memory: np.ndarray
    kept_d: np.ndarray
    kept_memory: np.ndarray
    loss: np.ndarray


def test_what_was_kept_is_restored_with_its_loss_in_the_rows_chosen_alone():
    rng = np.random.default_rng(0)
    learned = {"d": rng.normal(size=(2, 3)), "memory": rng.normal(size=(2, 2, 4))}
    fields = learned | {f"kept_{name}": np.zeros_like(value) for name, value in learned.items()}
    kept = keep(State(fields | {"loss": [[1.0, 5.0, 2.0]] * 2}), Fields, np.array([True, False]))
    later = {"d": np.ones((2, 3)), "memory": np.ones((2, 2, 4)), "loss": kept["loss"] + [[3.0, 0.0, 0.5]]}
    back = restore(kept | later, Fields, np.array([True, False]))
    for name, value in learned.items():
        np.testing.assert_array_equal(kept[f"kept_{name}"], [value[0], np.zeros_like(value[1])])
        np.testing.assert_array_equal(back[name], [value[0], np.ones_like(value[1])])
    np.testing.assert_array_equal(back["loss"], [[1.5, 5.0, 1.5], [4.0, 5.0, 2.5]])


def test_a_sample_costs_its_negative_log_likelihood_under_a_student_distribution():
    rng = np.random.default_rng(0)
    nominal, expected, d, kept, before, measured = rng.normal(size=(6, 3))
    spread, model_sd, h, loss = np.array([4.0, 0.25, 9.0]), np.array([1.0, 1.0, 1.0]), 0.5, np.array([0.3, 0.2, 0.1])
    sd = np.array([2.0, 1.0, 3.0])
    cost = lambda x: np.mean(student.logpdf(0.0, df=4) - student.logpdf(((measured - before) / h - x) / sd, df=4))
    after = 0.96 * loss + 0.04 * np.array([cost(expected + d), cost(nominal), cost(kept)])
    score(nominal, expected, d, kept, before, measured, h, spread, model_sd, loss)
    np.testing.assert_allclose(loss, after)
