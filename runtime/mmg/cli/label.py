"""``mmg-label``: the labels of a recording in and out, checked against it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_but, unpacking
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.counts import count_of
from mmg.errors import ConfigError, NoSensorError
from mmg.printable import as_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmg.labels import Label

_report = stderr_reporter("mmg-label")
FORMATS = ("csv", "audacity")
EXAMPLES = """\
examples:
  mmg-label day.mcap labels.txt                 check them, and write day.labels.csv beside the recording
  mmg-label walk/ labels.eaf --tier activity    of ELAN; for a folder, labels.csv in it
  mmg-label day.mcap                            what is labelled, or was marked while it was recorded
  mmg-label day.mcap -o day.txt                 write them out for Audacity

The labels are a CSV of start_s,end_s,label, a label track of Audacity, or ELAN's .eaf or tab-delimited text; their
content tells which. Times are seconds since the recording's first sample. The recording itself is never changed.

exit codes: 0 done, 2 usage or labels that cannot be, 3 no sensor in the recording, 4 bundle or memory,
130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="mmg-label",
        description="Check labels against a recording and put them beside it, write them out, or show what there is.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recording", metavar="RECORDING", help="a file, folder or .zip")
    add("labels", metavar="LABELS", type=Path, nargs="?", help="its labels (default: those beside it, else its marks)")
    add("-o", "--out", metavar="FILE", type=Path, help="write the labels there instead of beside the recording")
    add("--to", choices=FORMATS, help="the format of --out (default: csv where it ends so, else audacity)")
    add("--tier", metavar="NAME", default="", help="which tier, where ELAN's labels have several")
    add("--points", choices=("until-next",), help="let each point last until the next label, or the recording's end")
    add("--overwrite", action="store_true", help="replace labels that are there already")
    add("--bundle", metavar="PATH", default="starter", help="whose sensors are looked for (default: starter)")
    add("--version", action=PrintVersion)
    chosen = parse(parser, arguments)
    return run_printing_command(lambda: _run(chosen), _report)


def _run(chosen: argparse.Namespace) -> int:
    from mmg.labels import against_recording, labels_file, labels_of, read_labels, until_next
    from mmg.sources.url import parse_url

    if chosen.to and chosen.out is None:
        raise ConfigError(f"--to {chosen.to}: needs -o FILE")
    recording = Path(parse_url(chosen.recording).path)
    close_but(chosen, beside := labels_file(recording), chosen.out, *unpacking([chosen.recording]))
    with Progress(_report, f"reading {chosen.recording}"):
        duration_s = _duration_of(chosen)
    source = chosen.labels or (beside if beside.exists() else recording)
    labels: Sequence[Label] = labels_of(recording) if source == recording else read_labels(source, chosen.tier)
    if not labels:
        typed = f"mmg-label {chosen.recording} labels.txt"
        raise ConfigError(f"{chosen.recording}: has no labels yet (no {beside}): {typed}")
    if source == recording:
        _report(f"no {beside}: these are the marks that were set while it was recorded")
    if chosen.points:
        labels = until_next(labels, duration_s)
    try:
        labels, lines = against_recording(labels, duration_s)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    for line in lines:
        _report(line)
    if chosen.out is not None:
        never = chosen.out.is_dir() or chosen.out.resolve() == recording.resolve()
        if chosen.out.exists() and not (chosen.overwrite or never):
            raise ConfigError(f"{chosen.out}: is there already; give --overwrite to replace it")
        _write(
            labels, chosen.out, chosen.to or ("csv" if chosen.out.suffix.lower() == ".csv" else "audacity"), recording
        )
    elif chosen.labels is not None:
        _write_beside(labels, chosen.labels, beside, chosen.overwrite)
    _show(labels, duration_s)
    return 0


def _duration_of(chosen: argparse.Namespace) -> float:
    """Of the recording, in seconds. Raises NoSensorError, SourceError, BundleError."""
    from mmg.bundle import Bundle
    from mmg.runs.whole import open_whole, sensors_in

    with Bundle.open(chosen.bundle) as bundle:
        modalities = bundle.manifest.modalities
    found = sensors_in(chosen.recording, modalities)
    video = {one.name for one in modalities if one.kind == "video"}
    urls = {name: url for name, url in found.items() if name not in video}
    if not urls:
        holds = "pictures alone, which stay closed" if found else "no sensor that is known"
        raise NoSensorError({chosen.recording: f"holds {holds}"})
    with open_whole(urls, modalities, _report) as whole:
        return whole.duration_s


def _write_beside(labels: Sequence[Label], source: Path, beside: Path, overwrite: bool) -> None:
    from mmg.labels import write_labels

    is_same = beside.exists() and beside.samefile(source)
    if beside.exists() and not (overwrite or is_same):
        raise ConfigError(f"{beside}: is there already; give --overwrite to replace it, or -o FILE")
    write_labels(labels, beside)
    _report(f"wrote {beside}")


def _write(labels: Sequence[Label], out: Path, form: str, recording: Path) -> None:
    from mmg.labels import write_labels

    if out.is_dir() or (out.exists() and out.samefile(recording)):
        raise ConfigError(f"-o {out}: is {'a folder' if out.is_dir() else 'the recording'}; name a file for the labels")
    write_labels(labels, out, form)
    _report(f"wrote {out}")


def _show(labels: Sequence[Label], duration_s: float) -> None:
    from mmg.labels import as_time, labelled_seconds, seconds_by_label

    found = seconds_by_label(labels)
    rest = "no label"
    width = max(map(len, (*found, rest)))
    for name, (seconds, times) in found.items():
        line = f"{name:{width}}  {as_time(seconds):>8}  {count_of(times, 'time')}"
        print(as_lines(line, sys.stdout.encoding))
    print(f"{rest:{width}}  {as_time(max(0.0, duration_s - labelled_seconds(labels))):>8}  of {as_time(duration_s)}")


if __name__ == "__main__":
    raise SystemExit(main())
