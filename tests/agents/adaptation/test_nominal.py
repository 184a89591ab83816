"""The nominal model against the formula in its docstring, finite differences, and damaged files."""

import pickle

import numpy as np
import pytest

from undrift.agents.adaptation import NominalModel
from undrift.agents.adaptation.nominal import ERROR_PER_ACCELERATION, RESPONSE_RANGE


def test_accelerations_follow_the_documented_equation(random_nominal):
    t = random_nominal.tensors
    inputs = np.random.default_rng(0).normal(size=(7, 5))
    z = inputs / t["in_scale"]
    hidden = np.tanh(np.tanh(z @ t["w1"] + t["b1"]) @ t["w2"] + t["b2"])
    expected = t["out_mean"] + t["out_scale"] * (hidden @ t["w3"] + t["b3"] + z @ t["skip"])
    np.testing.assert_allclose(random_nominal.accelerations(inputs), expected, rtol=1e-12)


def test_input_gain_is_the_derivative_to_a_command_that_stays(random_nominal):
    inputs = np.random.default_rng(1).normal(size=(7, 5))
    step = np.array([0, 0, 0, 1e-6, 1e-6])
    difference = random_nominal.accelerations(inputs + step) - random_nominal.accelerations(inputs - step)
    np.testing.assert_allclose(random_nominal.input_gain(inputs)[:, :, 0], difference / 2e-6, rtol=1e-7, atol=1e-9)


def test_inputs_are_rates_context_and_commands(nominal):
    observation = np.array([[9.0, 9.0, 1.0, 2.0, 0.5, 9.0, 9.0, 9.0]])
    commands = np.array([[[0.3], [0.2]]])
    np.testing.assert_array_equal(nominal.reader.inputs(observation, commands), [[1.0, 2.0, 0.5, 0.3, 0.2]])


def test_the_response_is_cut_beyond_the_range_it_was_identified_in(nominal):
    np.testing.assert_allclose(nominal.response(np.array([[2.0, -1.0]])), [[-2.0, 0.8]])
    np.testing.assert_allclose(nominal.response(np.array([[100.0, 0.0]])), [[-RESPONSE_RANGE, 0.0]])


def test_an_acceleration_is_asked_for_as_the_path_it_makes_in_the_preview(nominal):
    observation = np.arange(8.0)[None]
    shown = nominal.asked(observation, np.array([[2.0, -4.0]]))
    np.testing.assert_allclose(shown - observation, [[0, 0, 0, 0, 0, 0, 0.5 * 0.25 * 2.0, -0.5 * 0.25 * 4.0]])


def test_without_a_preview_an_acceleration_is_asked_for_through_the_error(nominal_without_preview):
    observation = np.zeros((1, 8))
    shown = nominal_without_preview.asked(observation, np.array([[2.0, -4.0]]))
    np.testing.assert_allclose(shown[0, :2], [-2.0 * ERROR_PER_ACCELERATION, 4.0 * ERROR_PER_ACCELERATION])
    assert not shown[0, 2:].any()


def test_a_saved_model_is_read_back_equal(random_nominal, tmp_path):
    random_nominal.save(tmp_path)
    loaded = NominalModel.load(tmp_path)
    inputs = np.random.default_rng(2).normal(size=(3, 5))
    np.testing.assert_array_equal(loaded.accelerations(inputs), random_nominal.accelerations(inputs))
    assert loaded.signals == random_nominal.signals and loaded.dt == random_nominal.dt
    assert loaded.unfit == ""
    random_nominal.unfit = "it gains nothing"
    random_nominal.save(tmp_path)
    assert NominalModel.load(tmp_path).unfit == "it gains nothing"


def test_a_saved_model_takes_its_encoder_along(random_nominal, encoder, tmp_path):
    random_nominal.save(tmp_path)
    assert NominalModel.load(tmp_path).encoder is None
    random_nominal.encoder = encoder
    random_nominal.save(tmp_path)
    assert NominalModel.load(tmp_path).encoder.network.sha256 == encoder.network.sha256


def test_a_pickled_model_is_equal_and_brings_no_compiled_code(random_nominal, encoder):
    random_nominal.encoder, random_nominal.unfit = encoder, "it gains nothing"
    content = pickle.dumps(random_nominal)
    again = pickle.loads(content)
    assert b"numba" not in content and again.sha256 == random_nominal.sha256
    inputs = np.random.default_rng(2).normal(size=(3, 5))
    np.testing.assert_array_equal(again.accelerations(inputs), random_nominal.accelerations(inputs))


def test_the_hash_changes_with_weights_signals_and_encoder(random_nominal, encoder):
    hashes = [random_nominal.sha256]
    random_nominal.tensors["b3"][0] += 1e-9
    hashes.append(random_nominal.sha256)
    random_nominal.encoder = encoder
    hashes.append(random_nominal.sha256)
    random_nominal.dt *= 2
    assert len({*hashes, random_nominal.sha256}) == 4


def test_a_missing_file_is_named(nominal, tmp_path):
    nominal.save(tmp_path)
    (tmp_path / "nominal.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"nominal\.safetensors is missing"):
        NominalModel.load(tmp_path)


@pytest.mark.parametrize("name", ["nominal.json", "nominal.safetensors"])
def test_a_truncated_file_is_one_clear_error(nominal, tmp_path, name):
    nominal.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        NominalModel.load(tmp_path)


def test_weights_that_do_not_fit_the_signals_are_refused(nominal):
    wrong = dict(nominal.tensors) | {"skip": np.zeros((4, 2))}
    with pytest.raises(ValueError, match=r"skip has shape \(4, 2\), expected \(5, 2\)"):
        NominalModel(nominal.observation_names, nominal.signals, 0.02, nominal.history, wrong)


def test_weights_that_are_not_finite_are_refused(nominal):
    wrong = dict(nominal.tensors) | {"b3": np.array([0.0, np.nan])}
    with pytest.raises(ValueError, match="b3 is not finite"):
        NominalModel(nominal.observation_names, nominal.signals, 0.02, nominal.history, wrong)
