"""``mmg-run``: sensors in, decisions out, one a hop."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import Reason, handle_signals, raise_interrupt, run_command
from mmg.cli.output import wants_colours
from mmg.cli.parsing import parse
from mmg.cli.privacy import add_privacy_flags, camera_state, tell_closed
from mmg.cli.profile_flags import add_profile_flags, board_settings, load_board
from mmg.cli.recording import (
    add_recording_flags,
    add_token_flag,
    close_recorder,
    refuse_without_recording,
)
from mmg.cli.reporting import keep_stderr, stderr_reporter
from mmg.cli.sensors import DEMO, add_sensor_flags, find_sensors, milliseconds, named_sensors, names_in, seconds
from mmg.cli.sinks_flag import add_sinks_flag, attach_controls, has_page, open_outboxes
from mmg.cli.taught_flag import open_taught, tell_unheard
from mmg.cli.unknown_flag import add_unknown_flag, unknown_rate
from mmg.cli.version import PrintVersion
from mmg.cli.watchdog import WATCHDOG
from mmg.errors import ConfigError
from mmg.printable import as_line
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg_device_profiles import Profile
    from mmg_device_profiles.gate import GatePolicy

    from mmg.bundle import Bundle, Manifest
    from mmg.cli.tally import Tally
    from mmg.recording.recorder import Recorder
    from mmg.runs.compare import Comparison
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.replay import Replay
    from mmg.runs.settings import Settings
    from mmg.service.notify import Pulse, ServiceManager
    from mmg.sinks.console import Console
    from mmg.sinks.jsonl import JsonLines
    from mmg.sinks.outbox import Outboxes
    from mmg.teaching.scorer import Scorer
    from mmg.teaching.taught import Taught
    from mmg.types import Decision

    Taker = Callable[[Decision, str | None], None]

_report = stderr_reporter("mmg-run")
EXAMPLES = """\
examples:
  mmg-run                                                whatever IMU and microphone are plugged in, and says which
  mmg-run --page                                         show it in a browser while it goes on
  mmg-run --sensors imu,audio --imu serial:///dev/ttyUSB0 --audio mic://default
  mmg-run --sensors imu,audio --demo                     the recording that mmg ships, with the truth beside it
  mmg-run walk.zip                                       every sensor in what an app exported, see docs/recordings.md
  mmg-run --explain walk.zip                             what is understood of it, and what is doubted
  mmg-run --sensors imu,audio --imu walk.csv --audio walk.wav --format jsonl
  mmg-run --sensors imu --imu 'walk.csv?acc_unit=g&gyro_unit=deg/s&time_unit=ms'
  mmg-run --sensors imu,audio --to jsonl:day.jsonl       decide, and append each decision to a file
  mmg-run --sensors imu --to mqtt://broker/mmg/wrist     decide, and tell a broker and Home Assistant
  mmg-run --sensors imu,audio --record day.mcap          decide, and keep what the sensors gave
  mmg-run day.mcap --compare day.mcap                    decide on it again: as it was live, to the last bit

exit codes: 0 done, 1 --compare found a difference, 2 usage or configuration, 3 no usable sensor, 4 bundle, model or
memory, 5 was asked to end while a model or a driver did not return
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-run, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-run",
        description="Say what the wearer is doing, twice a second, from whichever sensors are there.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recording", metavar="RECORDING", nargs="?", help="a file, folder or .zip: every sensor that is in there")
    add("--explain", action="store_true", help="decide nothing: print what is understood of each recording")
    add_sensor_flags(parser)
    add("--allow-video", action="store_true", help="allow video to be opened; you must also name it")
    add("--demo", action="store_true", help="use the recording that mmg ships, and its truth")
    add("--bundle", metavar="PATH", default="starter", help="a bundle: a directory or a .mmg file (default: starter)")
    add("--trust", metavar="KEY.pub", help="refuse a bundle that this key did not sign; see mmg-bundle --help")
    add(
        "--backend",
        choices=("auto", "onnx", "litert"),
        help="which runtime runs the models (default: the one installed, or the profile's)",
    )
    add("--precision", choices=("fp32", "int8"), help="which of the bundle's files (default: the profile's, or fp32)")
    add_profile_flags(parser)
    add_privacy_flags(parser)
    add("--format", choices=("text", "jsonl"), default="text", help="for a person or for a program (default: text)")
    add_sinks_flag(parser)
    add(
        "--pace",
        choices=("realtime", "fast"),
        default="fast",
        help="replay recordings at their own pace, or fast (default)",
    )
    add("--duration", metavar="S", type=seconds, help="stop after this many seconds of sensor time")
    add("--require", metavar="LIST", default="", help="sensors whose loss ends the run with exit code 3")
    add("--grace", metavar="S", type=seconds, help="how long to wait for a late sensor after the end of a hop")
    add(
        "--record",
        metavar="DAY.mcap",
        type=Path,
        help="keep what live sensors give and what is decided, for replay; in a folder, each run in a file of its own",
    )
    add_recording_flags(parser)
    add_token_flag(parser)
    add(
        "--compare",
        metavar="PATH",
        type=Path,
        help="tell where this run differs: JSON lines of mmg-run, or a recording",
    )
    add(
        "--taught", metavar="MINE.taught", type=Path, help="decide among these activities too; mmg-teach makes the file"
    )
    add_unknown_flag(parser)
    add(
        "--deadline",
        metavar="MS",
        type=milliseconds,
        help="of a live run: where decisions come later than this after their hop, fewer sensors decide until they "
        "are in time; the least is twice the grace and 300 ms",
    )
    add(
        "--gate",
        action="store_true",
        help="let sensors sleep, their devices closed, until what is decided without them asks for them: by the "
        "profile's policy (--set gate...), or else the bundle's; see docs/gate.md",
    )
    add("--truth", metavar="PATH", help="labels as mmg-label reads them, to print beside the decisions")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = parse(build_parser(), arguments)
    options.notify = os.environ.pop("NOTIFY_SOCKET", "")  # before there is a child, none of which has a pulse to tell
    options.manager = None
    if options.notify:
        from mmg.service.notify import ServiceManager

        options.manager = ServiceManager(options.notify)  # later no such socket can be made
    keep_stderr()
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    set_up_process()
    refuse_without_recording(options)
    named = named_sensors(options, _report)
    truth_path = options.truth or (DEMO / "truth.csv" if options.demo else None)
    from mmg.bundle import Bundle
    from mmg.cli.tally import Tally
    from mmg.runs.compare import Comparison, lines_until
    from mmg.sources import is_live
    from mmg.truth import Truth

    truth = Truth(truth_path) if truth_path else None
    with Bundle.open(options.bundle, trust=options.trust, tell=_report) as bundle:
        if options.duration is not None and options.duration < bundle.manifest.hop_s:
            shortest = f"is shorter than a hop of {bundle.manifest.hop_s:g} s"
            raise ConfigError(f"--duration {options.duration:g}: {shortest}")
        profile = load_board(options)
        urls = find_sensors(options, named, profile, bundle.manifest, _report)
        if options.explain:
            from mmg.cli.explain import print_explanations

            return print_explanations(urls, bundle.manifest, options.format, _report, allow_video=options.allow_video)
        taught = open_taught(
            options.taught, bundle.manifest, may_begin=has_page(options) and all(map(is_live, urls.values()))
        )
        tell_unheard(taught, urls, _report)
        settings = replace(
            _resolve_settings(options, profile),
            taught=_scorer(taught),
            unknown=unknown_rate(options.unknown, profile.unknown, bundle.manifest, tuple(urls)),
            gate=_gate_policy(profile, bundle.manifest) if options.gate else None,
        )
        comparison = Comparison(lines_until(options.compare, options.duration)) if options.compare else None
        tally = Tally(truth, bundle.manifest.hop_s, [one.name for one in bundle.manifest.modalities])
        _decide(options, bundle, urls, (settings, profile, taught), tally, comparison)
    _report(tally.summary())
    return 0 if comparison is None else _report_differences(comparison, options.compare)


def _decide(
    options: argparse.Namespace,
    bundle: Bundle,
    urls: dict[str, str],
    resolved: tuple[Settings, Profile, Taught | None],
    tally: Tally,
    comparison: Comparison | None,
) -> None:
    """Open the run and all that takes its decisions, and go through it. resolved: with what the taught file has."""
    from mmg.cli.run_pipeline import open_pipeline
    from mmg.cli.run_progress import RunProgress
    from mmg.sources import is_live

    WATCHDOG.start("mmg-run")
    settings, profile, taught = resolved
    labels = _labels(bundle, settings)
    takers: list[Taker] = [_open_sink(options.format, labels).write]
    with Reason() as reason, ExitStack() as at_end:
        outboxes, controls = open_outboxes(options, bundle, labels, urls, profile, _report)
        if outboxes:
            at_end.callback(outboxes.close)
            takers.append(outboxes.decided)
        report = _and_notice(outboxes) if outboxes else _report
        progress = at_end.enter_context(closing(RunProgress(_report, urls.values())))
        pipeline, recorder = open_pipeline(options, bundle, urls, settings, profile, report, outboxes)
        if recorder:  # a second Ctrl-C while a driver is slow to close costs nothing
            at_end.callback(close_recorder, recorder, _report)
            takers.append(_into(recorder))
        at_end.callback(pipeline.close)
        WATCHDOG.look_at(pipeline.engine, report)
        if controls and outboxes:
            attach_controls(controls, options, bundle, pipeline, recorder, taught, profile, outboxes)
        if pulse := _open_pulse(options.manager, pipeline):
            at_end.callback(pulse.close)
            at_end.callback(pulse.stopping)  # before all others: a driver may be slow to close
            takers.append(lambda decision, _label: pulse.decided(decision))
        if comparison:
            takers.append(_compared_by(comparison))
        _report_other_runtime(pipeline.engine.variant.backend, settings)
        is_told = all(map(is_live, urls.values()))
        if is_told:  # of ports, the first decision may be long in coming
            tell_closed(_report)
        progress.opened(pipeline)
        gc.freeze()  # what there is now stays: it need not be looked through again and again
        at_end.callback(gc.unfreeze)  # at exit it goes: nanobind, in soxr, tells what is left then
        at_end.push(reason.note)
        for decision in pipeline:
            if not is_told:
                is_told = True
                tell_closed(_report)
            progress.decided(decision.t_s)
            label = tally.add(decision)
            for take in takers:
                take(decision, label)


def _into(recorder: Recorder) -> Taker:
    from mmg.sinks.jsonl import line_of

    return lambda decision, _label: recorder.decision(line_of(decision), time.monotonic_ns())


def _compared_by(comparison: Comparison) -> Taker:
    import json

    from mmg.sinks.jsonl import line_of

    return lambda decision, _label: comparison.take(json.loads(line_of(decision)))


def _open_pulse(manager: ServiceManager | None, pipeline: LivePipeline | Pipeline | Replay) -> Pulse | None:
    """What a service manager is told, where one asks for it."""
    if manager is None:
        return None
    from mmg.runs.live import LivePipeline
    from mmg.service.notify import Pulse

    pulse = Pulse(manager, pipeline.engine.hop_s)
    if isinstance(pipeline, LivePipeline):
        pipeline.beat = pulse.beat
    return pulse


def _and_notice(outboxes: Outboxes) -> Callable[[str], None]:
    """Tell a line on standard error, and to the sinks."""

    def report(line: str) -> None:
        _report(line)
        outboxes.notice(as_line(line))

    return report


def _report_differences(comparison: Comparison, path: Path) -> int:
    result = comparison.finish()
    for line in comparison.told:
        _report(line)
    _report(f"compared with {path}: {result}")
    return 0 if comparison.is_same else 1


def _resolve_settings(options: argparse.Namespace, profile: Profile) -> Settings:
    """Flags first, then the device profile."""
    settings = board_settings(options, profile)
    return replace(
        settings,
        required=names_in(options.require),
        pace=options.pace,
        duration_s=options.duration,
        deadline_s=None if options.deadline is None else options.deadline / 1e3,
        grace_s=settings.grace_s if options.grace is None else options.grace,
    )


def _gate_policy(profile: Profile, manifest: Manifest) -> GatePolicy:
    """The profile's, or else the bundle's. Raises ConfigError where neither has one."""
    policy = profile.gate or (manifest.gate.policy if manifest.gate else None)
    if not policy:
        lacks = f"neither bundle {manifest.name} nor profile {profile.name} says which sensors may sleep"
        raise ConfigError(f"--gate: {lacks}: docs/gate.md shows how to")
    return policy


def _report_other_runtime(backend: str, settings: Settings) -> None:
    """Say so where what runs the models is not what the device profile names."""
    from mmg.backends import AUTO, INSTALL, absent_providers, is_installed

    wanted = settings.preferred_backend
    if settings.backend == AUTO and wanted not in (AUTO, backend):
        lacking = f"the bundle does not have all of its parts for it in {settings.precision}"
        why = lacking if is_installed(wanted) else f"{INSTALL[wanted]} is not installed"
        _report(f"the device profile names {wanted}, but {why}: {backend} runs the models")
    for name in absent_providers(backend, settings.providers):
        _report(f"this onnxruntime has no {name}: running without it")


def _scorer(taught: Taught | None) -> Scorer | None:
    if taught is None or not taught.names:
        return None
    from mmg.teaching.scorer import Scorer

    return Scorer(taught)


def _labels(bundle: Bundle, settings: Settings) -> tuple[str, ...]:
    """All that a decision may name."""
    from mmg.types import UNKNOWN

    unknown = (UNKNOWN,) if settings.unknown and bundle.manifest.unknown else ()
    return (*bundle.manifest.labels, *unknown, *(settings.taught.names if settings.taught else ()))


def _open_sink(format_name: str, labels: tuple[str, ...]) -> Console | JsonLines:
    if sys.stdout is None:
        raise ConfigError("standard output is closed: there is nowhere to write decisions")
    if format_name == "jsonl":
        from mmg.sinks.jsonl import JsonLines

        return JsonLines(sys.stdout, camera_state())
    from mmg.sinks.console import Console

    return Console(sys.stdout, labels, colours=wants_colours(sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
