"""One recorded episode: everything that scoring and drawing need, so that neither simulates again."""

from __future__ import annotations

import io
import json
import os
import platform
import zipfile
import zlib
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .files import write_atomically

FORMAT = 2

# Name -> (dtype, width of the trailing axis): 0 is no trailing axis, None any width.
# Actions and time keep double precision, so that a recorded action sequence replays to the bit.
ARRAYS: dict[str, tuple[type, int | None]] = {
    "time": (np.float64, 0),
    "observation": (np.float32, None),
    "policy_action": (np.float64, None),
    "action": (np.float64, None),
    "reward": (np.float32, 0),
    "terminated": (np.bool_, 0),
    "truncated": (np.bool_, 0),
    "qpos": (np.float32, None),
    "qvel": (np.float32, None),
    "reference": (np.float32, 3),
    "error": (np.float32, 0),
    "shift": (np.float32, None),
    "wind": (np.float32, 3),
    "payload": (np.float32, 0),
    "motor_effectiveness": (np.float32, None),
    "estimate": (np.float32, None),
    "step_time": (np.float32, 0),
}
OPTIONAL: dict[str, tuple[type, int | None]] = {"view": (np.float32, None)}
"""Arrays that an episode may lack: their trailing axis is then 0."""
DRAWN = ("observation", "policy_action", "qpos", "qvel", "motor_effectiveness", "estimate", "view")
"""What pictures need and scoring does not: five sixths of an episode, `scene` aside."""
_SCENE = "scene/"

REQUIRED_META = ("env_id", "scenario", "shifts", "adapter", "training_seed", "seed", "dt", "planned_steps", "crashed")


@dataclass(eq=False)
class Episode:
    """Arrays and metadata of one closed-loop episode of T control steps; T is shorter than planned after a crash.

    Arrays are converted to the dtypes of ``ARRAYS`` at construction, so that a fresh episode and the same
    episode read from disk score alike. World frame, z up, SI units.

    Args:
        meta: JSON-able facts. Required: ``env_id``; ``scenario`` (its name); ``shifts``, a list of dicts with
            ``name``, ``kind``, ``onset_s`` and whatever else describes each (empty: no shift); ``adapter`` (its name);
            ``training_seed`` (None: unknown); ``seed``; ``dt`` in s; ``planned_steps``; ``crashed``. Usual:
            ``env_kwargs``, ``scenario_label`` (the scenario in words), ``crash_time_s`` (or None), ``policy`` (how it was
            trained, `Run.kind`; nominal if not said), ``policy_sha256``, ``estimate_names``, ``versions`` (of
            `versions()`), and ``guard_events``, a list of dicts with ``step``, ``last``, ``count`` and ``reason``
            (see ``GuardEvent``).
        time: [T] s, the end of each control step.
        observation: [T, O] as seen before acting.
        policy_action: [T, A] in [-1, 1], what the policy asked for.
        action: [T, A] in [-1, 1], what was sent.
        reward: [T].
        terminated: [T] bool, the task ended (a crash).
        truncated: [T] bool, the time was up.
        qpos: [T, nq] generalised position after the step, as MuJoCo orders it.
        qvel: [T, nv] generalised velocity after the step.
        reference: [T, 3] m, reference position after the step.
        error: [T] m, distance to the reference after the step.
        shift: [T, S] strength in [0, 1] of each shift during the step.
        wind: [T, 3] m/s.
        payload: [T] kg.
        motor_effectiveness: [T, M], 1 is a healthy motor.
        estimate: [T, E] the adapter's disturbance estimate, E may be 0; ``meta["estimate_names"]`` names the columns.
        step_time: [T] s of wall clock spent by the controller.
        view: [T, O] what the policy was shown less `observation`: the adapter's correction, and the policy's own previous
            action. With it `shown`, and from that all that went on in the policy. Width 0 where it is not recorded.
        scene: by name, [T, ...] what only pictures need, of the kind of environment (`BatchEnv.record`): wheels, traffic.

    Raises:
        ValueError: a required fact is missing, or an array has the wrong shape.
    """

    meta: dict[str, Any]
    time: np.ndarray
    observation: np.ndarray
    policy_action: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    reference: np.ndarray
    error: np.ndarray
    shift: np.ndarray
    wind: np.ndarray
    payload: np.ndarray
    motor_effectiveness: np.ndarray
    estimate: np.ndarray
    step_time: np.ndarray
    view: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    scene: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [key for key in REQUIRED_META if key not in self.meta]
        if missing:
            raise ValueError(f"episode metadata lacks {', '.join(missing)}; required: {', '.join(REQUIRED_META)}")
        steps = np.shape(self.time)[0] if np.ndim(self.time) == 1 else 0
        if not 1 <= steps <= self.planned_steps:
            raise ValueError(
                f"time has shape {np.shape(self.time)}; expected [T], 1 <= T <= planned_steps = {self.planned_steps}"
            )
        if self.view.size == 0:
            self.view = np.zeros((steps, 0))
        for name, (dtype, width) in (ARRAYS | OPTIONAL).items():
            array: np.ndarray = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            expected = (steps,) if width == 0 else (steps, array.shape[-1] if width is None else width)
            if array.shape != expected:
                trailing = {0: "", None: ", any"}.get(width, f", {width}")
                raise ValueError(f"episode array {name!r} has shape {array.shape}; expected [{steps}{trailing}]")
            setattr(self, name, array)
        self.scene = {name: np.asarray(array, dtype=np.float32) for name, array in self.scene.items()}
        if wrong := [name for name, array in self.scene.items() if len(array) != steps]:
            raise ValueError(
                f"episode array scene[{wrong[0]!r}] has {len(self.scene[wrong[0]])} rows; expected {steps}"
            )

    @property
    def dt(self) -> float:
        """Control period in s."""
        return float(self.meta["dt"])

    @property
    def steps(self) -> int:
        """Control steps flown, T."""
        return len(self.time)

    @property
    def planned_steps(self) -> int:
        """Control steps the episode lasts unless it crashes."""
        return int(self.meta["planned_steps"])

    @property
    def crashed(self) -> bool:
        """Whether the episode ended in a crash."""
        return bool(self.meta["crashed"])

    @property
    def onset_s(self) -> float | None:
        """Time in s at which the first shift sets in: as recorded, as planned if none did; None without a shift."""
        if (active := (self.shift > 0).any(axis=1)).any():
            first = int(active.argmax())
            return float(self.time[first - 1]) if first else 0.0
        return min((float(shift["onset_s"]) for shift in self.meta["shifts"]), default=None)

    @property
    def shown(self) -> np.ndarray:
        """[T, O] float32, what the policy was shown, to rounding.

        Raises:
            ValueError: it was not recorded.
        """
        if self.view.shape != self.observation.shape:
            raise ValueError("the episode does not record what its policy was shown; record it again with this version")
        return self.observation + self.view

    def save(self, path: str | Path) -> Path:
        """Write the episode as a compressed npz; a reader sees the old file or the whole new one."""
        path = Path(path)
        facts = json.dumps({"format": FORMAT, **self.meta}, default=_plain)
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS | OPTIONAL}
        arrays |= {_SCENE + name: array for name, array in self.scene.items()}
        content = io.BytesIO()
        np.savez_compressed(content, meta=np.array(facts), **arrays)
        write_atomically(path, content.getvalue())
        return path

    @classmethod
    def load(cls, path: str | Path, drawn: bool = True) -> Episode:
        """Read an episode; without what is `DRAWN` (arrays of width 0, no `scene`) thousands of them fit into memory.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, damaged, or no episode of this format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no episode file at {path}; `undrift evaluate` writes them")
        try:
            with np.load(path, allow_pickle=False) as stored:
                meta = json.loads(str(stored["meta"]))
                found = meta.pop("format", None)
                if found != FORMAT:
                    raise ValueError(f"format {found}, this version reads {FORMAT}")
                steps = len(stored["time"])
                left_out = {} if drawn else {name: np.zeros((steps, 0)) for name in DRAWN}
                known = [name for name in (*ARRAYS, *OPTIONAL) if name in stored or name in ARRAYS]
                arrays = left_out | {name: stored[name] for name in known if name not in left_out}
                scenes = [name for name in stored if name.startswith(_SCENE) and drawn]
                scene = {name.removeprefix(_SCENE): stored[name] for name in scenes}
            return cls(meta=meta, **arrays, scene=scene)
        except (ValueError, KeyError, AttributeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is not a complete episode file ({error}); record it again") from error


def versions() -> dict[str, str]:
    """What a result depends on: versions of undrift, its numerical libraries and Python, and the machine.

    Reads package metadata and imports none of the libraries.
    """
    libraries = ("mujoco", "gymnasium", "torch", "numpy", "stable_baselines3", "numba")
    found = {"undrift": __version__, "python": platform.python_version()}
    return found | {name: _installed_version(name) for name in libraries} | {"machine": machine()}


def machine() -> str:
    """Processor, its usable cores and the operating system, in one line."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {usable_cores()} cores, {platform.system()} {platform.release()}"


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _installed_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as JSON knows them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"episode metadata holds a {type(value).__name__}, which JSON does not know: {value!r}")
