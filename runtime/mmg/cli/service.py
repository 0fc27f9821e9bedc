"""``mmg-service``: mmg-run as a service of this machine, with no more rights than its sensors need."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.parsing import parse_known
from mmg.cli.privacy import close_sensors
from mmg.cli.reporting import stderr_reporter
from mmg.cli.sinks_flag import has_page, sink_urls
from mmg.cli.version import PrintVersion
from mmg.counts import count_of
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmg.service.plan import Plan
    from mmg.service.systemd import Status, Systemd

_report = stderr_reporter("mmg-service")
NOT_FOR_A_SERVICE = ("recording", "demo", "duration", "explain", "compare", "truth")
"""Of mmg-run's flags: they come to an end, or need somebody who reads."""
ON_A_PROCESSOR = ("CPUExecutionProvider", "XnnpackExecutionProvider")
"""Of onnxruntime's providers: they need no device."""
EXAMPLES = """\
examples:
  mmg-service install --dry-run --sensors imu,audio      print the unit, with a comment on each group of limits
  sudo .venv/bin/mmg-service install --sensors imu --imu serial:///dev/ttyUSB0 --to jsonl:day.jsonl
  sudo .venv/bin/mmg-service install --name mmg-left --sensors imu --imu serial:///dev/ttyUSB1
  mmg-service status                                     whether it runs, since when, its last lines
  sudo .venv/bin/mmg-service remove

install takes mmg-run's flags as they are. Files that are read may be named from here; what is written lies below
/var/lib/mmg. Change a flag by installing again. docs/service.md explains every limit.

exit codes: 0 done, 1 status: it does not run, 2 usage or configuration, 3 no such chip, 4 bundle, library
or memory, 130 stopped
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and flags of mmg-service, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-service",
        description="Run mmg-run at every start of this machine, as a hardened service of systemd.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=PrintVersion)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace, Systemd], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
        command.set_defaults(run=run, takes_flags=name == "install")
        command.add_argument("--name", default="mmg", help="of the service (default: mmg)")
        return command

    install = add("install", _install, "Write the unit for these flags of mmg-run, and start it now and at every boot")
    install.add_argument("--dry-run", action="store_true", help="print the unit, and change nothing")
    install.usage = "mmg-service install [--dry-run] [--name NAME] [flags of mmg-run, see mmg-run --help]"
    add("remove", _remove, "Stop it and take its unit away; its folder stays")
    status = add("status", _status, "Show whether it runs, since when, how often it was restarted, and its last lines")
    status.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return parser


def main(arguments: list[str] | None = None, systemd: Systemd | None = None) -> int:
    """Do what is asked, and return the exit code. systemd: in place of this machine's."""
    parser = build_parser()
    options, words = parse_known(parser, arguments)
    if words and not options.takes_flags:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    options.words = words[1:] if words[:1] == ["--"] else words
    return run_printing_command(lambda: _run(options, systemd), _report)


def _run(options: argparse.Namespace, systemd: Systemd | None) -> int:
    from mmg.service.systemd import Systemd

    close_sensors(options)  # and not the sockets of systemd
    return int(options.run(options, systemd or Systemd()))


def _install(options: argparse.Namespace, systemd: Systemd) -> int:
    try:
        made = _plan(options)
    except PermissionError as error:  # of a folder on the way to a file that is named
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
    for note in made.notes:
        _report(note)
    if options.dry_run:
        print(made.text, end="", flush=True)
        return 0
    systemd.check(_again())
    systemd.install(options.name, made.text)
    _report(f"wrote {systemd.path(options.name)}; it is started now, and at every boot")
    _report(f"its log: journalctl -u {options.name} -f; how it is: mmg-service status{_named(options.name)}")
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    """What mmg-run itself would make of the flags, as far as it opens no sensor."""
    from mmg.bundle import Bundle
    from mmg.cli.profile_flags import load_board
    from mmg.cli.recording import refuse_without_recording
    from mmg.cli.run import build_parser as build_run_parser
    from mmg.cli.sensors import named_sensors, wanted_sensors
    from mmg.cli.taught_flag import open_taught
    from mmg.service.plan import check_ports, plan
    from mmg.sinks.places import check_places, check_sink

    flags = build_run_parser().parse_args(options.words)
    for name in NOT_FOR_A_SERVICE:
        if getattr(flags, name) not in (None, False):
            what = flags.recording if name == "recording" else f"--{name}"
            raise ConfigError(f"{what}: is not for a service, which decides on what is plugged in, for ever")
    refuse_without_recording(flags)
    sinks = check_places(sink_urls(flags))
    for sink in sinks:
        check_sink(sink)
    named = named_sensors(flags, _report)
    with Bundle.open(flags.bundle, trust=flags.trust) as bundle:
        profile = load_board(flags)
        sensors = wanted_sensors(flags, named, profile, bundle.manifest, _report)
        check_ports(bundle.manifest, sensors, allow_video=flags.allow_video)
        open_taught(flags.taught, bundle.manifest, may_begin=has_page(flags))
        if others := [provider for provider in profile.providers if provider not in ON_A_PROCESSOR]:
            _report(
                f"{', '.join(others)}: the unit lets no accelerator's device be opened, so models cannot run on one"
            )
        if not named:
            _report(f"no sensor is named: {', '.join(sensors)}; --sensors says which")
        return plan(
            options.name,
            options.words,
            sensors,
            bundle.manifest,
            sinks,
            allow_video=flags.allow_video,
            folder=Path.cwd(),
        )


def _remove(options: argparse.Namespace, systemd: Systemd) -> int:
    systemd.check(_again())
    systemd.remove(options.name)
    _report(f"removed {systemd.path(options.name)}; what it wrote is still in /var/lib/{options.name}")
    return 0


def _status(options: argparse.Namespace, systemd: Systemd) -> int:
    status = systemd.status(options.name)
    if options.json:
        import json

        print(json.dumps(status.as_json(), indent=2), flush=True)
    else:
        for line in _lines_of(options.name, status):
            print(line)
        sys.stdout.flush()
    return 0 if status.active == "active" else 1


def _lines_of(name: str, status: Status) -> list[str]:
    from mmg.service.notify import one_line

    if status.loaded != "loaded":
        return [f"{name}: is {status.loaded}: mmg-service install makes it"]
    since = f" since {status.since}" if status.since else ""
    times = f", restarted {count_of(status.restarts, 'time')}" if status.restarts else ""
    lines = [f"{name}: {status.active} ({status.state}){since}{times}", *([status.told] if status.told else [])]
    return [one_line(line) for line in (*lines, *(f"  {line}" for line in status.lines))]


def _named(name: str) -> str:
    return "" if name == "mmg" else f" --name {name}"


def _again() -> str:
    """This command line, by its whole path: sudo has another PATH."""
    return shlex.join([str(Path(sys.argv[0]).absolute()), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
