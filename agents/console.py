"""What the commands print has to work where it is read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def command() -> str:
    """How to call undrift from here: by name where it is on the PATH, else as this process was called."""
    called = sys.argv[0]
    return called if Path(called).name == "undrift" and shutil.which("undrift") is None else "undrift"
