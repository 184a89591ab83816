"""How many steps back the gradient of the last output reaches, by the time constants that a cell starts with.

White noise of unit variance in, 18 inputs, 32 units, one period a step. `steps` is where the norm of dy_T / dh_{T-k} falls below 1/e
of that at k = 0, `steps_tenth` where below a tenth; means over the seeds of the initialisation, `steps_min` and `steps_max`
their range; 512 stands for "further than measured". `tau_periods` is the median effective time constant of `trace`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from _report import Row, arguments, report

from undrift.policies import CELLS, Cell
from undrift.policies.inspection import gradient_horizon, trace

INPUTS, UNITS, STEPS, WARM_UP = 18, 32, 512, 64


def make(name: str, **options: object) -> Cell:
    return CELLS[name](INPUTS, UNITS, **options)


def lstm_remembering(longest: float) -> Cell:
    """Forget and input gates as Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", for up to `longest` steps."""
    cell = make("lstm")
    remembered = torch.log(torch.empty(UNITS).uniform_(1.0, longest - 1.0))
    with torch.no_grad():
        cell.input.bias[:UNITS], cell.input.bias[UNITS : 2 * UNITS] = -remembered, remembered
    return cell


def gru_remembering(longest: float) -> Cell:
    """The update gate as Tallec and Ollivier 2018."""
    cell = make("gru")
    with torch.no_grad():
        cell.input.bias[UNITS : 2 * UNITS] = torch.log(torch.empty(UNITS).uniform_(1.0, longest - 1.0))
    return cell


def cfc_recurrent(scale: float) -> Cell:
    cell = make("cfc")
    with torch.no_grad():
        cell.layers[0].heads.weight[:, INPUTS:] *= scale
    return cell


RECIPES: dict[str, Callable[[], Cell]] = {
    **{
        f"diagonal, 1 to {n} periods": lambda n=n: make("diagonal", time_constants=(1.0, n)) for n in (1, 10, 100, 1000)
    },
    **{f"diagonal, all {n} periods": lambda n=n: make("diagonal", time_constants=(n, n)) for n in (10, 100, 1000)},
    "ltc": lambda: make("ltc"),
    **{f"ltc, 1 to {n} periods": lambda n=n: make("ltc", time_constants=(1.0, n)) for n in (1, 10, 100, 1000)},
    "gru": lambda: make("gru"),
    **{f"gru, update gates for up to {n} periods": lambda n=n: gru_remembering(n) for n in (10, 100, 1000)},
    "lstm": lambda: make("lstm"),
    **{f"lstm, forget gates for up to {n} periods": lambda n=n: lstm_remembering(n) for n in (10, 100, 1000)},
    "cfc": lambda: make("cfc"),
    **{f"cfc, recurrent weights x {n}": lambda n=n: cfc_recurrent(n) for n in (2, 4)},
    "cfc with backbone": lambda: make("cfc", backbone_units=64),
}


def measure(recipe: Callable[[], Cell], seed: int) -> tuple[float, float, float]:
    """Steps to 1/e, steps to a tenth, median effective time constant in periods."""
    torch.manual_seed(seed)
    cell = recipe()
    x = torch.randn(WARM_UP + STEPS, 2, INPUTS)
    horizon = gradient_horizon(cell, x, warm_up=WARM_UP)
    below = (horizon.norms < 0.1 * horizon.norms[0]).nonzero()
    tenth = int(below[0]) if len(below) else STEPS
    tau = trace(cell, x[: STEPS // 4]).time_constants[WARM_UP:].median().item()
    return min(horizon.steps, STEPS), tenth, tau / cell.period


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=5, help="initialisations of each row")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rows: list[Row] = []
    for name, recipe in RECIPES.items():
        steps, tenth, tau = np.array([measure(recipe, seed) for seed in range(options.seeds)]).T
        figures = {
            "steps": steps.mean(),
            "steps_min": steps.min(),
            "steps_max": steps.max(),
            "steps_tenth": tenth.mean(),
            "tau_periods": tau.mean(),
        }
        rows.append({"name": name, **{key: float(value) for key, value in figures.items()}})
    report(rows, options.json)


if __name__ == "__main__":
    main()
