"""DroneEnv: what all drone tasks share. A task adds what it draws, what it shows and what it rewards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numba import njit

from ..clock import Clock, make_clock
from ..drawing import Canvas
from ..drift import Shifts
from ..signals import Signals
from ..simulation import BatchEnv
from . import looks, physics
from .clearance import Obstacles, switch_contacts
from .model import drone_spec
from .plant import DronePlant
from .sensors import Sensors
from .vehicle import GRAVITY, VEHICLES, Vehicle, load_vehicle
from .wind import WindField, wind_from_dict

AXES = ("x", "y", "z")
ROTATION = tuple(f"rotation_{a}{b}" for a in AXES for b in AXES)
"""Attitude matrix from body to world, row-major."""
BODY_RATES = tuple(f"body_rate_{a}" for a in AXES)
"""rad/s, body frame."""
SPECIFIC_FORCE = tuple(f"specific_force_{a}" for a in AXES)
"""m/s², body frame."""
LOWEST_CHARGE = 0.2
"""With a battery, an episode begins with a charge drawn uniformly between this and 1."""

_STRONG_WIND = 30.0  # m/s, for the bound on what accelerates a vehicle


class DroneEnv(BatchEnv):
    """Quadrotors over a floor, among what a task builds, in moving air, seen through sensors.

    Action (4, in [-1, 1]), by `interface`; figures are the vehicle's (`physics.action_ranges` lists them):

    - "motors": each rotor's thrust; 0 hovers the nominal mass, -1 is off, 1 is max_rotor_thrust.
    - "rates": collective thrust (0 hovers, 1 adds thrust_range weights) and body rates (max_rates at 1).
    - "attitude": collective thrust as above; roll and pitch relative to the heading (max_tilt at 1, positive pitch nose
      down); yaw rate.
    - "velocity": velocity along world x, y and z (max_velocity at 1) and yaw rate. Proportional: wind leaves an offset.

    The loops behind them run at the physics rate on the true state, and know the nominal vehicle.

    The drone collides with floor and obstacles. MuJoCo's contacts and constraints are switched off for the simulations
    that cannot touch anything within the control step; trajectories do not depend on that.

    Args:
        num_envs: simulations in the batch.
        seed: of the simulations' random streams; None takes entropy from the system.
        shifts: what changes during each episode.
        vehicle: one of VEHICLES, a JSON file, a `Vehicle` or its `to_dict`.
        interface: what an action means.
        control_hz: control rate, 50, 100 or 200 Hz; 5, 4 or 2 physics steps each.
        clock: jitter and missed ticks (`Clock` or its `to_dict`); adds the channel "step_duration", s. None: regular.
        wind: the air's field (`WindField`, its `to_dict` or its name), sampled once per control step where the drone
            is, and added to the wind of shifts. None: still air.
        sensors: what the drone measures itself with (`Sensors` or its `to_dict`). An accelerometer adds the channels
            "specific_force_x" to "_z". None: the default of `Sensors`.
        noise: scale of the sensors' noise and bias; 0 turns them off.
        battery: whether the charge falls and takes thrust with it; each episode draws its first charge.
        ground_effect: whether the floor raises the rotors' thrust.
        episode_s: time limit, s of the regular clock.
        threads: MuJoCo's threads for the batch.

    Raises:
        ValueError: an argument is out of range; the message names it and what is valid.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        channels: Callable[[tuple[str, ...]], dict[str, float]],
        task: Mapping[str, Any],
        signals: Callable[[tuple[str, ...]], Signals],
        build: Callable[[mujoco.MjSpec], None] | None = None,
        seed: int | None = None,
        shifts: Shifts = (),
        vehicle: str | Path | Mapping[str, Any] | Vehicle = "racer",
        interface: str = "rates",
        control_hz: int = 50,
        clock: Clock | Mapping[str, Any] | None = None,
        wind: WindField | Mapping[str, Any] | str | None = None,
        sensors: Sensors | Mapping[str, Any] | None = None,
        noise: float = 1.0,
        battery: bool = False,
        ground_effect: bool = False,
        episode_s: float = 18.0,
        threads: int = 1,
    ) -> None:
        """A task gives `channels` (its observation, name -> typical magnitude) and `signals` (what it offers adapters),
        both from the action names; `task` (its own arguments, JSON values); and `build` (adds obstacles to the model: geoms
        fixed in the world, or on mocap bodies, which may move between control steps).
        """
        if interface not in physics.INTERFACES:
            raise ValueError(f"unknown interface {interface!r}; the interfaces are: {', '.join(physics.INTERFACES)}.")
        if not (np.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise is {noise}: give a scale of at least 0 (1 is the documented noise).")
        self.vehicle = load_vehicle(vehicle)
        self.interface = interface
        wind = {"name": wind} if isinstance(wind, str) else wind
        self.wind = wind_from_dict(wind) if isinstance(wind, Mapping) else wind
        self.battery, self.ground_effect = battery, ground_effect
        clock = make_clock(clock)
        sensors = Sensors.from_dict(sensors) if isinstance(sensors, Mapping) else sensors or Sensors()
        self.sensors = sensors.scaled(noise)
        actions = physics.INTERFACES[interface]
        shown = channels(actions)
        if self.sensors.specific_force is not None:
            shown |= dict.fromkeys(SPECIFIC_FORCE, GRAVITY)
        spec = drone_spec(self.vehicle)
        if build is not None:
            build(spec)
        super().__init__(
            spec.compile(),
            DronePlant,
            num_envs,
            channels=shown,
            action_names=actions,
            signals=signals(actions),
            measured=self.sensors.measured,
            seed=seed,
            shifts=shifts,
            episode_s=episode_s,
            control_hz=control_hz,
            clock=clock,
            noises=self.sensors.draws,
            threads=threads,
            kwargs={
                **task,
                "vehicle": vehicle if isinstance(vehicle, str) and vehicle in VEHICLES else self.vehicle.to_dict(),
                "interface": interface,
                "control_hz": control_hz,
                "clock": clock and clock.to_dict(),
                "wind": self.wind and self.wind.to_dict(),
                "sensors": sensors.to_dict(),
                "noise": noise,
                "battery": battery,
                "ground_effect": ground_effect,
                "episode_s": episode_s,
            },
        )
        self.charge = np.ones(num_envs)
        self.contact = np.zeros(num_envs, dtype=bool)
        """[N] whether the drone touched anything during the last control step."""
        self._rotor_thrust, self._ctrl = self.batch.bind("act"), self.batch.bind("ctrl")
        self._field_wind = np.zeros((num_envs, 3))
        self._wind_state: dict[str, np.ndarray] = {}
        self._sensor_state: dict[str, np.ndarray] = {}
        self._acceleration = self.batch.bind("qacc") if self.sensors.specific_force is not None else None
        self._contacts = self.batch.bind("ncon")
        self._flags = self.batch.expand("opt.disableflags")
        self._obstacles = Obstacles(self.model, self.batch, "drone")
        self._reach = (
            float(np.hypot(self.vehicle.radius, self.vehicle.height / 2)),
            _largest_acceleration(self.vehicle),
        )
        self._timestep = float(self.model.opt.timestep)
        self._constants = physics.constants(self.vehicle)
        self._interface_code = list(physics.INTERFACES).index(interface)
        self._applied = self.batch.bind("qfrc_applied")

    @abstractmethod
    def _observe_task(self, ids: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
        """The task's channels [n, O] float32 of the simulations `ids`.

        truth and error (measured less true) hold position, velocity (world), rotation matrix (row-major) and body rates,
        [n, 18 or more].
        """

    def place(
        self,
        index: int,
        position: np.ndarray,
        velocity: np.ndarray | float = 0.0,
        quaternion: np.ndarray | tuple[float, ...] = (1.0, 0.0, 0.0, 0.0),
        body_rates: np.ndarray | float = 0.0,
    ) -> None:
        """Put simulation `index` there, its rotors at hovering thrust; for `_start`. The quaternion gets normalised."""
        self.qpos[index, :3] = position
        self.qpos[index, 3:7] = np.asarray(quaternion) / np.linalg.norm(quaternion)
        self.qvel[index, :3] = velocity
        self.qvel[index, 3:] = body_rates
        self._rotor_thrust[index] = self._ctrl[index] = self.vehicle.hover_thrust

    def clearance(self) -> np.ndarray:
        """Distance from each drone's centre to the nearest floor or obstacle, [N] m; negative inside one."""
        return self._obstacles.distance(self.qpos)

    def record(self) -> dict[str, np.ndarray]:
        return {
            "qpos": self.qpos.copy(),
            "wind": self.plant["wind"] + self._field_wind,
            "payload": self.plant.values["mass"] - self.vehicle.mass,
            "motor_effectiveness": self.plant["actuator_gain"].copy(),
        }

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        super().recall(began, time, moment)
        self._field_wind[0] = 0.0  # that of the moment holds both
        self.plant.values["mass"][0] = self.vehicle.mass + moment["payload"]
        self.plant["actuator_gain"][0] = moment["motor_effectiveness"]

    def draw(self, canvas: Canvas, index: int) -> None:
        moment = {name: rows[index] for name, rows in self.record().items()}
        looks.draw_air_and_load(canvas, self.vehicle, moment.pop("qpos"), moment)

    def outlook(self, index: int) -> np.ndarray:
        attitude = np.empty(9)
        physics.rotation(self.qpos[index], attitude)
        return attitude[[0, 3]]  # of body x: short when the nose points up or down

    def _begin(self, ids: np.ndarray) -> None:
        super()._begin(ids)
        self.contact[ids] = False
        rngs = [self._rngs[i] for i in ids]
        _replace(self._sensor_state, self.sensors.start(len(ids), rngs), ids, self.num_envs)
        if self.wind is not None:
            streams = [rng.spawn(1)[0] for rng in rngs]
            _replace(self._wind_state, self.wind.start(len(ids), streams), ids, self.num_envs)
            self._field_wind[ids] = 0.0
        if self.battery:
            self.charge[ids] = [rng.uniform(LOWEST_CHARGE, 1.0) for rng in rngs]

    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        near = self._toggle_contacts(lengths)
        self.contact[:] = False
        inner_loop = (
            self._interface_code,
            actions,
            self._constants,
            self.qpos,
            self.qvel,
            self._rotor_thrust,
            self.plant.values,
            self._sample_air(),
            self.charge,
            self._timestep,
            self.battery,
            self.ground_effect,
            self._ctrl,
            self._applied,
        )
        for ids in self._substeps_of(lengths):
            physics.drive(ids, *inner_loop)
            self.batch.step(None if ids is self._all else ids)
            if near:
                self.contact |= self._contacts > 0

    def _sample_air(self) -> np.ndarray:
        if self.wind is None:
            return self.plant["wind"]
        self._field_wind[:] = self.wind.velocity(
            self._wind_state, self._all, self.time, self.qpos[:, :3], self.qvel[:, :3], self.step_duration
        )
        return self.plant["wind"] + self._field_wind

    def _toggle_contacts(self, lengths: np.ndarray) -> bool:
        """Contacts on where something may be touched in the coming control step; whether that is so anywhere."""
        span = lengths * self._timestep
        return switch_contacts(self.clearance(), self.qvel, span, *self._reach, self._flags)

    def _observe(self, ids: np.ndarray) -> np.ndarray:
        if self._acceleration is not None and (begun := ids[self.elapsed[ids] == 0]).size:
            self.batch.forward(begun)  # no physics step has been taken yet
        truth = self.true_state(ids)
        error = self.sensors.error(self._sensor_state, ids, self._noise.next(ids), self.time[ids], truth)
        if self.drift.distorts_sensors:
            measured = truth + error
            # Added, not put in its place: what no shift changes stays as it is to the bit.
            error += self.drift.measure(ids, self.time[ids], measured) - measured
        observation = self._observe_task(ids, truth, error)
        if self._acceleration is None:
            return observation
        return np.concatenate([observation, (truth + error)[:, 18:].astype(np.float32)], axis=1)

    def true_state(self, ids: np.ndarray) -> np.ndarray:
        """What perfect sensors show, [n, channels]; the specific force is the last physics step's."""
        truth = np.empty((len(ids), self.sensors.channels))
        _true_state(ids, self.qpos, self.qvel, truth)
        if self._acceleration is not None:
            force = self._acceleration[ids, :3] - self.plant["gravity"][ids]
            truth[:, 18:] = np.einsum("nij,ni->nj", truth[:, 6:15].reshape(-1, 3, 3), force)
        return truth


def state_signals(actions: tuple[str, ...], tracking: Mapping[str, str] | None = None) -> Signals:
    """Those of a task that shows velocity, attitude, body rates and previous action, and no preview of a reference."""
    rates = (*(f"velocity_{a}" for a in AXES), *BODY_RATES)
    return Signals(
        rates={channel: (channel,) for channel in rates},
        context=ROTATION,
        tracking=tracking or {},
        preview=(),
        previous_action=tuple(f"previous_action_{a}" for a in actions),
    )


def _largest_acceleration(vehicle: Vehicle) -> float:
    """Twice what gravity, full thrust and a storm's drag give together: room for light payloads and strong gusts, m/s²."""
    drag = (vehicle.linear_drag + vehicle.quadratic_drag * _STRONG_WIND) * _STRONG_WIND
    return 2.0 * (GRAVITY * (1.0 + vehicle.thrust_to_weight) + drag / vehicle.mass)


def _replace(state: dict[str, np.ndarray], fresh: dict[str, np.ndarray], ids: np.ndarray, n: int) -> None:
    """Put the `fresh` rows of new episodes into the state of all `n` simulations."""
    for key, rows in fresh.items():
        if key not in state:
            state[key] = np.zeros((n, *rows.shape[1:]), rows.dtype)
        state[key][ids] = rows


@njit(cache=True)
def _true_state(ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, out: np.ndarray) -> None:
    for row in range(ids.shape[0]):
        n = ids[row]
        out[row, :3] = qpos[n, :3]
        out[row, 3:6] = qvel[n, :3]
        physics.rotation(qpos[n], out[row, 6:15])
        out[row, 15:18] = qvel[n, 3:]


@njit(cache=True)
def effort(action: np.ndarray, action_before: np.ndarray, body_rates: np.ndarray) -> tuple[float, float]:
    """The two costs that every task charges: -0.04 |change of action|² and -0.004 |body rates|², at most 0.4."""
    change = 0.0
    for j in range(4):
        change += (action[j] - action_before[j]) ** 2
    squared = body_rates[0] ** 2 + body_rates[1] ** 2 + body_rates[2] ** 2
    return -0.04 * change, -min(0.004 * squared, 0.4)
