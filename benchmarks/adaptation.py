"""Recovery from payload, motor loss and wind: the committed reference runs, frozen and with each adapter.

Three training seeds, 20 held-out episode seeds each, the same for every row; the shift arrives at 5 s of 18. One row per
scenario and adapter: post-shift RMSE in cm with its 95 % interval (hierarchical bootstrap over training and evaluation
seeds) and by training seed, crashes, median recovery in s (left out where most flights never recover), the paired
difference to frozen with its p-value (Holm over rows), the recovered fraction, `cut` (frozen RMSE over this one), and the
fastest reference flown. docs/metrics.md defines them.
"""

from __future__ import annotations

import math
from pathlib import Path

from _report import Row, arguments, write_document

from undrift.agents.adaptation import ADAPTERS
from undrift.agents.evaluation.evaluate import evaluate
from undrift.agents.evaluation.report import print_table
from undrift.agents.evaluation.summary import summarize
from undrift.agents.run import Run
from undrift.envs import MotorLoss, Payload, Wind, one_by_one

RUNS = ("reference-s0", "reference-s1", "reference-s2")
SHIFTS = (Payload(fraction=0.6), MotorLoss(fraction=0.4), Wind(speed=8.0))
FIRST_SEED = 30_000
FIGURES = (
    "episodes",
    "rmse_cm",
    "rmse_low_cm",
    "rmse_high_cm",
    "crashes",
    "recovery_s",
    "recovered",
    "difference_cm",
    "difference_low_cm",
    "difference_high_cm",
    "p_holm",
    "recovered_fraction",
    "rmse_worst_decile_cm",
    "harmed",
    "crashes_added",
    "speed_peak_m_s",
    "acceleration_peak_m_s2",
)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--episodes", type=int, default=20, help="episodes for each run, scenario and adapter")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation"), help="folder for episodes and report")
    options = parser.parse_args()

    runs = [Run.load(name) for name in RUNS]
    scenarios = one_by_one(runs[0].env_id, SHIFTS)
    seeds = range(FIRST_SEED, FIRST_SEED + options.episodes)
    command = f"python benchmarks/adaptation.py --episodes {options.episodes}"
    rows = summarize(evaluate(runs, list(ADAPTERS), scenarios, seeds, options.out, command=command))
    print_table(rows)
    frozen = {row["scenario"]: row["rmse_cm"] for row in rows if row["adapter"] == "frozen"}
    write_document([_figures(row, frozen[row["scenario"]]) for row in rows], options.json)
    print(f"report: {options.out / 'report.html'}")


def _figures(row: Row, frozen_cm: float) -> Row:
    by_seed = {f"rmse_s{seed}_cm": value for seed, value in row["rmse_by_training_seed_cm"].items()}
    figures = {name: row[name] for name in FIGURES} | by_seed | {"cut": frozen_cm / row["rmse_cm"]}
    plain = {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}
    return {"name": f"{row['scenario']} / {row['adapter']}"} | plain


if __name__ == "__main__":
    main()
