"""What a command uses of the machine, by its flags; the kernel closes the rest before anything is opened.

What is closed stays so for as long as the process lives: a program that calls a command's ``main`` with arguments of
its own is left as it is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError
from mmg.privacy import RUNGS, Closed, Uses, close_unused

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    Report = Callable[[str], None]

STRICT = "strict"
UNPACKED = (".zip", ".vrs")
"""Recordings whose reader needs a folder for temporary files."""
WRITING = ("record", "output", "taught")
"""The flags that name what is written, but for those of sinks."""
SHARED_MEMORY = Path("/dev/shm")

_closed: list[tuple[Uses, Closed]] = []


def add_privacy_flags(parser: argparse.ArgumentParser) -> None:
    """``--privacy`` and ``--privacy-without``."""
    parser.add_argument(
        "--privacy",
        choices=("auto", STRICT),
        default="auto",
        help="strict: refuse to run where the kernel does not keep cameras closed (default: auto: tell it)",
    )
    parser.add_argument(
        "--privacy-without",
        metavar="LIST",
        type=_rungs,
        default=(),
        help=f"do without some of {', '.join(RUNGS)}, which keep closed what is off; see docs/promises.md",
    )


def camera_state() -> dict[str, object]:
    """For JSON: whether a camera can be opened, and what keeps it closed; see ``Closed.camera``."""
    return (_closed[0][1] if _closed else Closed((), {})).camera


def close_off(
    options: argparse.Namespace,
    urls: Mapping[str, str],
    kinds: Mapping[str, str],
    profile: Profile,
) -> None:
    """Let the kernel close what a run of these sensors does not use.

    urls: modality -> URL, "" of one that is to be looked for. kinds: modality -> the bundle's kind of it. Raises
    ConfigError for ``--privacy strict`` where nothing keeps cameras closed, and for flags that name no URL.
    """
    if _closed or not (options.is_own_process or options.privacy == STRICT):
        return
    uses = uses_of(options, urls, kinds, has_accelerator=set(profile.providers) != {"CPUExecutionProvider"})
    result = close_unused(uses, options.privacy_without)
    _closed.append((uses, result))
    if not (result.closes_camera or uses.camera) and options.privacy == STRICT:
        raise ConfigError(f"--privacy strict: nothing keeps cameras closed here ({_why(result)}); {_asked(result)}")


def close_but(options: argparse.Namespace, *writes: Path | str | None, anywhere: bool = False, **uses: bool) -> None:
    """Let the kernel close all that a command does not use which runs on no sensor.

    writes: the files or folders that it writes. anywhere: whether it may write elsewhere too. uses: of ``Uses``.
    """
    if options.is_own_process and not _closed:
        used = Uses(writes=None if anywhere else _folders(writes), **uses)
        _closed.append((used, close_unused(used)))


def close_sensors(options: argparse.Namespace) -> None:
    """Close cameras and microphones, and nothing else: for a workstation's commands, of which none opens a sensor, and
    whose libraries have threads of their own."""
    if options.is_own_process and not _closed:
        used = Uses(network=True, daemons=True, accelerator=True, writes=None)
        _closed.append((used, close_unused(used, ("namespace", "landlock"))))


def unpacking(urls: Iterable[str]) -> list[Path]:
    """The folder for temporary files, where one of these recordings needs it to be read. Raises ConfigError."""
    from mmg.sources.url import parse_url

    found = [parse_url(url) for url in urls if url]
    if not any(_is_unpacked(Path(url.path)) for url in found if url.scheme == "file"):
        return []
    import tempfile

    return [Path(tempfile.gettempdir())]


def tried_folder(bundle: str | None, trust: str | None = None) -> list[Path]:
    """The folder in which it is noted which of a bundle's models were tried, where any are. It is made."""
    if bundle in (None, "starter") or trust is not None:
        return []
    from mmg.trial.known import Known

    place = Known().place
    if place is None:
        return []
    with suppress(OSError):  # then nothing can be noted either, and that is told
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [place]


def uses_of(
    options: argparse.Namespace, urls: Mapping[str, str], kinds: Mapping[str, str], *, has_accelerator: bool = False
) -> Uses:
    """What these sensors, and the sinks and files of the flags, use. Raises ConfigError."""
    from mmg.sources.ports.serial.line import NETWORK
    from mmg.sources.url import parse_url

    found = [parse_url(url) for url in urls.values() if url]
    looked_for = {kinds[name] for name, url in urls.items() if not url}
    schemes = {url.scheme for url in found}
    ports = [url.path for url in found if url.scheme == "serial"]
    has_sound = "mic" in schemes or "audio" in looked_for
    has_chips = Path("/sys/bus/iio/devices").is_dir()
    is_iio = "iio" in schemes or ("signal" in looked_for and has_chips)
    writes, has_network = _written(options)
    writes += unpacking(urls.values())
    if has_sound:
        writes.append(SHARED_MEMORY)
    writes += [url.options["sysfs"] for url in found if url.scheme == "iio" and "sysfs" in url.options]
    return Uses(
        camera=any(url.scheme == "camera" and url.path.startswith("/dev/") for url in found),
        sound=has_sound,
        network=has_network or any(NETWORK.fullmatch(path) for path in ports),
        daemons=bool(getattr(options, "notify", "")),
        serial=any(not NETWORK.fullmatch(path) for path in ports) or is_iio or "signal" in looked_for,
        sysfs=is_iio,
        accelerator=has_accelerator,
        writes=_folders(writes),
    )


def tell_closed(report: Report) -> None:
    """Say what is closed: once a run begins, so that one that cannot begin has one line to say why."""
    if not _closed:
        return
    uses, result = _closed[0]
    closed = _closed_things(uses, result)
    told = f"closed by the kernel ({', '.join(result.by)}): {closed}" if closed else "nothing is closed by the kernel"
    if uses.camera:
        report(f"{told}; the camera is in use, as --allow-video says")
    elif result.closes_camera:
        report(f"{told}; {_asked(result)}")
    else:
        report(f"the camera is off, but nothing keeps it closed here ({_why(result)}); {_asked(result)}")


def _asked(result: Closed) -> str:
    return f"a camera was asked for: {', '.join(result.answers)}"


def _why(result: Closed) -> str:
    return "; ".join(f"{rung}: {reason}" for rung, reason in result.without.items())


def _closed_things(uses: Uses, result: Closed) -> str:
    places = ", ".join(str(folder) for folder in uses.writes or () if folder != SHARED_MEMORY)
    by = set(result.by)
    closed = {
        "cameras": result.closes_camera,
        "microphones": not uses.sound and by & {"seccomp", "namespace"},
        "the network": not uses.network and by & {"seccomp", "namespace"},
        f"writing outside {places}" if places else "writing": by & {"landlock", "namespace"},
    }
    return ", ".join(name for name, is_closed in closed.items() if is_closed)


def _written(options: argparse.Namespace) -> tuple[list[Path | str], bool]:
    """The files and folders of the flags, and whether a sink is on the network. Raises ConfigError."""
    places: list[Path | str] = [value for name in WRITING if (value := getattr(options, name, None)) is not None]
    places += tried_folder(getattr(options, "bundle", None), getattr(options, "trust", None))
    if not getattr(options, "to", None) and getattr(options, "page", None) is None:
        return places, False
    from mmg.cli.sinks_flag import sink_urls
    from mmg.service.network import network_of
    from mmg.service.places import WRITTEN_OPTIONS
    from mmg.sinks.places import check_places

    urls = check_places(sink_urls(options))
    places += [url.path for url in urls if url.scheme == "jsonl"]
    places += [url.options[name] for url in urls for name in WRITTEN_OPTIONS if name in url.options]
    return places, network_of(urls).is_needed


def _folders(places: Iterable[Path | str | None]) -> tuple[Path, ...]:
    """In which these are, or will be: of what does not exist yet, the first that does above it. A pipe or a device is
    itself, for what is in its folder is none of the run's."""
    found = []
    for place in places:
        if place is None:
            continue
        path = Path(os.path.realpath(place))
        while not path.is_dir() and (path.is_file() or not path.exists()):
            path = path.parent
        found.append(path)
    return tuple(dict.fromkeys(found))


def _is_unpacked(path: Path) -> bool:
    names = path.iterdir() if path.is_dir() else [path]
    return any(one.suffix.lower() in UNPACKED for one in names)


def _rungs(text: str) -> tuple[str, ...]:
    """Raises ArgumentTypeError."""
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        if name not in RUNGS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(RUNGS)}")
    return names
