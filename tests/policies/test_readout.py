from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from undrift.policies.readout import Readout, RecursiveLeastSquares, ridge

TRUE_WEIGHT = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0], [2.0, 1.0]])


def samples(count: int, features: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States whose features differ in scale and offset, and noisy linear targets."""
    rng = np.random.default_rng(seed)
    states = rng.normal(0.3, 1.0, (count, features)) * np.linspace(0.5, 2.0, features)
    return states, states[:, :4] @ TRUE_WEIGHT + 0.7 + 0.1 * rng.normal(size=(count, 2))


def weighted_batch(states, targets, forgetting: float, penalty: float) -> np.ndarray:
    """[W; b] that recursive least squares should reach, from the normal equations of all samples at once."""
    z = np.hstack([states, np.ones((len(states), 1))])
    age = forgetting ** np.arange(len(z) - 1, -1, -1)[:, None]
    return np.linalg.solve(z.T @ (age * z) + penalty * forgetting ** len(z) * np.eye(z.shape[1]), z.T @ (age * targets))


@pytest.mark.parametrize("count, features", [(50, 4), (6, 20), (1, 5)], ids=["tall", "wide", "one-sample"])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_ridge_is_that_of_scikit_learn(count: int, features: int, penalty: float) -> None:
    states, targets = samples(count, features)
    ours, theirs = ridge(states, targets, penalty), Ridge(alpha=penalty, solver="svd").fit(states, targets)
    np.testing.assert_allclose(ours.weight, theirs.coef_.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours(states), theirs.predict(states), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("forgetting", [1.0, 0.99, 0.9])
def test_recursive_least_squares_reaches_the_batch_solution(forgetting: float) -> None:
    states, targets = samples(120)
    learner = RecursiveLeastSquares(4, 2, forgetting, penalty=0.1)
    for state, target in zip(states, targets, strict=True):
        learner.update(state, target)
    expected = weighted_batch(states, targets, forgetting, 0.1)
    np.testing.assert_allclose(
        np.vstack([learner.readout.weight, learner.readout.bias]), expected, rtol=1e-8, atol=1e-9
    )


def test_an_update_scores_before_it_learns() -> None:
    states, targets = samples(30)
    learner = RecursiveLeastSquares(4, 2)
    for state, target in zip(states, targets, strict=True):
        before = target - learner(state)
        np.testing.assert_allclose(learner.update(state, target), before)
        assert np.abs(target - learner(state)).sum() < np.abs(before).sum()


def test_forgetting_follows_weights_that_change() -> None:
    states, targets = samples(400)
    targets[200:] = -targets[200:]
    following, remembering = (RecursiveLeastSquares(4, 2, forgetting) for forgetting in (0.95, 1.0))
    for state, target in zip(states, targets, strict=True):
        following.update(state, target)
        remembering.update(state, target)
    assert np.abs(following.readout.weight + TRUE_WEIGHT).max() < 0.15
    assert np.abs(remembering.readout.weight + TRUE_WEIGHT).max() > 0.5


def test_a_long_rest_keeps_what_was_learned_and_the_covariance_bounded() -> None:
    states, targets = samples(200)
    learner = RecursiveLeastSquares(4, 2, forgetting=0.9)
    for state, target in zip(states, targets, strict=True):
        learner.update(state, target)
    weight, start = learner.readout.weight, RecursiveLeastSquares(4, 2).covariance.trace()
    for _ in range(5000):
        learner.update(np.zeros(4), learner.readout.bias)
    np.testing.assert_allclose(learner.readout.weight, weight)
    assert np.linalg.eigvalsh(learner.covariance).min() > 0 and learner.covariance.trace() <= start


def test_the_readout_taken_from_a_learner_stays_as_it_was() -> None:
    states, targets = samples(20)
    learner = RecursiveLeastSquares(4, 2)
    learner.update(states[0], targets[0])
    taken = learner.readout
    weight = taken.weight.copy()
    learner.update(states[1], targets[1])
    np.testing.assert_array_equal(taken.weight, weight)


def test_a_learner_goes_on_from_its_file_bit_by_bit(tmp_path: Path) -> None:
    states, targets = samples(40)
    learner = RecursiveLeastSquares(4, 2, forgetting=0.97)
    for i in range(20):
        learner.update(states[i], targets[i])
    learner.save(tmp_path / "learner.safetensors")
    restored = RecursiveLeastSquares.load(tmp_path / "learner.safetensors")
    for i in range(20, 40):
        np.testing.assert_array_equal(learner.update(states[i], targets[i]), restored.update(states[i], targets[i]))
    np.testing.assert_array_equal(learner.covariance, restored.covariance)


def test_a_readout_is_read_back_from_its_file(tmp_path: Path) -> None:
    states, targets = samples(40)
    readout = ridge(states, targets, 1.0)
    readout.save(tmp_path / "readout.safetensors")
    np.testing.assert_array_equal(Readout.load(tmp_path / "readout.safetensors")(states), readout(states))
    assert [file.name for file in tmp_path.iterdir()] == ["readout.safetensors"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    RecursiveLeastSquares(4, 2).save(tmp_path / "learner")
    (tmp_path / "damaged").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="covariance, settings, weight instead of bias, weight"):
        Readout.load(tmp_path / "learner")
    for name in ("damaged", "absent"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            RecursiveLeastSquares.load(tmp_path / name)


@pytest.mark.parametrize(
    "states, targets, penalty, message",
    [
        (np.zeros((3, 2)), np.zeros((4, 1)), 1.0, r"one row a sample, got \[3, 2\] and \[4, 1\]"),
        (np.zeros((3, 2)), np.zeros(3), 1.0, "targets must have 2 dimensions"),
        (np.zeros((3, 2)), np.zeros((3, 1)), 0.0, "penalty must be positive"),
        (np.full((3, 2), np.nan), np.zeros((3, 1)), 1.0, "states holds values that are not finite"),
    ],
)
def test_ridge_refuses_what_it_cannot_fit(states, targets, penalty: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ridge(states, targets, penalty)


@pytest.mark.parametrize(
    "state, target, message",
    [
        (np.zeros(3), np.zeros(2), r"must be \[4\] and \[2\], got \[3\] and \[2\]"),
        (np.array([0, 0, np.inf, 0]), np.zeros(2), "state holds values that are not finite"),
        (np.zeros((4, 1)), np.zeros(2), "state must have 1 dimension"),
    ],
)
def test_a_sample_that_is_refused_teaches_nothing(state, target, message: str) -> None:
    learner = RecursiveLeastSquares(4, 2)
    with pytest.raises(ValueError, match=message):
        learner.update(state, target)
    assert not learner.readout.weight.any()


@pytest.mark.parametrize(
    "arguments, message",
    [((0, 1), "features"), ((1, 0), "outputs"), ((1, 1, 0.0), "forgetting"), ((1, 1, 0.9, -1.0), "penalty")],
)
def test_a_learner_outside_its_ranges_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecursiveLeastSquares(*arguments)
