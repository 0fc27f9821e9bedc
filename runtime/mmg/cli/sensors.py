"""Which sensors a run uses and where each is: by the flags, the device profile, a recording, or what is plugged in."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.privacy import close_off
from mmg.cli.progress import Progress
from mmg.errors import ConfigError, NoSensorError, ProfileError, RequiredSensorLost

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Manifest

    Report = Callable[[str], None]

DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_FILES = {"imu": "imu.csv", "audio": "audio.ogg", "video": "video.mp4"}


def add_sensor_flags(parser: argparse.ArgumentParser, *, takes_recordings: bool = True) -> None:
    """``--sensors`` and the flags that say where each is."""
    imu, audio, video = "serial:///dev/ttyUSB0, iio://NAME", "mic://default, mic://NAME", "camera:///dev/video0"
    if takes_recordings:
        imu += ", or a recording, walk.csv (twice: one in two files)"
        audio += ", or a recording, walk.wav"
        video += " or a file"
    add = parser.add_argument
    add("--sensors", metavar="LIST", help="which sensors to use, such as imu,audio (default: those with a URL)")
    add("--imu", metavar="URL", action="append", help=f"where the IMU is: {imu}")
    add("--audio", metavar="URL", action="append", help=f"where the sound is: {audio}")
    add("--video", metavar="URL", action="append", help=f"where the video is: {video}; off without --allow-video")
    add("--source", metavar="NAME=URL", action="append", default=[], help="any other sensor; may be repeated")


def named_sensors(options: argparse.Namespace, report: Report) -> dict[str, str]:
    """The URL of each sensor that the flags name, "" where they do not say it. Raises ConfigError."""
    given = _given_urls(options)
    if options.recording and (given or options.demo):
        raise ConfigError(f"{options.recording} brings its own sensors: leave it out, or the URLs and --demo")
    sensors = names_in(options.sensors or "")
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
            report(f"{name}: {given[name]} is not used, because --sensors does not name it")
    return {name: given.get(name, "") for name in sensors}


def _given_urls(options: argparse.Namespace) -> dict[str, str]:
    from mmg.sources.url import joined

    given = {name: joined(urls) for name in ("imu", "audio", "video") if (urls := getattr(options, name))}
    for pair in options.source:
        name, separator, url = pair.partition("=")
        if not separator or not name or not url:
            raise ConfigError(f"--source {pair}: must be NAME=URL, such as ppg=file://ppg.csv")
        if name in given:
            raise ConfigError(f"--source {pair}: {name} already has a URL")
        given[name] = url
    return given


def find_sensors(
    options: argparse.Namespace, named: dict[str, str], profile: Profile, manifest: Manifest, report: Report
) -> dict[str, str]:
    """The URL of each sensor of the run. named: as ``named_sensors`` gives them.

    Before any is looked for, the kernel closes what the run does not use. Raises ConfigError, ProfileError,
    NoSensorError, RequiredSensorLost.
    """
    from mmg.sources.url import with_rate

    urls = wanted_sensors(options, named, profile, manifest, report)
    close_off(options, urls, {modality.name: modality.kind for modality in manifest.modalities}, profile)
    urls = _find_missing(urls, names_in(options.require), report)
    return {name: with_rate(url, profile.rates.get(name)) for name, url in urls.items()}


def wanted_sensors(
    options: argparse.Namespace, named: dict[str, str], profile: Profile, manifest: Manifest, report: Report
) -> dict[str, str]:
    """The URL of each sensor that is wanted, "" of one that is to be looked for; looks for nothing.

    Raises ConfigError, ProfileError, NoSensorError.
    """
    kinds = {modality.name: modality.kind for modality in manifest.modalities}
    urls = _in_recording(options, tuple(named), manifest, report) if options.recording else named
    _check_profile(options, profile, manifest, is_used=not urls)
    if not urls:
        urls = {name: url for name, url in profile.sensors.items() if kinds[name] != "video"}
    urls = {name: url or profile.sensors.get(name, "") for name, url in urls.items()}
    required = names_in(options.require)
    for name in (*urls, *required):
        if name not in kinds:
            raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {', '.join(kinds)}")
    _refuse_video([name for name in urls if kinds[name] == "video"], options, profile)
    _report_unused(options, profile, urls, manifest, report)
    usual = [name for name in ("imu", "audio") if kinds.get(name, "video") != "video"]
    if not (urls or usual):
        first = next(iter(kinds))
        raise ConfigError(f"bundle {manifest.name} has {', '.join(kinds)}: give --source {first}=URL")
    return urls or dict.fromkeys(usual, "")


def _check_profile(options: argparse.Namespace, profile: Profile, manifest: Manifest, *, is_used: bool) -> None:
    """Raises ProfileError for a sensor's URL that cannot be, and, where the profile's are used, for one too many."""
    from mmg.sources import check_scheme

    known = [modality.name for modality in manifest.modalities]
    for name, url in profile.sensors.items():
        try:
            check_scheme(url)
        except ConfigError as error:
            raise ProfileError(options.profile or profile.name, f"sensors.{name}", str(error)) from error
        if is_used and name not in known:
            raise ProfileError(options.profile or profile.name, f"sensors.{name}", _lacks(manifest))


def _in_recording(
    options: argparse.Namespace, wanted: tuple[str, ...], manifest: Manifest, report: Report
) -> dict[str, str]:
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
        if kind == "video" and len(found) > 1 and not options.allow_video and name not in wanted:
            report(f"{name}: stays closed: add --allow-video to use it")
    found = {name: kind for name, kind in found.items() if kind != "video" or options.allow_video or name in wanted}
    if not found and "video" in kinds and not options.allow_video:
        raise NoSensorError({options.recording: "holds video alone, and the camera stays closed without --allow-video"})
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


def _report_unused(
    options: argparse.Namespace, profile: Profile, urls: dict[str, str], manifest: Manifest, report: Report
) -> None:
    """Of settings for sensors, those that nothing comes of: a wrong name, or one that takes no part in this run."""
    known = [modality.name for modality in manifest.modalities]
    given = {setting.partition("=")[0].strip(): setting for setting in options.set}
    for table, names in (("sensors", profile.sensors), ("rates", profile.rates)):
        for name in names:
            key = f"{table}.{name}"
            place = f"--set {given[key]}" if key in given else f"profile {options.profile or profile.name}: {key}"
            if name not in known:
                report(f"{place}: {_lacks(manifest)}")
            elif key in given and urls and name not in urls:
                report(f"{place}: this run does not use {name}")


def _lacks(manifest: Manifest) -> str:
    return f"bundle {manifest.name} has no such sensor; it has {', '.join(one.name for one in manifest.modalities)}"


def _find_missing(urls: dict[str, str], required: tuple[str, ...], report: Report) -> dict[str, str]:
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

    with Progress(report, "looking for devices", lines=False):
        found = find_devices(kinds=missing, report=report)
    taken = choose(found, missing)
    skipped = {}
    for name in missing:
        if name in taken:
            device = ", ".join(filter(None, (taken[name].device, taken[name].detail)))
            report(f"{name}: using {taken[name].url} ({device})")
            continue
        problems = [f"{one.url} {one.problem}" for one in found if one.modality == name and one.problem]
        skipped[name] = "; ".join(problems) or f"none is plugged in (mmg-devices shows what is; or give --{name} URL)"
    urls = {name: url for name, url in urls.items() if url} | {name: taken[name].url for name in taken}
    if lost := {name: why for name, why in skipped.items() if name in required}:
        raise RequiredSensorLost(lost)
    if not urls:
        raise NoSensorError(skipped)
    for name, why in skipped.items():
        report(f"{name} is left out: {why}")
    return urls


def names_in(text: str) -> tuple[str, ...]:
    """The names of a list such as ``imu,audio``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def milliseconds(text: str) -> float:
    """A flag's time, above 0. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 60_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds above 0, of a minute at most")
    return value


def seconds(text: str) -> float:
    """A flag's number of seconds. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
