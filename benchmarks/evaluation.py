"""What an evaluation costs: a suite of scenarios, four adapters and 20 seeds, from flying to the report.

Processor time of this process and of those that it starts, so that other programs on the machine count less. Phases: all jobs
flown and saved; the same once more, finding them on disk, as after an interruption; the episodes read back; the report made of
them. `on two cores, s` is what this takes on an idle machine: half of the processor time where jobs share it, all of it elsewhere.
Memory is the peak of this process so far, size that of the saved episodes and of the page.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import Row, arguments, peak_mib, report

from undrift.agents import Episode, Run
from undrift.agents.evaluation.evaluate import plan
from undrift.agents.evaluation.jobs import Job, save_all
from undrift.agents.evaluation.report import write_report
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.envs import load_suite


def timed(name: str, work: Callable[[], Any], cores: int = 1) -> tuple[Row, Any]:
    """A row with what `work` took, and its result; so many cores can share it."""
    began, wall = _processor_s(), time.perf_counter()
    result = work()
    cpu = _processor_s() - began
    took = {"cpu, s": cpu, "on two cores, s": cpu / cores, "wall clock, s": time.perf_counter() - wall}
    return {"name": name, **took}, result


def _processor_s() -> float:
    """Processor time of this process and of its children that have ended, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def read(jobs: list[Job], parts: list[Path]) -> list[Episode]:
    return [Episode.load(part / name, drawn=False) for job, part in zip(jobs, parts, strict=True) for name in job.files]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--run", default="reference", help="run to fly")
    parser.add_argument("--suite", default="drone-core", help="scenarios to fly")
    parser.add_argument("--adapters", nargs="+", default=["frozen", "integral", "observer", "auto"])
    parser.add_argument("--seeds", type=int, default=20, help="episodes of each job")
    parser.add_argument("--scenarios", type=int, help="fly the first so many alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options: argparse.Namespace = parser.parse_args()

    scenarios = load_suite(options.suite).scenarios[: options.scenarios]
    seeds = range(REPORTS_FROM, REPORTS_FROM + options.seeds)
    jobs = plan([Run.load(options.run)], options.adapters, scenarios, seeds)
    with tempfile.TemporaryDirectory() as folder:
        episodes_at, report_at = Path(folder) / "episodes", Path(folder) / "report"
        flown, parts = timed("flown and saved", lambda: save_all(jobs, episodes_at, options.jobs), cores=2)
        size = sum(path.stat().st_size for path in episodes_at.rglob("*.npz"))
        flown |= {"jobs": len(jobs), "episodes": len(jobs) * len(seeds), "size, MB": size / 1e6}
        found, _ = timed("found again", lambda: save_all(jobs, episodes_at, options.jobs))
        opened, episodes = timed("read", lambda: read(jobs, parts))
        opened["peak, MiB"] = peak_mib()
        written, _ = timed("report", lambda: write_report(episodes, report_at, "Benchmark", ""))
        written |= {"size, MB": (report_at / "report.html").stat().st_size / 1e6, "peak, MiB": peak_mib()}
    phases = [flown, opened, written]
    whole = {"name": "all", **{column: sum(row[column] for row in phases) for column in list(flown)[1:4]}}
    report([flown, found, opened, written, whole], options.json)


if __name__ == "__main__":
    main()
