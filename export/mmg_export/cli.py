"""``mmg-export``: a training run in, a verified bundle out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.progress import Progress
from mmg.cli.reporting import Reporter, StderrReporter, stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg_export.report import Report

_report = stderr_reporter("mmg-export")
EXAMPLES = """\
examples:
  mmg-export runs/mine -o mine.mmg                            every converter that is installed, fp32
  mmg-export runs/mine -o mine.mmg --backends onnx            onnxruntime only
  mmg-export runs/mine -o mine.mmg --precisions fp32,int8 --evaluate
  mmg-export runs/mine -o mine.mmg --half                     weights as float16: half the size
  mmg-export runs/mine -o imu.mmg --modalities imu            one encoder and the fusion

mine.report.json and mine.report.md beside the bundle hold what was measured. Your own PyTorch modules go through
mmg_export.export_bundle: see docs/bring-your-own-model.md.

exit codes: 0 done, 1 done but a variant was refused, 2 usage, settings or a place that cannot be written, 4 a
module that cannot be exported, a file that differs from it, or memory, 130 stopped by Ctrl-C
"""
NEEDED = {"torch": "train,export", "onnx": "export", "onnxscript": "export"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="mmg-export",
        description="Export a trained run: each encoder and the fusion are converted in their own process, "
        "streamed over random and recorded hops against the trained modules, and written as one bundle with golden "
        "inputs, so that mmg-bundle verify can replay them on the device.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=PrintVersion)
    parser.add_argument("run", type=Path, help="a folder that mmg-train wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the bundle: a folder, or a file ending in .mmg")
    parser.add_argument(
        "--backends", metavar="LIST", help="which of onnx,litert (default: those whose converter is installed)"
    )
    parser.add_argument("--precisions", metavar="LIST", default="fp32", help="which of fp32,int8 (default: fp32)")
    parser.add_argument(
        "--half",
        action="store_true",
        help="store the weights of fp32 as float16, half the size; the arithmetic is still float32",
    )
    parser.add_argument("--modalities", metavar="LIST", help="which encoders (default: all that were trained)")
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="measure each variant on the run's held-out data, by the engine (minutes)",
    )
    parser.add_argument("--limit", type=float, default=0.01, help="accuracy that int8 may lose on a subset (0.01)")
    parser.add_argument("--hops", type=int, default=1000, help="hops of random input to compare (1000)")
    parser.add_argument("--no-data", action="store_true", help="use none of the run's data: random input only, no int8")
    chosen = parse(parser, arguments)
    close_sensors(chosen)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=130)


def _run(chosen: argparse.Namespace) -> int:
    for package, extra in NEEDED.items():
        if find_spec(package) is None:
            raise ConfigError(f"{package} is not installed; in the project's folder: pip install -e '.[{extra}]'")
    backends = _names(chosen.backends) if chosen.backends is not None else _installed()
    precisions = _names(chosen.precisions)
    if chosen.hops < 1 or not 0 <= chosen.limit <= 1:
        raise ConfigError("--hops must be at least 1, and --limit from 0 to 1")
    if chosen.no_data and (chosen.evaluate or "int8" in precisions):
        raise ConfigError("--no-data: int8 is calibrated, and accuracy measured, with the run's data")
    progress = _Steps()
    with Progress(progress, "exporting"):
        report = _export(chosen, backends, precisions, progress)
    refused = [f"{one.backend} {one.precision} {one.refused}" for one in report.variants if one.refused]
    if refused:
        _report(f"refused: {'; '.join(refused)}")
    return 1 if refused else 0


def _export(
    chosen: argparse.Namespace, backends: Sequence[str], precisions: Sequence[str], progress: Reporter
) -> Report:
    import torch
    from mmg_training.checkpoint import is_trained_on

    from mmg_export import export_bundle
    from mmg_export.trained import TrainedRun

    torch.set_num_threads(1)
    progress(f"read {chosen.run}")
    run = TrainedRun(chosen.run)
    known = run.model.task.modalities
    names = _names(chosen.modalities) if chosen.modalities is not None else known
    for name in names:
        if name not in known:
            raise ConfigError(f"--modalities {name}: the run has {', '.join(known)}")
    names = tuple(name for name in known if name in names)
    dataset = None
    if not chosen.no_data:
        try:
            dataset = run.dataset(progress)
        except ConfigError as error:
            if chosen.evaluate or "int8" in precisions:
                raise
            progress(f"no recorded hops are compared: {error}")
    if chosen.evaluate and dataset is not None and not dataset.test:
        raise ConfigError(f"--evaluate: {chosen.run} held nothing out to measure accuracy on; leave it out")
    if chosen.evaluate and dataset is not None and not is_trained_on(chosen.run, dataset):
        raise ConfigError(
            f"--evaluate: {chosen.run} was trained on other recordings than there are now, and may have seen who is "
            "held out now; leave it out, or train again: mmg-train"
        )
    return export_bundle(
        chosen.out,
        encoders=run.encoders(names),
        fusion=run.fusion(names),
        spec=run.spec(names),
        backends=backends,  # type: ignore[arg-type]
        precisions=precisions,  # type: ignore[arg-type]
        half=chosen.half,
        recorded=run.recordings(dataset, names) if dataset else None,
        evaluate=run.evaluator(dataset, progress) if dataset and chosen.evaluate else None,
        limit=chosen.limit,
        hops=chosen.hops,
        card=run.card,
        progress=progress,
    )


def _installed() -> tuple[str, ...]:
    if find_spec("litert_torch") is None:
        _report("litert is left out: its converter is not installed (pip install -e '.[export-litert]')")
        return ("onnx",)
    return ("onnx", "litert")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


class _Steps(StderrReporter):
    """Tells each step with the seconds since the start."""

    def __init__(self) -> None:
        super().__init__("mmg-export")
        self._began_s = time.monotonic()

    def __call__(self, line: str) -> None:
        super().__call__(f"{time.monotonic() - self._began_s:5.1f} s  {line}")


if __name__ == "__main__":
    raise SystemExit(main())
