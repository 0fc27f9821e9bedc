"""What an export measured: ``NAME.report.json`` for programs, ``NAME.report.md`` for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg.printable import as_cell


class FileFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One model file. run_us: the median time of a run here, one thread, hop after hop. error: the largest difference
    of a token, or of the fusion's logits, from the trained module's over all hops; null where one is not finite."""

    part: str
    backend: str
    precision: str
    bytes: int
    run_us: float
    error: float | None


class VariantFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All files of one backend and precision together. random, recorded: the largest difference of a logit over so many
    hops of noise and of recordings; agreement: the share of decisions on recordings that are the trained model's.
    accuracy: of each subset, its sensors joined by ``+``, where there was labelled data. refused: why it is not in the
    bundle; empty where it is."""

    backend: str
    precision: str
    bytes: int
    random_error: float | None
    random_hops: int
    recorded_error: float | None = None
    recorded_hops: int = 0
    agreement: float | None = None
    accuracy: dict[str, float] = {}
    refused: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``NAME.report.json``. streaming: by encoder, the largest difference of a token between hops encoded
    one by one and in one go; null for a window encoder, or one that takes one hop at a time only. half: whether
    fp32 is stored as float16; its errors are then what that changed."""

    bundle: str
    version: str
    machine: str
    tools: dict[str, str]
    parameters: dict[str, int]
    macs: dict[str, int]
    streaming: dict[str, float | None]
    half: bool
    files: tuple[FileFigures, ...]
    variants: tuple[VariantFigures, ...]


def paths_of(out: Path) -> tuple[Path, Path]:
    """Where the two files of the bundle ``out`` are: beside it."""
    stem = out.with_suffix("") if out.suffix == ".mmg" else out
    return stem.with_name(f"{stem.name}.report.json"), stem.with_name(f"{stem.name}.report.md")


def write(report: Report, out: Path) -> tuple[Path, Path]:
    """Beside the bundle ``out``; returns the paths of both files. Raises ConfigError where one cannot be written; what
    was there before is then left."""
    texts = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n", summary(report).encode()
    for path, text in zip(paths_of(out), texts, strict=True):
        try:
            with atomic_write(path) as stream:
                stream.write(text)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}; the bundle is there, and whole") from error
    return paths_of(out)


def summary(report: Report) -> str:
    """Markdown: what each file and each variant is."""
    return "\n".join(
        [
            f"# Export of {report.bundle} {report.version}",
            "",
            f"Measured on {report.machine}, one thread, one run after another.",
            "",
            *(("fp32 has its weights stored as float16: its errors are what that changed.", "") if report.half else ()),
            "## Files",
            "",
            *_table(
                ("part", "backend", "precision", "KB", "us a run", "largest error"),
                (
                    (f.part, f.backend, f.precision, f"{f.bytes / 1e3:.0f}", f"{f.run_us:.0f}", _error(f.error))
                    for f in report.files
                ),
            ),
            "",
            "The error of an encoder is of its tokens, of the fusion of the logits from the files' own tokens.",
            "",
            "## Variants",
            "",
            *_table(
                ("variant", "KB", "logits, random", "logits, recorded", "same decisions", "in the bundle"),
                (_variant_row(variant) for variant in report.variants),
            ),
            *_accuracies(report.variants),
            "",
        ]
    )


def _variant_row(one: VariantFigures) -> tuple[str, ...]:
    recorded = "-" if one.recorded_error is None else f"{one.recorded_error:.1e} ({one.recorded_hops} hops)"
    return (
        f"{one.backend} {one.precision}",
        f"{one.bytes / 1e3:.0f}",
        f"{_error(one.random_error)} ({one.random_hops} hops)",
        recorded,
        "-" if one.agreement is None else f"{one.agreement:.1%}",
        f"no: {one.refused}" if one.refused else "yes",
    )


def _error(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"


def _accuracies(variants: Sequence[VariantFigures]) -> list[str]:
    measured = [one for one in variants if one.accuracy]
    if not measured:
        return ["", "Accuracy was not measured."]
    heads = ("sensors", *(f"{one.backend} {one.precision}" for one in measured))
    rows = ((names, *(f"{one.accuracy[names]:.3f}" for one in measured)) for names in measured[0].accuracy)
    return ["", "## Accuracy on held-out data, by the runtime's engine", "", *_table(heads, rows)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(map(as_cell, line))} |" for line in (heads, ["---"] * len(heads), *rows)]
