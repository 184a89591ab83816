"""Real-time recurrent learning with torch: how good SnAp-1 is, and what a step costs.

18 inputs of white noise, one row, 64 steps, a loss that is linear in every output. `cosine` is that between the SnAp-1
gradient of the whole sequence and the true one, mean over the seeds, `cosine_min` the worst; `step_us` the processor time of
one step with full RTRL, `reach` the share of pairs of state variable and parameter that SnAp-1 follows.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _report import Row, arguments, report
from torch import Tensor

from undrift.policies import CELLS, Cell, Wiring
from undrift.policies.rtrl import RTRL

INPUTS, STEPS = 18, 64


def make(name: str, units: int, **options: object) -> Cell:
    return CELLS[name](INPUTS, units, **options)


CELL_KINDS = {
    "cfc, 16 units": lambda: make("cfc", 16),
    "cfc, 16 units, backbone 16": lambda: make("cfc", 16, backbone_units=16),
    "cfc-ncp, 19 units": lambda: make("cfc", 19, wiring=Wiring.lane_keeping(INPUTS)),
    "ltc-ncp, 19 units": lambda: make("ltc", 19, wiring=Wiring.lane_keeping(INPUTS)),
    "ltc-ncp, 19 units, 1 to 100 periods": lambda: make(
        "ltc", 19, wiring=Wiring.lane_keeping(INPUTS), time_constants=(1.0, 100.0)
    ),
    "ltc, 8 units, 1 to 100 periods": lambda: make("ltc", 8, time_constants=(1.0, 100.0)),
    "diagonal, 16 units": lambda: make("diagonal", 16),
    "gru, 16 units": lambda: make("gru", 16),
    "lstm, 16 units": lambda: make("lstm", 16),
}


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


def measure(cell: Cell) -> tuple[float, float, float]:
    """Cosine of SnAp-1, microseconds of a step with full RTRL, share that SnAp-1 follows."""
    x = torch.randn(STEPS, 1, INPUTS)
    weight = torch.randn(STEPS, 1, cell.output_size)
    gradients = []
    for approximation in ("snap1", "full"):
        learner, h, total = RTRL(cell, approximation), cell.initial_state(1), 0.0
        began = time.process_time()
        for t in range(STEPS):
            h = learner.step(x[t], h)
            shown = h.clone().requires_grad_()
            (d_state,) = torch.autograd.grad((cell.output(shown) * weight[t]).sum(), shown)
            total = total + flat(learner.gradient(d_state))
        followed = (learner.sensitivity != 0).float().mean().item()
        gradients.append((total, followed, time.process_time() - began))
    (approximate, reach, _), (true, _, seconds) = gradients
    return torch.cosine_similarity(approximate, true, dim=0).item(), 1e6 * seconds / STEPS, reach


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=5, help="initialisations of each row")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rows: list[Row] = []
    for name, kind in CELL_KINDS.items():
        measured = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            measured.append(measure(kind()))
        cosine, step_us, reach = np.array(measured).T
        figures = {"cosine": cosine.mean(), "cosine_min": cosine.min(), "reach": reach.mean(), "step_us": step_us.min()}
        rows.append({"name": name, **{key: float(value) for key, value in figures.items()}})
    report(rows, options.json)


if __name__ == "__main__":
    main()
