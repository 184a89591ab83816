"""Wind fields: the air's velocity where a vehicle is. Constant, sheared, gusting, turbulent, oscillating, and sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .. import dryden
from ..dryden import FOOT
from ..shift import require

State = dict[str, np.ndarray]
"""Arrays with one row per simulation. A new episode replaces its rows: state[key][ids] = fresh[key]."""

_NOISE_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class WindField(ABC):
    """The velocity of the air, world frame (z up), m/s. What it draws is drawn once per episode and simulation.

    The state is explicit, and its rows are independent: a row of a batch equals a single run to the bit.

    Args:
        heading: direction the wind blows towards, rad from world x; None draws one per episode.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str]

    heading: float | None = None

    def __post_init__(self) -> None:
        valid = self.heading is None or bool(np.isfinite(self.heading))
        require(valid, self, "heading", self.heading, "an angle in rad, or None to draw one per episode")

    def start(self, n: int, rngs: Sequence[np.random.Generator]) -> State:
        """The state of `n` simulations at the start of an episode, each drawn from a stream of its own.

        Turbulence keeps its stream and goes on drawing: give streams that nothing else draws from (`Generator.spawn`).
        """
        if self.heading is None:
            heading = np.array([rng.uniform(-np.pi, np.pi) for rng in rngs])
        else:
            heading = np.full(n, float(self.heading))
        return {"along": np.stack([np.cos(heading), np.sin(heading), np.zeros(n)], axis=1)}

    @abstractmethod
    def velocity(
        self,
        state: State,
        ids: np.ndarray,
        time: np.ndarray,
        position: np.ndarray,
        velocity: np.ndarray,
        dt: float | np.ndarray,
    ) -> np.ndarray:
        """The air's velocity at the vehicles; call it once per step, for the state moves on by `dt`.

        Args:
            state: what `start` gave, advanced in place.
            ids: the simulations, [n].
            time: s since the start of the episode, [n].
            position: of the vehicles in the world, m, [n, 3]; z is the altitude.
            velocity: of the vehicles in the world, m/s, [n, 3].
            dt: s since the call before, one number or [n].

        Returns:
            m/s, world frame, [n, 3].
        """

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `wind_from_dict` builds an equal field."""
        return {"name": self.name, **{f.name: getattr(self, f.name) for f in fields(self)}}


class _Stream(WindField):
    """Air that moves along one heading, as fast as the time and the altitude say."""

    @abstractmethod
    def speed_at(self, time: np.ndarray, altitude: np.ndarray) -> np.ndarray:
        """m/s [n] at `time` [n] s and `altitude` [n] m."""

    def velocity(
        self,
        state: State,
        ids: np.ndarray,
        time: np.ndarray,
        position: np.ndarray,
        velocity: np.ndarray,
        dt: float | np.ndarray,
    ) -> np.ndarray:
        return self.speed_at(time, position[:, 2])[:, None] * state["along"][ids]


@dataclass(frozen=True, kw_only=True)
class ConstantWind(_Stream):
    """Air that moves at `speed` (m/s, at least 0) everywhere and always."""

    name: ClassVar[str] = "constant"

    speed: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_speed(self, "speed", self.speed)

    def speed_at(self, time: np.ndarray, altitude: np.ndarray) -> np.ndarray:
        return np.full(len(time), self.speed)


@dataclass(frozen=True, kw_only=True)
class WindShear(_Stream):
    """Wind that grows with the altitude h, from `speed` at 20 ft (6.1 m):

        "log":    speed ln(h / roughness) / ln(6.1 m / roughness), 0 below `roughness`   (MIL-F-8785C, 3.7.3.4)
        "power":  speed (h / 6.1 m)^exponent

    Args:
        speed: m/s at 20 ft, at least 0.
        profile: "log" or "power".
        roughness: height at which the logarithmic profile ends, m, below 6.1. MIL-F-8785C: 0.15 ft (0.046 m) near the
            ground (category C), 2 ft (0.61 m) elsewhere.
        exponent: of the power law, at least 0; 1/7 over open country.
        heading: see `WindField`.
    """

    name: ClassVar[str] = "shear"

    speed: float = 8.0
    profile: str = "log"
    roughness: float = 0.15 * FOOT
    exponent: float = 1 / 7

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_speed(self, "speed", self.speed)
        require(self.profile in ("log", "power"), self, "profile", self.profile, '"log" or "power"')
        require(0 < self.roughness < 20 * FOOT, self, "roughness", self.roughness, "in m, above 0 and below 6.1")
        valid = bool(np.isfinite(self.exponent)) and self.exponent >= 0
        require(valid, self, "exponent", self.exponent, "at least 0 (1/7 over open country)")

    def speed_at(self, time: np.ndarray, altitude: np.ndarray) -> np.ndarray:
        if self.profile == "log":
            above = np.maximum(altitude, self.roughness)
            return self.speed * np.log(above / self.roughness) / np.log(20 * FOOT / self.roughness)
        return self.speed * (np.maximum(altitude, 0.0) / (20 * FOOT)) ** self.exponent


@dataclass(frozen=True, kw_only=True)
class DiscreteGust(_Stream):
    """One "1 - cosine" gust: it rises to `speed`, holds, and falls as it rose.

        speed / 2 (1 - cos(pi s / rise)),  s = the time since `at`, then `rise`, then what is left of the fall

    With hold = 0 it is the pulse of the certification rules (CS-25.341); with a hold beyond the episode it is the
    discrete gust of MIL-F-8785C (3.7.1.3) met at constant speed, of length rise times that speed.

    Args:
        speed: at the peak, m/s, at least 0.
        at: begin, s from the start of the episode, at least 0.
        rise: s, above 0.
        hold: s, at least 0.
        heading: see `WindField`.
    """

    name: ClassVar[str] = "gust"

    speed: float = 8.0
    at: float = 5.0
    rise: float = 1.0
    hold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_speed(self, "speed", self.speed)
        require(bool(np.isfinite(self.at)) and self.at >= 0, self, "at", self.at, "in s, at least 0")
        require(bool(np.isfinite(self.rise)) and self.rise > 0, self, "rise", self.rise, "in s, above 0")
        require(bool(np.isfinite(self.hold)) and self.hold >= 0, self, "hold", self.hold, "in s, at least 0")

    def speed_at(self, time: np.ndarray, altitude: np.ndarray) -> np.ndarray:
        since = time - self.at
        left = 2 * self.rise + self.hold - since
        share = np.clip(np.minimum(since, left) / self.rise, 0.0, 1.0)
        return 0.5 * self.speed * (1.0 - np.cos(np.pi * share))


@dataclass(frozen=True, kw_only=True)
class OscillatingWind(_Stream):
    """speed + amplitude sin(angular_frequency t) along one heading; the defaults are the changing wind of Neural-Fly
    (O'Connell et al., Science Robotics 2022), 8.5 + 2.4 sin t.

    Args:
        speed: mean, m/s, at least 0.
        amplitude: m/s, at least 0.
        angular_frequency: rad/s, above 0.
        heading: see `WindField`.
    """

    name: ClassVar[str] = "oscillating"

    speed: float = 8.5
    amplitude: float = 2.4
    angular_frequency: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_speed(self, "speed", self.speed)
        _require_speed(self, "amplitude", self.amplitude)
        valid = bool(np.isfinite(self.angular_frequency)) and self.angular_frequency > 0
        require(valid, self, "angular_frequency", self.angular_frequency, "in rad/s, above 0")

    def speed_at(self, time: np.ndarray, altitude: np.ndarray) -> np.ndarray:
        return self.speed + self.amplitude * np.sin(self.angular_frequency * time)


@dataclass(frozen=True, kw_only=True)
class DrydenTurbulence(WindField):
    """Dryden turbulence of MIL-F-8785C (see `envs.dryden`) below 1000 ft; zero mean: add a mean wind with `WindSum`.

    A vehicle flies through the frozen field at V = |its velocity - the mean wind|, at its altitude. Each episode starts in the
    stationary distribution.

    Args:
        speed: mean wind at 20 ft (6.1 m), m/s, at least 0. MIL-F-8785C: light 7.7, moderate 15.4, severe 23.2.
        heading: of the mean wind, along which u is measured; see `WindField`.
    """

    name: ClassVar[str] = "dryden"

    speed: float = 7.7

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_speed(self, "speed", self.speed)

    def start(self, n: int, rngs: Sequence[np.random.Generator]) -> State:
        state = super().start(n, rngs)
        normals = np.array([rng.standard_normal(dryden.NORMALS) for rng in rngs]).reshape(n, dryden.NORMALS)
        streams = np.empty(n, dtype=object)
        streams[:] = rngs
        return {
            **state,
            "filters": dryden.start(normals),
            "stream": streams,
            "noise": np.zeros((n, _NOISE_BLOCK, dryden.NORMALS)),
            "noise_at": np.zeros(n, dtype=np.int64),
        }

    def velocity(
        self,
        state: State,
        ids: np.ndarray,
        time: np.ndarray,
        position: np.ndarray,
        velocity: np.ndarray,
        dt: float | np.ndarray,
    ) -> np.ndarray:
        at = state["noise_at"][ids] % _NOISE_BLOCK
        for i in ids[at == 0]:
            state["noise"][i] = state["stream"][i].standard_normal((_NOISE_BLOCK, dryden.NORMALS))
        state["noise_at"][ids] += 1
        along, filters = state["along"][ids], state["filters"][ids]
        travelled = np.linalg.norm(velocity - self.speed * along, axis=1) * dt
        speed = np.full(len(ids), self.speed)
        air = dryden.advance(filters, state["noise"][ids, at], speed, position[:, 2], travelled, along)
        state["filters"][ids] = filters
        return air


@dataclass(frozen=True)
class WindSum(WindField):
    """Several fields at once, such as a mean wind, its turbulence and a gust.

    Args:
        parts: the fields that are added, no sums among them. One whose heading is None blows where the sum's does.
        heading: see `WindField`.
    """

    name: ClassVar[str] = "sum"

    parts: tuple[WindField, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", tuple(self.parts))
        valid = len(self.parts) > 0 and not any(isinstance(part, WindSum) for part in self.parts)
        require(valid, self, "parts", self.parts, "one wind field or more, none of them a sum")

    def start(self, n: int, rngs: Sequence[np.random.Generator]) -> State:
        own = super().start(n, rngs)
        state = dict(own)
        streams = [rng.spawn(len(self.parts)) for rng in rngs]
        for k, part in enumerate(self.parts):
            began = part.start(n, [stream[k] for stream in streams])
            if part.heading is None:
                began["along"] = own["along"]
            state |= {f"{k}/{key}": rows for key, rows in began.items()}
        return state

    def velocity(
        self,
        state: State,
        ids: np.ndarray,
        time: np.ndarray,
        position: np.ndarray,
        velocity: np.ndarray,
        dt: float | np.ndarray,
    ) -> np.ndarray:
        air = np.zeros((len(ids), 3))
        for k, part in enumerate(self.parts):
            prefix = f"{k}/"
            own = {key.removeprefix(prefix): rows for key, rows in state.items() if key.startswith(prefix)}
            air += part.velocity(own, ids, time, position, velocity, dt)
        return air

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "parts": [part.to_dict() for part in self.parts]}


WIND_FIELDS: dict[str, type[WindField]] = {
    field.name: field for field in (ConstantWind, WindShear, DiscreteGust, OscillatingWind, DrydenTurbulence, WindSum)
}


def wind_from_dict(values: Mapping[str, Any]) -> WindField:
    """The field that `to_dict` described: {"name": "dryden", "speed": 10.0}; what is left out keeps its default.

    Raises:
        ValueError: unknown name or field; the message lists the valid ones.
    """
    values = dict(values)
    name = values.pop("name", None)
    if name not in WIND_FIELDS:
        raise ValueError(f"unknown wind field {name!r}; the fields are: {', '.join(WIND_FIELDS)}.")
    kind = WIND_FIELDS[name]
    known = sorted(f.name for f in fields(kind))
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"wind field {name!r} has no {unknown[0]!r}; it has: {', '.join(known)}.")
    if "parts" in values:
        values["parts"] = tuple(wind_from_dict(part) for part in values["parts"])
    return kind(**values)


def _require_speed(field: WindField, name: str, value: float) -> None:
    require(bool(np.isfinite(value)) and value >= 0, field, name, value, "in m/s, at least 0")
