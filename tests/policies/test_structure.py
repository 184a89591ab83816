from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undrift.policies import Cell, CfC, DeployedPolicy, Wiring
from undrift.policies.cells.diagonal import Diagonal
from undrift.policies.cells.gru import GRU
from undrift.policies.cells.lstm import LSTM
from undrift.policies.cells.ltc import LTC
from undrift.policies.cells.reservoir import Reservoir
from undrift.policies.optim import FlatAdam
from undrift.policies.structure import grow, prune

REFERENCE = Path(__file__).parents[2] / "agents" / "reference"
NCP = Wiring.auto_ncp(3, 12, 2)
CELLS: dict[str, Callable[[], Cell]] = {
    "cfc": lambda: CfC(3, 6, backend="torch"),
    "cfc with deep backbone": lambda: CfC(3, 6, backbone_units=5, backbone_layers=2, backend="torch"),
    "cfc pure": lambda: CfC(3, 6, mode="pure"),
    "cfc-ncp": lambda: CfC(3, 12, NCP, backend="torch"),
    "cfc-ncp as in ncps": lambda: CfC(3, 12, NCP, compat="ncps", backend="torch"),
    "cfc-random": lambda: CfC(3, 7, Wiring.random(3, 7, 2), backend="torch"),
    "ltc": lambda: LTC(3, 6, backend="torch"),
    "ltc-ncp": lambda: LTC(3, 12, NCP, backend="torch"),
    "diagonal": lambda: Diagonal(3, 6, backend="torch"),
    "gru": lambda: GRU(3, 6, backend="torch"),
    "lstm": lambda: LSTM(3, 6, backend="torch"),
}


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> Cell:
    return make(request.param)


def make(name: str) -> Cell:
    torch.manual_seed(0)
    return CELLS[name]().double()


def sample(cell: Cell, steps: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, 3, cell.input_size, generator=rng, dtype=torch.float64)
    return x, cell.period * (0.25 + 2.0 * torch.rand(steps, 3, generator=rng, dtype=torch.float64))


@pytest.mark.parametrize("units", [1, 20])
def test_a_grown_cell_computes_the_same_also_from_the_middle_of_an_episode(cell: Cell, units: int) -> None:
    grown = grow(cell, units)
    x, dt = sample(cell)
    before, middle = cell.sequence(x[:10], cell.initial_state(3), dt[:10])
    after, _ = cell.sequence(x[10:], middle, dt[10:])
    outputs = cell.output_size
    larger = grown.policy
    assert larger.state_size == cell.state_size + units * (cell.state_size // cell.config["units"])
    from_the_start, _ = larger.sequence(x[:10], larger.initial_state(3), dt[:10])
    from_the_middle, _ = larger.sequence(x[10:], grown.state(middle), dt[10:])
    torch.testing.assert_close(from_the_start[..., :outputs], before, rtol=0, atol=1e-12)
    torch.testing.assert_close(from_the_middle[..., :outputs], after, rtol=0, atol=1e-12)


def test_growing_twice_and_pruning_back_keeps_the_cell_whole(cell: Cell) -> None:
    x, dt = sample(cell)
    grown = grow(grow(cell, 2, seed=1).policy, 3, seed=2).policy
    slim = prune(grown, 5 / grown.config["units"], x, dt).policy
    assert slim.state_size == cell.state_size
    if "wiring" not in cell.config or cell.config["wiring"] is None:
        assert slim.config == cell.config
    slim.sequence(x, slim.initial_state(3), dt)[0].square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in slim.parameters())


def test_the_old_cell_is_left_as_it_is(cell: Cell) -> None:
    x, dt = sample(cell)
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    random_state = torch.get_rng_state()
    grow(cell, 3)
    prune(cell, 0.3, x, dt)
    assert all(torch.equal(value, before[name]) for name, value in cell.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_new_inter_neurons_have_the_synapses_of_old_ones() -> None:
    cell = CfC(3, 12, NCP)
    wiring = grow(cell, 4).policy.wiring
    counts = {role: wiring.roles.count(role) - NCP.roles.count(role) for role in ("motor", "command", "inter")}
    assert counts == {"motor": 0, "command": 0, "inter": 4}
    old = {(*NCP.sensory[:, k], *NCP.recurrent[k]) for k in NCP.neurons("inter")}
    assert {(*wiring.sensory[:, k], *wiring.recurrent[k, :12]) for k in range(12, 16)} <= old


def test_new_and_old_neurons_part_in_training() -> None:
    cell = make("gru")
    x, dt = sample(cell)
    grown = grow(cell, 12)
    larger = grown.policy
    target = torch.cos(2.0 * x.cumsum(0))
    optimizer = torch.optim.Adam(larger.parameters(), 0.02)
    for _ in range(25):
        optimizer.zero_grad()
        error = larger.sequence(x, larger.initial_state(3), dt)[0][..., :3] - target
        error.square().mean().backward()
        optimizer.step()
    states = larger.sequence(x, larger.initial_state(3), dt)[0].detach().flatten(0, 1).numpy()
    alike = np.corrcoef(states.T)[range(6, 18), grown.source[6:]]
    twins = np.corrcoef(states.T)[6:, 6:][np.triu_indices(12, 1)]
    assert (np.abs(alike) < 0.999).all() and (np.abs(twins) < 0.999).all()


@pytest.mark.parametrize("optimizer_type", [torch.optim.Adam, FlatAdam, torch.optim.SGD])
def test_an_optimiser_goes_on_with_the_new_cell(optimizer_type: type[torch.optim.Optimizer]) -> None:
    cell, readout = make("cfc"), nn.Linear(6, 2).double()
    options = {"momentum": 0.9} if optimizer_type is torch.optim.SGD else {}
    optimizer = optimizer_type([*readout.parameters(), *cell.parameters()], lr=0.01, **options)
    x, dt = sample(cell)

    def descend(cell: Cell) -> float:
        optimizer.zero_grad()
        y, _ = cell.sequence(x, cell.initial_state(3), dt)
        loss = (readout(y[..., :6]) - torch.sin(x.cumsum(0)[..., :2])).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    before = [descend(cell) for _ in range(20)]
    old = moments(optimizer, cell.layers[0].heads.weight)
    larger = grow(cell, 4, optimizer=optimizer).policy
    new = moments(optimizer, larger.layers[0].heads.weight)
    head_rows, columns = np.add.outer(10 * np.arange(4), np.arange(6)).flatten(), [*range(3), *range(3, 9)]
    for name in old:
        kept = new[name][head_rows][:, columns]
        assert torch.equal(kept, old[name]) and kept.abs().sum() > 0
        assert new[name].count_nonzero() == kept.count_nonzero(), "what is new starts from zero"
    after = [descend(larger) for _ in range(40)]
    assert after[0] < before[-1] and after[-1] < 0.9 * after[0]
    smaller = prune(larger, 0.3, x, dt, optimizer=optimizer).policy
    again = [descend(smaller) for _ in range(20)]
    assert again[-1] < again[0]


def moments(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    if not isinstance(optimizer, FlatAdam):
        state = optimizer.state[parameter]
        return {name: value for name, value in state.items() if torch.is_tensor(value) and value.dim()}
    sizes = [view.numel() for view in optimizer.views]
    (index,) = [k for k, view in enumerate(optimizer.views) if view is parameter]
    state = optimizer.state[optimizer.vector]
    return {name: state[name].split(sizes)[index].view_as(parameter) for name in ("exp_avg", "exp_avg_sq")}


@pytest.mark.parametrize("optimizer_type", [torch.optim.Adam, FlatAdam])
def test_an_optimiser_of_something_else_is_refused(optimizer_type: type[torch.optim.Optimizer]) -> None:
    with pytest.raises(ValueError, match="does not hold the parameters"):
        grow(make("gru"), 1, optimizer=optimizer_type(nn.Linear(2, 2).parameters()))


def test_a_neuron_that_does_nothing_is_the_first_to_go() -> None:
    cell = CfC(3, 8, Wiring.dense(3, 8, 2), backend="torch").double()
    with torch.no_grad():
        cell.layers[0].heads.weight[:, 3 + 5] = 0.0
    x, dt = sample(cell)
    pruned = prune(cell, 1 / 8, x, dt)
    assert pruned.removed == (5,) and pruned.change_rms < 1e-15 < pruned.output_rms
    assert pruned.policy.wiring == Wiring.dense(3, 7, 2)


def test_the_report_says_what_pruning_cost(cell: Cell) -> None:
    x, dt = sample(cell)
    pruned = prune(cell, 0.3, x, dt)
    slim, units = pruned.policy, cell.config["units"]
    assert len(pruned.removed) == round(0.3 * units) == units - slim.config["units"]
    if "wiring" not in cell.config or cell.config["wiring"] is None:
        sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in (slim, cell)]
        assert pruned.share == pytest.approx(1.0 - sizes[0] / sizes[1])
    outputs = [each.sequence(x, each.initial_state(3), dt)[0].detach() for each in (cell, slim)]
    if outputs[0].shape[2] == units:
        outputs[0] = outputs[0][..., [k for k in range(units) if k not in pruned.removed]]
    assert pruned.output_rms == pytest.approx(float(outputs[0].square().mean().sqrt()))
    assert pruned.change_rms == pytest.approx(float((outputs[1] - outputs[0]).square().mean().sqrt()), abs=1e-15)


def test_motor_neurons_and_the_last_of_a_kind_stay() -> None:
    cell = CfC(3, 12, NCP, backend="torch").double()
    x, dt = sample(cell)
    wiring = prune(cell, 8 / 12, x, dt).policy.wiring
    assert [len(wiring.neurons(role)) for role in ("motor", "command", "inter")] == [2, 1, 1]
    with pytest.raises(ValueError, match="9 of 12 neurons; 1 to 8 may go"):
        prune(cell, 9 / 12, x, dt)


@pytest.mark.parametrize("name", ["cfc", "cfc-ncp", "cfc-ncp as in ncps", "cfc-random", "ltc", "ltc-ncp"])
def test_the_weakest_synapses_leave_the_wiring(name: str) -> None:
    cell = make(name)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, dt = sample(cell)
    pruned = prune(cell, 0.4, x, dt, of="synapses")
    slim = pruned.policy
    before, after = (np.concatenate([each.wiring.recurrent, each.wiring.sensory[::-1]]) for each in (cell, slim))
    gone = {(int(source), int(target)) for source, target in np.argwhere((before != 0) & (after == 0))}
    assert (
        gone == {(source % len(before), target) for source, target in pruned.removed}
        and not ((before == 0) & after).any()
    )
    weights = [cell.get_parameter(key) for key, _ in slim.named_parameters()]
    assert all(torch.equal(old, new) for old, new in zip(weights, slim.parameters(), strict=True))
    outputs = [each.sequence(x, each.initial_state(3), dt)[0] for each in (cell, slim)]
    change = (outputs[1] - outputs[0]).square().mean().sqrt().item()
    assert 0.0 < pruned.share < 0.4 and pruned.change_rms == pytest.approx(change)
    assert np.array_equal(before.any(0), after.any(0)), "no neuron is cut off"
    with pytest.raises(ValueError, match="synapses; 1 to"):
        prune(cell, 0.99, x, dt, of="synapses")


def test_a_synapse_without_weight_or_signal_goes_first() -> None:
    cell = make("ltc")
    x, dt = sample(cell)
    x[..., 1] = 0.0
    with torch.no_grad():
        cell.recurrent.weight[2, 4] = -60.0
    pruned = prune(cell, 7 / 54, x, dt, of="synapses")
    assert set(pruned.removed) == {(2, 4), *((-2, target) for target in range(6))}


def deployed(cell: Cell) -> DeployedPolicy:
    rng, inputs = np.random.default_rng(0), cell.input_size
    tensors: dict[str, Any] = {f"cell.{name}": value.detach().numpy() for name, value in cell.named_parameters()}
    for i, (rows, columns) in enumerate([(8, inputs + cell.output_size), (2, 8)]):
        tensors[f"actor.{i}.weight"] = rng.normal(size=(rows, columns)) / columns**0.5
        tensors[f"actor.{i}.bias"] = 0.1 * rng.normal(size=rows)
    config = {
        "format": 2,
        "cell": cell.config,
        "observation_scale": [0.5, 1.0, 2.0],
        "actor_layers": 2,
        "action_size": 2,
        "squash": False,
        "observation_names": ["a", "b", "c"],
    }
    return DeployedPolicy(config, tensors)


@pytest.mark.parametrize(
    "name", ["cfc", "cfc with deep backbone", "cfc-ncp", "ltc", "ltc-ncp", "diagonal", "gru", "lstm"]
)
def test_a_deployed_policy_grows_in_flight_without_a_change_of_its_actions(name: str) -> None:
    assert_grows_in_flight(deployed(make(name)))


def assert_grows_in_flight(policy: DeployedPolicy) -> None:
    rng = np.random.default_rng(1)
    observations = rng.normal(size=(40, 3, policy.input_size)) * policy.config["observation_scale"]
    grown, dt, largest = grow(policy, 5), rng.uniform(0.005, 0.05, 3), 0.0
    h = larger_h = policy.initial_state(3)
    for t, observation in enumerate(observations):
        if t == 15:
            larger_h = grown.state(h)
        action, h = policy.step(observation, h, dt)
        if t >= 15:
            same, larger_h = grown.policy.step(observation, larger_h, dt)
            np.testing.assert_allclose(same, action, rtol=0, atol=2e-6)
        largest = max(largest, np.abs(action).max())
    assert largest > 0.1 and grown.policy.state_size == len(grown.source) > policy.state_size


def test_the_shipped_policy_grows_and_says_what_pruning_costs() -> None:
    policy = DeployedPolicy.load(REFERENCE)
    assert_grows_in_flight(policy)
    x = np.random.default_rng(2).normal(size=(30, 4, policy.input_size)) * policy.config["observation_scale"]
    costs = [prune(policy, fraction, x) for fraction in (0.05, 0.5)]
    assert 0.0 < costs[0].change_rms < costs[1].change_rms < costs[0].output_rms
    assert costs[1].policy.state_size == policy.state_size // 2
    assert costs[1].share > 0.3
    assert DeployedPolicy(costs[1].policy.config, costs[1].policy.tensors).sha256 == costs[1].policy.sha256


def test_a_deployed_policy_changes_without_torch() -> None:
    program = f"""
import sys
from undrift.policies.deployed import DeployedPolicy
from undrift.policies.structure import grow
assert grow(DeployedPolicy.load({str(REFERENCE)!r}), 2).policy.state_size > 2
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_misuse_is_refused_with_what_to_do() -> None:
    cell = make("gru")
    x, dt = sample(cell)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        grow(cell, 0)
    with pytest.raises(ValueError, match=r"lies in \(0, 1\), got 1.0"):
        prune(cell, 1.0, x, dt)
    with pytest.raises(ValueError, match="0 of 6 neurons; 1 to 0"):
        prune(cell, 0.01, x, dt)
    with pytest.raises(ValueError, match="cell 'reservoir' has no neurons to add or remove; the cells are cfc"):
        grow(Reservoir(3, 5), 1)
    with pytest.raises(ValueError, match="no synapses that a wiring could leave out; prune neurons"):
        prune(cell, 0.5, x, dt, of="synapses")
    with pytest.raises(ValueError, match="neurons or synapses, got 'weights'"):
        prune(cell, 0.5, x, dt, of="weights")
    with pytest.raises(ValueError, match="a deployed policy has no optimiser"):
        grow(deployed(make("cfc")), 1, optimizer=torch.optim.Adam(cell.parameters()))
