"""``mmg-run``: sensors in, decisions out, one a hop."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.output import wants_colours
from mmg.cli.profile_flags import add_profile_flags, load_board
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError, NoSensorError, ProfileError, RequiredSensorLost
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle, Manifest
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.settings import Settings
    from mmg.sinks import Sink

_report = stderr_reporter("mmg-run")
DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_FILES = {"imu": "imu.csv", "audio": "audio.ogg", "video": "video.mp4"}
EXAMPLES = """\
examples:
  mmg-run                                                whatever IMU and microphone are plugged in, and says which
  mmg-run --sensors imu,audio --imu serial:///dev/ttyUSB0 --audio mic://default
  mmg-run --sensors imu,audio --demo                     the recording that mmg ships, with the truth beside it
  mmg-run walk.zip                                       every sensor in what an app exported, see docs/recordings.md
  mmg-run --explain walk.zip                             what is understood of it, and what is doubted
  mmg-run --sensors imu,audio --imu walk.csv --audio walk.wav --format jsonl
  mmg-run --sensors imu --imu 'walk.csv?acc_unit=g&gyro_unit=deg/s&time_unit=ms'

exit codes: 0 done, 2 usage or configuration, 3 no usable sensor, 4 bundle or model
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
    add("--sensors", metavar="LIST", help="which sensors to use, such as imu,audio (default: those with a URL)")
    add(
        "--imu",
        metavar="URL",
        action="append",
        help="where the IMU is: serial:///dev/ttyUSB0, iio://NAME, or a recording, walk.csv (twice: one in two files)",
    )
    add(
        "--audio",
        metavar="URL",
        action="append",
        help="where the sound is: mic://default, mic://NAME, or a recording, walk.wav",
    )
    add(
        "--video",
        metavar="URL",
        action="append",
        help="where the video is: camera:///dev/video0 or a file; off without --allow-video",
    )
    add("--source", metavar="NAME=URL", action="append", default=[], help="any other sensor; may be repeated")
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
    add("--format", choices=("text", "jsonl"), default="text", help="for a person or for a program (default: text)")
    add(
        "--pace",
        choices=("realtime", "fast"),
        default="fast",
        help="replay recordings at their own pace, or fast (default)",
    )
    add("--duration", metavar="S", type=_seconds, help="stop after this many seconds of sensor time")
    add("--require", metavar="LIST", default="", help="sensors whose loss ends the run with exit code 3")
    add("--grace", metavar="S", type=_seconds, help="how long to wait for a late sensor after the end of a hop")
    add("--truth", metavar="PATH", help="a CSV of start_s,end_s,label to print beside the decisions")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = build_parser().parse_args(arguments)
    _keep_stderr()
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    set_up_process()
    urls, truth_path = _choose_sources(options)
    from mmg.bundle import Bundle
    from mmg.truth import Truth

    truth = Truth(truth_path) if truth_path else None
    decided = right = judged = 0
    used: set[str] = set()
    with Bundle.open(options.bundle, trust=options.trust) as bundle:
        settings, urls = _resolve_settings(options, urls, bundle.manifest)
        if options.explain:
            return _explain(urls, settings, bundle.manifest, options.format)
        sink, half_hop_s = _open_sink(options.format, bundle.manifest), bundle.manifest.hop_s / 2
        pipeline = _open_pipeline(bundle, urls, settings)
        _report_other_runtime(pipeline.engine.variant.backend, settings)
        gc.freeze()  # what there is now stays: it need not be looked through again and again
        try:
            for decision in pipeline:
                label = truth.label_at(decision.t_s - half_hop_s) if truth else None
                sink.write(decision, label)
                decided += 1
                used.update(decision.modalities)
                judged += label is not None
                right += label == decision.label
        finally:
            pipeline.close()
    of = ", ".join(name for name in pipeline.engine.modalities if name in used)
    summary = f"{decided} decision{'s' * (decided != 1)} from {of or 'no sensor'}"
    if judged:
        summary += f", {right} of {judged} equal to the truth ({right / judged:.0%})"
    _report(summary)
    return 0


def _explain(urls: dict[str, str], settings: Settings, manifest: Manifest, format_name: str) -> int:
    """Print what is understood of each recording. The exit code is 3 where one cannot be used."""
    import json
    from contextlib import closing
    from dataclasses import asdict

    from mmg.errors import SourceError
    from mmg.runs.explain import explain
    from mmg.sources import open_source

    code = 0
    for name, url in urls.items():
        modality = manifest.modality(name)
        try:
            with closing(open_source(url, modality, allow_video=settings.allow_video)) as recording:
                told = explain(recording, modality, manifest.hop_ns, _report)
        except SourceError as error:
            code = error.exit_code
            _report(f"{name}: {error}")
            continue
        print(json.dumps(asdict(told)) if format_name == "jsonl" else "\n".join(told.lines()))
    return code


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


def _open_pipeline(bundle: Bundle, urls: dict[str, str], settings: Settings) -> Pipeline | LivePipeline:
    from mmg.sources import is_live

    live = [name for name, url in urls.items() if is_live(url)]
    if not live:
        from mmg.runs.recorded import Pipeline

        return Pipeline(bundle, urls, settings, report=_report)
    recorded = [name for name in urls if name not in live]
    if recorded:
        raise ConfigError(f"{live[0]} is a live port and {recorded[0]} a recording: a run takes one or the other")
    from mmg.runs.live import LivePipeline, open_ports

    return LivePipeline(bundle, open_ports(bundle.manifest, urls, settings, _report), settings, report=_report)


def _choose_sources(options: argparse.Namespace) -> tuple[dict[str, str], str | None]:
    """The URL of each chosen sensor, as far as the flags say, and the path of the truth."""
    from mmg.sources.url import joined

    given = {name: joined(urls) for name in ("imu", "audio", "video") if (urls := getattr(options, name))}
    for pair in options.source:
        name, separator, url = pair.partition("=")
        if not separator or not name or not url:
            raise ConfigError(f"--source {pair}: must be NAME=URL, such as ppg=file://ppg.csv")
        if name in given:
            raise ConfigError(f"--source {pair}: {name} already has a URL")
        given[name] = url
    if options.recording and (given or options.demo):
        raise ConfigError(f"{options.recording} brings its own sensors: leave it out, or the URLs and --demo")
    sensors = _names(options.sensors or "")
    if options.demo:
        sensors = sensors or ("imu", "audio")
        if given:
            raise ConfigError("--demo brings its own recordings: leave out the URLs, or --demo")
        given = {name: str(DEMO / DEMO_FILES[name]) for name in sensors if name in DEMO_FILES}
    sensors = sensors or tuple(given)
    if len(set(sensors)) != len(sensors):
        raise ConfigError(f"--sensors {options.sensors}: a sensor is named twice")
    for name in given:
        if name not in sensors:
            _report(f"{name}: {given[name]} is not used, because --sensors does not name it")
    truth: str | None = options.truth or (str(DEMO / "truth.csv") if options.demo else None)
    return {name: given.get(name, "") for name in sensors}, truth


def _resolve_settings(
    options: argparse.Namespace, urls: dict[str, str], manifest: Manifest
) -> tuple[Settings, dict[str, str]]:
    """Flags first, then the device profile."""
    from mmg.runs.settings import Settings
    from mmg.sources import check_scheme
    from mmg.sources.url import with_rate

    if options.duration is not None and options.duration < manifest.hop_s:
        raise ConfigError(f"--duration {options.duration:g}: is shorter than a hop of {manifest.hop_s:g} s")
    profile, kinds = load_board(options), {modality.name: modality.kind for modality in manifest.modalities}
    if options.recording:
        urls = _in_recording(options, tuple(urls), manifest)
    for name, url in profile.sensors.items():
        try:
            check_scheme(url)
        except ConfigError as error:
            raise ProfileError(options.profile or profile.name, f"sensors.{name}", str(error)) from error
        if not urls and name not in kinds:
            raise ProfileError(options.profile or profile.name, f"sensors.{name}", _lacks(manifest))
    if not urls:
        urls = {name: url for name, url in profile.sensors.items() if kinds[name] != "video"}
    urls = {name: url or profile.sensors.get(name, "") for name, url in urls.items()}
    required = _names(options.require)
    for name in (*urls, *required):
        if name not in kinds:
            raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {', '.join(kinds)}")
    _refuse_video([name for name in urls if kinds[name] == "video"], options, profile)
    _report_unused(options, profile, urls, manifest)
    usual = [name for name in ("imu", "audio") if kinds.get(name, "video") != "video"]
    if not (urls or usual):
        first = next(iter(kinds))
        raise ConfigError(f"bundle {manifest.name} has {', '.join(kinds)}: give --source {first}=URL")
    urls = _find_missing(urls or dict.fromkeys(usual, ""), required)
    settings = Settings(
        allow_video=options.allow_video,
        required=required,
        pace=options.pace,
        duration_s=options.duration,
        grace_s=profile.grace_s if options.grace is None else options.grace,
        backend=options.backend or "auto",
        preferred_backend=profile.backend,
        precision=options.precision or profile.precision,
        threads=profile.threads,
        providers=profile.providers,
    )
    return settings, {name: with_rate(url, profile.rates.get(name)) for name, url in urls.items()}


def _in_recording(options: argparse.Namespace, wanted: tuple[str, ...], manifest: Manifest) -> dict[str, str]:
    """The sensors that the recording holds, of those that are wanted; video only where it is allowed."""
    from mmg.sources import is_live
    from mmg.sources.files.folder import kinds_in
    from mmg.sources.url import parse_url

    if is_live(options.recording):
        raise ConfigError(f"{options.recording} is a live port: name its sensor, such as --imu {options.recording}")
    kinds = kinds_in(parse_url(options.recording))
    found = {
        one.name: one.kind for one in manifest.modalities if one.kind in kinds and (not wanted or one.name in wanted)
    }
    for name, kind in found.items():
        if kind == "video" and not options.allow_video and name not in wanted:
            _report(f"{name}: stays closed: add --allow-video to use it")
    found = {name: kind for name, kind in found.items() if kind != "video" or options.allow_video or name in wanted}
    if not found:
        holds = ", ".join(sorted(kinds)) or "nothing that is known"
        raise NoSensorError({options.recording: f"holds {holds}, and none of it is a sensor of bundle {manifest.name}"})
    return dict.fromkeys(found, options.recording)


def _refuse_video(names: list[str], options: argparse.Namespace, profile: Profile) -> None:
    """A camera's modalities, whatever the bundle calls them, need a word on the command line, and the device's leave.

    Raises ConfigError, ProfileError.
    """
    if names and profile.privacy.video == "never":
        raise ProfileError(
            profile.name, "privacy.video", f"is never: {names[0]} stays off on this device, whatever the flags"
        )
    if names and not options.allow_video:
        raise ConfigError(f"{names[0]} is off: add --allow-video to open a camera, or leave it out of --sensors")


def _report_unused(options: argparse.Namespace, profile: Profile, urls: dict[str, str], manifest: Manifest) -> None:
    """Of settings for sensors, those that nothing comes of: a wrong name, or one that takes no part in this run."""
    known = [modality.name for modality in manifest.modalities]
    given = {setting.partition("=")[0].strip(): setting for setting in options.set}
    for table, names in (("sensors", profile.sensors), ("rates", profile.rates)):
        for name in names:
            key = f"{table}.{name}"
            place = f"--set {given[key]}" if key in given else f"profile {options.profile or profile.name}: {key}"
            if name not in known:
                _report(f"{place}: {_lacks(manifest)}")
            elif key in given and urls and name not in urls:
                _report(f"{place}: this run does not use {name}")


def _lacks(manifest: Manifest) -> str:
    return f"bundle {manifest.name} has no such sensor; it has {', '.join(one.name for one in manifest.modalities)}"


def _find_missing(urls: dict[str, str], required: tuple[str, ...]) -> dict[str, str]:
    """Fill in the URL of each sensor that has none with what is plugged in, and say what was taken."""
    from mmg.sources import is_live

    missing = [name for name, url in urls.items() if not url]
    if not missing:
        return urls
    unknown = [name for name in missing if name not in DEMO_FILES]
    if unknown or any(url and not is_live(url) for url in urls.values()):
        flags = " ".join(f"--source {name}=URL" if name in unknown else f"--{name} URL" for name in missing)
        raise ConfigError(f"where is {', '.join(missing)}? Give {flags}; see mmg-run --help")
    from mmg.sources.ports.discovery import choose, find_devices

    found = find_devices(kinds=missing, report=_report)
    taken = choose(found, missing)
    skipped = {}
    for name in missing:
        if name in taken:
            device = ", ".join(filter(None, (taken[name].device, taken[name].detail)))
            _report(f"{name}: using {taken[name].url} ({device})")
            continue
        problems = [f"{one.url} {one.problem}" for one in found if one.modality == name and one.problem]
        skipped[name] = "; ".join(problems) or f"none is plugged in (mmg-devices shows what is; or give --{name} URL)"
    urls = {name: url for name, url in urls.items() if url} | {name: taken[name].url for name in taken}
    if lost := {name: why for name, why in skipped.items() if name in required}:
        raise RequiredSensorLost(lost)
    if not urls:
        raise NoSensorError(skipped)
    for name, why in skipped.items():
        _report(f"{name} is left out: {why}")
    return urls


def _open_sink(format_name: str, manifest: Manifest) -> Sink:
    if sys.stdout is None:
        raise ConfigError("standard output is closed: there is nowhere to write decisions")
    if format_name == "jsonl":
        from mmg.sinks.jsonl import JsonLines

        return JsonLines(sys.stdout)
    from mmg.sinks.console import Console

    return Console(sys.stdout, manifest.labels, colours=wants_colours(sys.stdout))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _keep_stderr() -> None:
    """Write to a descriptor of our own: sounddevice turns number 2 off while PortAudio starts, which can take long."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return  # closed, or no file
    sys.stderr = open(descriptor, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    sys.exit(main())
