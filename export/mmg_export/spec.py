"""What the exporter is told of a model: its labels and grid, and what each encoder takes and gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_type_hints

import msgspec
import numpy as np
from mmg.bundle.manifest import Channel, Provenance, Subset
from mmg.bundle.unknown import Statistics
from mmg.errors import ConfigError


@dataclass(frozen=True)
class Sensor:
    """One modality, as its encoder's module takes it.

    kind: ``signal`` is resampled by its time stamps (IMU, PPG), ``audio`` by its sample count, ``video`` is frames.
    rate_hz: samples a second; a hop must be whole samples. channels: with units; video has none, but ``frame``, the
    height and width in pixels. tokens_per_hop: n, the tokens that one run gives.
    window_s: the seconds that a window encoder sees at every hop. 0: the encoder streams.
    states: the shape of each tensor that a streaming encoder carries from hop to hop, zeros at first.

    The module of a streaming encoder is called as ``module(samples, *states)`` and returns ``(tokens, *next_states)``,
    or the tokens alone where it carries nothing; a window encoder's as ``module(samples)``. samples: (1, T, C) float32,
    or frames (T, height, width, 3) uint8; tokens: (1, n, token_dim).
    """

    rate_hz: float
    channels: tuple[Channel, ...] = ()
    kind: Literal["signal", "audio", "video"] = "signal"
    frame: tuple[int, int] | None = None
    tokens_per_hop: int = 1
    window_s: float = 0.0
    states: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        _require_types(self, Sensor)

    def samples_in(self, seconds: float) -> int:
        """How many samples there are in a span of whole samples."""
        return round(self.rate_hz * seconds)

    def shape(self, hop_s: float) -> tuple[int, ...]:
        """The shape of one run's samples."""
        count = self.samples_in(self.window_s or hop_s)
        return (count, *self.frame, 3) if self.frame else (1, count, len(self.channels))


@dataclass(frozen=True)
class Spec:
    """The whole model: ``sensors`` in the order of their numbers in the fusion's embedding.

    context_hops: K, the hops whose tokens the fusion sees. token_dim: D, the width of a token; embedding_dim: E.
    subsets: what was measured of each subset of the modalities, with its temperature, and how it tells the unknown;
    unknown: the statistics of each modality that the latter are of. provenance: where it comes from.
    """

    name: str
    labels: tuple[str, ...]
    sensors: Mapping[str, Sensor]
    token_dim: int
    embedding_dim: int
    hop_s: float = 0.5
    context_hops: int = 8
    version: str = "0.1.0"
    subsets: tuple[Subset, ...] = ()
    unknown: Mapping[str, Statistics] = field(default_factory=dict)
    provenance: Provenance = field(
        default_factory=lambda: Provenance(
            exporter="", created="", tools={}, training={}, data="not said", licence="not said"
        )
    )

    def __post_init__(self) -> None:
        if not isinstance(self.sensors, Mapping) or not all(isinstance(one, Sensor) for one in self.sensors.values()):
            raise ConfigError(f"sensors must be a mapping of names to Sensor(...), not {self.sensors!r:.80}")
        _require_types(self, Spec)
        if not self.sensors:
            raise ConfigError(f"{self.name}: has no sensors")
        if min(self.token_dim, self.embedding_dim, self.context_hops) < 1:
            raise ConfigError(f"{self.name}: token_dim, embedding_dim and context_hops must be at least 1")
        for name, sensor in self.sensors.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) or name == "fusion":
                raise ConfigError(f"{name!r} cannot be a sensor's name: use a-z, 0-9 and _, and not fusion")
            if (sensor.kind == "video") != (sensor.frame is not None):
                raise ConfigError(f"{name}: frame=(height, width) is for video, and video only")
            if sensor.kind != "video" and not sensor.channels:
                raise ConfigError(f"{name}: has no channels, such as Channel(name='ppg', unit='1')")
            if not (math.isfinite(sensor.window_s) and sensor.window_s >= 0):
                raise ConfigError(f"{name}: window_s must be seconds, 0 for an encoder that streams")
            if sensor.window_s and sensor.states:
                raise ConfigError(f"{name}: a window encoder carries no states; leave out window_s or states")
            whole = sensor.rate_hz * self.hop_s
            if not (math.isfinite(whole) and whole >= 1 and abs(whole - round(whole)) <= 1e-6):
                raise ConfigError(
                    f"{name}: a hop of {self.hop_s} s is not a whole number of samples at {sensor.rate_hz} Hz"
                )

    @property
    def most_tokens(self) -> int:
        """The tokens of a whole context of every sensor."""
        return self.context_hops * sum(sensor.tokens_per_hop for sensor in self.sensors.values())


def _require_types(one: Sensor | Spec, kind: type[Sensor | Spec]) -> None:
    """Make lists tuples and numpy's numbers Python's. kind: whose fields are looked at; those that a class of somebody
    else's adds are its own. Raises ConfigError for a field of another type than its own."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.name in ("sensors", "unknown"):  # of types of their own
            continue
        given = getattr(one, each.name)
        try:
            value = msgspec.convert(msgspec.to_builtins(given, enc_hook=_plain), hints[each.name])
        except (msgspec.ValidationError, TypeError) as error:
            raise ConfigError(
                f"{kind.__name__}: {each.name} must be {each.type}, not {given!r:.80}: {error}"
            ) from error
        object.__setattr__(one, each.name, value)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is none of these")
