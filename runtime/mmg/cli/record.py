"""``mmg-record``: what live sensors give, kept for replay, looking, labelling and training."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.keys import keys
from mmg.cli.parsing import parse
from mmg.cli.privacy import add_privacy_flags, tell_closed
from mmg.cli.profile_flags import add_profile_flags, load_board
from mmg.cli.progress import Progress
from mmg.cli.recording import add_recording_flags, close_recorder, open_recorder
from mmg.cli.reporting import keep_stderr, stderr_reporter
from mmg.cli.sensors import add_sensor_flags, find_sensors, named_sensors, names_in, seconds
from mmg.cli.version import PrintVersion
from mmg.cli.watchdog import WATCHDOG
from mmg.errors import ConfigError, NoSensorError, list_reasons
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg.recording.marks import Marker
    from mmg.recording.recorder import Recorder
    from mmg.runs.listening import Listening
    from mmg.runs.step import Step
    from mmg.sources.ports.port import PortStatus

_report = stderr_reporter("mmg-record")
STEP_S = 0.1
"""So often what came is handed to the recorder, and a change of a port is told. A replay takes it for the time at which
samples came: longer than a grace they would look late."""
RATE_S = 5.0
"""The rates that are shown are those of the newest seconds."""
SILENT_S = 15.0
"""A recording in which nothing came for so long from its beginning is told of; it goes on."""
EXAMPLES = """\
examples:
  mmg-record -o day.mcap                                 whatever IMU and microphone are plugged in, and says which
  mmg-record --sensors imu,audio --imu serial:///dev/ttyUSB0 --audio mic://default -o day.mcap
  mmg-record -o day.mcap --labels walk,knead,sweep       keys 1, 2 and 3 begin and end a label while it records
  mmg-record -o day.mcap --split 1h --keep 24h           files of an hour, the last day of them
  mmg-run day.mcap                                       decide on what was recorded

exit codes: 0 done, 2 usage or configuration, or the disk did not take it all, 3 no sensor, or none that gave anything
in --duration, 4 bundle or memory, 5 was asked to end while a driver did not return: the file can be read up to its
last second
"""


class Heard:
    """What came of each sensor, for who watches the recording."""

    def __init__(self) -> None:
        self._came: dict[str, deque[tuple[int, int]]] = {}  # of the newest chunks: the last sample's time and number

    def take(self, step: Step) -> None:
        """What came in a step."""
        for chunk in step.chunks:
            came = self._came.setdefault(chunk.modality, deque())
            came.append((int(chunk.times_ns[-1]), len(chunk.times_ns) + (came[-1][1] if came else 0)))

    @property
    def anything(self) -> bool:
        """Whether a sample ever came."""
        return bool(self._came)

    def rates(self, now_ns: int) -> dict[str, float]:
        """The rate of each sensor that ever gave a sample, in Hz, over RATE_S; 0 of one that gave none in it."""
        rates = {}
        for name, came in self._came.items():
            while len(came) > 1 and came[0][0] < now_ns - RATE_S * 1e9:
                came.popleft()
            (first_ns, before), (last_ns, end) = came[0], came[-1]
            rates[name] = (end - before) * 1e9 / (last_ns - first_ns) if last_ns > first_ns else 0.0
        return rates


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-record."""
    parser = argparse.ArgumentParser(
        prog="mmg-record",
        description="Keep what live sensors give in an MCAP file. Nothing is decided; pictures need --record-video.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-o", "--output", metavar="DAY.mcap", type=Path, required=True, help="a file that is not there, or a folder")
    add_sensor_flags(parser, takes_recordings=False)
    add("--allow-video", action="store_true", help="allow video to be opened; you must also name it")
    add("--labels", metavar="LIST", default="", help="labels that the keys 1 to 9 begin and end, such as walk,knead")
    add_recording_flags(parser)
    add("--bundle", metavar="PATH", default="starter", help="whose sensors are recorded (default: starter)")
    add("--duration", metavar="S", type=seconds, help="stop after this many seconds")
    add_profile_flags(parser)
    add_privacy_flags(parser)
    add("--version", action=PrintVersion)
    parser.set_defaults(recording=None, demo=False, require="")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Record, and return the exit code."""
    options = parse(build_parser(), arguments)
    keep_stderr()
    handle_signals(raise_interrupt)
    return run_command(lambda: _record(options), _report)


def _record(options: argparse.Namespace) -> int:
    set_up_process()
    named = named_sensors(options, _report)
    from mmg.bundle import Bundle
    from mmg.recording.marks import check_labels
    from mmg.runs.listening import Listening
    from mmg.runs.live import open_ports
    from mmg.runs.settings import Settings
    from mmg.sources import is_live
    from mmg.streams.grid import HopGrid

    check_labels(names_in(options.labels))
    with Bundle.open(options.bundle) as bundle:
        profile = load_board(options)
        urls = find_sensors(options, named, profile, bundle.manifest, _report)
        for name, url in urls.items():
            if not is_live(url):
                raise ConfigError(f"{name}: {url} is a recording already")
        settings = Settings(
            allow_video=options.allow_video,
            grace_s=profile.grace_s,
            preferred_backend=profile.backend,
            precision=profile.precision,
            unknown=profile.unknown,
        )
        WATCHDOG.start("mmg-record")
        ports = open_ports(bundle.manifest, urls, settings, _report)
        origin_ns = time.monotonic_ns()
        listening = Listening(ports, time.monotonic_ns, HopGrid(origin_ns, bundle.manifest.hop_ns))
        recorder = open_recorder(options, options.output, bundle, ports, profile, settings, origin_ns, _report)
    try:
        _record_what_comes(options, listening, recorder)
    except KeyboardInterrupt:
        if recorder.is_whole:  # that is how a recording ends, but not one that lacks its last seconds
            raise
    return 0 if recorder.is_whole else 2


def _record_what_comes(options: argparse.Namespace, listening: Listening, recorder: Recorder) -> None:
    """Raises NoSensorError where nothing ever came until the duration was over: then no file is left."""
    heard, has_nothing = Heard(), False
    try:
        marker, pressed = _keys(options, recorder)
        with pressed as has_keys:
            _explain_keys(marker, has_keys)
            tell_closed(_report)
            listening.start()
            _listen(listening, recorder, marker, options.duration, heard)
            has_nothing = not recorder.problem
    finally:
        try:
            listening.close()
            _keep(listening.step(), recorder, heard)
        finally:  # a second Ctrl-C while a driver is slow to close costs nothing
            has_nothing = has_nothing and not heard.anything
            if has_nothing:
                recorder.discard()
            else:
                close_recorder(recorder, _report)
    if has_nothing:
        raise NoSensorError(_reasons(listening.statuses()))


def _keys(options: argparse.Namespace, recorder: Recorder) -> tuple[Marker, AbstractContextManager[bool]]:
    from mmg.recording.marks import Marker

    marker = Marker(names_in(options.labels), recorder.mark)
    if not marker.labels:
        return marker, nullcontext(False)
    return marker, keys(lambda key: marker.press(key, time.monotonic_ns()))


def _explain_keys(marker: Marker, has_keys: bool) -> None:
    if not marker.labels:
        return
    if not has_keys:
        _report("standard input is no terminal of this command: there are no keys for --labels")
        return
    told = ", ".join(f"{number} {label}" for number, label in enumerate(marker.labels, 1))
    _report(f"keys: {told}; the same key, space or 0 ends it; Ctrl-C stops")


def _listen(listening: Listening, recorder: Recorder, marker: Marker, duration_s: float | None, heard: Heard) -> None:
    """Until the duration is over, the recording stops by itself, or Ctrl-C."""
    # From the start: a person wants to see that it records.
    with Progress(_report, "recording", duration_s, "s", at_once=True, lines=False) as progress:
        _take(listening, recorder, marker, duration_s, heard, progress)


def _take(
    listening: Listening,
    recorder: Recorder,
    marker: Marker,
    duration_s: float | None,
    heard: Heard,
    progress: Progress,
) -> None:
    tell, silent_s = _teller(), SILENT_S
    while not recorder.problem:
        now_ns = time.monotonic_ns()
        elapsed_s = (now_ns - recorder.origin_ns) / 1e9
        if duration_s is not None and elapsed_s >= duration_s:
            return
        listening.wait(dict.fromkeys(listening.statuses(), now_ns + 10**12), STEP_S)
        step = listening.step()
        _keep(step, recorder, heard)
        tell(step)
        if elapsed_s > silent_s and not heard.anything:
            silent_s = float("inf")
            _report(f"nothing has come yet ({list_reasons(_reasons(step.statuses))}): still waiting")
        rates = [f"{name} {rate_hz:.0f} Hz" for name, rate_hz in heard.rates(step.now_ns).items()]
        label = [f"[{marker.present}]"] if marker.present else []
        note = ", ".join([f"{recorder.bytes / 1e6:.1f} MB", *rates, *label])
        progress.at(elapsed_s if duration_s else 0, duration_s, note=note)


def _keep(step: Step, recorder: Recorder, heard: Heard) -> None:
    recorder.step(step)
    heard.take(step)


def _reasons(statuses: Mapping[str, PortStatus]) -> dict[str, str]:
    return {name: status.reason or "gives nothing" for name, status in statuses.items()}


def _teller() -> Callable[[Step], None]:
    """Tells each port's news once."""
    told: dict[str, str] = {}

    def tell(step: Step) -> None:
        for name, status in step.statuses.items():
            text = status.reason or f"connected: {status.device}"
            kind = "".join(letter for letter in text if not letter.isdigit())
            if told.get(name) != kind:
                told[name] = kind
                _report(f"{name}: {text}")

    return tell


if __name__ == "__main__":
    sys.exit(main())
