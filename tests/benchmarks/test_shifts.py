from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from undrift.envs import SHIFTS

ROOT = Path(__file__).parents[2]


def test_every_shift_is_measured_or_skipped_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "shifts.json"
    command = [sys.executable, ROOT / "benchmarks" / "shifts.py", "--quick", "--json", file]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    rows = {row.pop("name"): row for row in json.loads(file.read_text())["rows"]}
    skipped = {line.split()[1].rstrip(":") for line in printed.splitlines() if line.startswith("skipped ")}
    assert set(rows) | skipped == {"none", *SHIFTS} and not set(rows) & skipped
    assert {"payload", "gusts", "sensor_noise", "action_delay"} <= set(rows) and "bank" in skipped
    for row in rows.values():
        assert row["shifted_ms"] > 0 and row["unshifted_ms"] > 0
        assert math.isclose(row["overhead"], row["shifted_ms"] / row["unshifted_ms"] - 1)
