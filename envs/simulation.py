"""One code for one simulation and for many: BatchEnv steps N of them, GymEnv is the batch of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from mujoco.batch import Batch

from .clock import Clock
from .drawing import Canvas
from .drift import Drift, Shifts
from .noise import Normals
from .plant import ModelPlant
from .rendering import View, picture_size
from .signals import Signals

SUBSTEPS = {50: 5, 100: 4, 200: 2}
"""Physics steps per control step, by control rate in Hz: at most 4 ms each."""

_BLOCK = 64
_BAD_VALUES = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADCTRL.value + 1)


class BatchEnv(ABC):
    """N simulations of one task, stepped together through `mujoco.batch.Batch`.

    Every simulation has a random stream of its own, so an episode depends on its seed and its actions only: not on
    how many others run beside it, nor on when they end. Rows of a batch equal single runs to the bit.
    """

    id: ClassVar[str]
    observation_names: tuple[str, ...]
    observation_scale: np.ndarray
    """float32 [O]: the typical magnitude of each channel; policies divide by it."""
    action_names: tuple[str, ...]
    signals: Signals
    dt: float
    """Control period, s."""
    time: np.ndarray
    """[N] s since the start of each simulation's episode."""
    step_duration: np.ndarray
    """[N] s that the last control step took: `dt` where the clock is regular."""
    picture_scale: float = 1.0
    """How large the world is in pictures, in units of the drones'."""

    def __init__(
        self,
        model: mujoco.MjModel,
        plant: Callable[[Batch, mujoco.MjModel], ModelPlant],
        num_envs: int,
        *,
        channels: Mapping[str, float],
        action_names: Sequence[str],
        signals: Signals,
        measured: Mapping[str, float],
        seed: int | None,
        shifts: Shifts,
        episode_s: float,
        control_hz: int,
        clock: Clock | None,
        noises: int,
        threads: int,
        kwargs: Mapping[str, Any],
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}: a batch holds at least one simulation.")
        if control_hz not in SUBSTEPS:
            raise ValueError(f"control_hz is {control_hz}: the control rates are {', '.join(map(str, SUBSTEPS))} Hz.")
        if not episode_s > 0:
            raise ValueError(f"episode_s is {episode_s}: an episode lasts a positive time in seconds.")
        self.kwargs = dict(kwargs)
        self.num_envs = num_envs
        self.substeps = SUBSTEPS[control_hz]
        self.dt = 1.0 / control_hz
        self.clock = clock
        model.opt.timestep = 1.0 / (control_hz * self.substeps)
        self.model = model
        if clock is not None:
            channels = {**channels, "step_duration": self.dt}
        self.observation_names = tuple(channels)
        self.observation_scale = np.array(list(channels.values()), dtype=np.float32)
        self.action_names = tuple(action_names)
        self.signals = signals
        self.max_episode_steps = round(episode_s * control_hz)
        self.measured_names = tuple(measured)
        self.measured_noise = np.array(list(measured.values()))
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self.observation_names),), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (len(self.action_names),), np.float32)
        self.batch = Batch(model, nsim=num_envs, nthread=min(threads, num_envs))
        self.plant = plant(self.batch, model)
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self.elapsed = np.zeros(num_envs, dtype=np.int64)
        self.time = np.zeros(num_envs)
        self.step_duration = np.full(num_envs, self.dt)
        self._physics_steps = np.zeros(num_envs, dtype=np.int64)
        self._lengths = np.full((_BLOCK, num_envs), self.substeps)
        self._limit = np.full(num_envs, self.max_episode_steps)
        self._rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(num_envs)]
        self._clock_rngs = list(self._rngs)
        self._noise = Normals(num_envs, noises)
        self._all = np.arange(num_envs)
        self._warnings = self._bad_values()
        self.action, self.action_before = (
            np.zeros((num_envs, len(action_names))),
            np.zeros((num_envs, len(action_names))),
        )
        """[N, A] the last two actions that were sent, clipped; which arrived is the shifts' secret."""
        self.drift = Drift(self, shifts, num_envs, episode_s)

    @abstractmethod
    def _start(self, index: int, rng: np.random.Generator) -> None:
        """Draw simulation `index`'s task and initial state."""

    @abstractmethod
    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        """One control step under `actions` [N, A] that arrive, finite and within bounds, of `lengths` [N] physics steps."""

    @abstractmethod
    def _observe(self, ids: np.ndarray) -> np.ndarray:
        """Observations [n, O] float32 of the simulations `ids`, read through the sensors; without the clock's channel."""

    @abstractmethod
    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Reward [N], crashed [N] and the named quantities of `info`, at the present state."""

    @abstractmethod
    def record(self) -> dict[str, np.ndarray]:
        """What a picture needs of the present moment: qpos, wind, payload, motor effectiveness, and what a kind of vehicle or a
        task has besides; each [N, ...]. `recall` is the way back."""

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        """Put a batch of one back where it was after a control step of its present episode, for pictures; simulates nothing.

        The task is that of the last `reset`; what the shifts change is brought to that step by their schedules.

        Args:
            began: when that step began, s.
            time: when it ended, s.
            moment: `qpos`, `qvel` and all else that `record` gave after it, without the axis of simulations.
        """
        self.drift.update(np.full(1, began), np.full(1, self.dt))
        self.time[0] = time
        self.qpos[0], self.qvel[0] = moment["qpos"], moment["qvel"]
        self.plant["wind"][0] = moment["wind"]

    @abstractmethod
    def draw(self, canvas: Canvas, index: int) -> None:
        """Add to a picture of simulation `index` what explains it and is no part of its world; `View` calls this."""

    def draw_world(self, canvas: Canvas, index: int) -> None:  # noqa: B027 - most worlds are all in the model
        """Add to a picture of simulation `index` what belongs to its world and is not in the model; `View` calls this."""

    def position(self, index: int) -> np.ndarray:
        """[3] where the vehicle of simulation `index` is, m, world."""
        return self.qpos[index, :3].copy()

    @abstractmethod
    def outlook(self, index: int) -> np.ndarray:
        """Level direction [2] in which simulation `index` goes on, where the chase camera looks; short: no matter where."""

    def shift_by(self, shifts: Shifts) -> None:
        """Let these shifts act from the next reset on, in place of those before; until then nothing is shifted.

        Raises:
            ValueError: as `Drift` says.
        """
        self.drift.end()
        self.drift = Drift(self, shifts, self.num_envs, self.max_episode_steps * self.dt)

    def reset(self, seeds: Sequence[int] | None = None, ids: np.ndarray | None = None) -> np.ndarray:
        """Begin new episodes.

        Args:
            seeds: one per simulation that is reset; None goes on with each simulation's own stream.
            ids: the simulations to reset; None is all.

        Returns:
            Their first observations, float32 [n, O].
        """
        ids = self._all if ids is None else np.atleast_1d(ids)
        if seeds is not None:
            if len(seeds) != len(ids):
                raise ValueError(f"{len(seeds)} seeds for {len(ids)} simulations: give one each.")
            for i, seed in zip(ids, seeds, strict=True):
                self._rngs[i] = np.random.default_rng(seed)
        self.elapsed[ids] = 0
        self._physics_steps[ids] = 0
        self.time[ids] = 0.0
        self.step_duration[ids] = self.dt
        self._limit[ids] = self.max_episode_steps
        self.action[ids] = self.action_before[ids] = 0.0
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._warnings[ids] = self._bad_values()[ids]
        self._noise.restart(ids, [self._rngs[i] for i in ids])
        self._begin(ids)
        self.drift.begin(ids, [self._rngs[i] for i in ids])
        return self._observation(ids)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One control step of every simulation. No automatic reset.

        Args:
            actions: [N, A]; clipped to [-1, 1].

        Returns:
            observation float32 [N, O], reward [N], terminated [N], truncated [N], info (arrays of N rows).

        Raises:
            ValueError: an action is not finite, or the shape is wrong.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != (self.num_envs, len(self.action_names)):
            raise ValueError(f"actions have shape {actions.shape}, not {(self.num_envs, len(self.action_names))}.")
        if not np.isfinite(actions).all():
            raise ValueError("an action is not finite: clean it before the step (Controller's guard does).")
        self.action_before[:] = self.action
        np.clip(actions, -1.0, 1.0, out=self.action)
        self.drift.update(self.time, self.step_duration)
        lengths = self.drift.ticks(self._next_lengths())
        self._advance(self.drift.command(self.action), lengths)
        self.elapsed += 1
        self._physics_steps += lengths
        self.time = self._physics_steps / self.substeps * self.dt
        self.step_duration = lengths / self.substeps * self.dt
        reward, crashed, info = self._score()
        crashed |= self._diverged()
        truncated = (self.elapsed >= self._limit) & ~crashed
        info["crashed"] = crashed
        info["shift"] = self.drift.strength.copy()
        info["dt"] = self.step_duration.copy()
        return self._observation(self._all), reward, crashed, truncated, info

    def stagger(self) -> None:
        """Cut the running episodes short, each elsewhere, so that a training batch is not truncated all at once."""
        self._limit[:] = 1 + np.arange(self.num_envs) * self.max_episode_steps // self.num_envs

    def _begin(self, ids: np.ndarray) -> None:
        """Begin the episodes of `ids`: whatever a simulation draws comes from its own stream, or from spawned ones."""
        for i in ids:
            self._start(int(i), self._rngs[i])
        if self.clock is not None:
            for i in ids:
                self._clock_rngs[i] = self._rngs[i].spawn(1)[0]

    def _observation(self, ids: np.ndarray) -> np.ndarray:
        observation = self._observe(ids)
        if self.clock is None:
            return observation
        return np.concatenate([observation, self.step_duration[ids, None].astype(np.float32)], axis=1)

    def _bad_values(self) -> np.ndarray:
        """[N] how often MuJoCo found a value that is not finite, or huge, in each simulation, and began it anew."""
        return self.batch.warning[:, _BAD_VALUES, 1].sum(axis=1)

    def _scored(
        self, names: Sequence[str], terms: np.ndarray, crashed: np.ndarray, info: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """What `_score` returns, from the named terms of the reward [N, K]: their sum, and each of them in `info`."""
        return terms.sum(axis=1), crashed, info | {f"reward/{name}": terms[:, k] for k, name in enumerate(names)}

    def _diverged(self) -> np.ndarray:
        """[N] whether that happened in the last control step."""
        before, self._warnings = self._warnings, self._bad_values()
        return self._warnings > before

    def _next_lengths(self) -> np.ndarray:
        """Physics steps of each simulation's next control step, [N]."""
        if self.clock is None:
            return self._lengths[0]
        position = self.elapsed % _BLOCK
        for i in np.flatnonzero(position == 0):
            self._lengths[:, i] = self.clock.draw(self._clock_rngs[i], _BLOCK, self.substeps)
        return self._lengths[position, self._all]

    def _substeps_of(self, lengths: np.ndarray) -> Iterator[np.ndarray]:
        """For each physics step of a control step, the simulations that take it."""
        if self.clock is None and not self.drift.distorts_clock:
            yield from (self._all for _ in range(self.substeps))
        else:
            shortest, longest = int(lengths.min()), int(lengths.max())
            yield from (self._all for _ in range(shortest))
            yield from (np.flatnonzero(lengths > k) for k in range(shortest, longest))


class GymEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A `BatchEnv` of one simulation as a `gymnasium.Env`.

    `observation_names`, `observation_scale`, `signals` and `dt` are those of the batch, which is `self.batch_env`.

    Args:
        batch_env: the batch.
        render_mode: None, or "rgb_array": `render` gives pictures, as `View` describes them.
        camera_name: "chase", "orbit", "top" or "fixed" (640 x 480), or "first_person" (64 x 64), for policies that see.
        width: of the pictures in pixels; None is the camera's own.
        height: likewise.

    Raises:
        ValueError: an unknown render mode or camera; the message lists the valid ones.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 - declared mutable by gymnasium.Env

    def __init__(
        self,
        batch_env: BatchEnv,
        render_mode: str | None = None,
        camera_name: str = "chase",
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}; the modes are: None, 'rgb_array'.")
        self._camera = camera_name, *picture_size(camera_name, width, height)
        self.batch_env = batch_env
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / batch_env.dt)}
        self.observation_space = batch_env.observation_space
        self.action_space = batch_env.action_space
        self.observation_names = batch_env.observation_names
        self.observation_scale = batch_env.observation_scale
        self.signals = batch_env.signals
        self.dt = batch_env.dt
        self._view: View | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        # Without a seed, Gymnasium's own generator goes on; it must be what decides, for its checker and for users.
        episode_seed = int(self.np_random.integers(2**63)) if seed is None else seed
        return self.batch_env.reset([episode_seed])[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.batch_env.step(np.asarray(action)[None])
        return (
            observation[0],
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {key: value[0] for key, value in info.items()},
        )

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The picture of the present moment, uint8 [height, width, 3]; None without a render mode.

        Raises:
            DrawingUnavailable: this machine has no OpenGL; the message says what to install.
        """
        if self.render_mode is None:
            return None
        if self._view is None:
            self._view = View(self.batch_env, *self._camera)
        return self._view.draw()

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._view is not None:
            self._view.close()
            self._view = None
