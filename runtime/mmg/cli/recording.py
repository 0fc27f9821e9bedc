"""What the flags of a recording ask for: its file, its limits, and which sensors may be in it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import BackendUnavailable, ConfigError
from mmg.version import installed_version

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle
    from mmg.recording.recorder import Limits, Recorder
    from mmg.runs.settings import Settings
    from mmg.sources.ports.port import Port

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
LOW_BYTES = 100 * 10**6
PARTS_KEPT = 24
"""Files in which what is kept lies: when one goes, no more than a part of it goes too early."""


def add_recording_flags(parser: argparse.ArgumentParser) -> None:
    """``--split``, ``--keep`` and ``--record-video``."""
    add = parser.add_argument
    add("--split", metavar="SIZE", type=_split, help="begin another file after so long or so much: 1h, 30min, 500MB")
    add("--keep", metavar="TIME", type=_time, help="of a recording in several files, remove those older than 24h or 7d")
    add(
        "--record-video", action="store_true", help="record pictures too, beside --allow-video; without it they are not"
    )


def add_token_flag(parser: argparse.ArgumentParser) -> None:
    """``--record-tokens``, of a command that has encoders."""
    parser.add_argument(
        "--record-tokens",
        action="store_true",
        help="keep what the encoders make of sound and pictures, and neither sound nor pictures",
    )


def refuse_without_recording(options: argparse.Namespace) -> None:
    """Raises ConfigError for flags of a recording where none is made: who gave them believes that there is one."""
    given = {
        "--split": options.split,
        "--keep": options.keep,
        "--record-video": options.record_video,
        "--record-tokens": options.record_tokens,
    }
    for flag, value in given.items():
        if value and not options.record:
            raise ConfigError(f"{flag} is of a recording: add --record DAY.mcap")


def open_recorder(
    options: argparse.Namespace,
    path: Path,
    bundle: Bundle,
    ports: Sequence[Port],
    profile: Profile,
    settings: Settings,
    origin_ns: int,
    report: Callable[[str], None],
) -> Recorder:
    """A recorder for these ports, as far as the flags and the device profile let it.

    Raises ConfigError where nothing may be recorded or the file cannot be made, BackendUnavailable without ``mcap``.
    """
    import json
    import shutil

    try:
        from mmg.recording.recorder import Recorder
    except ImportError as error:
        raise BackendUnavailable("mcap, which recordings need,", "mcap") from error
    from mmg.recording.sensors import sensor_of
    from mmg.runs.gating import as_json

    if path.is_dir():
        path = path_in(path)
    if path.suffix != ".mcap":
        raise ConfigError(f"{path}: a recording is an MCAP file: call it {path.name}.mcap")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")
    kinds = {port.modality: bundle.manifest.modality(port.modality).kind for port in ports}
    names = _allowed(options, profile, kinds, report)
    sensors = [
        sensor_of(bundle.manifest.modality(port.modality), port.url, tokens=port.modality in as_tokens(options, kinds))
        for port in ports
        if port.modality in names
    ]
    free = shutil.disk_usage(path.parent).free
    if free < LOW_BYTES:
        report(f"{path}: only {free / 1e6:.0f} MB are free on its disk: the recording stops when it is full")
    metadata = {
        "bundle": bundle.manifest.name,
        "bundle_digest": bundle.digest,
        "grace_s": json.dumps(settings.grace_s),
        "precision": settings.precision,
        "backend": settings.backend,
        "duration_s": json.dumps(settings.duration_s),
        "unknown": json.dumps(settings.unknown),
        "deadline_s": json.dumps(settings.deadline_s),
        "profile": profile.name,
        # What was taught is in a file of its own, and the gate has a key of its own.
        "settings": json.dumps(asdict(replace(settings, taught=None, gate=None))),
        "gate": as_json(settings.gate) if settings.gate else "null",
        "mmg": installed_version(),
        "not_recorded": ",".join(name for name in kinds if name not in names),
    }
    return Recorder(path, sensors, origin_ns=origin_ns, metadata=metadata, limits=_limits(options), report=report)


def path_in(folder: Path) -> Path:
    """A recording's path in a folder, with the number after that of the last run: ``run-0007.mcap``."""
    found = (re.match(r"run-(\d{4,})(?:-\d{4,})?\.mcap$", path.name) for path in folder.iterdir())
    last = max((int(match[1]) for match in found if match), default=0)
    return folder / f"run-{last + 1:04d}.mcap"


def as_tokens(options: argparse.Namespace, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Of which modalities tokens are recorded and no samples."""
    is_asked = getattr(options, "record_tokens", False)
    return tuple(name for name, kind in kinds.items() if is_asked and kind != "signal")


def close_recorder(recorder: Recorder, report: Callable[[str], None]) -> None:
    """Finish the recording and say where it is."""
    recorder.close()
    if not recorder.problem:
        report(f"recorded {recorder.bytes / 1e6:.1f} MB to {recorder.newest}")


def _allowed(
    options: argparse.Namespace, profile: Profile, kinds: Mapping[str, str], report: Callable[[str], None]
) -> list[str]:
    """The modalities that may be recorded. Raises ConfigError where there is none."""
    names = []
    for name, kind in kinds.items():
        if kind not in profile.privacy.record:
            may = ", ".join(profile.privacy.record) or "nothing"
            report(f"{name} is not recorded: privacy.record of profile {profile.name} allows {may}")
        elif kind == "video" and not options.record_video and name not in as_tokens(options, kinds):
            report(f"{name} is not recorded: add --record-video to keep pictures")
        else:
            names.append(name)
    if not names:
        raise ConfigError("none of these sensors may be recorded")
    return names


def _limits(options: argparse.Namespace) -> Limits:
    from mmg.recording.recorder import Limits

    seconds, size = options.split or (None, None)
    if options.keep is not None and seconds is None and size is None:
        seconds = max(options.keep / PARTS_KEPT, 1.0)
    return Limits(seconds, size, options.keep)


def _split(text: str) -> tuple[float | None, int | None]:
    number, unit = _quantity(text, {**SECONDS, **BYTES}, "1h, 30min or 500MB")
    return (number * SECONDS[unit], None) if unit in SECONDS else (None, round(number * BYTES[unit]))


def _time(text: str) -> float:
    number, unit = _quantity(text, SECONDS, "24h or 7d")
    return number * SECONDS[unit]


def _quantity(text: str, units: Mapping[str, int], examples: str) -> tuple[float, str]:
    matched = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text)
    if not matched or matched[2] not in units or float(matched[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither of these: {examples}")
    return float(matched[1]), matched[2]
