"""``mmg-virtual``: a wearable that is not there, on ports that are."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError
from mmg.sources.protocols import PROTOCOLS

from mmg_tools.virtual.faults import KINDS, Fault, FaultPlayer, parse_fault, random_faults
from mmg_tools.virtual.microphone import CONFIG, processes_with
from mmg_tools.virtual.scenario import SEED, SUBJECT, render
from mmg_tools.virtual.wearable import VirtualWearable

_report = stderr_reporter("mmg-virtual")
LOOK_S = 0.05
EXAMPLES = """\
examples:
  mmg-virtual                                    five minutes of IMU and sound; copy the line that it prints
                                                 into a second terminal, and mmg-run connects to it
  mmg-virtual --imu xsens --no-audio --loop      an IMU alone, which speaks Xsens, until Ctrl-C
  mmg-virtual --save /tmp/day                    also as files: mmg-run --imu /tmp/day/imu.csv
                                                 --audio /tmp/day/audio.wav --truth /tmp/day/truth.csv
  mmg-virtual --fault 12:imu:unplug:3 --fault 20:audio:stall:5 --fault 40:imu:corrupt:10:0.05
  mmg-virtual --loop --random-faults 4 --fault-seed 7
  mmg-virtual --json                             for a program: one JSON object once everything is plugged

faults, --fault AT:SENSOR:KIND:SECONDS[:AMOUNT], times in seconds of the scenario:
{faults}

exit codes: 0 done or stopped, 2 usage or configuration, a library that --save or --video needs, or a place that cannot
be written, 4 not enough memory
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-virtual."""
    parser = argparse.ArgumentParser(
        prog="mmg-virtual",
        description="Plug a virtual wearable into this machine: a simulated wearer's IMU on a serial port, sound on a "
        "microphone and, if asked for, video, at their real pace. Prints the command that connects to it.",
        epilog=EXAMPLES.format(faults="\n".join(_explain_faults())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action=PrintVersion)
    add("--seconds", metavar="S", type=float, default=300.0, help="how long the scenario is (default: 300)")
    add("--seed", metavar="N", type=_natural, default=SEED, help=f"which day (default: {SEED})")
    add("--subject", metavar="N", type=_natural, default=SUBJECT, help=f"which wearer, 1000 or more ({SUBJECT})")
    add("--imu", metavar="PROTOCOL", choices=(*PROTOCOLS, "none"), default="witmotion", help=_PROTOCOL_HELP)
    add("--audio", action=argparse.BooleanOptionalAction, default=True, help="the microphone (default: on)")
    add(
        "--video",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="a film in place of a camera (default: off)",
    )
    add("--dir", metavar="DIR", type=Path, help="where the ports appear (default: a private one, removed at the end)")
    add("--save", metavar="DIR", type=Path, help="also write the scenario as imu.csv, audio.wav and truth.csv")
    add("--fault", metavar="FAULT", action="append", default=[], help="a fault to inject; may be repeated")
    add("--random-faults", metavar="PER_MINUTE", type=float, default=0.0, help="this many random faults per minute")
    add("--fault-seed", metavar="N", type=_natural, default=0, help="the seed of the random faults (default: 0)")
    add("--loop", action="store_true", help="start over at the end, with the faults, until Ctrl-C")
    add("--json", action="store_true", help="print one JSON object instead of the command")
    return parser


_PROTOCOL_HELP = f"the IMU's protocol: {', '.join(PROTOCOLS)}, or none for no IMU (default: witmotion)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report)


@dataclass(frozen=True)
class Schedule:
    """The faults of every round of a play. seed: of those by chance; every round has others."""

    fixed: tuple[Fault, ...]
    per_minute: float
    seed: int

    def of_round(self, number: int, sensors: tuple[str, ...], seconds: float) -> tuple[Fault, ...]:
        """Those of one round, in its own time. By chance comes nothing that the fixed ones already occupy."""
        chance = random_faults(self.seed + number, sensors, seconds, self.per_minute)
        return self.fixed + tuple(fault for fault in chance if not any(map(fault.overlaps, self.fixed)))


def _run(options: argparse.Namespace) -> int:
    schedule = Schedule(tuple(parse_fault(text) for text in options.fault), options.random_faults, options.fault_seed)
    sensors = tuple(
        name
        for name, wanted in (("imu", options.imu != "none"), ("audio", options.audio), ("video", options.video))
        if wanted
    )
    _check(options, schedule, sensors)
    _report(f"rendering {options.seconds:g} s of subject {options.subject}, seed {options.seed} ...")
    scenario = render(options.subject, options.seed, options.seconds, video=options.video)
    if options.save:
        scenario.save(options.save)
        _report(f"saved to {options.save}")
    with (
        _folder(options.dir) as folder,
        VirtualWearable(
            scenario,
            folder,
            imu=None if options.imu == "none" else options.imu,
            audio=options.audio,
            video=options.video,
            loop=options.loop,
            seed=options.fault_seed,
        ) as wearable,
    ):
        stops = _note_stops()
        _introduce(wearable, as_json=options.json)
        _play(wearable, schedule, stops, loop=options.loop)
    return 0


def _check(options: argparse.Namespace, schedule: Schedule, sensors: tuple[str, ...]) -> None:
    """Refuse before the rendering what can be refused."""
    if not 0 <= options.random_faults <= 600:
        raise ConfigError(f"--random-faults {options.random_faults:g}: must be 0 to 600 per minute")
    FaultPlayer(schedule.fixed, dict.fromkeys(sensors))
    for fault in schedule.fixed:
        if fault.at_s >= options.seconds:
            raise ConfigError(f"fault {fault} at {fault.at_s:g} s: the scenario ends at {options.seconds:g} s")


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    """The folder for the ports. A private one goes at the end, unless it holds what another process still needs."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    private = Path(tempfile.mkdtemp(prefix="mmg-virtual-"))
    try:
        yield private
    finally:
        readers = processes_with(ALSA_CONFIG_PATH=str(private / CONFIG))
        if readers:
            _report(f"{private} stays: process {', '.join(map(str, readers))} has its microphone's configuration")
        else:
            shutil.rmtree(private)


def _introduce(wearable: VirtualWearable, *, as_json: bool) -> None:
    told = wearable.command
    if as_json:
        told = json.dumps(
            {
                "command": wearable.command,
                "environment": wearable.environment,
                "urls": wearable.urls,
                "scenario_start_ns": wearable.start_ns,
                "seconds": wearable.scenario.seconds,
            }
        )
    print(told, flush=True)


def _play(wearable: VirtualWearable, schedule: Schedule, stops: list[int], *, loop: bool) -> None:
    """Tell the activities and apply the faults, to the end of the scenario, or for ever, or until ``stops`` fills."""
    seconds, label, number = wearable.scenario.seconds, "", 0
    player = FaultPlayer(schedule.of_round(0, tuple(wearable.devices), seconds), wearable.devices)
    while not stops:
        now_s = max(time.monotonic_ns() - wearable.start_ns, 0) / 1e9
        over = now_s >= (number + 1) * seconds
        for event in player.advance(float("inf") if over else now_s - number * seconds):
            _report(f"{now_s:7.1f} s  {event}")
        if over and not loop:
            _report(f"{now_s:7.1f} s  the end")
            return
        if over:
            number += 1
            faults = schedule.of_round(number, tuple(wearable.devices), seconds)
            player = FaultPlayer(faults, wearable.devices)
        if wearable.scenario.label_at(now_s) != label:
            label = wearable.scenario.label_at(now_s)
            _report(f"{now_s:7.1f} s  {label}")
        time.sleep(LOOK_S)
    _report("stopped")


def _explain_faults() -> Iterator[str]:
    for name, kind in KINDS.items():
        amount = f"AMOUNT {kind.unit} (default: {kind.default:g})" if kind.unit else ""
        length = "" if kind.lasts else "SECONDS is 0; "
        yield f"  {name:<11} of {', '.join(kind.sensors):<18} {length}{amount}".rstrip()


def _natural(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _note_stops() -> list[int]:
    """From now on a signal to stop is only noted, in this list: an exception could be lost, or break the clean-up."""
    stops: list[int] = []
    handle_signals(lambda number, _: stops.append(number))
    return stops


if __name__ == "__main__":
    sys.exit(main())
