"""What the sensors measure: tables that are played in a loop, in which every sample can be told from every other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mmg.sources.protocols import encode_sample, open_parser
from mmg.sources.protocols.text import encode_csv
from mmg.sources.units import STANDARD_GRAVITY
from mmg_training.wearer.record import IMU_HZ as SCENARIO_HZ
from numpy.typing import NDArray

from mmg_tools.virtual.scenario import render

WORN_HZ = 25
SCENARIO_S = 40.0
SOUND_LEVEL = 0.45
LIES = ("unit", "gyro_unit", "stuck", "flat", "scale")
"""In g, in deg/s, one axis that stands still, all that do, twice as much."""
PROTOCOLS = ("witmotion", "text")
"""One whose samples are counted, and one that tells the time of a clock of its own."""


@dataclass(frozen=True)
class Motion:
    """An IMU's loop at WORN_HZ, there and back again, so that it has no seam.

    rows: ``(T, 6)`` float32, m/s^2 and rad/s, as the parser gives them. lines: by protocol and lie (empty for the
    truth), the bytes of each sample; those of text lack the time and its comma. places: by protocol, from a sample's
    bytes to its place. sums: ``(T + 1, 6)`` of the area under the lines that join the rows, from place to place.
    """

    rows: dict[str, NDArray[np.float32]]
    lines: dict[tuple[str, str], list[bytes]]
    places: dict[str, dict[bytes, int]]
    sums: dict[str, NDArray[np.float64]]

    def mean(self, protocol: str, begin: float, end: float) -> NDArray[np.float64]:
        """Of each channel ``(6,)`` from one place to another, in samples that are counted on from loop to loop."""
        area: NDArray[np.float64] = self._area(protocol, end) - self._area(protocol, begin)
        return area / (end - begin)

    def _area(self, protocol: str, place: float) -> NDArray[np.float64]:
        rows, sums = self.rows[protocol], self.sums[protocol]
        whole = int(place)
        rest, loops, at = place - whole, whole // len(rows), whole % len(rows)
        here, after = rows[at], rows[(at + 1) % len(rows)]
        inside: NDArray[np.float64] = sums[at] + rest * (here + rest / 2 * (after - here))
        inside += loops * sums[-1]
        return inside

    def span(self, protocol: str, begin: float, end: float) -> NDArray[np.float64]:
        """From the least to the most of each channel ``(6,)`` around these two places."""
        rows = self.rows[protocol]
        around = [(int(place) + offset) % len(rows) for place in (begin, end) for offset in (-1, 0, 1, 2)]
        span: NDArray[np.float64] = np.ptp(rows[around], axis=0).astype(np.float64)
        return span


def make_motion() -> Motion:
    """From the simulated wearer; a second."""
    there = render(seconds=SCENARIO_S).imu[:: SCENARIO_HZ // WORN_HZ].astype(np.float64)
    there = there + np.random.default_rng(7).normal(0, (*[0.02] * 3, *[0.002] * 3), there.shape)  # no two are alike
    back = there[::-1].copy()
    back[:, 3:] *= -1
    worn = np.concatenate([there, back])
    lines = {
        (protocol, lie): _encode(protocol, lied(worn, lie) if lie else worn)
        for protocol in PROTOCOLS
        for lie in ("", *LIES)
    }
    rows = {protocol: _parse(protocol, lines[protocol, ""]) for protocol in PROTOCOLS}
    places = {name: {row.tobytes(): place for place, row in enumerate(table)} for name, table in rows.items()}
    return Motion(rows, lines, places, {name: _sum(table) for name, table in rows.items()})


def lied(worn: NDArray[np.float64], lie: str) -> NDArray[np.float64]:
    """The same in a sensor that does not tell the truth."""
    told = worn.copy()
    if lie == "unit":
        told[:, :3] /= STANDARD_GRAVITY
    elif lie == "gyro_unit":
        told[:, 3:] = np.clip(told[:, 3:] * 180 / np.pi, -34, 34)
    elif lie == "scale":
        told[:, :3] *= 2.5
    elif lie == "stuck":
        told[:, 1] = 150.0
    else:
        told[:] = told[0]
    return told


def _encode(protocol: str, rows: NDArray[np.float64]) -> list[bytes]:
    if protocol == "text":
        return [encode_csv(row, 0).partition(b",")[2] for row in rows.tolist()]
    return [encode_sample(protocol, row, 0, 0) for row in rows.tolist()]


def _parse(protocol: str, lines: list[bytes]) -> NDArray[np.float32]:
    parser = open_parser(protocol, **({"columns": "t_us,ax,ay,az,gx,gy,gz"} if protocol == "text" else {}))
    timed = [b"%d,%s" % (1000 + 20_000 * at, line) for at, line in enumerate(lines)] if protocol == "text" else lines
    first, rest = parser.feed(b"".join(timed)), parser.feed(b"".join(timed[:1]))
    rows = np.concatenate([first.values, rest.values])[: len(lines)]
    assert len(rows) == len(lines), f"{protocol}: {len(rows)} of {len(lines)} samples understood"
    return rows


def _sum(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    joined = (rows + np.roll(rows, -1, axis=0)).astype(np.float64) / 2
    return np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(joined, axis=0)])


@dataclass(frozen=True)
class Sound:
    """A loop of noise ``(N, 1)`` float32 in which no two samples are alike."""

    loop: NDArray[np.float32]
    order: NDArray[np.int64]

    def place(self, value: float) -> int:
        """Where in the loop a sample of this value is; -1 for none."""
        at = round((value / SOUND_LEVEL + 1) / 2 * len(self.order) - 0.5)
        if not 0 <= at < len(self.order):
            return -1
        place = int(self.order[at])
        return place if abs(float(self.loop[place, 0]) - value) < SOUND_LEVEL / len(self.order) / 4 else -1


def make_sound(rate_hz: float) -> Sound:
    """About a minute of it."""
    count = round(rate_hz * 64)
    rank = np.random.default_rng(8).permutation(count)
    values = ((2 * rank + 1) / count - 1) * SOUND_LEVEL
    order = np.empty(count, np.int64)
    order[rank] = np.arange(count)
    return Sound(values.astype(np.float32)[:, None], order)


def make_frame(number: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Grey, but for the first pixel, which spells the frame's number."""
    frame = np.full((*size, 3), 128, np.uint8)
    frame[0, 0] = number & 255, number >> 8 & 255, number >> 16 & 255
    return frame
