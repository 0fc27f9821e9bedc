"""Listening to a serial port: does an IMU speak there, in which protocol, at which baud and sample rate.

Nothing is ever written to the port. Opening it sets its modem lines, as it does for every program: some boards restart.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from mmg.errors import ConfigError, SourceError
from mmg.sources.ports.serial.line import SerialLine
from mmg.sources.ports.serial.opening import open_serial
from mmg.sources.ports.serial.port import BAUD_RATES
from mmg.sources.protocols import UNTIMED, Parser, Samples, join, open_parser

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEASURE_S = 1.0
"""How long the samples of a device that was understood are counted."""
MOST_APART = 1.5
"""Two rates that are further apart are not both right: then the device tells its time in whole seconds, say."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard on a port: either a protocol, or a ``problem``: why there is none, and what to do.

    rate_hz: by the device's own time where that can be, else by arrival; 0 where there was too little.
    """

    protocol: str = ""
    baud: int = 0
    rate_hz: float = 0.0
    has_gyro: bool = False
    problem: str = ""


def listen(device: str, url: str, seconds: float) -> Heard:
    """Open ``device`` for this process alone and listen, until it is understood or for ``seconds``, and MEASURE_S more.

    device: what pyserial opens. url: how errors name it. Raises BackendUnavailable without pyserial, else nothing.
    """
    try:
        with closing(open_serial(device, BAUD_RATES[0], url)) as port:
            return _try_rates(SerialLine(port, url), seconds)
    except (ConfigError, SourceError) as error:
        return Heard(problem=str(error).removeprefix(f"{url}: "))


def _try_rates(line: SerialLine, seconds: float) -> Heard:
    """The port stays open from one rate to the next: a board that restarts when it is opened does so only once.

    No rate is given up before the first byte: a wrong rate still gives bytes, and a board that restarts is silent.
    """
    parser, bauds = open_parser("auto"), cycle(BAUD_RATES)
    baud, tried, since_s = next(bauds), dict.fromkeys(BAUD_RATES[:1]), None
    ends_s, share_s = time.monotonic() + seconds, seconds / len(BAUD_RATES)
    while (now_s := time.monotonic()) < ends_s:
        data = line.read()
        samples = parser.feed(data)
        if len(samples):
            return _measure(line, parser, samples, baud)
        if data and since_s is None:
            since_s = now_s
        if since_s is not None and now_s - since_s > share_s and parser.finding is None:
            baud, since_s, parser = next(bauds), now_s, open_parser("auto")
            tried[baud] = None
            line.tune(baud)
    if since_s is None:
        return Heard(problem=f"silent for {seconds:g} s: is the device on, and its TX wired to this port's RX?")
    if (found := parser.finding) is not None:
        return Heard(problem=found.at(baud))
    rates = ", ".join(map(str, tried))
    return Heard(problem=f"bytes but no protocol that mmg knows (tried {rates} baud)")


def _measure(line: SerialLine, parser: Parser, samples: Samples, baud: int) -> Heard:
    parts, count = [samples], 0
    began_s = newest_s = now_s = time.monotonic()
    while now_s < began_s + MEASURE_S:
        fresh = parser.feed(line.read())
        now_s = time.monotonic()
        if len(fresh):
            parts.append(fresh)
            count, newest_s = count + len(fresh), now_s
    by_device, by_arrival = _rate_by_device(join(parts).device_time_ns), count / (newest_s - began_s) if count else 0.0
    is_sure = by_device and (not by_arrival or 1 / MOST_APART <= by_device / by_arrival <= MOST_APART)
    rate_hz = by_device if is_sure else by_arrival
    return Heard(parser.name, baud, round(rate_hz, 2), parts[-1].has_gyro)


def _rate_by_device(times_ns: NDArray[np.int64] | None) -> float:
    """0 where the device gave no time for at least two samples, or its clock went back."""
    timed = [] if times_ns is None else np.flatnonzero(times_ns != UNTIMED).tolist()
    if times_ns is None or len(timed) < 2:
        return 0.0
    first, last = timed[0], timed[-1]
    span_ns = int(times_ns[last] - times_ns[first])
    return (last - first) * 1e9 / span_ns if span_ns > 0 else 0.0
