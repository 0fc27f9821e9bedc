"""The model card: what a reader of the bundle must know, taken from the manifest and the metrics only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from mmg.bundle.manifest import Manifest
from mmg.printable import as_cell
from mmg_training.metrics import Metrics

from mmg_export.describe import HALF

ALWAYS = "It always answers with one of its labels, also for an activity that is none of them."
TOLD = (
    "What is none of its labels it calls unknown, as far as the table above says, and what it knows now and then too: "
    "--unknown says how often."
)
WORN = {"imu": "IMU", "audio": "microphone", "video": "camera"}


def card(manifest: Manifest, metrics: Metrics, trained: Sequence[str] = ()) -> str:
    """Markdown, the same for the same manifest and metrics. trained: the modalities of the run, where a bundle may have
    some of them only; of the metrics those alone are quoted that the bundle's can have."""
    names = [one.name for one in manifest.modalities]
    metrics = _of(names, metrics)
    return "\n".join(
        [
            f"# {manifest.name} {manifest.version}",
            "",
            f"What a wearer is doing, from {_sensors(names)}:",
            f"{', '.join(manifest.labels)}. A decision every {manifest.hop_s} s over the last "
            f"{manifest.hop_s * manifest.context_hops:g} s.",
            "",
            "## Data",
            "",
            *_table(("source", "what", "licence"), ((d.name, d.what, d.licence) for d in metrics.data)),
            "",
            "## Held-out data",
            "",
            *_split(metrics),
            *_measured(manifest.labels, metrics),
            "## Further tests",
            "",
            *_extra(metrics),
            "",
            *_unknown(metrics),
            "## Limits",
            "",
            *(f"- {one}" for one in (*metrics.limits, TOLD if manifest.unknown else ALWAYS)),
            "",
            "## Rebuild",
            "",
            *_rebuild(manifest, metrics, trained),
            "",
        ]
    )


def _of(names: Sequence[str], metrics: Metrics) -> Metrics:
    """Without the figures from sensors that are not among these."""
    kept = {
        field: tuple(one for one in getattr(metrics, field) if set(one.modalities) <= set(names))
        for field in ("subsets", "extra", "unknown")
    }
    return msgspec.structs.replace(metrics, **kept)


def _sensors(names: Sequence[str]) -> str:
    *others, last = [WORN[name] for name in names]
    return f"whichever of {', '.join(others)} and {last} are present" if others else f"the {last}"


def _rebuild(manifest: Manifest, metrics: Metrics, trained: Sequence[str]) -> list[str]:
    training, files = manifest.provenance.training, manifest.fusion.files
    half = manifest.provenance.exporter.endswith(HALF)
    flags = [f"--precisions {','.join(dict.fromkeys(file.precision for file in files))}"]
    flags += ["--half"] if half else []
    names = [one.name for one in manifest.modalities]
    flags += [f"--modalities {','.join(names)}"] if set(names) < set(trained) else []
    told = "Weights of fp32 are stored as float16; the figures above are of the trained weights, before that."
    return [
        *((told, "") if half else ()),
        f"Seed {training['seed']}, settings SHA-256 `{training['config_sha256'][:16]}`,",
        f"{metrics.wall_s / 60:.0f} minutes on {metrics.device}.",
        "",
        f"    {training['command']}",
        f"    mmg-export runs/{manifest.name} -o {manifest.name}.mmg {' '.join(flags)}",
    ]


def _split(metrics: Metrics) -> list[str]:
    """Who was in which part, where the run says so."""
    return [*(f"- {line}" for line in metrics.split.lines), ""] if metrics.split else []


def _measured(labels: Sequence[str], metrics: Metrics) -> list[str]:
    """The figures on what was held out, if anything was."""
    if metrics.split is not None and not metrics.split.test:
        return ["So no subset of the sensors was measured.", ""]
    return [
        f"Measured on {metrics.held_out}; every hop is a decision, or every clip where the data are clips.",
        "",
        *_subsets(metrics),
        "",
        "Recall of each label:",
        "",
        *_recalls(labels, metrics),
        "",
    ]


def _subsets(metrics: Metrics) -> list[str]:
    if not metrics.subsets:
        return ["Nothing was measured."]
    rows = (
        (
            " + ".join(s.modalities),
            f"{s.accuracy:.3f}",
            f"{s.macro_f1:.3f}",
            f"{s.ece:.3f}",
            f"{s.temperature:.2f}",
            str(s.samples),
        )
        for s in metrics.subsets
    )
    return _table(("modalities", "accuracy", "macro F1", "ECE", "temperature", "decisions"), rows)


def _recalls(labels: Sequence[str], metrics: Metrics) -> list[str]:
    heads = ("label", *(" + ".join(score.modalities) for score in metrics.subsets))
    rows = ((label, *(_figure(score.recall, label) for score in metrics.subsets)) for label in labels)
    return _table(heads, rows)


def _extra(metrics: Metrics) -> list[str]:
    if not metrics.extra:
        return ["There were none."]
    rows = (
        (
            score.name,
            score.kind,
            " + ".join(score.modalities),
            f"{score.accuracy:.3f}",
            f"{score.ece:.3f}",
            str(score.samples),
            ", ".join(f"{label} {value:.2f}" for label, value in score.recall.items()),
        )
        for score in metrics.extra
    )
    return _table(("what", "kind", "modalities", "accuracy", "ECE", "decisions", "recall"), rows)


def _unknown(metrics: Metrics) -> list[str]:
    if not metrics.unknown:
        return []
    rows = (
        (
            one.name,
            one.kind,
            " + ".join(one.modalities),
            f"{one.auroc:.3f}",
            f"{one.accepted_kept:.3f}",
            f"{one.accepted:.3f}",
            one.taken_for,
            str(one.samples),
        )
        for one in metrics.unknown
    )
    heads = ("what", "kind", "modalities", "AUROC", "accepted at 95 % kept", "accepted", "taken for", "decisions")
    told = "Activities without a label, in no training but where a row says otherwise."
    return ["## None of these", "", told, "", *_table(heads, rows), ""]


def _figure(recall: dict[str, float], label: str) -> str:
    return f"{recall[label]:.2f}" if label in recall else "-"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(map(as_cell, line))} |" for line in lines]
