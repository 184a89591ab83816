"""What an active shift costs: control steps of DroneTrack with each shift that fits it, beside steps without any.

64 simulations, one thread, process time. The two environments step in turn, so that whatever else runs slows both alike.
`overhead` is the median step's time over that of the median unshifted one, less 1; of shifts that make control steps last
longer, per physics step. The row "none" is a second unshifted environment: how far the figures can be trusted.
"""

from __future__ import annotations

import time

import numpy as np
from _report import Row, arguments, report

from undrift.envs import SHIFTS, Always, BatchEnv, Shift, make_batch, make_shift

BATCH = 64
EPISODE = 25
"""Control steps between resets, which are not timed: few, for a drone that a shift brings down costs its contacts too."""


def environment(shifts: tuple[Shift, ...] = ()) -> BatchEnv:
    return make_batch("DroneTrack", BATCH, shifts=shifts)


def seconds(env: BatchEnv, actions: np.ndarray) -> float:
    """Process time of one control step; of one that lasts longer than the regular ones, its share."""
    begin = time.process_time()
    info = env.step(actions)[4]
    return (time.process_time() - begin) * env.dt / float(info["dt"].mean())


def compare(shifted: BatchEnv, plain: BatchEnv, episodes: int) -> Row:
    """The median steps of both."""
    actions = np.random.default_rng(0).uniform(-0.2, 0.2, (BATCH, len(plain.action_names)))
    times: dict[BatchEnv, list[float]] = {shifted: [], plain: []}
    for _ in range(episodes):
        for env in times:
            env.reset(list(range(BATCH)))
        for step in range(EPISODE):
            for env in (shifted, plain) if step % 2 else (plain, shifted):
                times[env].append(seconds(env, actions))
    with_it, without = (float(np.median(times[env])) for env in (shifted, plain))
    return {"shifted_ms": 1e3 * with_it, "unshifted_ms": 1e3 * without, "overhead": with_it / without - 1}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="one episode each: shows that it works, not how fast")
    episodes = 1 if (options := parser.parse_args()).quick else 40
    plain = environment()
    rows, skipped = [{"name": "none", **compare(environment(), plain, episodes)}], {}
    for name in SHIFTS:
        try:
            shifted = environment((make_shift(name, schedule=Always()),))
        except ValueError as error:
            skipped[name] = str(error)
            continue
        rows.append({"name": name, **compare(shifted, plain, episodes)})
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
