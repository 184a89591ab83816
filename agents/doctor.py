"""Doctor: what works on this machine, found by trying it, and the command that mends what does not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .episode import versions

OLDEST_PYTHON = (3, 11)

_RENDER = """
import os
os.environ["MUJOCO_GL"] = "egl"
import mujoco
xml = '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size="1" rgba="1 0 0 1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    picture = renderer.render()
    assert picture.max() > 0, "the picture is black"
"""


@dataclass(frozen=True)
class Check:
    """One thing tried.

    Args:
        name: what was tried.
        works: whether it did.
        detail: what was found.
        fix: what to do when it does not work.
        essential: whether undrift is of no use without it.
    """

    name: str
    works: bool
    detail: str
    fix: str = ""
    essential: bool = True


def examine() -> Iterator[Check]:
    """Try everything that undrift needs, yielding each result as it is known. Takes some seconds."""
    yield check_python()
    attempts: list[tuple[str, Callable[[], str], str, bool]] = [
        ("simulation", simulate, _reinstall("mujoco"), True),
        ("numba", compile_kernel, _reinstall("numba"), True),
        ("cell kernels", compile_cells, _reinstall("numba"), False),
        ("kernel cache", find_cache, "export NUMBA_CACHE_DIR=$HOME/.cache/undrift-numba", False),
        ("training", import_training, _reinstall("torch stable-baselines3"), True),
        ("reference run", load_reference, "reinstall undrift (in a clone: git checkout -- agents/reference)", True),
        ("drawing", render, "sudo apt-get install libegl1 libopengl0 libgl1-mesa-dri", False),
        ("video", encode_video, _reinstall("imageio imageio-ffmpeg"), False),
    ]
    for name, attempt, fix, essential in attempts:
        try:
            yield Check(name, True, attempt(), essential=essential)
        except Exception as error:  # noqa: BLE001  whatever breaks on a machine, the doctor reports it and goes on
            last = (str(error).strip() or repr(error)).splitlines()[-1]
            yield Check(name, False, last, fix, essential)


def check_python() -> Check:
    """Whether this Python is new enough."""
    wanted = ".".join(map(str, OLDEST_PYTHON))
    works = sys.version_info >= OLDEST_PYTHON
    return Check("Python", works, f"{sys.version.split()[0]} at {sys.executable}", f"install Python {wanted} or newer")


def simulate() -> str:
    """Fly the drone for a few steps."""
    import numpy as np

    from .. import envs

    env = envs.make_batch("DroneTrack", 2, seed=0)
    env.reset()
    observation, *_ = env.step(np.zeros((2, *env.action_space.shape)))
    if not np.isfinite(observation).all():
        raise ArithmeticError("the simulation returned numbers that are not finite")
    return f"MuJoCo {versions()['mujoco']} steps {env.id}"


def compile_kernel() -> str:
    """Compile a function, without the cache."""
    import numba
    import numpy as np

    begin = time.perf_counter()
    total = numba.njit(lambda values: values.sum())(np.arange(4.0))
    if total != 6.0:
        raise ArithmeticError(f"a compiled sum of 0..3 gave {total}")
    return f"numba {numba.__version__} compiles ({time.perf_counter() - begin:.1f} s)"


def compile_cells() -> str:
    """Compile the kernels of every cell, or find them compiled."""
    from ..policies.kernels.backend import KERNELS, available
    from .console import compile_ahead

    begin = time.perf_counter()
    compile_ahead(*KERNELS)
    if slow := [name for name in KERNELS if available(name, "float32") is None]:
        raise RuntimeError(f"{', '.join(slow)}: computed without numba, which is slower")
    return f"{', '.join(KERNELS)} ({time.perf_counter() - begin:.1f} s)"


def find_cache() -> str:
    """Find a folder in which numba can keep compiled kernels between runs."""
    package = Path(__file__).resolve().parents[1]
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else package
    if chosen:
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written: every start compiles the kernels anew")
    return f"compiled kernels are kept under {folder}"


def import_training() -> str:
    """Import what training needs."""
    import stable_baselines3
    import torch

    return f"torch {torch.__version__}, Stable-Baselines3 {stable_baselines3.__version__}"


def load_reference() -> str:
    """Load the run that ships with undrift."""
    from .run import Run

    run = Run.reference()
    return f"{run.env_id}, trained with seed {run.seed}"


def render() -> str:
    """Draw a picture without a screen, in a process of its own: a broken driver may end the process that tries it."""
    attempt = subprocess.run([sys.executable, "-c", _RENDER], capture_output=True, text=True, timeout=60, check=False)
    if attempt.returncode:
        raise RuntimeError(attempt.stderr.strip() or f"the drawing process ended with {attempt.returncode}")
    return "MuJoCo draws through EGL, no screen needed"


def encode_video() -> str:
    """Write a short H.264 video and read it back."""
    import imageio.v3 as imageio
    import imageio_ffmpeg
    import numpy as np

    shades = np.arange(0, 250, 25, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        pictures = np.broadcast_to(shades[:, None, None, None], (10, 64, 64, 3))
        imageio.imwrite(path, pictures, plugin="FFMPEG", fps=25, codec="libx264")
        frames = len(imageio.imread(path, plugin="FFMPEG"))
    if frames != 10:
        raise RuntimeError(f"wrote 10 frames and read {frames} back")
    return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()} writes H.264"


def _reinstall(names: str) -> str:
    return f"in a clone: make clean setup; else: {sys.executable} -m pip install --force-reinstall {names}"
