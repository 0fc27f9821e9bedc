"""``mmg-teach``: your own activities, from a few examples, live or out of recordings."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.profile_flags import add_profile_flags, board_settings, load_board
from mmg.cli.reporting import keep_stderr, stderr_reporter
from mmg.cli.sensors import add_sensor_flags, find_sensors, named_sensors, seconds
from mmg.cli.taught_file import MINE, change, told_of
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Manifest
    from mmg.teaching.taught import Taught

_report = stderr_reporter("mmg-teach")
SHOTS, MOST_SHOTS = 5, 50
LONGEST_LISTEN_S = 120
EXAMPLES = """\
examples:
  mmg-teach knock                                        five examples, live; Enter begins each
  mmg-teach knock --shots 3 --auto                       counts down by itself, as both hands are needed
  mmg-teach knock --from day.mcap                        what is marked or labelled "knock" in a recording
  mmg-teach knock --from a.csv b.csv c.csv               each file or folder is one example
  mmg-teach --list                                       what is taught; --delete knock takes it out again
  mmg-teach --merge theirs.taught                        add what is in another file
  mmg-run --taught mine.taught                           decide among the bundle's labels and yours

exit codes: 0 done, 2 usage, or an example that cannot be, 3 no usable sensor, 4 bundle or model, 130 stopped
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
    add("--shots", metavar="N", type=_shots, default=SHOTS, help="how many examples to ask for, live (default: 5)")
    add("--seconds", metavar="S", type=seconds, help="how long an example is (default: the bundle's context, 4)")
    listen = "listen to other life for so long before, live (default: 20, which a threshold needs; Enter ends it)"
    add("--listen", metavar="S", type=_listen, default=20.0, help=listen)
    add("--auto", action="store_true", help="count down to each example, instead of waiting for Enter")
    add("--from", metavar="RECORDING", nargs="+", default=[], dest="recordings", help="take the examples out of these")
    add("--improve", action="store_true", help="let NAME be one of the bundle's labels: your examples count beside it")
    add("--list", action="store_true", help="show what is taught")
    add("--estimate", action="store_true", help="tell how well each is known, also of many, which takes a while")
    add("--delete", metavar="NAME", help="take an activity out")
    add("--merge", metavar="OTHER.taught", type=Path, help="add what is in another file")
    add("--json", action="store_true", help="print the result as one JSON object")
    add_sensor_flags(parser)
    add("--allow-video", action="store_true", help="allow video to be opened; you must also name it")
    add("--bundle", metavar="PATH", default="starter", help="whose encoders it is taught with (default: starter)")
    add("--trust", metavar="KEY.pub", help="refuse a bundle that this key did not sign; see mmg-bundle --help")
    add("--backend", choices=("auto", "onnx", "litert"), help="which runtime runs the models")
    add("--precision", choices=("fp32", "int8"), help="which of the bundle's files")
    add_profile_flags(parser)
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
    options = build_parser().parse_args(arguments)
    return run_printing_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    tasks = [options.name is not None, options.list, options.delete is not None, options.merge is not None]
    if sum(tasks) != 1:
        raise ConfigError("give one of NAME, --list, --delete NAME and --merge OTHER.taught; see mmg-teach --help")
    if options.name is None:
        return change(options, _report)
    set_up_process()
    return _teach(options)


def _teach(options: argparse.Namespace) -> int:
    from mmg.bundle import Bundle
    from mmg.sources import is_live

    named = named_sensors(options, _report)
    if options.recordings and any(named.values()):
        raise ConfigError("--from brings its own sensors: leave out the URLs, or --from")
    with Bundle.open(options.bundle, trust=options.trust) as bundle:
        name = _checked_name(options, bundle.manifest)
        before = taught = _opened(options.output, name, bundle.manifest)
        length = _hops_of(options, bundle.manifest)
        profile = load_board(options)
        settings = replace(board_settings(options, profile), unknown=0.0)  # nothing is decided
        urls = {} if options.recordings else _sensors(options, named, profile, bundle.manifest)
        live = [sensor for sensor, url in urls.items() if is_live(url)]
        if live and len(live) < len(urls):
            raise ConfigError(f"{live[0]} is a live port and another is a recording: give one or the other")
        if live:
            from mmg.cli.teach_live import teach_live

            keep_stderr()
            taught = teach_live(options, bundle, urls, settings, (name, taught, length), _report)
        else:
            from mmg.cli.teach_recorded import Whence, teach_recorded

            whences = [
                Whence(path, _sensors_in(options, path, profile, bundle.manifest)) for path in options.recordings
            ]
            whences = whences or [Whence(next(iter(urls.values())), urls)]
            taught = teach_recorded(options.output, bundle, whences, settings, (name, taught, length), _report)
    told_of(options, name, before, taught, _report)
    return 0


def _checked_name(options: argparse.Namespace, manifest: Manifest) -> str:
    from mmg.teaching.taught import check_name

    name = check_name(options.name)
    if name in manifest.labels and not options.improve:
        knows = f"{name}: bundle {manifest.name} knows this already"
        raise ConfigError(f"{knows}; choose another name, or add --improve to teach it your way of it")
    return name


def _opened(path: Path, name: str, manifest: Manifest) -> Taught:
    """What the file holds, if it is there, for more of this bundle's encoders. Raises ConfigError."""
    from mmg.teaching.store import read_taught
    from mmg.teaching.taught import MOST_ACTIVITIES, MOST_EXAMPLES, Taught, encoder_digests, for_bundle

    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}")
    if not path.exists():
        return Taught(encoder_digests(manifest))
    taught = read_taught(path)
    try:
        taught = for_bundle(taught, manifest)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}, in another file (-o FILE)") from error
    known = next((one for one in taught.activities if one.name == name), None)
    if known is not None:
        count = len(known.examples)
        if count >= MOST_EXAMPLES:
            raise ConfigError(f"{name}: {path} has {count} examples of it, and can have no more")
        _report(f"{name}: {path} has {count} example{'s' * (count != 1)} of it already; these are added")
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
    return _sensors(one, named_sensors(one, _report), profile, manifest)


def _sensors(
    options: argparse.Namespace, named: dict[str, str], profile: Profile, manifest: Manifest
) -> dict[str, str]:
    """The URLs of those of which the device may keep something. Raises ConfigError where there is none."""
    urls = find_sensors(options, named, profile, manifest, _report)
    kept = {name: url for name, url in urls.items() if manifest.modality(name).kind in profile.privacy.record}
    may = f"privacy.record of profile {profile.name} allows {', '.join(profile.privacy.record) or 'nothing'}"
    if not kept:
        lacking = {manifest.modality(name).kind for name in urls}
        needs = _recording(options, [*profile.privacy.record, *sorted(lacking)])
        them = "it" if len(urls) == 1 else "them"
        raise ConfigError(f"{', '.join(urls)}: nothing may be taught with {them}, as examples are kept: {may}: {needs}")
    for name in urls:
        if name not in kept:
            _report(f"{name} is left out, as examples are kept: {may}")
    return kept


def _recording(options: argparse.Namespace, kinds: list[str]) -> str:
    """What to type so that these kinds of sensor may be recorded: ``--set`` cannot widen what a file allows."""
    value = f"privacy.record={json.dumps(kinds)}"
    if any("".join(one.partition("=")[0].split()) in ("privacy", "privacy.record") for one in options.set):
        return f"give --set {shlex.quote(value)}"
    return f"write record = {json.dumps(kinds)} under [privacy] there"


if __name__ == "__main__":
    sys.exit(main())
