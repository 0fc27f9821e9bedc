"""``mmg-profile``: what every subset of modalities costs on this board."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.output import wants_colours
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_but, tried_folder
from mmg.cli.profile_flags import add_profile_flags, folder, load_board
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter, write_stderr
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.board.profiling.advise import Advice
    from mmg.board.profiling.compare import Comparison
    from mmg.board.profiling.result import Report
    from mmg.sinks.mqtt.publish import Publisher

_report = stderr_reporter("mmg-profile")
MEASURING = ("bundle", "subsets", "backends", "precisions", "threads", "mode", "hops", "deadline")
EXAMPLES = """\
examples:
  mmg-profile                                      the starter: every subset, backend and precision, at the real pace
  mmg-profile --bundle mine.mmg --json > profile.json
  mmg-profile --html profile.html                  one page with plots, for a browser
  mmg-profile --subsets imu,imu+audio --backends onnx --threads 1,2 --mode backtoback
  mmg-profile --budget                             hold each case against the device profile's budget
  mmg-profile --advise --set budget.memory_mib=80  the best subset, precision and threads under a budget
  mmg-profile --compare old.json                   measure, and say what changed beyond noise
  mmg-profile --show profile.json --html p.html    an earlier report again, without measuring
  mmg-profile --to mqtt://broker/mmg/anna/wrist    for mmg-fleet: retained at mmg/anna/wrist/profile

Each case runs in a process of its own. Samples are synthetic: no sensor is opened, no camera either.

Ctrl-C ends it with the report of the cases that are done.

exit codes: 0 done, 1 over budget or not reliably within it, slower than --compare, or a case failed, 2 usage or
configuration, 4 bundle, model, package or memory, 130 stopped
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-profile."""
    parser = argparse.ArgumentParser(
        prog="mmg-profile",
        description="Measure what every subset of modalities costs on this board: latency, processor, memory, energy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--bundle", metavar="PATH", default="starter", help="a bundle: a directory or a .mmg file (default: starter)")
    add("--subsets", metavar="LIST", type=_subsets, help="such as imu,imu+audio (default: every one)")
    add(
        "--backends",
        metavar="LIST",
        type=_words("onnx", "litert"),
        help="onnx, litert (default: those installed, or the profile's)",
    )
    add("--precisions", metavar="LIST", type=_words("fp32", "int8"), help="fp32, int8 (default: both)")
    add("--threads", metavar="LIST", type=_threads, help="threads per model, such as 1,2 (default: the profile's)")
    add(
        "--mode",
        choices=("paced", "backtoback"),
        default="paced",
        help="at the sensors' real pace (default), or one hop after another",
    )
    add("--hops", metavar="N", type=_count, help="counted hops of each case (default: 12 paced, 200 backtoback)")
    add(
        "--deadline",
        metavar="MS",
        type=_positive,
        help="deadline of a decision, paced (default: the profile's budget, or the hop)",
    )
    add_profile_flags(parser)
    add("--budget", action="store_true", help="hold each case against the profile's budget; exit code 1 if one fails")
    add("--advise", action="store_true", help="name the best case under the profile's budget")
    add(
        "--compare",
        metavar="OLD.json",
        action="append",
        default=[],
        help="say what changed beyond noise since this report; exit code 1 if slower. Repeated, for several runs of "
        "one program: what they differ by is noise too",
    )
    add("--show", metavar="REPORT.json", help="use this report instead of measuring")
    add("--json", action="store_true", help="print the report as JSON")
    add("--markdown", metavar="PATH", help="write the report as Markdown too")
    add("--html", metavar="PATH", help="write the report as one HTML page too")
    add("--to", metavar="URL", help="have a broker retain the report: mqtt(s)://HOST/TOPIC, as mmg-run --to has it")
    add("--root", metavar="DIR", type=folder, default=Path("/"), help="where /proc and /sys are read (default: /)")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = parse(build_parser(), arguments)
    return run_printing_command(lambda: _run(options, words), _report)


def _run(options: argparse.Namespace, words: list[str]) -> int:
    from mmg.board.profiling.compare import compare
    from mmg.board.profiling.result import encode, read_report

    publisher = _open_publisher(options.to) if options.to else None
    has_name = publisher is not None and publisher.address.host.endswith(".local")
    written = (options.markdown, options.html, *tried_folder(options.bundle))
    online = publisher is not None
    close_but(options, *written, accelerator=True, firmware=True, network=online, daemons=has_name)
    olds = [read_report(path) for path in options.compare]
    for number, old in enumerate(olds):
        if old in olds[:number]:
            raise ConfigError(
                f"--compare {options.compare[number]}: this report was given before: give one from another run"
            )
    if options.markdown and options.html and Path(options.markdown).absolute() == Path(options.html).absolute():
        raise ConfigError(f"{options.html}: is given for both --markdown and --html")
    for path in (options.markdown, options.html):
        if path:
            _check_writable(Path(path))
    # Once, and before the minutes that measuring takes.
    profile = load_board(options) if not options.show or options.budget or options.advise else None
    if options.show:
        report = _show(options, read_report(options.show), profile)
    else:
        assert profile is not None
        report = _measure(options, words, profile)
    if profile is not None and report.budget and report.mode == "backtoback":
        _report_what_is_not_held(profile)
    comparison = compare(olds, report) if olds else None
    advice = _advise(options, report, profile) if options.advise and profile else None
    problems = _problems(report, comparison, advice)
    if options.json:
        writers = [partial(_print_json, report), partial(_print_beside, comparison, advice, problems)]
    else:
        writers = [partial(_print, report, comparison, advice)]
    if options.markdown:
        writers.append(partial(_write_markdown, options.markdown, report))
    if options.html:
        writers.append(partial(_write_page, options.html, report, olds))
    _write_all(writers)
    if publisher is not None:
        _report(f"retained at {publisher.publish('profile', encode(report))}")
    if report.stopped and not options.show:
        _report("stopped: the report has only the cases that were done by then")
        return 130
    return 1 if problems else 0


def _open_publisher(text: str) -> Publisher:
    """Before the minutes that measuring takes. Raises ConfigError, BackendUnavailable."""
    from mmg.sinks.mqtt.publish import Publisher
    from mmg.sinks.url import parse_sink_url

    return Publisher(parse_sink_url(text, ("mqtt", "mqtts")), _report)


def _report_what_is_not_held(profile: Profile) -> None:
    from mmg.board.profiling.campaign import PACED_ONLY

    limits = [f"{key} {limit:g}" for key in PACED_ONLY if (limit := getattr(profile.budget, key)) is not None]
    if limits:
        _report(f"not checked back to back, because they apply to the real pace: {', '.join(limits)}")


def _problems(report: Report, comparison: Comparison | None, advice: Advice | None) -> list[str]:
    """What ends the command with 1, a line each."""
    from mmg.board.profiling.budget import explain

    problems = [f"{case.name} failed: {case.reason}" for case in report.cases if case.outcome == "failed"]
    if not any(case.outcome == "measured" for case in report.cases):
        problems.append("no case was measured: see what is unavailable above, or in the report's reasons")
    if advice is not None:
        # Who asks for advice expects that some cases do not fit.
        problems += ["no case fits the budget"] if advice.choice is None else []
    else:
        problems += [f"{case.name}: {explain(check)}" for case in report.cases for check in case.over_budget]
        problems += [
            f"{case.name} keeps the budget, but cannot be relied on: {'; '.join(case.reasons)}"
            for case in report.cases
            if report.budget and case.outcome == "measured" and not case.valid and not case.over_budget
        ]
    if comparison is not None:
        problems += [f"slower: {change.case}, {change.figure}" for change in comparison.slower]
        if not comparison.changes:
            problems.append("nothing could be compared: no case is in both reports")
    return problems


def _advise(options: argparse.Namespace, report: Report, profile: Profile) -> Advice:
    """With the flags of the profile that the budget is from, but for what the advice itself says."""
    from mmg.board.profiling.advise import advise

    flags = ["--profile", options.profile] if options.profile else []
    for setting in options.set:
        if not setting.startswith(("budget.", "threads=", "backend=", "precision=")):
            flags += ["--set", setting]
    return advise(report, report.budget, may_film=profile.privacy.video != "never", flags=flags)


def _show(options: argparse.Namespace, report: Report, profile: Profile | None) -> Report:
    """An earlier report, held against the budget where that is asked for."""
    from mmg.board.profiling.campaign import hold

    defaults = build_parser().parse_args([])
    for flag in MEASURING:
        if getattr(options, flag) != getattr(defaults, flag):
            raise ConfigError(f"--show uses a report instead of measuring: leave out --{flag}")
    return hold(report, profile) if profile else report


def _measure(options: argparse.Namespace, words: list[str], profile: Profile) -> Report:
    from mmg_device_profiles import ProfileProblem, detect_board, list_boards, read_board

    from mmg.backends import usual_backends
    from mmg.board.profiling.campaign import PRECISIONS, Plan, run_campaign

    if options.deadline and options.mode != "paced":
        raise ConfigError("--deadline applies to decisions at the real pace: leave it out, or --mode backtoback")
    plan = Plan(
        bundle=options.bundle,
        profile=profile,
        subsets=options.subsets,
        backends=options.backends or usual_backends(profile.backend),
        precisions=options.precisions or PRECISIONS,
        threads=options.threads or (profile.threads,),
        mode=options.mode,
        hops=options.hops,
        deadline_ms=options.deadline,
        keep_budget=options.budget or options.advise,
        root=str(options.root),
    )
    board = read_board(options.root)
    with suppress(ProfileProblem):  # of another board's file, and this is but a remark
        if options.profile in list_boards() and options.profile != (here := detect_board(options.root)):
            _report(f"profile {options.profile} is for another board than this one, which is {here}")
    # From the start: what is loaded for a bar must not be loaded beside a case that is measured.
    with Progress(_report, "measured", unit="cases", at_once=True) as progress:
        return run_campaign(plan, board, words, lambda done, of, case: progress.at(done, of, note=case), _report)


def _write_all(writers: list[partial[None]]) -> None:
    """Each, also where another finds no room; then raise what the first that failed met."""
    failed = None
    for write in writers:
        try:
            write()
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _write_markdown(path: str, report: Report) -> None:
    from mmg.board.profiling.markdown import format_markdown

    _write_file(path, format_markdown(report))


def _write_page(path: str, report: Report, olds: list[Report]) -> None:
    from mmg.board.profiling.page import format_page

    _write_file(path, format_page(report, olds))


def _check_writable(path: Path) -> None:
    """Raises ConfigError: it is told before the minutes that measuring takes."""
    from mmg.atomic_write import real_path

    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{path}: there is no folder {folder}")
    try:
        real_path(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder: name a file in it")
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: cannot be written")
    if not path.exists() and not os.access(folder, os.W_OK):
        raise ConfigError(f"{path}: nothing can be written in {folder}")


def _write_file(path: str, text: str) -> None:
    """A page is replaced by a whole one only: one for which there is no room leaves the old one as it was."""
    from mmg.atomic_write import atomic_write, real_path

    place = Path(path)
    if os.access(real_path(place).parent, os.W_OK):
        with atomic_write(place) as stream:
            stream.write(text.encode())
    else:  # it can be written all the same, or it would have been refused
        place.write_text(text, encoding="utf-8")
    _report(f"wrote {path}")


def _print_json(report: Report) -> None:
    from mmg.board.profiling.result import encode

    sys.stdout.write(encode(report).decode())
    sys.stdout.flush()


def _print_beside(comparison: Comparison | None, advice: Advice | None, problems: list[str]) -> None:
    """What the object, which is the report alone, does not say."""
    if sys.stderr is not None:
        write_stderr(_format(sys.stderr, None, comparison, advice))
    for problem in problems:
        _report(problem)


def _print(report: Report, comparison: Comparison | None, advice: Advice | None) -> None:
    sys.stdout.write(_format(sys.stdout, report, comparison, advice))
    sys.stdout.flush()


def _format(stream: TextIO, report: Report | None, comparison: Comparison | None, advice: Advice | None) -> str:
    """What is told to a person, as far as this stream can show it."""
    from shutil import get_terminal_size

    from mmg.board.profiling.advise import format_advice
    from mmg.board.profiling.changes import format_comparison
    from mmg.board.profiling.table import format_table
    from mmg.board.profiling.text import ASCII

    colours = wants_colours(stream)
    width = max(get_terminal_size((100, 24)).columns, 80)
    try:
        "".join(map(chr, ASCII)).encode(stream.encoding or "ascii")
        plain = False
    except UnicodeEncodeError:
        plain = True
    parts = [format_table(report, width=width, colours=colours, ascii=plain)] if report else []
    if comparison:
        parts.append(format_comparison(comparison, width=width, colours=colours, ascii=plain))
    if advice:
        parts.append(format_advice(advice, width=width, colours=colours, ascii=plain))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _subsets(text: str) -> tuple[tuple[str, ...], ...]:
    subsets = tuple(tuple(name.strip() for name in part.split("+")) for part in text.split(","))
    if any(not name for subset in subsets for name in subset) or len({frozenset(s) for s in subsets}) < len(subsets):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as imu,imu+audio, each once")
    return subsets


def _words(*known: str):  # type: ignore[no-untyped-def]
    def split(text: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in text.split(","))
        if not set(words) <= set(known) or len(set(words)) < len(words):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(known)}, each once")
        return words

    return split


def _threads(text: str) -> tuple[int, ...]:
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= number <= 64 for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 1 to 64, each once")
    return tuple(numbers)


def _count(text: str) -> int:
    if not (text.strip().isdecimal() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
