"""The energy meters, on made trees and an injected clock."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from mmg.board.profiling.energy import Energy, Gauge, Meter, NoMeter, PowerGauge, RaplGauge, open_meter
from mmg.errors import ConfigError

RAPL = "sys/class/powercap"
HWMON = "sys/class/hwmon/hwmon"
PMIC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.15766000V
      BATT_V volt(25)=0.00000000V
"""


def lay(root: Path, files: Mapping[str, object]) -> Path:
    """Write these files below the root, as the kernel does, with a line's end."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def package(number: int, counter_uj: int, range_uj: int = 262_143_328_850, name: str = "") -> dict[str, object]:
    folder = f"{RAPL}/intel-rapl:{number}"
    texts = {"name": name or f"package-{number}", "energy_uj": counter_uj, "max_energy_range_uj": range_uj}
    return {f"{folder}/{file}": text for file, text in texts.items()}


def rail(chip: int, number: int, label: str, millivolts: int, milliamperes: int) -> dict[str, object]:
    folder = f"{HWMON}{chip}"
    return {
        f"{folder}/name": "ina3221",
        f"{folder}/in{number}_label": label,
        f"{folder}/in{number}_input": millivolts,
        f"{folder}/curr{number}_input": milliamperes,
    }


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def powers(*watts: float | None) -> Gauge:
    values = iter(watts)
    return PowerGauge("ina", "a fake rail", 0.1, lambda: next(values))


def run(gauge: Gauge, steps_s: Iterable[float]) -> Energy | None:
    """Start, sample after each step but the last, and stop after that."""
    clock = Clock()
    meter = Meter(gauge, clock=clock, watched=False)
    meter.start()
    *between, last = steps_s
    for step_s in between:
        clock.now_s += step_s
        meter.sample()
    clock.now_s += last
    return meter.stop()


def opened(root: Path, kind: str = "auto") -> Meter:
    meter = open_meter(kind, root)
    assert isinstance(meter, Meter)
    return meter


def missing(root: Path, kind: str = "auto", **given: object) -> NoMeter:
    meter = open_meter(kind, root, **given)  # type: ignore[arg-type]
    assert isinstance(meter, NoMeter)
    return meter


def test_power_is_summed_as_trapezoids_over_uneven_steps() -> None:
    assert run(powers(2.0, 4.0, 4.0), [0.25, 0.5]) == Energy(2.75, 0.75, "ina", 3)


def test_a_reading_that_fails_is_bridged() -> None:
    assert run(powers(2.0, None, 4.0), [1.0, 1.0]) == Energy(6.0, 2.0, "ina", 2)


def test_the_time_before_the_first_and_after_the_last_answer_does_not_count() -> None:
    assert run(powers(None, 3.0, 3.0, None), [1.0, 1.0, 1.0]) == Energy(3.0, 1.0, "ina", 2)


def test_a_meter_that_fell_silent_gives_no_energy() -> None:
    assert run(powers(3.0, None, None), [1.0, 1.0]) is None


def test_no_time_is_no_energy() -> None:
    assert run(powers(3.0, 3.0), [0.0]) is None


def test_the_mean_power_is_energy_by_time() -> None:
    assert Energy(6.0, 2.0, "ina", 2).watts == 3.0


def test_a_meter_counts_afresh_when_it_is_started_again() -> None:
    clock = Clock()
    meter = Meter(powers(2.0, 2.0, 5.0, 5.0), clock=clock, watched=False)
    for watts in (2.0, 5.0):
        meter.start()
        clock.now_s += 1.0
        assert meter.stop() == Energy(watts, 1.0, "ina", 2)
        clock.now_s += 50.0


def test_a_thread_samples_until_the_meter_is_stopped() -> None:
    sampled, clock = threading.Semaphore(0), Clock()

    def power_w() -> float:
        sampled.release()
        return 2.0

    meter = Meter(PowerGauge("ina", "a fake rail", 0.001, power_w), clock=clock)
    meter.start()
    for _ in range(5):
        assert sampled.acquire(timeout=30)
    clock.now_s += 3.0
    energy = meter.stop()
    assert energy is not None
    assert (energy.joules, energy.seconds) == (6.0, 3.0)
    assert energy.samples >= 5
    assert "mmg energy" not in {thread.name for thread in threading.enumerate()}


def test_rapl_adds_the_packages_and_follows_each_over_its_range(tmp_path: Path) -> None:
    lay(tmp_path, package(0, 900_000, 1_000_000) | package(1, 0, 65_532_610_987))
    clock = Clock()
    gauge = RaplGauge([tmp_path / RAPL / "intel-rapl:0", tmp_path / RAPL / "intel-rapl:1"])
    meter = Meter(gauge, clock=clock, watched=False)
    meter.start()
    for first_uj, second_uj in ((100_000, 2_000_000), (600_000, 3_000_000), (50_000, 4_000_000)):
        clock.now_s += 1.0
        lay(tmp_path, package(0, first_uj, 1_000_000) | package(1, second_uj, 65_532_610_987))
        meter.sample()
    # 0.2, 0.5 and 0.45 J, and 4 J
    assert meter.stop() == Energy(5.15, 3.0, "rapl", 5)


def test_rapl_takes_whole_packages_and_neither_their_parts_nor_the_platform(tmp_path: Path) -> None:
    parts = {f"{RAPL}/intel-rapl:0:0/name": "core", f"{RAPL}/intel-rapl:0:0/energy_uj": 1}
    meter = opened(lay(tmp_path, package(0, 7) | parts | package(1, 7, name="psys")), "rapl")
    lay(tmp_path, {f"{RAPL}/intel-rapl:1/energy_uj": "gone"})
    meter.start()
    energy = meter.stop()
    assert meter.kind == "rapl"
    assert energy is not None
    assert energy.joules == 0.0


def test_a_rapl_counter_for_root_only_says_what_opens_it(tmp_path: Path) -> None:
    none = missing(lay(tmp_path, package(0, 7)), access=lambda path, mode: mode != os.R_OK or path.name != "energy_uj")
    assert none.reason == "only root may read the RAPL counter"
    assert none.do.startswith("sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj")


def test_a_jetsons_input_rail_is_its_whole_consumption(tmp_path: Path) -> None:
    lay(tmp_path, rail(1, 1, "VDD_IN", 5000, 1200) | rail(1, 2, "VDD_CPU_GPU_CV", 5000, 300))
    meter = opened(tmp_path)
    assert (meter.kind, meter.scope) == ("ina", "all that VDD_IN feeds")
    assert rate_of(meter) == pytest.approx(6.0)


def test_rails_are_added_where_none_carries_all(tmp_path: Path) -> None:
    files = rail(3, 1, "VDD_GPU_SOC", 20000, 100) | rail(3, 2, "NC", 20000, 900) | rail(4, 1, "VIN_SYS_5V0", 5000, 200)
    files |= {f"{HWMON}3/in7_label": "sum of shunt voltages", f"{HWMON}3/in7_input": 500}
    meter = opened(lay(tmp_path, files))
    assert meter.scope == "the rails VDD_GPU_SOC, VIN_SYS_5V0"
    assert rate_of(meter) == pytest.approx(3.0)


def test_an_ina238_gives_its_power_itself(tmp_path: Path) -> None:
    lay(tmp_path, {f"{HWMON}0/name": "ina238", f"{HWMON}0/power1_input": 30_500_000} | rail(1, 1, "VDD_GPU", 5000, 1))
    assert rate_of(opened(tmp_path)) == pytest.approx(30.5)


def test_a_rail_that_does_not_answer_gives_no_energy(tmp_path: Path) -> None:
    meter = opened(lay(tmp_path, rail(1, 1, "VDD_IN", 5000, 1200)))
    lay(tmp_path, {f"{HWMON}1/curr1_input": ""})
    meter.start()
    assert meter.stop() is None


def test_an_ina_chip_for_root_only_says_what_opens_it(tmp_path: Path) -> None:
    none = missing(lay(tmp_path, rail(1, 1, "VDD_IN", 5000, 1200)), access=lambda path, _mode: "curr" not in path.name)
    assert none == NoMeter("only root may read the INA power chip", f"sudo chmod a+r {tmp_path}/{HWMON}1/curr1_input")


def test_a_pi_5s_power_chip_adds_the_rails_of_which_it_knows_both(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def tool(command: Sequence[str]) -> str:
        asked.append(command)
        return PMIC

    meter = open_meter("pmic", tmp_path, tool=tool)
    assert isinstance(meter, Meter)
    assert rate_of(meter) == pytest.approx(0.37 + 1.6)
    assert asked[0] == ["vcgencmd", "pmic_read_adc"]


def test_an_older_pi_has_no_power_chip(tmp_path: Path) -> None:
    none = missing(tmp_path, "pmic", tool=lambda _command: 'error=1 error_msg="Command not registered"\n')
    assert none == NoMeter("no power chip that vcgencmd reads")


def test_a_pi_whose_firmware_may_not_be_asked_says_which_group_may(tmp_path: Path) -> None:
    none = missing(lay(tmp_path, {"dev/vcio": ""}), "pmic", tool=lambda _: None, access=lambda _path, _mode: False)
    assert none.do == "sudo usermod -aG video $USER\nthen log in again"


def test_auto_takes_the_meter_that_sees_most(tmp_path: Path) -> None:
    lay(tmp_path, package(0, 7) | rail(1, 1, "VDD_IN", 5000, 1200))
    assert opened(tmp_path).kind == "ina"
    assert opened(tmp_path, "rapl").kind == "rapl"


def test_a_board_without_a_meter_says_what_was_looked_for(tmp_path: Path) -> None:
    assert missing(tmp_path) == NoMeter("no INA power chip; no power chip that vcgencmd reads; no RAPL counter")
    assert missing(tmp_path, "rapl") == NoMeter("no RAPL counter")
    assert missing(tmp_path, "none") == NoMeter("no energy meter was asked for")


def test_an_unknown_kind_of_meter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="energy meter 'wall': choose from auto, none, rapl, ina, pmic"):
        open_meter("wall", tmp_path)


def rate_of(meter: Meter) -> float:
    """The mean power between two readings."""
    meter.start()
    energy = meter.stop()
    assert energy is not None
    return energy.watts
