"""``mmg-look``: a recording and what was decided from it, as one page for the browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_but, tried_folder, unpacking
from mmg.cli.profile_flags import add_profile_flags, load_board
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.unknown_flag import add_unknown_flag, unknown_rate
from mmg.cli.version import PrintVersion
from mmg.cli.watchdog import WATCHDOG
from mmg.counts import count_of
from mmg.errors import ConfigError, NoSensorError, ProfileError
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mmg.bundle import Bundle, Manifest
    from mmg.labels import Label
    from mmg.look.notes import Notes
    from mmg.runs.settings import Settings
    from mmg.types import Reached

_tell = stderr_reporter("mmg-look")
DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_FILES = {"imu": "imu.csv", "audio": "audio.ogg"}
SENSORS = ("imu", "audio", "video")
EXAMPLES = """\
examples:
  mmg-look --demo                                        the recording that mmg ships: mmg-demo.html
  mmg-look walk.zip                                      every sensor in what an app exported: walk.html beside it
  mmg-look day.mcap                                      what mmg-record kept: its marks, and what was decided live
  mmg-look --imu watch.csv --audio walk.wav -o walk.html --labels labels.csv
  mmg-look --imu watch.csv --decisions decisions.jsonl   what mmg-run --format jsonl printed, instead of a run

exit codes: 0 done, 2 usage, configuration or a place that cannot be written, 3 no usable sensor, 4 bundle, model or
memory, 5 was asked to end while a model did not return, 130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-look, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-look",
        description="Write one page of a recording: signals, sound, decisions, health and labels on one timeline.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recording", metavar="RECORDING", nargs="?", help="a file, folder or .zip: every sensor that is in there")
    add("-o", "--output", metavar="PATH", help="the page (default: the recording's name with .html, beside it)")
    add("--overwrite", action="store_true", help="replace the page if it is there already")
    add("--imu", metavar="URL", action="append", help="a recording of the IMU, as mmg-run takes it")
    add("--audio", metavar="URL", action="append", help="a recording of the sound, as mmg-run takes it")
    add(
        "--video",
        metavar="URL",
        action="append",
        help="a film, as mmg-run takes it; it helps to decide, and none of its pictures is shown",
    )
    add("--source", metavar="NAME=URL", action="append", default=[], help="any other sensor; may be repeated")
    add("--allow-video", action="store_true", help="allow video to be opened; you must also name it")
    add("--demo", action="store_true", help="use the recording that mmg ships, and its truth")
    add("--decisions", metavar="PATH", help="what mmg-run --format jsonl printed, instead of deciding now")
    add("--truth", metavar="PATH", help="labels as mmg-label reads them: what was really done")
    add("--labels", metavar="PATH", help="labels to show (default: those beside RECORDING, else its marks)")
    add("--title", metavar="TEXT", help="what stands above the page (default: the recording's name)")
    add("--no-sound", action="store_true", help="keep no sound to be played; its spectrogram stays")
    add(
        "--bundle",
        metavar="PATH",
        help="a bundle: a directory or a .mmg file (default: what was decided live, or starter)",
    )
    add("--trust", metavar="KEY.pub", help="refuse a bundle that this key did not sign; see mmg-bundle --help")
    add("--backend", choices=("auto", "onnx", "litert"), default="auto", help="which runtime runs the models")
    add("--precision", choices=("fp32", "int8"), help="which of the bundle's files (default: the profile's, or fp32)")
    add_unknown_flag(parser)
    add_profile_flags(parser)
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Write the page, and return the exit code."""
    options = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _tell, stopped=130)


def _run(options: argparse.Namespace) -> int:
    set_up_process()
    given = _given(options)
    named = _named(options, given)
    output = _output(options, named)
    close_but(
        options,
        output,
        *tried_folder(options.bundle, options.trust),
        *unpacking(given.values() or [options.recording or ""]),
    )
    from mmg.bundle import Bundle
    from mmg.look.content import gather
    from mmg.look.notes import Notes
    from mmg.look.page import format_page
    from mmg.truth import Truth

    truth = options.truth or (str(DEMO / "truth.csv") if options.demo else None)
    notes = Notes(_tell)
    with (
        Progress(_tell, "opening the recording", unit="s") as progress,
        Bundle.open(options.bundle or "starter", trust=options.trust, tell=_tell) as bundle,
    ):
        urls = given or _in_recording(options.recording, bundle.manifest, options.allow_video)
        WATCHDOG.start("mmg-look")
        settings = _settings(options, urls, bundle.manifest)
        marks = _marks(options)
        lines, decided_by = _decisions(options, bundle, urls, settings, notes, progress.at)
        content = gather(
            bundle,
            urls,
            settings,
            lines,
            title=options.title or ("The demo recording" if options.demo else named.name),
            decided_by=decided_by,
            truth=Truth(truth).spans if truth else (),
            marks=marks,
            with_sound=not options.no_sound,
            notes=notes,
            progress=progress.at,
        )
        progress.at(0, what="writing the page")
        page = format_page(content)
        _write(output, page)
    count = len(content.decided.times_s)
    _tell(f"wrote {output}: {content.span_s:.0f} s, {count_of(count, 'decision')}, {len(page) / 1e6:.2f} MB")
    return 0


def _marks(options: argparse.Namespace) -> Sequence[Label]:
    """Those of ``--labels``, else those of RECORDING. Raises ConfigError, SourceError."""
    from mmg.labels import labels_of, read_labels
    from mmg.sources.url import parse_url

    if options.labels:
        return read_labels(options.labels)
    return labels_of(Path(parse_url(options.recording).path)) if options.recording else ()


def _decisions(
    options: argparse.Namespace,
    bundle: Bundle,
    urls: Mapping[str, str],
    settings: Settings,
    notes: Notes,
    progress: Reached,
) -> tuple[Iterable[dict[str, Any]], str]:
    """As dicts with the keys of ``mmg-run --format jsonl``, and the bundle that decided them, where it is another.

    Raises ConfigError, SourceError; the decisions may raise more when they are taken.
    """
    from mmg.look.content import decide
    from mmg.look.decided import read_lines, read_live
    from mmg.sources.url import parse_url

    if options.decisions:
        return read_lines(options.decisions, notes), Path(options.decisions).name
    if options.recording and not (options.bundle or options.precision or options.unknown is not None):
        lines, by = read_live(Path(parse_url(options.recording).path))
        if lines:
            notes(f"the decisions are those of the live run, by {by}; --bundle starter decides anew")
            return lines, by
    return decide(bundle, urls, settings, notes, progress), ""


def _given(options: argparse.Namespace) -> dict[str, str]:
    """The URL of each sensor that the flags name; none where it is RECORDING that brings them."""
    from mmg.sources.url import joined

    given = {name: joined(urls) for name in SENSORS if (urls := getattr(options, name))}
    for pair in options.source:
        name, separator, url = pair.partition("=")
        if not (separator and name and url) or name in given:
            raise ConfigError(f"--source {pair}: must be NAME=URL, such as ppg=file://ppg.csv, and each sensor once")
        given[name] = url
    if (options.recording is not None) + bool(given) + options.demo != 1:
        raise ConfigError("name one thing to look at: RECORDING, the URLs of its sensors such as --imu, or --demo")
    return {name: str(DEMO / file) for name, file in DEMO_FILES.items()} if options.demo else given


def _in_recording(recording: str, manifest: Manifest, allow_video: bool) -> dict[str, str]:
    """The sensors that the recording holds; video only where it is allowed. Raises SourceError, NoSensorError."""
    from mmg.sources.files.folder import kinds_in
    from mmg.sources.url import parse_url

    kinds = kinds_in(parse_url(recording))
    found = [one.name for one in manifest.modalities if one.kind in kinds and (allow_video or one.kind != "video")]
    if not found:
        holds = ", ".join(sorted(kinds)) or "nothing that is known"
        film = "; add --allow-video for its pictures" if "video" in kinds else ""
        raise NoSensorError({recording: f"holds {holds}, and no sensor of bundle {manifest.name} is opened{film}"})
    return dict.fromkeys(found, recording)


def _settings(options: argparse.Namespace, urls: Mapping[str, str], manifest: Manifest) -> Settings:
    """Flags first, then the device profile. Raises ConfigError, ProfileError."""
    from mmg.runs.settings import Settings
    from mmg.sources import is_live

    profile = load_board(options)
    films = {one.name for one in manifest.modalities if one.kind == "video"} & set(urls)
    if films and profile.privacy.video == "never":
        raise ProfileError(profile.name, "privacy.video", f"is never: {min(films)} stays off on this device")
    for name, url in urls.items():
        if is_live(url):
            raise ConfigError(f"--{name} {url}: is a live port: record it first, then look at the recording")
    return Settings(
        allow_video=options.allow_video,
        backend=options.backend,
        preferred_backend=profile.backend,
        precision=options.precision or profile.precision,
        threads=profile.threads,
        providers=profile.providers,
        unknown=unknown_rate(options.unknown, profile.unknown, manifest, tuple(urls)),
    )


def _named(options: argparse.Namespace, given: Mapping[str, str]) -> Path:
    """The recording that the page is called after."""
    from mmg.sources.url import parse_url

    if options.demo:
        return Path("mmg-demo")
    path = Path(parse_url(options.recording or next(iter(given.values()))).path)
    return path if path.name else path.resolve()


def _output(options: argparse.Namespace, named: Path) -> Path:
    """Where the page goes. Raises ConfigError where it cannot: that is told before all that is read."""
    output = Path(options.output) if options.output else named.with_name(f"{named.stem}.html")
    folder = output.absolute().parent
    elsewhere = "name another place with -o"
    if not folder.is_dir():
        raise ConfigError(f"{output}: there is no folder {folder}")
    if output.exists() and not output.is_file():
        raise ConfigError(f"{output}: is not a regular file: {elsewhere}")
    if output.exists() and not options.overwrite:
        raise ConfigError(f"{output}: is there already: add --overwrite to replace it, or {elsewhere}")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{output}: nothing can be written in {folder}: {elsewhere}")
    return output


def _write(output: Path, page: bytes) -> None:
    """Whole, or not at all."""
    from mmg.atomic_write import atomic_write

    with atomic_write(output, 0o600) as stream:  # its sound is as private as that of the recording
        stream.write(page)


if __name__ == "__main__":
    sys.exit(main())
