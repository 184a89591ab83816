"""The live view opens on a screen, and says what to do where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from undrift.agents.film.watch import NoDisplay, require_display

SHOWN = """
from undrift.agents import Run
from undrift.agents.film.watch import watch
from undrift.envs import Abrupt, FrictionPatches, Payload, Scenario
run = Run.load("runs/reference-car-track-s0")
shifts = (FrictionPatches(schedule=Abrupt(0.1)), Payload(schedule=Abrupt(0.1)))
print("watched", watch(Scenario("s", run.env_id, {"episode_s": 0.2}, shifts), run.controller("frozen"), 100, episodes=2))
"""


def test_without_a_display_the_error_says_how_to_film_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(NoDisplay, match="DISPLAY.*undrift render --run RUN"):
        require_display()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="no virtual screen: apt-get install xvfb")
def test_episodes_are_shown_one_after_the_other() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    command = ["xvfb-run", "-a", sys.executable, "-c", SHOWN]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "watched 2" in answer.stdout, answer.stderr
