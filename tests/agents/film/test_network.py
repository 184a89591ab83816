"""The inside of the network is that of the policy which flew, at the moment that is shown."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from undrift.agents import Episode, Run
from undrift.agents.film.figure import draw_neurons, save_neurons
from undrift.agents.film.network import Circuit, Inset, render_network

from .conftest import Fly, changed

POLICY = Run.reference().policy


def test_states_and_actions_are_those_that_flew(learned: Episode) -> None:
    circuit = Circuit(POLICY, learned)
    action, after = POLICY.step(learned.shown, circuit.states[:-1], circuit.dt)
    np.testing.assert_allclose(action, learned.policy_action, atol=1e-5)
    state, tau, carried = circuit.at(60)
    np.testing.assert_allclose(state * circuit.state_scale, after[60, : circuit.units], atol=1e-5)
    assert tau.shape == (64,) and (tau > 0).all()
    assert carried.shape == (34 + 64, 64 + 4)
    assert (carried[:34, 64:] == 0).all()  # inputs reach actions by way of neurons, as far as is drawn


def test_what_synapses_from_inputs_carry_adds_up_to_what_the_inputs_do(learned: Episode) -> None:
    """To first order: dh'/dx x is the change of the state where all inputs grow in proportion."""
    circuit, k, grown = Circuit(POLICY, learned), 60, 1e-2
    _, _, carried = circuit.at(k)
    into = (carried * circuit.carried_scale)[:34, :64].sum(axis=0)
    x, h, dt = circuit.shown[[k]], circuit.states[[k]], circuit.dt[[k]]
    more, less = (POLICY.step(x * (1 + sign * grown), h, dt)[1][0, :64] for sign in (1, -1))
    np.testing.assert_allclose(into, (more - less) / (2 * grown), atol=0.02)


def test_another_policy_or_an_episode_without_view_is_refused(learned: Episode, fly: Fly) -> None:
    with pytest.raises(ValueError, match="another policy flew this episode, that of run 'mine'"):
        Circuit(POLICY, changed(learned, policy_sha256="ab", run="mine"))
    with pytest.raises(ValueError, match="does not record what its policy was shown"):
        Circuit(POLICY, fly("none", "frozen"))


def test_the_inset_lights_up_with_the_episode_and_leaves_the_rest_alone(learned: Episode) -> None:
    inset = Inset(POLICY, learned, (640, 360))
    blank = np.full((360, 640, 3), 60, np.uint8)
    first, second = (inset.draw(blank, step).astype(int) for step in (20, 70))
    left, top, right, bottom = inset.brush.box(inset.box)
    inside = np.zeros((360, 640), bool)
    inside[top:bottom, left:right] = True
    assert (first[~inside] == 60).all()
    assert (first != second).any(axis=2)[inside].mean() > 0.05
    orange = (first[..., 0] > first[..., 2] + 40)[inside].sum()
    blue = (first[..., 2] > first[..., 0] + 40)[inside].sum()
    assert min(orange, blue) > 200


def test_the_film_of_a_network_runs_with_the_episode(learned: Episode, tmp_path: Path) -> None:
    path = render_network(POLICY, learned, tmp_path / "net.mp4", size=(320, 180), before=0.5, after=0.5, fps=10)
    reader = imageio_ffmpeg.read_frames(path)
    facts = next(reader)
    frames = np.stack([np.frombuffer(frame, np.uint8).reshape(180, 320, 3) for frame in reader]).astype(int)
    assert facts["codec"] == "h264" and facts["size"] == (320, 180)
    assert len(frames) == 10 and facts["duration"] == pytest.approx(1.0, abs=0.11)
    assert (np.abs(np.diff(frames[:, :, :190], axis=0)).mean(axis=(1, 2, 3)) > 0.1).all()
    raster = frames[:, 40:105, 205:310]
    assert (np.diff([(frame.max(axis=2) > 60).sum() for frame in raster]) >= 0).all()


def test_the_figure_shows_states_time_constants_and_the_saliency_of_every_channel_on_every_action(
    learned: Episode, tmp_path: Path
) -> None:
    figure = draw_neurons(POLICY, learned)
    pictures = [axes.images[0].get_array() for axes in figure.get_axes() if axes.images]
    states, constants, before, after = pictures[:4]
    assert states.shape == (64, 100) and constants.shape == (64, 100)
    assert before.shape == after.shape == (34, 4)
    names = POLICY.observation_names
    assert before[names.index("position_error_z")].argmax() == 0  # height is held by thrust
    assert before[names.index("body_rate_x")].argmax() == 1  # roll by the roll rate
    with pytest.raises(ValueError, match=r"must end in \.png"):
        save_neurons(POLICY, learned, tmp_path / "neurons.txt")
