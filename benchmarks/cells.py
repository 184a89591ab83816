"""Speed of the cells beside torch's LSTM and GRU and beside ncps, on one thread of one process.

`steps_per_s`: forward and backward over a batch of 64 sequences of 64 steps, 18 inputs and 64 units, float32, without elapsed
times, gradients of all parameters (of the reservoir, which has none, forward alone). `vs_lstm` is the ratio to
`torch.nn.LSTM`, `vs_ncps` to the same cell in ncps. `batch16_us` and `batch1_us`: one step of 16 rows and of one, by the fastest
way each library has: our prepared cells, torch's and ncps' cells in inference mode. `rtrl_us`: one step of `DiagonalRTRL` for
one row, cell and sensitivities. The NCP wirings are `auto_ncp(18, 64, 4)`, the dense CfC has ncps' backbone of 128 units.

`vs_limit` is the share of this core's limit: the steps per second if nothing were done but the multiplications and nonlinear
functions of the equations, at the highest rates measured in the same run, one after the other. A synapse costs a
multiplication forward and two backward (gradients of what it reads and of its weight), at the rate of the core's large matrix
product; tanh, sigmoid, exp and log are computed once each, at the rate of our tanh over an array in the cache. The
LTC counts three multiplications and one sigmoid for each synapse and unfold. Absent synapses count nothing.

Times are processor time, the least of several turns, in each of which a cell runs a few times in a row, as in training: other
load on the machine hardly disturbs the ratios, and what the others leave in the caches does not count.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from _report import Row, arguments, report
from torch import Tensor, nn

from undrift.policies import Cell, Wiring
from undrift.policies.cells import make_cell
from undrift.policies.kernels.arithmetic import tanh_all
from undrift.policies.online import DiagonalRTRL

STEPS, ROWS, INPUTS, UNITS, MOTOR, BACKBONE = 64, 64, 18, 64, 4, 128
STEP_CALLS = 500
TURNS, IN_A_ROW = 10, 5
SLOW_TURNS, SLOW_S = 2, 0.3  # what takes longer than SLOW_S has fewer turns, twice in each


@dataclass
class Entry:
    """One row: a sequence forward and backward, one step for each number of rows, and what a step costs at least.

    products and functions: multiplications and nonlinear functions of one step forward.
    """

    sequence: Callable[[], object]
    step: dict[int, Callable[[], object]]
    products: int = 0
    functions: int = 0
    backward: bool = True
    peer: str = ""


def ours(cell: Cell, products: int, functions: int, peer: str = "") -> Entry:
    trained = bool(list(cell.parameters()))
    x, start = torch.randn(STEPS, ROWS, INPUTS), cell.initial_state(ROWS)

    def step(rows: int) -> Callable[[], object]:
        ready = cell.prepared()
        x = np.random.default_rng(0).normal(size=(rows, INPUTS))
        dt, h = np.full(rows, ready.period), ready.initial_state(rows)
        return lambda: ready.step_into(x, dt, h)

    run = forward_and_backward(cell, lambda: cell.sequence(x, start)[0]) if trained else lambda: cell.sequence(x, start)
    return Entry(run, {rows: step(rows) for rows in (16, 1)}, products, functions, trained, peer)


def theirs(module: nn.Module, cell: nn.Module, x: Tensor, state: Callable[[int], Any], **work: int) -> Entry:
    """module runs a sequence, cell a step from `state(rows)`."""

    def step(rows: int) -> Callable[[], object]:
        x, h = torch.randn(rows, INPUTS), state(rows)
        return torch.inference_mode()(lambda: cell(x, h))

    run = forward_and_backward(module, lambda: module(x)[0])
    return Entry(run, {rows: step(rows) for rows in (16, 1)}, **work)


def forward_and_backward(module: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], None]:
    weight = torch.randn_like(forward())

    def run() -> None:
        module.zero_grad(set_to_none=True)
        (forward() * weight).sum().backward()

    return run


def our_entries() -> dict[str, Entry]:
    ncp = Wiring.auto_ncp(INPUTS, UNITS, MOTOR)

    def cell(name: str, **options: Any) -> Cell:
        return make_cell({"cell": name, "input_size": INPUTS, "units": UNITS}, **options)

    dense = (INPUTS + UNITS) * UNITS
    gates = 4 * dense, 5 * UNITS  # of an LSTM
    backbone = (INPUTS + UNITS) * BACKBONE + BACKBONE * 3 * UNITS, BACKBONE + 3 * UNITS
    stacked = sum(3 * (int(synapses.sum()) + synapses.shape[1] ** 2) for synapses in ncp.layer_synapses)
    ltc = cell("ltc")
    return {
        "cfc": ours(cell("cfc", backbone_units=BACKBONE), *backbone, peer="ncps-cfc"),
        "cfc-ncp": ours(cell("cfc", wiring=ncp), stacked, 3 * UNITS, peer="ncps-cfc-ncp"),
        "ltc": ours(ltc, *ltc_work(ltc.wiring, ltc.unfolds), peer="ncps-ltc"),
        "ltc-ncp": ours(cell("ltc", wiring=ncp), *ltc_work(ncp, ltc.unfolds), peer="ncps-ltc-ncp"),
        "diagonal": ours(cell("diagonal"), 2 * (INPUTS + 1) * UNITS, 4 * UNITS),
        "mixed-memory": ours(
            cell("mixed_memory", inner={"cell": "cfc", "backbone_units": BACKBONE}),
            backbone[0] + gates[0],
            backbone[1] + gates[1],
            peer="ncps-mixed-memory",
        ),
        "gru": ours(cell("gru"), 3 * dense, 3 * UNITS),
        "lstm": ours(cell("lstm"), *gates),
        "reservoir": ours(cell("reservoir", sparsity=0.0), dense, UNITS),
    }


def ltc_work(wiring: Wiring, unfolds: int) -> tuple[int, int]:
    """A synapse: the argument of its sigmoid, its current and its conductance. Inputs are held, so theirs open once a step."""
    openings = int((wiring.sensory != 0).sum()) + unfolds * int((wiring.recurrent != 0).sum())
    return 3 * openings, openings


def torch_entries() -> dict[str, Entry]:
    x, dense = torch.randn(STEPS, ROWS, INPUTS), (INPUTS + UNITS) * UNITS
    return {
        "torch-lstm": theirs(
            nn.LSTM(INPUTS, UNITS),
            nn.LSTMCell(INPUTS, UNITS),
            x,
            lambda rows: (torch.zeros(rows, UNITS), torch.zeros(rows, UNITS)),
            products=4 * dense,
            functions=5 * UNITS,
        ),
        "torch-gru": theirs(
            nn.GRU(INPUTS, UNITS),
            nn.GRUCell(INPUTS, UNITS),
            x,
            lambda rows: torch.zeros(rows, UNITS),
            products=3 * dense,
            functions=3 * UNITS,
        ),
    }


def ncps_entries() -> dict[str, Entry]:
    from ncps.torch import LTC, CfC
    from ncps.wirings import AutoNCP

    x = torch.randn(ROWS, STEPS, INPUTS)

    def entry(module: nn.Module) -> Entry:
        cell = module.rnn_cell

        def step(x: Tensor, h: Any) -> Any:
            if module.use_mixed:
                h = module.lstm(x, h)
                return cell(x, h[0], 1.0)
            return cell(x, h, 1.0)

        def state(rows: int) -> Any:
            h = torch.zeros(rows, module.state_size)
            return (h, torch.zeros_like(h)) if module.use_mixed else h

        return theirs(module, step, x, state)

    return {
        "ncps-cfc": entry(CfC(INPUTS, UNITS)),
        "ncps-cfc-ncp": entry(CfC(INPUTS, AutoNCP(UNITS, MOTOR))),
        "ncps-ltc": entry(LTC(INPUTS, UNITS)),
        "ncps-ltc-ncp": entry(LTC(INPUTS, AutoNCP(UNITS, MOTOR))),
        "ncps-mixed-memory": entry(CfC(INPUTS, UNITS, mixed_memory=True)),
    }


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    """Processor time of one call."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls


def fastest(calls: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """The least time of each call, taken in turns; the first one, which compiles, does not count."""
    best = dict.fromkeys(calls, float("inf"))
    for call, _ in calls.values():
        call()
    for turn in range(TURNS):
        for name, (call, count) in calls.items():
            fast = best[name] < SLOW_S
            if fast or turn < SLOW_TURNS:
                best[name] = min(best[name], *(seconds(call, count) for _ in range(IN_A_ROW if fast else 2)))
    return best


@numba.njit
def _many_tanh(x, turns):
    for _ in range(turns):
        tanh_all(x)


def core_limits() -> dict[str, float]:
    """What this core was seen to do in a second, float32: multiplications with their additions, and tanh.

    `products_per_s` in a large matrix product, `step_products_per_s` in one as large as a step of an LSTM needs (for comparison).
    """
    size, length, turns = 768, 4096, 500
    a, b = torch.randn(2, size, size).numpy()
    state, weight = torch.randn(ROWS, UNITS).numpy(), torch.randn(UNITS, 4 * UNITS).numpy()
    x = np.random.default_rng(0).normal(size=length).astype(np.float32)
    best = fastest(
        {
            "torch": (lambda: torch.mm(torch.from_numpy(a), torch.from_numpy(b)), 3),
            "numpy": (lambda: np.dot(a, b), 3),
            "step": (lambda: np.dot(state, weight), STEP_CALLS),
            "tanh": (lambda: _many_tanh(x, turns), 1),
        }
    )
    return {
        "products_per_s": size**3 / min(best["torch"], best["numpy"]),
        "step_products_per_s": state.size * 4 * UNITS / best["step"],
        "functions_per_s": length * turns / best["tanh"],
    }


def rtrl_step() -> Callable[[], object]:
    cell = make_cell({"cell": "diagonal", "input_size": INPUTS, "units": UNITS})
    learner = DiagonalRTRL(cell.config, {name: tensor.numpy() for name, tensor in cell.state_dict().items()})
    x, h, dt = np.ones((1, INPUTS), np.float32), np.zeros((1, UNITS), np.float32), np.full(1, cell.period)
    return lambda: learner.step(x, h, dt)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    skipped = {}
    entries = our_entries() | torch_entries()
    try:
        entries |= ncps_entries()
    except ImportError as error:
        skipped["ncps"] = f"not installed ({error})"
    sequences = fastest({name: (entry.sequence, 1) for name, entry in entries.items()})
    steps = fastest(
        {f"{name}/{rows}": (call, STEP_CALLS) for name, entry in entries.items() for rows, call in entry.step.items()}
        | {"rtrl": (rtrl_step(), STEP_CALLS)}
    )
    core = core_limits()
    rate = {name: STEPS * ROWS / best for name, best in sequences.items()}
    rows: list[Row] = []
    for name, entry in entries.items():
        row: Row = {"name": name, "steps_per_s": rate[name], "vs_lstm": rate[name] / rate["torch-lstm"]}
        if entry.peer in rate:
            row["vs_ncps"] = rate[name] / rate[entry.peer]
        if entry.products:
            products = entry.products * (3 if entry.backward else 1)
            row["vs_limit"] = rate[name] * (
                products / core["products_per_s"] + entry.functions / core["functions_per_s"]
            )
        row |= {f"batch{rows}_us": 1e6 * steps[f"{name}/{rows}"] for rows in (16, 1)}
        if name == "diagonal":
            row["rtrl_us"] = 1e6 * steps["rtrl"]
        rows.append(row)
    rows.append({"name": "core", **core})
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
