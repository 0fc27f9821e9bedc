"""What a stretch of time costs in joules, by the meter that the board has.

RAPL counts the energy of an x86's processor package; INA chips on a Jetson measure the power that goes into the module;
a Raspberry Pi 5's power chip measures each of its rails. None is a meter at the plug: ``scope`` says what it sees.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmg_device_profiles.regular_file import read_text

from mmg.board.machine.kernel_files import read_number
from mmg.board.machine.tools import Tool, tool_under
from mmg.errors import ConfigError

KINDS = ("auto", "none", "rapl", "ina", "pmic")
Access = Callable[[Path, int], bool]
INA_CHIPS = ("ina3221", "ina238")
WHOLE_RAILS = ("VDD_IN", "VIN", "POM_5V_IN")
"""Labels of the rail that all others come from: Orin NX and Nano, Thor, and the first Jetson Nano."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What was used between the first look at the meter and the last. seconds: between these two. samples: looks."""

    joules: float
    seconds: float
    meter: str
    samples: int

    @property
    def watts(self) -> float:
        """The mean power."""
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True)
class NoMeter:
    """reason: why nothing measures energy here. do: what mends it; empty where nothing does."""

    reason: str
    do: str = ""


class Gauge(Protocol):
    """What can be read of a meter. kind: one of KINDS. scope: what it sees. every_s: how often it must be read."""

    kind: str
    scope: str
    every_s: float

    def joules(self, now_s: float) -> float | None:
        """Energy since the first reading, 0 at that; None where the meter does not answer now."""


class Meter:
    """Reads a gauge from ``start`` to ``stop``, in a thread of its own meanwhile; may be started again.

    clock: seconds. watched: by that thread; else ``sample`` is to be called every ``gauge.every_s``.
    """

    def __init__(self, gauge: Gauge, *, clock: Callable[[], float] = time.monotonic, watched: bool = True) -> None:
        self.kind, self.scope = gauge.kind, gauge.scope
        self._gauge, self._clock, self._watched = gauge, clock, watched
        self._readings: list[tuple[float, float]] = []  # the first and the last: seconds, joules
        self._samples = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.cpu_s = 0.0
        """Processor time of that thread since ``start``."""

    def start(self) -> None:
        """Read for the first time."""
        self._readings, self._samples, self.cpu_s = [], 0, 0.0
        self.sample()
        if self._watched:
            self._ended.clear()
            self._thread = threading.Thread(target=self._watch, name="mmg energy", daemon=True)
            self._thread.start()

    def sample(self) -> None:
        """Read once more. A meter that does not answer, as one on a busy bus, is read again the next time."""
        now_s = self._clock()
        joules = self._gauge.joules(now_s)
        if joules is not None:
            self._readings[1:] = [(now_s, joules)]
            self._samples += 1

    def stop(self) -> Energy | None:
        """Read for the last time. None where the meter answered less than twice, or no time has passed."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
        self.sample()
        if len(self._readings) < 2:
            return None
        (first_s, first_joules), (last_s, last_joules) = self._readings
        if last_s <= first_s:
            return None
        return Energy(last_joules - first_joules, last_s - first_s, self.kind, self._samples)

    def _watch(self) -> None:
        while not self._ended.wait(self._gauge.every_s):
            self.sample()
            self.cpu_s = time.thread_time()


class RaplGauge:
    """The processor packages together, each a counter in microjoules that begins again after its range.

    Documentation/power/powercap/powercap.rst. At 100 W the smallest range, 65 kJ, lasts eleven minutes.
    """

    kind, scope, every_s = "rapl", "processor package, without memory and the rest of the board", 1.0

    def __init__(self, packages: Sequence[Path]) -> None:
        self._packages = packages
        self._ranges_uj = [read_number(folder / "max_energy_range_uj") or 0 for folder in packages]
        self._last_uj: list[int] = []
        self._sum_uj = 0

    def joules(self, _now_s: float) -> float | None:
        counters = [read_number(folder / "energy_uj") for folder in self._packages]
        now_uj = [counter for counter in counters if counter is not None]
        if len(now_uj) < len(counters):
            return None
        for now, last, whole in zip(now_uj, self._last_uj, self._ranges_uj, strict=False):
            self._sum_uj += now - last + (whole if now < last else 0)
        self._last_uj = now_uj
        return self._sum_uj / 1e6


class PowerGauge:
    """A meter of power alone: energy is the sum of the trapezoids between its readings."""

    def __init__(self, kind: str, scope: str, every_s: float, power_w: Callable[[], float | None]) -> None:
        self.kind, self.scope, self.every_s, self._power_w = kind, scope, every_s, power_w
        self._last: tuple[float, float] | None = None
        self._joules = 0.0

    def joules(self, now_s: float) -> float | None:
        power_w = self._power_w()
        if power_w is None:
            return None
        if self._last is not None:
            last_s, last_w = self._last
            self._joules += (now_s - last_s) * (last_w + power_w) / 2
        self._last = (now_s, power_w)
        return self._joules


def open_meter(
    kind: str, root: Path = Path("/"), *, tool: Tool | None = None, access: Access = os.access
) -> Meter | NoMeter:
    """The board's meter of this kind; ``auto`` takes the one that sees most of the board. Raises ConfigError.

    root: where ``sys`` and ``dev`` lie. tool: runs vcgencmd. access: whether a path may be opened so.
    """
    if kind not in KINDS:
        raise ConfigError(f"energy meter {kind!r}: choose from {', '.join(KINDS)}")
    if kind == "none":
        return NoMeter("no energy meter was asked for")
    gauges: dict[str, Callable[[], Gauge | NoMeter]] = {
        "ina": lambda: _find_ina(root, access),
        "pmic": lambda: _find_pmic(root, tool or tool_under(root), access),
        "rapl": lambda: _find_rapl(root, access),
    }
    found = [find() for name, find in gauges.items() if kind in ("auto", name)]
    for gauge in found:
        if not isinstance(gauge, NoMeter):
            return Meter(gauge)
    missing = [gauge for gauge in found if isinstance(gauge, NoMeter)]
    # A meter that is there and may not be read is worth more than the list of those that are not.
    return next((none for none in missing if none.do), NoMeter("; ".join(none.reason for none in missing)))


def _find_rapl(root: Path, access: Access) -> Gauge | NoMeter:
    """Each ``intel-rapl:N`` that is a package (AMD's too); ``psys`` and the parts of a package would count twice."""
    folders = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    packages = [
        folder
        for folder in folders
        if re.fullmatch(r"intel-rapl:\d+", folder.name) and read_text(folder / "name").startswith("package")
    ]
    if not packages:
        return NoMeter("no RAPL counter")
    if not all(access(folder / "energy_uj", os.R_OK) for folder in packages):
        # CVE-2020-8694: since Linux 5.10 only root reads it, as it tells what other programs compute.
        return NoMeter(
            "only root may read the RAPL counter",
            "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj\nuntil the next boot; any user can then read it",
        )
    return RaplGauge(packages)


def _find_ina(root: Path, access: Access) -> Gauge | NoMeter:
    """INA3221: ``in1_label``, ``in1_input`` in mV, ``curr1_input`` in mA; INA238: ``power1_input`` in uW.

    Documentation/hwmon/ina3221.rst and ina238.rst; the sum of the rails where none carries all, as on an AGX Orin, like
    jetson_stats, jtop/core/power.py. A channel that is not connected is labelled NC; in4 to in7 are shunts.
    """
    rails: dict[str, tuple[Path, ...]] = {}
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(folder / "name") in INA_CHIPS:
            rails |= _rails_of(folder)
    whole = next((label for label in WHOLE_RAILS if label in rails), "")
    chosen = {whole: rails[whole]} if whole else rails
    if not chosen:
        return NoMeter("no INA power chip")
    closed = [path for paths in chosen.values() for path in paths if not access(path, os.R_OK)]
    if closed:
        return NoMeter("only root may read the INA power chip", "sudo chmod a+r " + " ".join(map(str, closed)))
    scope = f"all that {whole} feeds" if whole else f"the rails {', '.join(chosen)}"
    return PowerGauge("ina", scope, 0.1, lambda: _sum([_rail_w(paths) for paths in chosen.values()]))


def _rails_of(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files whose product is the power, by the label of the rail."""
    if (folder / "power1_input").exists():
        # An INA238 has one channel, on a Thor the whole board's, and need not have a label.
        return {read_text(folder / "in1_label") or WHOLE_RAILS[1]: (folder / "power1_input",)}
    rails: dict[str, tuple[Path, ...]] = {}
    for number in (1, 2, 3):
        label = read_text(folder / f"in{number}_label")
        files = (folder / f"in{number}_input", folder / f"curr{number}_input")
        if label and "NC" not in label and all(path.exists() for path in files):
            rails[label] = files
    return rails


def _rail_w(files: Sequence[Path]) -> float | None:
    """One file in uW, or two in mV and mA: a millionth of the product either way."""
    product = 1
    for path in files:
        number = read_number(path)
        if number is None:
            return None
        product *= number
    return product / 1e6


def _find_pmic(root: Path, tool: Tool, access: Access) -> Gauge | NoMeter:
    if _pmic_w(tool) is not None:
        scope = "the rails behind the power chip, without its own loss and what USB feeds"
        return PowerGauge("pmic", scope, 0.2, lambda: _pmic_w(tool))
    closed = [path for path in (root / "dev/vcio", root / "dev/vcio_gencmd") if path.exists()]
    if closed and not any(access(path, os.R_OK | os.W_OK) for path in closed):
        return NoMeter("vcgencmd may not ask the power chip", "sudo usermod -aG video $USER\nthen log in again")
    return NoMeter("no power chip that vcgencmd reads")


def _pmic_w(tool: Tool) -> float | None:
    """Volts times amperes of each rail for which ``vcgencmd pmic_read_adc`` (Raspberry Pi 5) prints both.

    Its lines are ``VDD_CORE_A current(7)=0.81262990A`` and ``VDD_CORE_V volt(15)=0.88187950V``. Of the 5 V input
    (``EXT5V_V``) it knows the voltage alone. A process for each reading: the Pi itself pays for it.
    """
    printed = tool(["vcgencmd", "pmic_read_adc"]) or ""
    values: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for rail, unit, value in re.findall(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=([\d.]+)[AV]\s*$", printed, re.M):
        values[unit][rail] = float(value)
    rails = values["A"].keys() & values["V"].keys()
    return sum(values["A"][rail] * values["V"][rail] for rail in rails) if rails else None


def _sum(powers: Sequence[float | None]) -> float | None:
    known = [power for power in powers if power is not None]
    return sum(known) if len(known) == len(powers) else None
