"""CarEnv: what all car tasks share. A task adds its roads, what it shows and what it rewards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from ..clock import Clock, make_clock
from ..drawing import Canvas
from ..drift import Shifts
from ..signals import Signals
from ..simulation import BatchEnv
from . import looks, physics
from .governor import Governor, govern, make_governor
from .model import car_spec
from .plant import ACTUATORS, CarPlant
from .road import CURVATURE, FRICTION, HALF_WIDTH, SPEED, Road, Roads, pose_at, project, value_at
from .vehicle import CARS, Car, load_car

SENSORS: Mapping[str, tuple[float, float]] = {
    "lateral_error": (0.008, 0.0),
    "heading_error": (0.004, 0.0),
    "forward_velocity": (0.03, 0.0),
    "lateral_velocity": (0.03, 0.0),
    "yaw_rate": (0.03, 0.0),
}
"""What a car measures (m, rad, m/s, m/s, rad/s), each with the standard deviations of its white noise and of the bias
that an episode draws; velocities in the body frame."""

LARGEST_HEADING_ERROR = 1.7
"""Turned further than that off the road's direction a car has crashed, rad."""
LEAST_SPEED = 0.15
"""Slower than that, past STARTING_S, a car stands, m/s."""
STARTING_S = 2.0
PATCHES = 6
"""Along a road, evenly: where the plant's patches begin."""


class CarEnv(BatchEnv):
    """Cars on roads, seen through sensors.

    Action (2, in [-1, 1]): steering (the front wheels' angle, steering_range at 1, left positive) and drive (brake force at
    -1, drive force at 1); `physics.action_ranges` lists the vehicle's figures. There is no reverse gear.

    Crashed: beyond the road's border, turned further than 97° off its direction, or standing still later than 2 s after
    the start. Nothing collides in MuJoCo; a task with obstacles tests for them in the plane.

    After a reset and after every control step these hold for all simulations: `station` (m along the road), `progress`
    (m along it in the last control step), `lateral_error` (m, left positive), `heading_error` (rad), `half_width` (m),
    `speed_reference` (m/s: the road's profile times `pace` times `speed_scale`), `steering` (rad), `pedal` (share of the
    full drive, or where negative brake), and of each wheel ([N, 4], in the order of `vehicle.WHEELS`) `surface` (the road's
    friction factor under it), `wheel_speed` (rad/s), `wheel_load` (N) and combined `slip`.

    `speed_scale` [N] is an input: what lowers it (to at least 0) lowers the speed that is observed as the reference and
    rewarded, from the next control step on. An episode begins with 1. Where there is a governor, it does that.

    Args:
        num_envs: simulations in the batch.
        seed: of the simulations' random streams; None takes entropy from the system.
        shifts: what changes during each episode.
        vehicle: one of CARS, a JSON file, a `Car` or its `to_dict`.
        control_hz: control rate, 50, 100 or 200 Hz; 5, 4 or 2 physics steps each.
        clock: jitter and missed ticks (`Clock` or its `to_dict`); adds the channel "step_duration", s. None: regular.
        sensors: standard deviations of noise and bias, by name, in place of those in SENSORS.
        noise: scale of the sensors' noise and bias; 0 turns them off.
        pace: share of the road's speed profile that is to be driven, or the range (low, high) each episode draws it from.
        governor: what lowers `speed_scale` to what the true grip allows (`Governor` or its `to_dict`). None: nothing.
        episode_s: time limit, s of the regular clock.
        threads: MuJoCo's threads for the batch.

    Raises:
        ValueError: an argument is out of range; the message names it and what is valid.
    """

    plant: CarPlant

    def __init__(
        self,
        num_envs: int = 1,
        *,
        road: Road | Callable[[np.random.Generator], Road],
        channels: Mapping[str, float],
        task: Mapping[str, Any],
        signals: Signals,
        seed: int | None = None,
        shifts: Shifts = (),
        vehicle: str | Path | Mapping[str, Any] | Car = "f1tenth",
        control_hz: int = 50,
        clock: Clock | Mapping[str, Any] | None = None,
        sensors: Mapping[str, Sequence[float]] | None = None,
        noise: float = 1.0,
        pace: float | Sequence[float] = 1.0,
        governor: Governor | Mapping[str, Any] | None = None,
        episode_s: float = 18.0,
        threads: int = 1,
        noises: int = 0,
    ) -> None:
        """A task gives its `road`, or what draws each episode's from its random stream; its `channels` (name -> typical
        magnitude); `signals` (what it offers adapters); `task` (its own arguments, JSON values); and `noises`, of its own sensors.
        """
        if not (np.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise is {noise}: give a scale of at least 0 (1 is the documented noise).")
        self.vehicle = load_car(vehicle)
        self._draw_road = None if isinstance(road, Road) else road
        drawn = road if isinstance(road, Road) else road(np.random.default_rng(0))
        self.roads = Roads([drawn] * (1 if self._draw_road is None else num_envs))
        self._pace_range = _checked_pace(pace)
        deviations = _checked_sensors(sensors or {})
        noise_scale, self._bias_scale = noise * np.array(list(deviations.values())).T
        self._noise_scale = np.concatenate([noise_scale, np.full(noises, noise)])
        clock, self._governor = make_clock(clock), make_governor(governor)
        spec = car_spec(self.vehicle)
        looks.add_road(spec, self.vehicle, self.roads)
        super().__init__(
            spec.compile(),
            CarPlant,
            num_envs,
            channels=channels,
            action_names=ACTUATORS,
            signals=signals,
            measured=dict(zip(SENSORS, noise_scale, strict=True)),
            seed=seed,
            shifts=shifts,
            episode_s=episode_s,
            control_hz=control_hz,
            clock=clock,
            noises=len(SENSORS) + noises,
            threads=threads,
            kwargs={
                **task,
                "vehicle": vehicle if isinstance(vehicle, str) and vehicle in CARS else self.vehicle.to_dict(),
                "control_hz": control_hz,
                "clock": clock and clock.to_dict(),
                "sensors": {name: list(pair) for name, pair in deviations.items()},
                "noise": noise,
                "pace": pace if isinstance(pace, int | float) else list(pace),
                "governor": self._governor and self._governor.to_dict(),
                "episode_s": episode_s,
            },
        )
        self.picture_scale = self.vehicle.length / 0.5
        n = num_envs
        self.road_index = np.arange(n) % len(self.roads)
        """[N] which of `roads` each simulation drives on."""
        self.pace, self.speed_scale = np.ones(n), np.ones(n)
        self.station, self.progress = np.zeros(n), np.zeros(n)
        self.lateral_error, self.heading_error = np.zeros(n), np.zeros(n)
        self.half_width, self.speed_reference = np.ones(n), np.ones(n)
        self.surface, self._friction, self._uphill = np.ones((n, 4)), np.ones((n, 4)), np.zeros((n, 2))
        self.steering, self.pedal, self.wheel_speed = np.zeros(n), np.zeros(n), np.zeros((n, 4))
        self.slip, self.wheel_load = np.zeros((n, 4)), np.zeros((n, 4))
        self._deflection, self._load_shift = np.zeros((n, 4, 2)), np.zeros((n, 2))
        self._nearest = np.full(n, -1)
        self._bias = np.zeros((n, len(SENSORS)))
        self._governed = np.zeros((n, 4))
        self._applied = self.batch.bind("qfrc_applied")
        self._constants = physics.constants(self.vehicle)
        self._timestep = float(self.model.opt.timestep)

    @abstractmethod
    def _observe_task(self, ids: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """The task's channels [n, O] float32 of the simulations `ids`.

        `measured` [n, 5 + noises] is in the order of SENSORS; then, for the task's own sensors, white noise whose standard
        deviation is the scale `noise`.
        """

    @abstractmethod
    def _start_task(self, index: int, rng: np.random.Generator) -> None:
        """`place` simulation `index` on its road, and draw what else the task has; its `pace` is drawn already."""

    def _road_laid(self, index: int) -> None:
        """Called when `roads[index]` is a new one, for tasks that derive something from it."""

    def place(
        self, index: int, station: float, lateral_error: float = 0.0, heading_error: float = 0.0, speed: float = 0.0
    ) -> None:
        """Put simulation `index` on its road, at `speed` along its own heading, turning and steered as the road bends there."""
        road = self.roads.table, self.roads.spacing, self.roads.closed, self.road_index[index]
        x, y, heading = pose_at(*road, station, lateral_error)
        curvature = value_at(*road, station, CURVATURE)
        yaw = heading + heading_error
        self.qpos[index] = x, y, yaw
        self.qvel[index] = speed * np.cos(yaw), speed * np.sin(yaw), speed * curvature
        steering, limit = np.arctan(self.vehicle.wheelbase * curvature), self.vehicle.max_steering
        self.steering[index] = min(max(steering, -limit), limit)
        self.wheel_speed[index] = speed / self.vehicle.wheel_radius
        for still in (self.pedal, self._deflection, self._load_shift, self.slip, self.wheel_load):
            still[index] = 0.0
        self._nearest[index] = -1

    @property
    def body_velocity(self) -> np.ndarray:
        """[N, 2] velocity of the nominal centre of mass, forward and left, m/s."""
        velocity = np.empty((self.num_envs, 2))
        _body_velocity(self.qpos, self.qvel, velocity)
        return velocity

    def record(self) -> dict[str, np.ndarray]:
        plant = self.plant
        return {
            "qpos": self.qpos.copy(),
            "wind": plant["wind"].copy(),
            "payload": plant.values["mass"] - self.vehicle.mass,
            "motor_effectiveness": plant["actuator_gain"][:, 1:].copy(),
            "steering": self.steering.copy(),
            "wheel_speed": self.wheel_speed.copy(),
            "slip": self.slip.copy(),
            "friction": self._friction_underneath().copy(),
        }

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        super().recall(began, time, moment)
        self.plant.values["mass"][0] = self.vehicle.mass + moment["payload"]
        self.plant["actuator_gain"][0, 1:] = moment["motor_effectiveness"]
        self.steering[0], self.wheel_speed[0] = moment["steering"], moment["wheel_speed"]
        self.slip[0] = moment["slip"]
        self._nearest[0] = -1
        self._locate(self._all)

    def outlook(self, index: int) -> np.ndarray:
        yaw = self.qpos[index, 2]
        return np.array([np.cos(yaw), np.sin(yaw)])

    def position(self, index: int) -> np.ndarray:
        return np.array([*self.qpos[index, :2], 0.01 * self.vehicle.length])

    def draw_world(self, canvas: Canvas, index: int) -> None:
        laid, road = canvas.memory.get("road"), self._ground(index)
        if laid is None or not np.array_equal(laid, road):
            canvas.memory["road"] = road
            looks.lay_road(canvas, self.vehicle, road, self.roads.closed)

    def _ground(self, index: int) -> np.ndarray:
        """The road of simulation `index`, [P, 7] as in `Roads.table`, with the friction that the plant makes of it."""
        number, plant = self.road_index[index], self.plant.values[index]
        road = self.roads.table[number].copy()
        sixth = PATCHES * np.arange(len(road)) * self.roads.spacing[number] / self.roads.length[number]
        slippery = sixth % 1.0 < plant["patch_share"]
        # A grip that one wheel has kept is the ground's: what the others lack is theirs.
        road[:, FRICTION] *= plant["grip"].max() * np.where(slippery, plant["patch_friction"], 1.0)
        return road

    def draw(self, canvas: Canvas, index: int) -> None:
        moment = {name: rows[index] for name, rows in self.record().items()}
        road, traces = int(self.road_index[index]), canvas.memory.setdefault("traces", looks.Traces())
        if self.signals.tracking:
            looks.draw_line_to_follow(canvas, self.roads, road, self.station[index], self.speed_reference[index])
        traces.draw(canvas, self.vehicle, moment, float(self.time[index]))
        looks.draw_air_and_load(canvas, self.vehicle, moment)
        looks.draw_map(canvas, self.roads.table[road], self.roads.closed, self.qpos[index])

    def _start(self, index: int, rng: np.random.Generator) -> None:
        if self._draw_road is not None:
            self.roads[index] = self._draw_road(rng)
            self._road_laid(index)
        self._start_task(index, rng)

    def _begin(self, ids: np.ndarray) -> None:
        # A stream of its own: pace, bias and governor change neither the road nor the noise of a seed.
        for i in ids:
            rng = self._rngs[i].spawn(1)[0]
            self.pace[i] = rng.uniform(*self._pace_range)
            self._bias[i] = self._bias_scale * rng.standard_normal(len(SENSORS))
            if self._governor is not None:
                self._governed[i] = self._governor.draw(rng, self.max_episode_steps * self.dt)
        self.speed_scale[ids] = 1.0
        super()._begin(ids)
        self._locate(ids)
        self.progress[ids] = 0.0

    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        _tilt_ground(self.plant.values, self.qpos, self.heading_error, self._uphill)
        friction = self._friction_underneath()
        if self._governor is not None:
            govern(self._governed, self.time, friction, lengths * self._timestep, self.speed_scale)
        motion = (
            self._constants,
            self._timestep,
            actions,
            self.qpos,
            self.qvel,
            self.plant.values,
            friction,
            self._uphill,
            self.steering,
            self.pedal,
            self.wheel_speed,
            self._deflection,
            self.slip,
            self.wheel_load,
            self._load_shift,
            self._applied,
        )
        for ids in self._substeps_of(lengths):
            physics.drive(ids, *motion)
            self.batch.step(None if ids is self._all else ids)
        lost = ~np.isfinite(self.wheel_speed).all(axis=1)
        if lost.any():  # MuJoCo has begun them anew, at rest
            for state in (
                self.steering,
                self.pedal,
                self.wheel_speed,
                self._deflection,
                self._load_shift,
                self.slip,
                self.wheel_load,
            ):
                state[lost] = 0.0
        self._locate(self._all)

    def _locate(self, ids: np.ndarray) -> None:
        """Where the simulations `ids` are on their roads, and what the road is like there."""
        roads = self.roads
        road = roads.table, roads.spacing, roads.closed, self.road_index
        before = self.station.copy()
        project(ids, *road, self.qpos, self._nearest, self.station, self.lateral_error, self.heading_error)
        _look_around(
            ids,
            *road,
            self._constants,
            before,
            self.station,
            self.pace,
            self.speed_scale,
            self.progress,
            self.half_width,
            self.speed_reference,
            self.surface,
        )

    def _friction_underneath(self) -> np.ndarray:
        """[N, 4] factor of the tyres' friction under each wheel: of the road, and of what the plant makes of it."""
        roads = self.roads.length, self.road_index
        _combine_friction(self.plant.values, self.surface, self.station, *roads, self._constants, self._friction)
        return self._friction

    def _observe(self, ids: np.ndarray) -> np.ndarray:
        measured = self._noise_scale * self._noise.next(ids)
        measured[:, : len(SENSORS)] += self._bias[ids]
        _add_state(ids, self.qpos, self.qvel, self.lateral_error, self.heading_error, measured)
        if self.drift.distorts_sensors:
            measured[:, : len(SENSORS)] = self.drift.measure(ids, self.time[ids], measured[:, : len(SENSORS)])
        return self._observe_task(ids, measured)

    def _crashes(self) -> np.ndarray:
        """[N] off the road, turned around, or standing."""
        # A simulation that diverges has crashed as well: no comparison with NaN is true.
        within = np.abs(self.lateral_error) <= self.half_width
        along = np.abs(self.heading_error) <= LARGEST_HEADING_ERROR
        moving = (self.time <= STARTING_S) | ((self.qvel[:, :2] ** 2).sum(axis=1) >= LEAST_SPEED**2)
        return ~(within & along & moving)

    def _errors(self) -> dict[str, np.ndarray]:
        """The quantities of `info` that every task has; `speed_error` is positive where the car is too fast."""
        heading = self.qpos[:, 2] - self.heading_error
        left = np.stack([-np.sin(heading), np.cos(heading), np.zeros(self.num_envs)], axis=1)
        reference = -self.lateral_error[:, None] * left
        reference[:, :2] += self.qpos[:, :2]
        return {
            "lateral_error": self.lateral_error.copy(),
            "heading_error": self.heading_error.copy(),
            "speed_error": self.body_velocity[:, 0] - self.speed_reference,
            "position_error": np.abs(self.lateral_error),
            "reference_position": reference,
        }


def _checked_pace(pace: float | Sequence[float]) -> tuple[float, float]:
    pair = np.broadcast_to(np.asarray(pace, dtype=float), 2) if np.ndim(pace) == 0 else np.asarray(pace, dtype=float)
    if pair.shape != (2,) or not (np.isfinite(pair).all() and 0 < pair[0] <= pair[1]):
        raise ValueError(f"pace is {pace!r}: give a share of the road's speed profile above 0, or a range (low, high).")
    return float(pair[0]), float(pair[1])


def _checked_sensors(own: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """SENSORS with `own` figures in their place."""
    if unknown := sorted(set(own) - set(SENSORS)):
        raise ValueError(f"there is no sensor {unknown[0]!r}; the sensors are: {', '.join(SENSORS)}.")
    chosen = dict(SENSORS)
    for name, values in own.items():
        pair = np.asarray(values, dtype=float)
        if pair.shape != (2,) or not (np.isfinite(pair) & (pair >= 0)).all():
            raise ValueError(f"sensors[{name!r}] is {values!r}: give the deviations of noise and bias, at least 0.")
        chosen[name] = float(pair[0]), float(pair[1])
    return chosen


@njit(cache=True)
def _body_velocity(qpos: np.ndarray, qvel: np.ndarray, out: np.ndarray) -> None:
    for n in range(qpos.shape[0]):
        cosine, sine = np.cos(qpos[n, 2]), np.sin(qpos[n, 2])
        out[n, 0] = cosine * qvel[n, 0] + sine * qvel[n, 1]
        out[n, 1] = cosine * qvel[n, 1] - sine * qvel[n, 0]


@njit(cache=True)
def _add_state(
    ids: np.ndarray,
    qpos: np.ndarray,
    qvel: np.ndarray,
    lateral_error: np.ndarray,
    heading_error: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the quantities of SENSORS of the simulations `ids` [n] to the first columns of `out`."""
    for row in range(ids.shape[0]):
        n = ids[row]
        cosine, sine = np.cos(qpos[n, 2]), np.sin(qpos[n, 2])
        out[row, 0] += lateral_error[n]
        out[row, 1] += heading_error[n]
        out[row, 2] += cosine * qvel[n, 0] + sine * qvel[n, 1]
        out[row, 3] += cosine * qvel[n, 1] - sine * qvel[n, 0]
        out[row, 4] += qvel[n, 2]


@njit(cache=True)
def _look_around(
    ids: np.ndarray,
    table: np.ndarray,
    spacing: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    car: np.ndarray,
    before: np.ndarray,
    station: np.ndarray,
    pace: np.ndarray,
    speed_scale: np.ndarray,
    progress: np.ndarray,
    half_width: np.ndarray,
    speed_reference: np.ndarray,
    surface: np.ndarray,
) -> None:
    """What the road is like where each of `ids` is, and the way it has gone since `before`; writes their rows of the last four."""
    for n in ids:
        road, here = road_index[n], station[n]
        gone = here - before[n]
        if closed:
            lap = table.shape[1] * spacing[road]
            gone -= lap * np.floor(gone / lap + 0.5)
        progress[n] = gone
        half_width[n] = value_at(table, spacing, closed, road, here, HALF_WIDTH)
        speed_reference[n] = value_at(table, spacing, closed, road, here, SPEED) * pace[n] * speed_scale[n]
        surface[n, :2] = value_at(table, spacing, closed, road, here + car[0].front_axle, FRICTION)
        surface[n, 2:] = value_at(table, spacing, closed, road, here - car[0].rear_axle, FRICTION)


@njit(cache=True)
def _tilt_ground(plant: np.ndarray, qpos: np.ndarray, heading_error: np.ndarray, uphill: np.ndarray) -> None:
    """Sine of the ground's rise along world x and y, `uphill` [N, 2], of the plant's slope, and bank across the road."""
    for n in range(qpos.shape[0]):
        heading, bank = qpos[n, 2] - heading_error[n], np.sin(plant[n].bank)
        uphill[n, 0] = plant[n].slope[0] - bank * np.sin(heading)
        uphill[n, 1] = plant[n].slope[1] + bank * np.cos(heading)


@njit(cache=True)
def _combine_friction(
    plant: np.ndarray,
    surface: np.ndarray,
    station: np.ndarray,
    length: np.ndarray,
    road_index: np.ndarray,
    car: np.ndarray,
    out: np.ndarray,
) -> None:
    """Factor under each wheel `out` [N, 4]: the road's, the wheel's own, and that of the patch it stands on."""
    for n in range(out.shape[0]):
        for i in range(4):
            place = station[n] + (car[0].front_axle if i < 2 else -car[0].rear_axle)
            patch = PATCHES * place / length[road_index[n]]
            slippery = patch - np.floor(patch) < plant[n].patch_share
            factor = plant[n].patch_friction if slippery else 1.0
            out[n, i] = surface[n, i] * plant[n].grip[i] * factor
