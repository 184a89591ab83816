"""ForeignWorld: any Gymnasium environment, as far as shifts know and change it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from inspect import getattr_static
from operator import attrgetter
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

from . import appearance
from .drift import Drift
from .elapsed import own_period
from .plant import ModelPlant, Parameter, Plant
from .shift import CommandShift, PlantShift, SensingShift, Shift
from .shifts.attribute import OF_ENV
from .shifts.timing import ClockJitter, ControlRate

_ACTUATOR = "actuator_"
_ONE = np.array([0])
_LOOKS = ("light", "tint")
_NOMINAL_LOOKS = {name: np.full(p.count or (), p.nominal) for name, p in appearance.PARAMETERS.items()}


class ForeignWorld:
    """One environment and its shifts.

    Its plant has its number attributes, named "env." and the name; an actuator to each channel of a bounded Box of actions;
    and the parameters of its MuJoCo model, where `unwrapped` has `model` and `data`, with light and tint of its pictures.
    What the sensors measure is the observation, where that is a Box.

    A control step is one step of the environment, of `frame_skip` physics steps if it has that many. A control step that is
    shifted to another length is as many steps of the environment as come nearest, which share the physics steps evenly.

    Args:
        env: the environment, with the wrappers that it has.
        shifts: what shifts.
        dt: duration of a step, s; None is what the environment tells (`own_period`).

    Raises:
        ValueError: a shift does not fit the environment; the message says what does.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], shifts: Sequence[Shift], dt: float | None) -> None:
        self.dt = own_period(env) if dt is None else dt
        if not 0.0 < self.dt < np.inf:
            raise ValueError(f"dt is {dt}: give the duration of a step in s, positive.")
        base: Any = env.unwrapped
        model = base.model if _has_model(base) else None
        self._env, self._base = env, base
        self._has_frames = model is not None and hasattr(base, "frame_skip")
        self.substeps = base.frame_skip if self._has_frames else 1
        self.action_names = _action_names(env.action_space, model)
        self.measured_names = measured_names(env)
        self.measured_noise = np.zeros(len(self.measured_names))
        self.plant = _plant(base, model, self.action_names)
        for shift in shifts:
            self._check(shift)
        steps = env.spec.max_episode_steps if env.spec else None
        self.drift = Drift(self, shifts, 1, steps * self.dt if steps else np.inf)
        changes = [name for shift in shifts for name in _changes(shift)]
        self._has_actuation = any(name.startswith(_ACTUATOR) for name in changes)
        own = [name.removeprefix(OF_ENV) for name in changes if name.startswith(OF_ENV)]
        self._own_attributes = {name: getattr(base, name) for name in own}
        has_looks = any(name in _LOOKS for name in changes)
        self._looks = appearance.Appearance(model, cameras=[]) if has_looks else None
        self._time, self._duration = np.zeros(1), np.full(1, self.dt)
        self._reached = np.zeros((1, len(self.action_names)))

    def begin(self, rng: np.random.Generator, observation: Any) -> Any:
        """Begin an episode, once the environment's own reset has given `observation`; returns what is observed instead."""
        self._time[:], self._duration[:], self._reached[:] = 0.0, self.dt, 0.0
        self.drift.begin(_ONE, [rng])
        self._write()
        return self._measured(observation)

    def end(self) -> None:
        """Undo what the shifts have changed of the environment."""
        self.drift.end()
        self._write()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One control step; `info["dt"]` is how long it took, by `info["dt"]` of the environment where it tells that."""
        self.drift.update(self._time, self._duration)
        self._write()
        length = int(self.drift.ticks(np.array([self.substeps]))[0])
        arriving = self._arriving(action, self.dt * length / self.substeps)
        reward = duration = 0.0
        for frames in self._frames(length):
            observation, gained, terminated, truncated, info = self._step(arriving, frames)
            reward += float(gained)
            duration += info.get("dt", self.dt * frames / self.substeps)
            if terminated or truncated:
                break
        self._time += duration
        self._duration[:] = duration
        return self._measured(observation), reward, terminated, truncated, {**info, "dt": duration}

    def _measured(self, observation: Any) -> Any:
        """What is observed in place of `observation`: within the space's bounds, as of a sensor that saturates."""
        if not self.drift.distorts_sensors:
            return observation
        true = np.asarray(observation, dtype=float).reshape(1, -1)
        measured = self.drift.measure(_ONE, self._time, true)
        return _replaced(observation, measured, measured != true, self._env.observation_space)

    def _arriving(self, action: Any, duration: float) -> Any:
        """The action that arrives, for so many s, when `action` is sent."""
        space = self._env.action_space
        if not (self.drift.distorts_actions or self._has_actuation):
            return action
        assert isinstance(space, spaces.Box)
        # Actuators rest where the action is 0, or nearest to that; 1 is the largest action on either side.
        rest = np.clip(0.0, space.low, space.high)
        largest = np.maximum(space.high - rest, rest - space.low)
        sent = ((np.clip(action, space.low, space.high) - rest) / largest).reshape(1, -1)
        arriving = self.drift.command(sent)
        if self._has_actuation:
            self._reached = reached(self.plant, self._reached, arriving, duration)
            arriving = self.plant["actuator_gain"] * self._reached
        return _replaced(action, rest + largest * arriving.reshape(space.shape), arriving != sent, space)

    def _frames(self, length: int) -> list[int]:
        """The physics steps of each step of the environment in a control step of `length` of them."""
        steps = max(round(length / self.substeps), 1)
        return [length // steps + (i < length % steps) for i in range(steps)]

    def _step(self, action: Any, frames: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step of the environment, of so many physics steps."""
        if not self._has_frames:
            return self._env.step(action)
        self._base.frame_skip = frames
        try:
            return self._env.step(action)
        finally:
            self._base.frame_skip = self.substeps

    def _write(self) -> None:
        """Let attributes and looks follow the plant."""
        for name, own in self._own_attributes.items():
            value = float(self.plant[OF_ENV + name][0])
            setattr(self._base, name, own if value == own else value)
        if self._looks:
            self._looks.show(_NOMINAL_LOOKS | {name: self.plant[name][0] for name in _LOOKS})

    def _check(self, shift: Shift) -> None:
        """Refuse what `shift.check` cannot know not to work here."""
        changes, env = _changes(shift), self._env
        acts = isinstance(shift, CommandShift) or any(name.startswith(_ACTUATOR) for name in changes)
        if acts and not self.action_names:
            raise ValueError(f"shift {shift.name!r} is of actions in a bounded Box; those here are {env.action_space}.")
        if isinstance(shift, SensingShift) and not self.measured_names:
            raise ValueError(
                f"shift {shift.name!r} is of observations in a Box; those here are {env.observation_space}."
            )
        shorter = isinstance(shift, ControlRate) and np.min(shift.period) < 1
        if self.substeps == 1 and (shorter or isinstance(shift, ClockJitter)):
            raise ValueError(
                f"shift {shift.name!r} takes a part of a step, but those of {env} are whole: it has no physics steps to count "
                "(no frame_skip above 1). MissedTicks, and a ControlRate whose period is above 1, repeat whole steps."
            )
        if "wind" in changes and isinstance(self.plant, ModelPlant):
            fluid = self.plant.model.opt
            if fluid.density == fluid.viscosity == 0:
                raise ValueError(f"shift {shift.name!r} blows through {env}, whose model has no air: its density is 0.")


def reached(plant: Plant, before: np.ndarray, asked: np.ndarray, duration: float) -> np.ndarray:
    """What actuators reach [N, A] when `asked` [N, A] is asked for `duration` s: x + (1 - exp(-duration / lag)) (w - x).

    x is `before` [N, A] and w = clip(z(asked + bias), -limit, limit), where z is 0 within the dead zone; one that is stuck
    stays at x. Shares of the largest action; what the actuator does is its gain times what it has reached.
    """
    wanted = asked + plant["actuator_bias"]
    wanted = np.where(np.abs(wanted) < plant["actuator_dead_zone"], 0.0, wanted)
    wanted = np.clip(wanted, -plant["actuator_limit"], plant["actuator_limit"])
    with np.errstate(divide="ignore"):
        left = np.exp(-duration / plant["actuator_lag"])
    return np.where(plant["actuator_stuck"] > 0, before, left * before + (1 - left) * wanted)


class _OneModel:
    """A single model and its data, as `plant.Simulations`."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        self._scratch = mujoco.MjData(model)

    def expand(self, name: str, /) -> np.ndarray:
        return attrgetter(name)(self._model)[None]

    def bind(self, name: str, /) -> np.ndarray:
        return getattr(self._data, name)[None]

    def set_const(self, ids: Any, /) -> None:
        # It leaves the data it is given in another state.
        try:
            mujoco.mj_setConst(self._model, self._scratch)
        except mujoco.FatalError as error:
            raise ValueError(
                "a body that MuJoCo has compiled as simple keeps its centre of mass in its frame, and its principal axes: "
                f'shift its mass alone, or compile the model with body/simple="false" ({error}).'
            ) from error


def _plant(base: Any, model: mujoco.MjModel | None, actuators: Sequence[str]) -> Plant:
    share = "share of the largest action"
    of_actuators = {
        "gain": ("factor", 1.0),
        "bias": (share, 0.0),
        "limit": (share, 1.0),
        "dead_zone": (share, 0.0),
        "stuck": ("1: stuck", 0.0),
        "lag": ("s", 0.0),
    }
    parameters = {
        _ACTUATOR + name: Parameter(unit, nominal, len(actuators))
        for name, (unit, nominal) in of_actuators.items()
        if actuators
    }
    for name in dir(base):
        value = getattr_static(base, name)
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if number and not name.startswith("_") and name != "frame_skip":
            parameters[OF_ENV + name] = Parameter("its own", float(value))
    if model is None:
        return Plant(1, actuators, parameters=parameters)
    parameters |= {name: appearance.PARAMETERS[name] for name in _LOOKS}
    first_that_moves = int(np.argmax(model.body_dofnum > 0))
    nominal_model = copy.copy(model)
    return ModelPlant(_OneModel(model, base.data), nominal_model, first_that_moves, actuators, parameters=parameters)


def _has_model(base: Any) -> bool:
    model, data = getattr(base, "model", None), getattr(base, "data", None)
    return isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)


def _action_names(space: spaces.Space[Any], model: mujoco.MjModel | None) -> tuple[str, ...]:
    """The channels of a bounded Box of actions, by the model's actuators where they are as many; else none."""
    if not (isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) and space.is_bounded()):
        return ()
    count = int(np.prod(space.shape))
    own = [model.actuator(i).name for i in range(count)] if model is not None and model.nu == count else [""] * count
    return tuple(name or f"action_{i}" for i, name in enumerate(own))


def measured_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """The channels of a Box of observations; else none."""
    space = env.observation_space
    if not isinstance(space, spaces.Box):
        return ()
    count = int(np.prod(space.shape))
    own = env.get_wrapper_attr("observation_names") if env.has_wrapper_attr("observation_names") else ()
    # A wrapper may have changed the observation and not its names.
    return tuple(own) if len(own) == count else tuple(f"observation_{i}" for i in range(count))


def _changes(shift: Shift) -> tuple[str, ...]:
    return shift.changes if isinstance(shift, PlantShift) else ()


def _replaced(old: Any, new: np.ndarray, where: np.ndarray, space: Any) -> Any:
    """`old`, with the numbers of `new` where told to, within the bounds of the Box `space`; the same object if nowhere."""
    if not where.any():
        return old
    old = np.asarray(old)
    new = np.clip(new.reshape(old.shape), space.low, space.high)
    new = new if np.issubdtype(old.dtype, np.floating) else np.rint(new)
    return np.where(where.reshape(old.shape), new, old).astype(old.dtype)
