"""``mmg-train``: settings in, a trained and measured run out."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from mmg.cli.exit_codes import run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.progress import Progress
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError
from mmg.folder_lock import folder_lock

from mmg_training import checkpoint, data, unknown
from mmg_training import metrics as metrics_file
from mmg_training.cli.data import add_data_flags, names_in
from mmg_training.config import TrainConfig, load, override, parse_setting
from mmg_training.data.parts import told, trained_sha256
from mmg_training.data.sessions import Dataset
from mmg_training.evaluation.subsets import calibrating, measurable, score_extra, score_subsets, unfitted
from mmg_training.evaluation.unknown import by_fit, score_unknown
from mmg_training.metrics import Metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.own import own_settings
from mmg_training.starting import with_start
from mmg_training.train import StepLog, report, train

EXAMPLES = """\
examples:
  mmg-train --data sessions/                             your own recordings, from the starter's weights; see mmg-data
  mmg-train --data sessions/ --labels keep               the starter's labels, and yours
  mmg-train training/configs/starter.toml --out runs/starter
  mmg-train training/configs/utd_mhad.toml --out runs/utd-5 --set data.leave_out=5 --set seed=2
  mmg-train training/configs/starter.toml --out runs/starter --resume
  tensorboard --logdir runs

exit codes: 0 done, 2 usage, settings, data or a package, or a place that cannot be written, 4 not enough memory,
130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="mmg-train",
        description="Train a model that keeps working with any subset of its sensors, measure it, and write the run: "
        "weights, settings, metrics and a log for TensorBoard.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=PrintVersion)
    parser.add_argument("config", type=Path, nargs="?", help="settings, TOML; training/configs has some")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="your own sessions; no settings are needed")
    parser.add_argument(
        "--labels",
        choices=("replace", "keep"),
        help="with --data: decide between your labels (replace, the default), or the starter's as well (keep)",
    )
    add_data_flags(parser)
    parser.add_argument("--out", type=Path, help="the folder for the run (with --data: runs/NAME by default)")
    parser.add_argument("--resume", action="store_true", help="resume a stopped run in --out from where it last saved")
    parser.add_argument("--overwrite", action="store_true", help="overwrite a finished run in --out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, as in data.leave_out=5"
    )
    parser.add_argument("--accelerator", default="cpu", help="cpu, cuda, mps or auto (Lightning Fabric; default cpu)")
    parser.add_argument("--devices", default="1", help="how many, or auto (default 1)")
    parser.add_argument("--nodes", type=int, default=1, help="machines that train together (default 1)")
    parser.add_argument(
        "--strategy",
        default="ddp_find_unused_parameters_true",
        help="of several devices or nodes (Lightning Fabric; the default, ddp_find_unused_parameters_true, lets a "
        "batch lack a modality)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of each process on a CPU (default 1, with which the weights do not depend on how many cores there are)",
    )
    chosen = parse(parser, arguments)
    close_sensors(chosen)
    torch.set_num_threads(max(1, chosen.threads))

    def train_once() -> int:
        config = settings_of(chosen)
        if chosen.out is None and chosen.data is None:
            raise ConfigError("--out FOLDER: say where the run goes")
        out = chosen.out or Path("runs") / config.name
        run(config, out, open_fabric(chosen), chosen.resume, chosen.overwrite)
        return 0

    return run_command(train_once, report, stopped=130)


def settings_of(chosen: argparse.Namespace) -> TrainConfig:
    """The settings that the command line names. Raises ConfigError."""
    sensors, hold_out = names_in(chosen.sensors), names_in(chosen.hold_out)
    changes = dict(parse_setting(text, "--set") for text in chosen.set)
    if chosen.data is None:
        if chosen.labels or sensors or hold_out or chosen.allow_video:
            raise ConfigError("--labels, --sensors, --hold-out and --allow-video: go with --data FOLDER")
        if chosen.config is None:
            raise ConfigError("name --data FOLDER with your own sessions, or settings: training/configs/starter.toml")
        return override(load(chosen.config), changes, "--set")
    if not chosen.data.is_dir():
        raise ConfigError(f"--data {chosen.data}: is no folder")
    own = own_settings(
        chosen.data,
        keep=chosen.labels == "keep",
        modalities=sensors,
        allow_video=chosen.allow_video,
        hold_out=hold_out,
    )
    if chosen.config is not None:
        own = replace(load(chosen.config), data=own.data)
    return override(own, changes, "--set")


def open_fabric(chosen: argparse.Namespace) -> Fabric:
    """The devices that were asked for. Raises ConfigError where they are not here."""
    try:
        fabric = Fabric(
            accelerator=chosen.accelerator,
            devices=chosen.devices if chosen.devices == "auto" else int(chosen.devices),
            num_nodes=chosen.nodes,
            strategy=chosen.strategy if chosen.devices != "1" or chosen.nodes > 1 else "auto",
        )
    except (ValueError, RuntimeError, TypeError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"--accelerator {chosen.accelerator} --devices {chosen.devices}: {first}") from error
    fabric.launch()
    return fabric


def run(config: TrainConfig, out: Path, fabric: Fabric, resume: bool = False, overwrite: bool = False) -> None:
    """Load the data, train, measure, and write the run into ``out``. Raises MmgError."""
    try:
        str(out).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{out}: is no UTF-8, as a run's folder must be: choose another --out") from error
    began_s = time.monotonic()
    _require_unfinished(out, resume or overwrite)
    done = resume and is_done(out, config)
    # The other processes of several read the same, on the same terminal.
    say = report if fabric.is_global_zero else _say_nothing
    with Progress(say, "preparing the data"):
        dataset = with_start(data.load(config.data, say), config)
    if done:
        if not checkpoint.is_trained_on(out, dataset):
            raise ConfigError(
                f"{out}: was trained on other recordings than there are now; choose another --out, or give --overwrite"
            )
        say(f"{out}: is done already, with these settings")
        return
    for line in told(dataset).lines:
        report(line)
    with ExitStack() as held:
        refused = ""
        if fabric.is_global_zero:  # of several processes the first one writes, and the others end with it
            try:
                held.enter_context(folder_lock(out, "mmg-train", is_needed=False))
                # Once more: it may have been in use.
                _require_unfinished(out, overwrite or (resume and not is_done(out, config)))
            except ConfigError as error:
                refused = str(error)
        if refused := fabric.broadcast(refused):
            raise ConfigError(refused)
        _run(config, dataset, out, fabric, resume, began_s)


def _require_unfinished(out: Path, is_wanted: bool) -> None:
    """Raises ConfigError where ``out`` has a finished run, unless that is wanted."""
    if not is_wanted and (out / checkpoint.CONFIG).exists():
        raise ConfigError(f"{out}: has a finished run; choose another --out, or give --overwrite")


def _run(config: TrainConfig, dataset: Dataset, out: Path, fabric: Fabric, resume: bool, began_s: float) -> None:
    log = StepLog(config, out / checkpoint.LOGS if fabric.is_global_zero else None)
    try:
        model = train(config, dataset, fabric=fabric, out=out, resume=resume, watch=log)
    except KeyboardInterrupt:
        saved = (out / checkpoint.RESUME).exists()
        report("--resume continues from the last saved step" if saved else "no step has been saved yet (save_every)")
        raise
    finally:
        log.close()
    if not fabric.is_global_zero:
        return
    checkpoint.save(out, model, config, trained_sha256(dataset))
    with Progress(report, "measuring"):
        metrics = measure(model, dataset, config, out, describe(fabric), time.monotonic() - began_s)
    metrics_file.save(metrics, out / checkpoint.METRICS)
    (out / checkpoint.RESUME).unlink(missing_ok=True)
    for score in metrics.subsets:
        report(f"{' + '.join(score.modalities)}: {score.accuracy:.3f} of {score.samples}, {metrics.held_out}")
    for extra in metrics.extra:
        report(f"{' + '.join(extra.modalities)}: {extra.accuracy:.3f} of {extra.samples}, {extra.name} ({extra.kind})")
    for one in metrics.unknown:
        taken = f"{one.accepted:.3f} of {one.samples} taken for a label, {one.name} ({one.kind})"
        report(f"{' + '.join(one.modalities)}: {taken}")
    if not metrics.subsets:
        report(f"nothing was measured: {_measured_elsewhere(config, out)}")
    report(f"wrote {out}; next: {shlex.join(['mmg-export', str(out), '-o', f'{config.name}.mmg'])}")


def _say_nothing(_line: str) -> None:
    pass


def _measured_elsewhere(config: TrainConfig, out: Path) -> str:
    """What to do about a run that held nothing out."""
    if config.data.set != "folder":
        return f"mmg-eval {out} --config OTHER.toml measures it on another set"
    other = shlex.join(["mmg-eval", str(out), "--data", "root=OTHER", "--data", 'hold_out=["all"]'])
    return f"record another session (mmg-data says which), or measure it on another folder: {other}"


def is_done(out: Path, config: TrainConfig) -> bool:
    """Whether ``out`` has a whole, measured run with these settings. Raises ConfigError where it has another run and
    nothing to go on from: training would write over it."""
    if (out / checkpoint.RESUME).exists() or not (out / checkpoint.CONFIG).exists():
        return False
    if checkpoint.load(out)[1] != config:
        raise ConfigError(f"{out}: has a run with other settings; choose another --out, or give --overwrite")
    try:
        return metrics_file.load(out / checkpoint.METRICS).weights_sha256 == checkpoint.sha256(out)
    except ConfigError:
        return False


def describe(fabric: Fabric) -> str:
    """What a run was trained on, for the model card."""
    threads = torch.get_num_threads()
    each = f", {threads} {'thread' if threads == 1 else 'threads'} each" if fabric.device.type == "cpu" else ""
    return f"{fabric.world_size} x {fabric.device.type}{each}"


def measure(
    model: MultimodalModel, dataset: Dataset, config: TrainConfig, out: Path, device: str, wall_s: float
) -> Metrics:
    """Every subset of what was trained on the held-out sessions, and the further tests; what tells the unknown is
    fitted and written beside the weights."""
    if dataset.test:
        report("measuring every subset on what was held out")
    subsets = score_subsets(model, calibrating(dataset), dataset.test)
    temperatures = {score.modalities: score.temperature for score in subsets}
    report("fitting what is none of the labels")
    told_apart = unknown.fit(model, dataset, config, temperatures)
    unknown.save(out, told_apart)
    tell = by_fit(model, told_apart, temperatures)
    fitted = {names for sessions in calibrating(dataset) for names in measurable(model.task, sessions)}
    apart = unfitted(fitted, [one.modalities for one in subsets])
    raw = (f"The confidence of {apart} was fitted on nobody apart: it is as training left it.",) if apart else ()
    subsets = tuple(msgspec.structs.replace(one, unknown=told_apart.fits.get(one.modalities)) for one in subsets)
    return Metrics(
        created=_now(),
        seed=config.seed,
        config_sha256=config.sha256(),
        weights_sha256=checkpoint.sha256(out),
        device=device,
        wall_s=round(wall_s),
        tools={"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        data=dataset.sources,
        held_out=dataset.held_out,
        subsets=subsets,
        limits=(*dataset.limits, *raw),
        split=told(dataset),
        extra=tuple(score_extra(model, test, temperatures) for test in dataset.extra),
        unknown=score_unknown(model.task, tell, dataset),
    )


def _now() -> str:
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    raise SystemExit(main())
