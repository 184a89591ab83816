"""How long a film takes: an episode of 20 s at 480p, frozen and adapting side by side, with all that is written on it.

`cpu` is the time of all threads of the process, `encoder` that of ffmpeg, which runs beside it, `wall` what a user waits;
`peak` is the largest memory of the process so far.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from _report import Row, arguments, report

from undrift.agents import Run
from undrift.agents.film import SIZES, render
from undrift.agents.rollout import rollout
from undrift.envs import Abrupt, Scenario, Wind

RUNS = {"DroneTrack, one scene": "reference", "CarLane, split screen": "runs/reference-car-lane-s0"}
SEED = 1000


def measure(name: str, seconds: float, inside: bool, folder: Path) -> Row:
    run = Run.load(RUNS[name])
    wind = Wind(speed=8.0, schedule=Abrupt(0.25 * seconds))
    scenario = Scenario("wind", run.env_id, {"episode_s": seconds}, (wind,))
    meta = {"policy_sha256": run.policy.sha256}
    pair = [rollout(scenario, run.controller(adapter), [SEED], meta=meta)[0] for adapter in ("frozen", "auto")]
    began = time.perf_counter(), time.process_time(), _encoder_s()
    path = folder / "film.mp4"
    policy = run.policy if inside else None
    render(pair, path, size=SIZES["480p"], before=seconds, after=seconds, policy=policy)
    return {
        "name": f"{name}{', network inside' if inside else ''}",
        "wall s": time.perf_counter() - began[0],
        "cpu s": time.process_time() - began[1],
        "encoder s": _encoder_s() - began[2],
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "film MiB": path.stat().st_size / 2**20,
    }


def _encoder_s() -> float:
    """Processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the episode and of its film")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(name, options.seconds, inside, Path(folder)) for name in RUNS for inside in (False, True)]
    report(rows, options.json)


if __name__ == "__main__":
    main()
