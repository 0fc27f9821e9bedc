"""``mmg-teach``: your own activities, from a few examples, live or out of recordings."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import add_privacy_flags, close_off
from mmg.cli.profile_flags import add_profile_flags, board_settings, load_board
from mmg.cli.reporting import keep_stderr, stderr_reporter
from mmg.cli.sensors import add_sensor_flags, named_sensors, seconds, wanted_sensors
from mmg.cli.taught_file import MINE, change, told_of
from mmg.cli.teach_live import LISTEN_S, SHOTS
from mmg.cli.teach_sensors import sensors_to_keep
from mmg.cli.version import PrintVersion
from mmg.cli.watchdog import WATCHDOG
from mmg.counts import count_of
from mmg.errors import ConfigError
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle, Manifest
    from mmg.cli.teach_recorded import Beside, Whence
    from mmg.runs.settings import Settings
    from mmg.teaching.kept import Kept
    from mmg.teaching.taught import Taught

_report = stderr_reporter("mmg-teach")
MOST_SHOTS = 50
LONGEST_LISTEN_S = 120
LIVE_ALONE = ("shots", "listen", "auto")
NAME_ALONE = ("seconds", "improve")
SENSOR_URLS = ("imu", "audio", "video", "source")
OF_THE_FILE = ("output", "estimate", "json")
EXAMPLES = """\
examples:
  mmg-teach knock                                        five examples, live; Enter begins each
  mmg-teach knock --shots 3 --auto                       counts down by itself, as both hands are needed
  mmg-teach knock --from day.mcap                        what is marked or labelled "knock" in a recording
  mmg-teach knock --from a.csv b.csv c.csv               each file or folder is one example
  mmg-teach --background day.csv                         what else you do, out of a recording
  mmg-teach --list                                       what is taught; --delete knock takes it out again
  mmg-teach --merge theirs.taught                        add what is in another file
  mmg-run --taught mine.taught                           decide among the bundle's labels and yours

exit codes: 0 done, 2 usage, or an example that cannot be, 3 no usable sensor, 4 bundle, model or memory, 5 was asked to
end while a model or a driver did not return, 130 stopped
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-teach."""
    parser = argparse.ArgumentParser(
        prog="mmg-teach",
        description="Teach activities of your own by a few examples. No sound and no picture is kept.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("name", metavar="NAME", nargs="?", help="what the activity is called, such as knock")
    add("-o", "--output", metavar="FILE", type=Path, default=MINE, help=f"default: {MINE}")
    add("--shots", metavar="N", type=_shots, help=f"how many examples to ask for, live (default: {SHOTS})")
    add("--seconds", metavar="S", type=seconds, help="how long an example is (default: the bundle's context, 4)")
    before = f"how long to listen to other life first, live (default: {LISTEN_S:g}; Enter ends it)"
    add("--listen", metavar="S", type=_listen, help=before)
    add("--auto", action="store_true", help="count down to each example, instead of waiting for Enter")
    add("--from", metavar="RECORDING", nargs="+", default=[], dest="recordings", help="take the examples out of these")
    other = "take what is none of what is taught out of these; with NAME or alone"
    add("--background", metavar="RECORDING", nargs="+", default=[], action="extend", help=other)
    add("--improve", action="store_true", help="let NAME be one of the bundle's labels: your examples count beside it")
    add("--list", action="store_true", help="show what is taught")
    add("--estimate", action="store_true", help="tell how well each is known, also of many, which takes a while")
    add("--delete", metavar="NAME", help="take an activity out")
    add("--merge", metavar="OTHER.taught", type=Path, help="add what is in another file")
    add("--json", action="store_true", help="print the result as one JSON object")
    add_sensor_flags(parser)
    add("--grace", metavar="S", type=seconds, help="how long to wait for a late sensor after the end of a hop")
    add("--allow-video", action="store_true", help="allow video to be opened; you must also name it")
    add("--bundle", metavar="PATH", default="starter", help="whose encoders it is taught with (default: starter)")
    add("--trust", metavar="KEY.pub", help="refuse a bundle that this key did not sign; see mmg-bundle --help")
    add("--backend", choices=("auto", "onnx", "litert"), help="which runtime runs the models")
    add("--precision", choices=("fp32", "int8"), help="which of the bundle's files")
    add_profile_flags(parser)
    add_privacy_flags(parser)
    add("--version", action=PrintVersion)
    parser.set_defaults(recording=None, demo=False, require="")
    return parser


def _shots(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SHOTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of examples, 1 to {MOST_SHOTS}")
    return int(text)


def _listen(text: str) -> float:
    value = seconds(text)
    if not 2 <= value <= LONGEST_LISTEN_S:
        raise argparse.ArgumentTypeError(f"{text!r}: it listens for 2 to {LONGEST_LISTEN_S} seconds")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Teach, and return the exit code."""
    options = parse(build_parser(), arguments)
    return run_printing_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    tasks = {"NAME": options.name is not None, "--list": options.list}
    tasks |= {"--delete": options.delete is not None, "--merge": options.merge is not None}
    asked = [task for task, is_asked in tasks.items() if is_asked] or ["--background"] * bool(options.background)
    if len(asked) != 1:
        wanted = "NAME, --background RECORDING, --list, --delete NAME and --merge OTHER.taught"
        raise ConfigError(f"give one of {wanted}; see mmg-teach --help")
    _check_used(options, asked[0])
    if asked[0] in ("--list", "--delete", "--merge"):
        return change(options, _report)
    set_up_process()
    return _teach(options)


def _check_used(options: argparse.Namespace, task: str) -> None:
    """A flag that this task has no use for was meant otherwise. Raises ConfigError."""
    parser = build_parser()
    given = {one: value for one, value in vars(options).items() if value != parser.get_default(one)}
    del given["is_own_process"]
    unused: tuple[str, ...]
    if task == "NAME":
        unused = LIVE_ALONE if options.recordings else ()
    elif task == "--background":
        unused = (*LIVE_ALONE, *NAME_ALONE, *SENSOR_URLS)
    else:
        unused = tuple(one for one in given if one not in (*OF_THE_FILE, task.strip("-")))
    for one in unused:
        if one in given:
            with_what = "--from" if task == "NAME" else task
            flag = {"recordings": "from"}.get(one, one).replace("_", "-")
            raise ConfigError(f"--{flag} has no use with {with_what}: leave it out")


def _teach(options: argparse.Namespace) -> int:
    from mmg.bundle import Bundle
    from mmg.teaching.kept import Kept

    named = named_sensors(options, _report)
    if options.recordings and any(named.values()):
        raise ConfigError("--from brings its own sensors: leave out the URLs, or --from")
    with Bundle.open(options.bundle, trust=options.trust, tell=_report) as bundle:
        name = None if options.name is None else _checked_name(options, bundle.manifest)
        kept = Kept(options.output, bundle.manifest, _opened(options.output, name, bundle.manifest))
        profile = load_board(options)
        settings = replace(board_settings(options, profile), unknown=0.0)  # nothing is decided
        if options.grace is not None:
            settings = replace(settings, grace_s=options.grace)
        _close_off(options, named, profile, bundle.manifest)
        WATCHDOG.start("mmg-teach")
        life = _life(options, bundle, (name, kept), settings, profile)
        if name is None:
            note = kept.keep("", [], *life)
            if note:
                _report(note)
        else:
            _teach_one(options, bundle, (name, kept, _hops_of(options, bundle.manifest)), life, settings, profile)
    told_of(options, name, kept.added, kept.taught, _report)
    return 0


def _close_off(options: argparse.Namespace, named: dict[str, str], profile: Profile, manifest: Manifest) -> None:
    """Before the first of several recordings is opened. Raises ConfigError, ProfileError, NoSensorError."""
    urls = {path: path for path in (*options.recordings, *options.background)}
    if options.name is not None and not options.recordings:
        urls |= wanted_sensors(options, named, profile, manifest, lambda _: None)
    close_off(options, urls, {one.name: one.kind for one in manifest.modalities}, profile)


def _teach_one(
    options: argparse.Namespace,
    bundle: Bundle,
    lesson: tuple[str, Kept, int],
    life: Beside,
    settings: Settings,
    profile: Profile,
) -> None:
    from mmg.sources import is_live

    named = named_sensors(options, lambda _: None)  # told already
    urls = {} if options.recordings else sensors_to_keep(options, named, profile, bundle.manifest, _report)
    live = [sensor for sensor, url in urls.items() if is_live(url)]
    if live and len(live) < len(urls):
        raise ConfigError(f"{live[0]} is a live port and another is a recording: give one or the other")
    if live:
        from mmg.cli.teach_live import teach_live

        keep_stderr()
        if life[0]:
            lesson[1].keep(lesson[0], [], *life)
        teach_live(options, bundle, urls, settings, lesson, _report)
        return
    for one in LIVE_ALONE:
        if getattr(options, one):
            raise ConfigError(f"--{one} has no use with a recording: leave it out")
    from mmg.cli.teach_recorded import Reading, Whence, teach_recorded

    whences = _whences(options, options.recordings, profile, bundle.manifest)
    reading = Reading(bundle, settings, options.grace, _report)
    teach_recorded(reading, whences or [Whence(next(iter(urls.values())), urls)], lesson, life)


def _life(
    options: argparse.Namespace,
    bundle: Bundle,
    lesson: tuple[str | None, Kept],
    settings: Settings,
    profile: Profile,
) -> Beside:
    """Of the recordings of ``--background``. Raises ConfigError, NoSensorError."""
    if not options.background:
        return {}, {}
    from mmg.cli.teach_recorded import Reading, other_life

    name, kept = lesson
    one = argparse.Namespace(**{**vars(options), **dict.fromkeys(SENSOR_URLS), "source": []})
    whences = _whences(one, options.background, profile, bundle.manifest)
    names = (*kept.taught.names, *([] if name is None else [name]))
    return other_life(Reading(bundle, settings, options.grace, _report), whences, names)


def _whences(options: argparse.Namespace, recordings: list[str], profile: Profile, manifest: Manifest) -> list[Whence]:
    from mmg.cli.teach_recorded import Whence

    return [Whence(path, _sensors_in(options, path, profile, manifest)) for path in recordings]


def _checked_name(options: argparse.Namespace, manifest: Manifest) -> str:
    from mmg.teaching.taught import check_case, check_name

    name = check_name(options.name)
    check_case(name, manifest.labels)
    if name in manifest.labels and not options.improve:
        knows = f"{name}: bundle {manifest.name} knows this already"
        raise ConfigError(f"{knows}; choose another name, or add --improve to teach it your way of it")
    return name


def _opened(path: Path, name: str | None, manifest: Manifest) -> Taught:
    """What the file holds, if it is there, for more of this bundle's encoders. Raises ConfigError."""
    from mmg.teaching.store import check_path, read_taught
    from mmg.teaching.taught import (
        MOST_ACTIVITIES,
        MOST_EXAMPLES,
        check_case,
        check_comparable,
        for_bundle,
        nothing_taught,
    )

    try:
        check_path(path)
    except ConfigError as error:
        raise ConfigError(f"-o {error}") from error
    if not path.exists():
        return nothing_taught(manifest)
    taught = read_taught(path)
    try:
        taught = for_bundle(taught, manifest)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}, in another file (-o FILE)") from error
    if name is None:
        return taught
    try:
        check_comparable(taught)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    check_case(name, taught.names)
    known = next((one for one in taught.activities if one.name == name), None)
    if known is not None:
        count = len(known.examples)
        if count >= MOST_EXAMPLES:
            raise ConfigError(f"{name}: {path} has {count} examples of it, and can have no more")
        _report(f"{name}: {path} has {count_of(count, 'example')} of it already; these are added")
    elif len(taught.activities) >= MOST_ACTIVITIES:
        raise ConfigError(f"{path}: {MOST_ACTIVITIES} activities are taught, and no more can be: --delete one")
    return taught


def _hops_of(options: argparse.Namespace, manifest: Manifest) -> int:
    """How many hops an example has. Raises ConfigError."""
    from mmg.teaching.taught import LONGEST_HOPS

    if options.seconds is None:
        return manifest.context_hops
    shortest, longest = 2 * manifest.hop_s, LONGEST_HOPS * manifest.hop_s
    if not shortest <= options.seconds <= longest:
        raise ConfigError(f"--seconds {options.seconds:g}: an example is {shortest:g} to {longest:g} s")
    return round(float(options.seconds) / manifest.hop_s)


def _sensors_in(options: argparse.Namespace, recording: str, profile: Profile, manifest: Manifest) -> dict[str, str]:
    one = argparse.Namespace(**{**vars(options), "recording": recording})
    return sensors_to_keep(one, named_sensors(one, _report), profile, manifest, _report)


if __name__ == "__main__":
    sys.exit(main())
