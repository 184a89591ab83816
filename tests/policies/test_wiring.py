from __future__ import annotations

import json

import ncps.wirings
import numpy as np
import pytest

from undrift.policies.wiring import Wiring


def test_a_dense_wiring_connects_everything() -> None:
    wiring = Wiring.dense(3, 5, outputs=2)
    assert wiring.is_dense and (wiring.inputs, wiring.units, wiring.outputs) == (3, 5, 2)
    assert wiring.roles == ("motor", "motor", "inter", "inter", "inter")
    assert Wiring.dense(3, 5).outputs == 5


@pytest.mark.parametrize("seed", [0, 1, 22222])
@pytest.mark.parametrize("units, outputs, sparsity", [(64, 8, 0.5), (20, 4, 0.5), (30, 2, 0.9), (12, 3, 0.1)])
def test_auto_ncp_draws_the_graph_of_ncps(seed: int, units: int, outputs: int, sparsity: float) -> None:
    theirs = ncps.wirings.AutoNCP(units, outputs, sparsity_level=sparsity, seed=seed)
    theirs.build(7)
    ours = Wiring.auto_ncp(7, units, outputs, sparsity=sparsity, seed=seed)
    np.testing.assert_array_equal(ours.sensory, theirs.sensory_adjacency_matrix)
    np.testing.assert_array_equal(ours.recurrent, theirs.adjacency_matrix)
    assert list(ours.roles) == [theirs.get_type_of_neuron(k) for k in range(units)]


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
