"""``mmg-run``: sensors in, decisions out, one a hop."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mmg.errors import ConfigError, MmgError, ProfileError

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.pipeline import Settings
    from mmg.sinks import Sink

DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_FILES = {"imu": "imu.csv", "audio": "audio.ogg", "video": "video.mp4"}
EXAMPLES = """\
examples:
  mmg-run --sensors imu,audio --demo                     the recording that mmg carries, with the truth beside it
  mmg-run --sensors imu --imu file:///data/walk.csv      one sensor, from a recording
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
    add("--sensors", metavar="LIST", help="which sensors to use, such as imu,audio (default: those with a URL)")
    add("--imu", metavar="URL", help="where the IMU is: file://walk.csv or a plain path")
    add("--audio", metavar="URL", help="where the sound is: file://walk.wav or a plain path")
    add("--video", metavar="URL", help="where the video is; it stays off without --allow-video")
    add("--source", metavar="NAME=URL", action="append", default=[], help="a sensor of another name; may be repeated")
    add("--allow-video", action="store_true", help="allow video to be opened; it must be named besides")
    add("--demo", action="store_true", help="take the URLs and the truth from the recording that mmg carries")
    add("--bundle", metavar="PATH", default="starter", help="a bundle: a directory or a .mmg file (default: starter)")
    add("--profile", metavar="BOARD|PATH", help="a device profile (default: the one for this board)")
    add("--format", choices=("text", "jsonl"), default="text", help="for a person or for a program (default: text)")
    add("--pace", choices=("realtime", "fast"), default="fast", help="a recording's own pace, or as fast as can be")
    add("--duration", metavar="S", type=_seconds, help="stop after so many seconds of the sensors' time")
    add("--require", metavar="LIST", default="", help="sensors whose loss ends the run with exit code 3")
    add("--grace", metavar="S", type=_seconds, help="how long a late sensor is waited for after a hop's end")
    add("--truth", metavar="PATH", help="a CSV of start_s,end_s,label to print beside the decisions")
    add("--version", action="store_true", help="print the version and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = build_parser().parse_args(arguments)
    if options.version:
        from importlib.metadata import version

        print(f"mmg {version('mmg')}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What the caller ignores, as nohup does, stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        return _run(options)
    except MmgError as error:
        _tell(str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader has left, as `head` does; without this Python complains once more at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        # What is read is translated where it is read: this is the output, on a full disk for example.
        _tell(f"cannot write: {error.strerror}")
        sys.stdout = None
        return 2
    except KeyboardInterrupt:
        _tell("stopped")
        return 0


def _run(options: argparse.Namespace) -> int:
    urls, truth_path = _choose_sources(options)
    from mmg.bundle import Bundle
    from mmg.pipeline import Pipeline
    from mmg.truth import Truth

    truth = Truth(truth_path) if truth_path else None
    settings, urls = _settle(options, urls)
    decided = right = judged = 0
    with Bundle.open(options.bundle) as bundle:
        sink, half_hop_s = _open_sink(options.format, bundle.manifest), bundle.manifest.hop_s / 2
        pipeline = Pipeline(bundle, urls, settings, note=_tell)
        try:
            for decision in pipeline:
                label = truth.label_at(decision.t_s - half_hop_s) if truth else None
                sink.write(decision, label)
                decided += 1
                judged += label is not None
                right += label == decision.label
        finally:
            pipeline.close()
    summary = f"{decided} decisions from {', '.join(pipeline.engine.modalities)}"
    if judged:
        summary += f", {right} of {judged} equal to the truth ({right / judged:.0%})"
    _tell(summary)
    return 0


def _choose_sources(options: argparse.Namespace) -> tuple[dict[str, str], str | None]:
    """The URL of each chosen sensor, as far as the flags say, and the path of the truth."""
    given = {name: url for name in ("imu", "audio", "video") if (url := getattr(options, name))}
    for pair in options.source:
        name, separator, url = pair.partition("=")
        if not separator or not name or not url:
            raise ConfigError(f"--source {pair}: must be NAME=URL, such as ppg=file://ppg.csv")
        if name in given:
            raise ConfigError(f"--source {pair}: {name} has a URL already")
        given[name] = url
    sensors = _names(options.sensors or "")
    if options.demo:
        sensors = sensors or ("imu", "audio")
        if given:
            raise ConfigError("--demo brings its own recordings: leave out the URLs, or --demo")
        given = {name: str(DEMO / DEMO_FILES[name]) for name in sensors if name in DEMO_FILES}
    sensors = sensors or tuple(given)
    if len(set(sensors)) != len(sensors):
        raise ConfigError(f"--sensors {options.sensors}: a sensor is named twice")
    if "video" in sensors and not options.allow_video:
        raise ConfigError("video is off: add --allow-video to open it, or leave it out of --sensors")
    truth: str | None = options.truth or (str(DEMO / "truth.csv") if options.demo else None)
    return {name: given.get(name, "") for name in sensors}, truth


def _settle(options: argparse.Namespace, urls: dict[str, str]) -> tuple[Settings, dict[str, str]]:
    """Flags first, then the device profile."""
    from mmg_device_profiles import detect_board, load_profile
    from mmg_device_profiles.profile import ProfileProblem

    from mmg.backends import BACKENDS
    from mmg.pipeline import Settings

    try:
        profile = load_profile(options.profile or detect_board())
    except ProfileProblem as problem:
        raise ProfileError(problem.path, problem.key, problem.problem) from problem
    if not urls:
        urls = {name: url for name, url in profile.sensors.items() if name != "video"}
    urls = {name: url or profile.sensors.get(name, "") for name, url in urls.items()}
    if profile.backend not in BACKENDS:
        raise ProfileError(profile.name, "backend", f"{profile.backend!r} is not one of {', '.join(BACKENDS)}")
    missing = [name for name, url in urls.items() if not url]
    if missing or not urls:
        flags = " ".join(f"--{name} URL" if name in DEMO_FILES else f"--source {name}=URL" for name in missing)
        flags = flags or "--imu URL"
        raise ConfigError(f"no sensor to read: give {flags} (a recording), or --demo; see mmg-run --help")
    settings = Settings(
        allow_video=options.allow_video,
        required=_names(options.require),
        pace=options.pace,
        duration_s=options.duration,
        grace_s=profile.grace_s if options.grace is None else options.grace,
        backend=profile.backend,
        threads=profile.threads,
    )
    return settings, urls


def _open_sink(format_name: str, manifest: Manifest) -> Sink:
    if sys.stdout is None:
        raise ConfigError("standard output is closed: there is nowhere to write decisions")
    if format_name == "jsonl":
        from mmg.sinks.jsonl import JsonLines

        return JsonLines(sys.stdout)
    from mmg.sinks.console import Console

    return Console(sys.stdout, manifest.labels)


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


def _tell(line: str) -> None:
    # Without standard error print would write to standard output, among the decisions.
    if sys.stderr is not None:
        print(f"mmg-run: {line}", file=sys.stderr)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
