from __future__ import annotations

import json
import subprocess
import sys

import ncps.wirings
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from undrift.policies.drawing import SYNAPSES
from undrift.policies.wiring import Wiring


def test_a_dense_wiring_connects_everything() -> None:
    wiring = Wiring.dense(3, 5, outputs=2)
    assert wiring.is_dense and (wiring.inputs, wiring.units, wiring.outputs) == (3, 5, 2)
    assert wiring.roles == ("motor", "motor", "inter", "inter", "inter")
    assert Wiring.dense(3, 5).outputs == 5


def assert_graph_of_ncps(ours: Wiring, theirs: ncps.wirings.Wiring) -> None:
    theirs.build(ours.inputs)
    np.testing.assert_array_equal(ours.sensory, theirs.sensory_adjacency_matrix)
    np.testing.assert_array_equal(ours.recurrent, theirs.adjacency_matrix)
    assert list(ours.roles) == [theirs.get_type_of_neuron(k) for k in range(ours.units)]


SEEDS = st.integers(0, 2**32 - 1)
# ncps takes 0.1 to 0.9
SPARSITIES = st.floats(0.1, 0.9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 20), st.integers(1, 6), st.integers(3, 40), SPARSITIES)
def test_auto_ncp_draws_the_graph_of_ncps(seed: int, inputs: int, outputs: int, others: int, sparsity: float) -> None:
    units = outputs + others
    theirs = ncps.wirings.AutoNCP(units, outputs, sparsity_level=sparsity, seed=seed)
    assert_graph_of_ncps(Wiring.auto_ncp(inputs, units, outputs, sparsity=sparsity, seed=seed), theirs)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 20), st.integers(1, 6), st.integers(0, 20), SPARSITIES)
def test_random_draws_the_graph_of_ncps(seed: int, inputs: int, outputs: int, others: int, sparsity: float) -> None:
    units = outputs + others
    theirs = ncps.wirings.Random(units, outputs, sparsity_level=sparsity, random_seed=seed)
    assert_graph_of_ncps(Wiring.random(inputs, units, outputs, sparsity, seed), theirs)


def test_a_random_wiring_leaves_out_the_share_it_is_told() -> None:
    wiring = Wiring.random(10, 40, 5, sparsity=0.75)
    assert np.count_nonzero(wiring.recurrent) == 400 and np.count_nonzero(wiring.sensory) == 100
    assert wiring.roles == Wiring.dense(10, 40, 5).roles
    assert Wiring.random(10, 40, sparsity=0.0).outputs == 40


def test_the_lane_keeping_circuit_has_the_size_of_its_paper() -> None:
    wiring = Wiring.lane_keeping()
    assert [len(wiring.neurons(role)) for role in ("inter", "command", "motor")] == [12, 6, 1]
    assert (wiring.inputs, wiring.units, wiring.outputs) == (32, 19, 1)
    assert [int(synapses.sum()) for synapses in wiring.layer_synapses] == [192, 48, 6]
    drawn = [Wiring.lane_keeping(seed=seed) for seed in range(40)]
    counts = [np.count_nonzero(wiring.sensory) + np.count_nonzero(wiring.recurrent) for wiring in drawn]
    assert max(counts) == 252, "6 different pairs of command neurons"
    assert Wiring.lane_keeping(inputs=18).inputs == 18


@pytest.mark.parametrize(
    "wiring",
    [Wiring.lane_keeping(), Wiring.auto_ncp(18, 64, 8), Wiring.random(4, 9, 2), Wiring.dense(3, 5), Wiring.dense(1, 1)],
    ids=["lane-keeping", "64 neurons", "random", "dense", "one neuron"],
)
def test_a_picture_shows_every_neuron_and_every_synapse(wiring: Wiring, tmp_path) -> None:
    figure = wiring.draw()
    (axes,) = figure.axes
    synapses, *neurons = axes.collections
    drawn = [to_hex(color) for color in synapses.get_colors()]
    adjacency = np.concatenate([wiring.sensory, wiring.recurrent])
    for polarity, (name, color) in SYNAPSES.items():
        count = np.count_nonzero(adjacency == polarity)
        assert drawn.count(color) == count
        assert f"{count} {name}" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(synapses.get_segments()) == len(drawn)
    assert sum(len(column.get_offsets()) for column in neurons) == wiring.inputs + wiring.units
    labels = [text.get_text() for text in axes.texts]
    assert labels[0] == f"sensory\n{wiring.inputs}" and labels[-1] == f"motor\n{wiring.outputs}"
    figure.savefig(tmp_path / "circuit.png", dpi=40)
    assert (tmp_path / "circuit.png").stat().st_size > 1000


def test_a_picture_shows_neurons_without_synapses() -> None:
    figure = Wiring(np.zeros((2, 3)), np.zeros((3, 3)), ("motor",) * 3).draw()
    figure.canvas.draw()
    assert figure.legends[0].get_title().get_text() == "0 synapses"


def test_matplotlib_is_loaded_to_draw_only() -> None:
    program = "import sys, undrift.policies.wiring; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_ncp_draws_the_graph_of_ncps_and_leaves_no_neuron_unreached() -> None:
    degrees = {"sensory_fanout": 1, "inter_fanout": 1, "motor_fanin": 1}
    theirs = ncps.wirings.NCP(9, 6, 2, recurrent_command_synapses=4, seed=3, **degrees)
    theirs.build(3)
    ours = Wiring.ncp(3, 9, 6, 2, recurrent_command=4, seed=3, **degrees)
    np.testing.assert_array_equal(ours.sensory, theirs.sensory_adjacency_matrix)
    np.testing.assert_array_equal(ours.recurrent, theirs.adjacency_matrix)
    assert ours.sensory[:, ours.neurons("inter")].any(0).all()
    assert all(synapses.any(0).all() for synapses in ours.layer_synapses)
    assert ours.recurrent[:, ours.neurons("motor")][ours.neurons("command")].any(1).all()


def test_layers_run_from_the_inputs_to_the_motor_neurons() -> None:
    wiring = Wiring.ncp(
        5, inter=4, command=3, motor=2, sensory_fanout=2, inter_fanout=2, recurrent_command=2, motor_fanin=2
    )
    assert wiring.layers == [range(5, 9), range(2, 5), range(2)]
    assert [synapses.shape for synapses in wiring.layer_synapses] == [(5, 4), (4, 3), (3, 2)]
    assert Wiring.dense(5, 4, 1).layers == [range(4)]


def test_a_wiring_survives_json() -> None:
    wiring = Wiring.auto_ncp(6, 16, 3, seed=5)
    again = Wiring.from_dict(json.loads(json.dumps(wiring.to_dict())))
    assert again == wiring and hash(again) == hash(wiring)
    assert again != Wiring.auto_ncp(6, 16, 3, seed=6)


def test_a_wiring_cannot_be_changed() -> None:
    wiring = Wiring.dense(2, 3)
    with pytest.raises(ValueError):
        wiring.sensory[0, 0] = 0
    with pytest.raises(AttributeError):
        wiring.roles = ("inter",)  # type: ignore[misc]


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Wiring.dense(0, 3), "inputs must be at least 1"),
        (lambda: Wiring.dense(2, 3, 4), r"outputs \(4\) cannot exceed units \(3\)"),
        (lambda: Wiring.auto_ncp(2, 5, 3), "units > outputs \\+ 2"),
        (lambda: Wiring.auto_ncp(2, 9, 3, sparsity=1.0), r"sparsity must lie in \[0, 1\)"),
        (lambda: Wiring.random(2, 9, sparsity=-0.1), r"sparsity must lie in \[0, 1\)"),
        (lambda: Wiring.random(2, 9, 10), r"outputs \(10\) cannot exceed units \(9\)"),
        (
            lambda: Wiring.ncp(2, 4, 3, 2, 5, 2, 1, 2),
            "sensory_fanout must lie between 1 and the 4 inter neurons, got 5",
        ),
        (lambda: Wiring.ncp(2, 4, 3, 2, 2, 2, -1, 2), "recurrent_command cannot be negative"),
        (lambda: Wiring.dense(2, 3).neurons("hidden"), "the roles are motor, command, inter"),
        (lambda: Wiring(np.ones((2, 3)), np.ones((2, 2)), ("motor",) * 2), r"sensory must be \[2, 2\]"),
        (lambda: Wiring(np.full((2, 2), 2), np.ones((2, 2)), ("motor",) * 2), "polarities -1, 0 or \\+1"),
        (lambda: Wiring(np.ones((2, 2)), np.ones((2, 2)), ("inter", "motor")), "motor neurons first"),
        (lambda: Wiring(np.ones((2, 2)), np.ones((2, 2)), ("inter",) * 2), "at least one input and one motor"),
        (lambda: Wiring.from_dict({"sensory": ["+"]}), "recurrent, roles missing"),
        (lambda: Wiring.from_dict({"sensory": ["x"], "recurrent": ["+"], "roles": {"motor": 1}}), "found 'x'"),
    ],
)
def test_a_wrong_wiring_is_refused_with_what_to_do(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
