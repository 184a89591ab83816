from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ncps.torch import LTC as NcpsLTC
from ncps.torch import LTCCell
from ncps.wirings import AutoNCP, FullyConnected
from scipy.integrate import solve_ivp
from torch import Tensor

from undrift.policies import LTC, DeployedPolicy, Wiring, check_cell, make_cell
from undrift.policies.kernels.ltc import LEAST_CONDUCTANCE
from undrift.policies.ncps import import_ncps
from undrift.policies.prepared import PreparedCell, prepared

PERIOD = 0.02
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-12)}
THEIR_NAMES = {
    "input_gain": "input_w",
    "input_bias": "input_b",
    "output_gain": "output_w",
    "output_bias": "output_b",
    "capacitance": "cm",
    "leak_conductance": "gleak",
    "leak_potential": "vleak",
    "sensory.weight": "sensory_w",
    "sensory.reversal": "sensory_erev",
    "sensory.slope": "sensory_sigma",
    "sensory.threshold": "sensory_mu",
    "recurrent.weight": "w",
    "recurrent.reversal": "erev",
    "recurrent.slope": "sigma",
    "recurrent.threshold": "mu",
}


def dense() -> FullyConnected:
    return FullyConnected(12, 5)


def auto_ncp() -> AutoNCP:
    return AutoNCP(12, 3, seed=4)


def ncps_cell(wiring, dtype: torch.dtype, positive_by_softplus: bool = True) -> LTCCell:
    cell = LTCCell(wiring, 6, implicit_param_constraints=positive_by_softplus).to(dtype)
    with torch.no_grad():
        for name in ("input_w", "input_b", "output_w", "output_b"):
            getattr(cell, name).add_(0.3 * torch.randn_like(getattr(cell, name)))
    return cell


def ncps_sequence(
    cell: LTCCell, x: Tensor, h: Tensor, dt: Tensor | None = None, reset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(len(x)):
        if reset is not None:
            h = h * (1.0 - reset[t][:, None])
        y, h = cell(x[t], h, 1.0 if dt is None else dt[t][:, None] / PERIOD)
        outputs.append(y)
    return torch.stack(outputs), h


def relative(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("wiring", [dense, auto_ncp])
@pytest.mark.parametrize("elapsed", [False, True], ids=["constant-period", "elapsed-time"])
@pytest.mark.parametrize("steps, rows, resets", [(9, 5, True), (7, 16, False), (1, 4, True), (6, 1, True)])
def test_sequences_and_gradients_are_those_of_the_ncps_cell(
    dtype: torch.dtype, backend: str, wiring, elapsed: bool, steps: int, rows: int, resets: bool
) -> None:
    torch.manual_seed(steps)
    theirs = ncps_cell(wiring(), dtype)
    ours = import_ncps(theirs, PERIOD, backend)
    x = torch.randn(steps, rows, 6, dtype=dtype, requires_grad=True)
    h = torch.rand(rows, 12, dtype=dtype).sub(0.5).requires_grad_()
    dt = (PERIOD * (0.2 + 2 * torch.rand(steps, rows, dtype=dtype))).requires_grad_() if elapsed else None
    reset = (torch.rand(steps, rows) < 0.3).to(dtype) if resets else None
    inputs = [x, h] if dt is None else [x, h, dt]

    results = []
    for run in (lambda: ours.sequence(x, h, dt, reset), lambda: ncps_sequence(theirs, x, h, dt, reset)):
        for tensor in inputs:
            tensor.grad = None
        y, final = run()
        torch.manual_seed(0)
        loss = (y * torch.randn_like(y)).sum() + final.square().sum()
        loss.backward()
        results.append(([y.detach(), final.detach()], [tensor.grad.clone() for tensor in inputs]))
    (values, gradients), (expected_values, expected_gradients) = results
    for name, their_name in THEIR_NAMES.items():
        gradients.append(ours.get_parameter(name).grad)
        expected_gradients.append(theirs.get_parameter(their_name).grad)
    assert {name for name, _ in ours.named_parameters()} == set(THEIR_NAMES)

    value_tolerance, gradient_tolerance = TOLERANCE[dtype]
    assert max(map(relative, values, expected_values)) < value_tolerance
    assert max(map(relative, gradients, expected_gradients)) < gradient_tolerance


@pytest.mark.parametrize("wiring", [Wiring.random(18, 64, sparsity=0.0), Wiring.auto_ncp(18, 64, 4)])
def test_numba_matches_torch_at_the_size_of_a_policy(wiring: Wiring) -> None:
    torch.manual_seed(0)
    fast = LTC(18, 64, wiring, time_constants=(1.0, 30.0), backend="numba")
    slow = LTC(18, 64, wiring, time_constants=(1.0, 30.0), backend="torch")
    slow.load_state_dict(fast.state_dict())
    x, h, reset = torch.randn(12, 40, 18), torch.zeros(40, 64), torch.rand(12, 40) < 0.05
    outputs = [cell.sequence(x, h, None, reset)[0] for cell in (fast, slow)]
    weight = torch.randn_like(outputs[0])
    for y in outputs:
        (y * weight).sum().backward()
    assert relative(*outputs) < 1e-5
    for ours, reference in zip(fast.parameters(), slow.parameters(), strict=True):
        assert relative(ours.grad, reference.grad) < 1e-4


@settings(max_examples=25, deadline=None)
@given(
    inputs=st.integers(1, 5),
    units=st.integers(1, 40),
    rows=st.integers(1, 20),
    steps=st.integers(1, 4),
    density=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    timed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_numba_computes_what_torch_does_on_any_shape_and_synapses(
    inputs: int, units: int, rows: int, steps: int, density: float, timed: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    polarities = [rng.choice([-1, 1], (n, units)) * (rng.random((n, units)) < density) for n in (inputs, units)]
    wiring = Wiring(*polarities, ("motor",) * units)
    torch.manual_seed(seed)
    fast = LTC(inputs, units, wiring, unfolds=2, backend="numba").double()
    slow = LTC(inputs, units, wiring, unfolds=2, backend="torch").double()
    slow.load_state_dict(fast.state_dict())
    x = torch.randn(steps, rows, inputs, dtype=torch.float64, requires_grad=True)
    h, dt = torch.randn(rows, units, dtype=torch.float64), PERIOD * torch.rand(steps, rows, dtype=torch.float64)
    reset = torch.rand(steps, rows) < 0.3
    gradients = []
    for cell in (fast, slow):
        states = cell.sequence(x, h, dt if timed else None, reset)[0]
        leaves = [x, *cell.parameters()]
        gradients.append([states, *torch.autograd.grad(states.square().sum(), leaves, allow_unused=True)])
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        after = slow.step(x[0], h, dt[0])
    np.testing.assert_allclose(prepared(fast).step(x[0].detach(), h, dt[0]), after, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"unfolds": 2, "backend": "torch"},
        {"unfolds": 2, "solver": "euler"},
        {"unfolds": 1, "solver": "rk4"},
        {"unfolds": 2, "wiring": Wiring.auto_ncp(2, 6, 2), "time_constants": (1.0, 20.0)},
    ],
)
def test_every_solver_keeps_the_contract_of_a_cell(options: dict) -> None:
    units = options["wiring"].units if "wiring" in options else 3
    check_cell(lambda: LTC(2, units, **options))


def exact_state(cell: LTC, x: Tensor, h: Tensor, periods: float) -> np.ndarray:
    """The membrane equation as it is written down, solved to 1e-13."""
    p = {name: value.detach().numpy() for name, value in cell.named_parameters()}
    capacitance, leak = np.logaddexp(0, p["capacitance"]), np.logaddexp(0, p["leak_conductance"])
    inputs = x[0].numpy() * p["input_gain"] + p["input_bias"]
    present = {"sensory": cell.wiring.sensory != 0, "recurrent": cell.wiring.recurrent != 0}

    def change(_: float, v: np.ndarray) -> np.ndarray:
        current = leak * (p["leak_potential"] - v) - LEAST_CONDUCTANCE * v
        for part, before in (("sensory", inputs), ("recurrent", v)):
            opening = 1 / (1 + np.exp(-p[f"{part}.slope"] * (before[:, None] - p[f"{part}.threshold"])))
            conductance = present[part] * np.logaddexp(0, p[f"{part}.weight"]) * opening
            current = current + (conductance * (p[f"{part}.reversal"] - v)).sum(0)
        return current / capacitance

    return solve_ivp(change, (0, periods), h[0].numpy(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


@pytest.mark.parametrize("solver, order, substeps", [("semi_implicit", 1, 200), ("euler", 1, 200), ("rk4", 4, 16)])
def test_the_solvers_converge_to_the_differential_equation_at_their_order(
    solver: str, order: int, substeps: int
) -> None:
    torch.manual_seed(1)
    wiring = Wiring.auto_ncp(3, 8, 2)
    first = LTC(3, 8, wiring, solver, unfolds=1, time_constants=(0.5, 4.0)).double()
    x, h = torch.randn(1, 3, dtype=torch.float64), torch.rand(1, 8, dtype=torch.float64)
    reference = exact_state(first, x, h, 1.5)
    errors = []
    for unfolds in (substeps, 2 * substeps):
        cell = LTC(3, 8, wiring, solver, unfolds).double()
        cell.load_state_dict(first.state_dict())
        with torch.no_grad():
            state = cell.step(x, h, torch.tensor([1.5 * PERIOD], dtype=torch.float64))
        errors.append(np.abs(state[0].numpy() - reference).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("solver", ["semi_implicit", "euler", "rk4"])
@pytest.mark.parametrize("size", [10.0, 1000.0])
def test_extreme_parameters_keep_the_state_between_its_potentials(solver: str, size: float) -> None:
    torch.manual_seed(0)
    cell = LTC(3, 16, solver=solver)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            if "reversal" not in name and "potential" not in name:
                parameter.copy_(size * torch.randn_like(parameter))
    x, h, dt = torch.randn(20, 4, 3), torch.zeros(4, 16), PERIOD * 50 * torch.rand(20, 4)
    with torch.no_grad():
        states = cell.states(x, h, dt, None)
    assert states.abs().max() <= 1.0 + 1e-3


def test_no_time_leaves_the_state_as_it_is_and_has_a_gradient() -> None:
    gradients = []
    for backend in ("numba", "torch"):
        torch.manual_seed(0)
        cell = LTC(3, 5, backend=backend).double()
        x, h = torch.randn(2, 4, 3, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
        dt = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
        states = cell.states(x, h, dt, None)
        torch.testing.assert_close(states, h.expand(2, 4, 5))
        gradients.append(torch.autograd.grad(states.sum(), dt)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("solver", ["semi_implicit", "euler", "rk4"])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_prepared_step_is_the_step(solver: str, dtype: type, tolerance: float) -> None:
    torch.manual_seed(0)
    cell = LTC(5, 40, Wiring.auto_ncp(5, 40, 4), solver).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    fast = PreparedCell(cell.config, {name: value.numpy() for name, value in cell.state_dict().items()}, dtype)
    x, h, dt = torch.randn(6, 5).double(), torch.rand(6, 40).double(), PERIOD * torch.rand(6).double()
    state = fast.step(x, h, dt)
    with torch.no_grad():
        expected = cell.step(x, h, dt)
        np.testing.assert_allclose(state, expected, atol=tolerance, rtol=0)
        np.testing.assert_allclose(fast.output(state), cell.output(expected), atol=tolerance, rtol=0)
    alone = np.concatenate([fast.step(x[b : b + 1], h[b : b + 1], dt[b : b + 1]) for b in range(6)])
    np.testing.assert_array_equal(state, alone)


def test_a_deployed_policy_reads_the_mapped_output() -> None:
    torch.manual_seed(0)
    cell = LTC(4, 10, Wiring.auto_ncp(4, 10, 3))
    with torch.no_grad():
        cell.output_gain.normal_()
        cell.output_bias.normal_()
    actor = torch.nn.Linear(4 + 3, 2)
    config = {"format": 2, "cell": cell.config, "observation_scale": [2.0] * 4, "actor_layers": 1, "action_size": 2}
    config |= {"squash": True, "observation_names": list("abcd")}
    tensors = {f"cell.{name}": value.numpy() for name, value in cell.state_dict().items()}
    tensors |= {f"actor.0.{name}": value.numpy() for name, value in actor.state_dict().items()}
    obs, h = torch.randn(5, 4), torch.rand(5, 10)
    action, state = DeployedPolicy(config, tensors).step(obs, h, np.full(5, PERIOD))
    with torch.no_grad():
        after = cell.step(obs / 2, h)
        expected = torch.tanh(actor(torch.cat([obs / 2, cell.output(after)], 1)))
    np.testing.assert_allclose(state, after, atol=1e-5)
    np.testing.assert_allclose(action, expected, atol=1e-5)


def test_elapsed_times_stay_right_where_the_wrapper_of_ncps_goes_wrong() -> None:
    """ncps' wrapper drops the last axis of timespans [B, T, 1]: with as many rows as neurons, times go to neurons."""
    torch.manual_seed(0)
    rows = units = 6
    wrapper = NcpsLTC(3, units, batch_first=False).double()
    x, dt = torch.randn(4, rows, 3).double(), PERIOD * (0.2 + 2 * torch.rand(4, rows).double())
    h = torch.zeros(rows, units).double()
    right, _ = ncps_sequence(wrapper.rnn_cell, x, h, dt)
    wrong, _ = wrapper(x, h, timespans=dt[..., None] / PERIOD)
    for backend in ("torch", "numba"):
        y, _ = import_ncps(wrapper, PERIOD, backend).sequence(x, h, dt)
        assert relative(y, right) < 1e-12 and relative(y, wrong) > 1e-2


@pytest.mark.parametrize("mapping", ["affine", "linear", None])
def test_ncps_cells_with_clamped_weights_are_imported(mapping: str | None) -> None:
    torch.manual_seed(0)
    theirs = LTCCell(auto_ncp(), 6, input_mapping=mapping, output_mapping=mapping, ode_unfolds=3).double()
    x, h = torch.randn(5, 4, 6).double(), torch.rand(4, 12).double()
    expected, final = ncps_sequence(theirs, x, h)
    ours = import_ncps(theirs, PERIOD)
    y, state = ours.sequence(x, h)
    assert ours.unfolds == 3 and relative(y, expected) < 1e-12 and relative(state, final) < 1e-12
    with torch.no_grad():
        theirs.w[0, 0] = -1.0
    with pytest.raises(ValueError, match="apply_weight_constraints"):
        import_ncps(theirs)
    with pytest.raises(ValueError, match="epsilon"):
        import_ncps(LTCCell(auto_ncp(), 6, epsilon=1e-3))


def test_the_config_rebuilds_the_cell() -> None:
    cell = LTC(3, 9, Wiring.auto_ncp(3, 9, 2), "rk4", 3, (1.0, 5.0), period=0.1)
    twin = make_cell(cell.config)
    twin.load_state_dict(cell.state_dict())
    x, h = torch.randn(2, 3), torch.rand(2, 9)
    assert twin.config == cell.config and torch.equal(twin.step(x, h), cell.step(x, h))


def test_time_constants_are_those_of_half_open_synapses() -> None:
    cell = LTC(3, 6, time_constants=(2.0, 64.0))
    with torch.no_grad():
        for part in (cell.sensory, cell.recurrent):
            part.slope.zero_()
        # a disturbance decays by 1 / e within the time constant
        periods = torch.tensor([2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
        fine = LTC(3, 6, solver="rk4", unfolds=200)
        fine.load_state_dict(cell.state_dict())
        x, h = torch.zeros(6, 3), torch.rand(6, 6)
        decayed = fine.step(x, h + torch.eye(6), periods * PERIOD) - fine.step(x, h, periods * PERIOD)
    torch.testing.assert_close(decayed.diagonal(), torch.full((6,), np.exp(-1.0)), rtol=1e-3, atol=0.0)


def test_gates_tell_how_open_a_neuron_is() -> None:
    cell = LTC(3, 6)
    x, h = torch.zeros(2, 3), torch.zeros(2, 6)
    with torch.no_grad():
        for part in (cell.sensory, cell.recurrent):
            part.threshold.fill_(-100.0)
        torch.testing.assert_close(cell.gates(x, h)["conductance"], torch.ones(2, 6))
        for part in (cell.sensory, cell.recurrent):
            part.threshold.fill_(100.0)
        assert (cell.gates(x, h)["conductance"] < 0.5).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"solver": "heun"}, "choose one of semi_implicit, euler, rk4"),
        ({"unfolds": 0}, "unfolds must be at least 1"),
        ({"time_constants": (2.0, 1.0)}, "the shortest and the longest"),
        ({"backend": "cuda"}, "choose one of auto, torch, numba"),
        ({"wiring": Wiring.dense(4, 8)}, "the wiring has 4 inputs and 8 units, the cell 3 and 8"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LTC(3, 8, **options)
