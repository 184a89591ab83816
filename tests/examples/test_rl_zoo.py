"""The example for rl_zoo3, run by rl_zoo3 itself where it is installed.

It is in no dependency group: rl_zoo3 2.9.2 needs python-dateutil < 3 and pillow < 12, and requirements.lock pins newer ones.
To run these tests, install it into an environment of its own that holds undrift: pip install rl_zoo3 pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undrift.agents import PPO
from undrift.policies import LiquidPolicy

EXAMPLE = Path(__file__).parents[2] / "examples" / "rl_zoo"


def test_rl_zoo3_trains_by_the_example(tmp_path):
    pytest.importorskip("rl_zoo3", reason="rl_zoo3 does not install beside the versions in requirements.lock")
    arguments = ["--algo", "liquid_ppo", "--env", "CartPoleNoVel-v1", "--n-timesteps", "1024", "--eval-freq", "-1"]
    subprocess.run(
        [
            sys.executable,
            EXAMPLE / "train.py",
            *arguments,
            "--conf-file",
            EXAMPLE / "liquid_ppo.yml",
            "--device",
            "cpu",
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    (saved,) = tmp_path.glob("logs/liquid_ppo/*/CartPoleNoVel-v1.zip")
    model = PPO.load(saved, device="cpu")
    assert isinstance(model.policy, LiquidPolicy) and model.num_timesteps == 1024 and model.policy.cell.state_size == 32
