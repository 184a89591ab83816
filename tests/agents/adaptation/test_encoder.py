"""The history encoder against its cell in torch, and damaged files."""

import numpy as np
import pytest
import torch

from undrift.agents.adaptation.encoder import BOUND, HistoryEncoder, history_channels
from undrift.policies import make_cell


def test_it_reads_residuals_trends_commands_and_context(nominal):
    residuals, trends = ("residual/vx", "residual/vy"), ("trend/vx", "trend/vy")
    assert history_channels(nominal.signals) == (*residuals, *trends, "command/0", "tilt")


def test_it_tells_what_its_cell_and_readout_say_within_the_bound(encoder):
    network = encoder.network
    cell = make_cell(network.config["cell"]).double()
    cell.load_state_dict({name[5:]: torch.tensor(t) for name, t in network.tensors.items() if name.startswith("cell.")})
    rng = np.random.default_rng(0)
    h, expected = encoder.initial_state(3), torch.zeros(3, 5, dtype=torch.float64)
    weight, told_at_most = network.tensors["actor.0.weight"].astype(np.float64), 0.0
    for scale in (1.0, 1.0, 20.0):
        x, elapsed = rng.normal(size=(3, 6)) * scale, rng.uniform(0.01, 0.1, 3)
        d, h = encoder.step(x, h, elapsed)
        with torch.no_grad():
            expected = cell.step(torch.tensor(x), expected, torch.tensor(elapsed))
        told = np.concatenate([x, expected.numpy()], axis=1) @ weight.T
        np.testing.assert_allclose(d, BOUND * np.clip(told, -1, 1), atol=2e-5)
        told_at_most = max(told_at_most, np.abs(told).max())
    assert told_at_most > 1.0


def test_a_saved_encoder_is_read_back_equal(encoder, tmp_path):
    encoder.save(tmp_path)
    loaded = HistoryEncoder.load(tmp_path)
    assert loaded.network.sha256 == encoder.network.sha256 and loaded.trained == {"seed": 0}


def test_a_folder_without_an_encoder_has_none(tmp_path):
    assert HistoryEncoder.load(tmp_path) is None


@pytest.mark.parametrize("name", ["history.json", "history.safetensors"])
def test_half_an_encoder_is_refused_and_what_lacks_is_named(encoder, tmp_path, name):
    encoder.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing"):
        HistoryEncoder.load(tmp_path)


@pytest.mark.parametrize("name", ["history.json", "history.safetensors"])
def test_a_truncated_file_is_one_clear_error(encoder, tmp_path, name):
    encoder.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="history encoder in .* cannot be read"):
        HistoryEncoder.load(tmp_path)


def test_weights_of_another_encoder_are_refused(encoder, tmp_path):
    encoder.save(tmp_path)
    content = bytearray((tmp_path / "history.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "history.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="do not belong together"):
        HistoryEncoder.load(tmp_path)
