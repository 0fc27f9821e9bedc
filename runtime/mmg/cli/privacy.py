"""What a command uses of the machine, by its flags; the kernel closes the rest before anything is opened.

What is closed stays so for as long as the process lives: a program that calls a command's ``main`` with arguments of
its own is left as it is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError
from mmg.privacy import RUNGS, Closed, Uses, close_unused

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.sinks.url import SinkUrl
    from mmg.sources.url import SourceUrl

    Report = Callable[[str], None]

STRICT = "strict"
UNPACKED = (".zip", ".vrs")
"""Recordings whose reader needs a folder for temporary files."""
WRITING = ("record", "output", "taught")
"""The flags that name what is written, but for those of sinks."""
FILES, TOKEN = ("jsonl",), "token_file"
"""Of sinks: the schemes of files, and the option that names one which is made."""
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
    if not ("cameras" in result.things or uses.camera) and options.privacy == STRICT:
        told = f"nothing keeps cameras closed here ({_why(result)}); {_asked(result)}"
        raise ConfigError(f"--privacy strict: {told}; mmg-service install makes a unit that keeps them closed")


def close_but(options: argparse.Namespace, *writes: Path | str | None, anywhere: bool = False, **uses: bool) -> None:
    """Let the kernel close all that a command does not use which runs on no sensor.

    writes: the files or folders that it writes. anywhere: whether it may write elsewhere too. uses: of ``Uses``.
    """
    if options.is_own_process and not _closed:
        used = Uses(writes=None if anywhere else _folders(writes), **uses)
        _closed.append((used, close_unused(used)))


def close_sensors(options: argparse.Namespace) -> None:
    """Close cameras and microphones, and nothing else: for a workstation's commands, of which none opens a sensor, and
    whose libraries have threads of their own, and for one that has systemd do things."""
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
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # then nothing can be noted either, and that is told
        return []
    return [place]


def uses_of(
    options: argparse.Namespace, urls: Mapping[str, str], kinds: Mapping[str, str], *, has_accelerator: bool = False
) -> Uses:
    """What these sensors, and the sinks and files of the flags, use. Raises ConfigError."""
    from mmg.sources.url import parse_url

    found = [parse_url(url) for url in urls.values() if url]
    looked_for = {kinds[name] for name, url in urls.items() if not url}
    sinks = _sinks(options)
    serial = [url.path for url in found if url.scheme == "serial"]
    nodes, hosts = asked_for() if "signal" in looked_for else [], []
    if serial:
        from mmg.sources.ports.serial.line import NETWORK

        hosts = [match[1] or match[2] for path in serial if (match := NETWORK.fullmatch(path))]
        nodes = [path for path in serial if not NETWORK.fullmatch(path)] + nodes
    has_sound = any(url.scheme == "mic" for url in found) or "audio" in looked_for
    has_chip = any(url.scheme == "iio" for url in found) or (
        "signal" in looked_for and Path("/sys/bus/iio/devices").is_dir()
    )
    return Uses(
        camera=any(url.scheme == "camera" and url.path.startswith("/dev/") for url in found),
        sound=has_sound,
        network=bool(hosts) or any(sink.scheme not in FILES for sink in sinks),
        daemons=any(host.endswith(".local") for host in (*hosts, *(sink.host for sink in sinks)))
        or getattr(options, "notify", "").startswith("@"),
        serial=bool(nodes) or has_chip or "signal" in looked_for,
        terminals=any(map(may_be_terminal, nodes)),
        sysfs=has_chip,
        accelerator=has_accelerator,
        writes=_places(options, found, sinks, has_sound=has_sound),
    )


def _sinks(options: argparse.Namespace) -> list[SinkUrl]:
    """Those of the flags. Raises ConfigError."""
    if not getattr(options, "to", None) and getattr(options, "page", None) is None:
        return []
    from mmg.cli.sinks_flag import sink_urls
    from mmg.sinks.places import check_places

    return check_places(sink_urls(options))


def _places(
    options: argparse.Namespace, found: Sequence[SourceUrl], sinks: Sequence[SinkUrl], *, has_sound: bool
) -> tuple[Path, ...]:
    """Where the run writes: folders in which it makes files, and files to which it appends."""
    folders: list[Path | str] = [value for name in WRITING if (value := getattr(options, name, None)) is not None]
    folders += tried_folder(getattr(options, "bundle", None), getattr(options, "trust", None))
    folders += unpacking(str(url) for url in found)
    folders += [url.options["sysfs"] for url in found if url.scheme == "iio" and "sysfs" in url.options]
    folders += [sink.options[TOKEN] for sink in sinks if TOKEN in sink.options]
    files = [Path(os.path.realpath(sink.path)) for sink in sinks if sink.scheme in FILES]
    for file in files:
        with suppress(OSError):  # what is wrong with it is told where it is opened
            # Made now, it can be let in alone, and not the folder with it.
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    return (*_folders(folders), *files, *([SHARED_MEMORY] if has_sound else []))


def asked_for() -> list[str]:
    """The serial ports that the environment names for whoever looks for one."""
    return [path for path in os.environ.get("MMG_SERIAL", "").split(":") if path]


def may_be_terminal(path: str) -> bool:
    """A link of one's own may lead to a terminal, now or later."""
    real = os.path.realpath(path)
    return real.startswith("/dev/pts/") or not real.startswith("/dev/")


def tell_closed(report: Report) -> None:
    """Say what is closed: once a run begins, so that one that cannot begin has one line to say why."""
    if not _closed:
        return
    uses, result = _closed[0]
    closed = _closed_things(uses, result)
    told = f"closed by the kernel ({', '.join(result.by)}): {closed}" if closed else "nothing is closed by the kernel"
    if uses.camera:
        report(f"{told}; the camera is in use, as --allow-video says")
    elif "cameras" in result.things:
        report(f"{told}; {_asked(result)}")
    else:
        report(f"the camera is off, but nothing keeps it closed here ({_why(result)}); {_asked(result)}")


def _asked(result: Closed) -> str:
    return f"a camera was asked for: {', '.join(result.answers)}"


def _why(result: Closed) -> str:
    return "; ".join(f"{rung}: {reason}" for rung, reason in result.without.items())


def _closed_things(uses: Uses, result: Closed) -> str:
    places = ", ".join(str(place) for place in uses.writes or () if place != SHARED_MEMORY)
    named = {"network": "the network", "writing": f"writing outside {places}" if places else "writing"}
    return ", ".join(named.get(thing, thing) for thing in result.things)


def _folders(places: Iterable[Path | str | None]) -> tuple[Path, ...]:
    """In which these are, or will be: of what does not exist yet, the first that does above it."""
    found = []
    for place in places:
        if place is None:
            continue
        path = Path(os.path.realpath(place))
        while not os.path.isdir(path):  # noqa: PTH112 (which raises nothing where a folder is closed)
            path = path.parent
        found.append(path)
    return tuple(dict.fromkeys(found))


def _is_unpacked(path: Path) -> bool:
    """Whether it is, or holds, what is unpacked. Of what cannot be looked at whoever reads it says so."""
    try:
        names = path.iterdir() if path.is_dir() else [path]
        return any(one.suffix.lower() in UNPACKED for one in names)
    except OSError:
        return False


def _rungs(text: str) -> tuple[str, ...]:
    """Raises ArgumentTypeError."""
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        if name not in RUNGS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(RUNGS)}")
    return names
