"""From a training run to a verified bundle: ``python -m mmg_export.export runs/starter -o runtime/mmg/starter``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmg.bundle.reader import CARD
from mmg.bundle.writer import write_bundle
from mmg.cli.ending import run_command
from mmg.errors import ConfigError, ModelError
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.models.fusion import Fusion
from mmg_training.models.multimodal import MultimodalModel

from mmg_export import parity
from mmg_export.card import card
from mmg_export.describe import manifest, path_of
from mmg_export.graphs import export_encoder, export_fusion


def export(run: Path, out: Path) -> None:
    """Read ``run``, export each part, compare it with the module and write the bundle. Raises MmgError."""
    _step(f"read {run}")
    model, config = checkpoint.load(run)
    metrics = metrics_file.load(run / checkpoint.METRICS)
    if metrics.weights_sha256 != checkpoint.sha256(run):
        raise ModelError(f"{run / checkpoint.METRICS}: was measured with other weights; train again: mmg-train")
    files = {name: _encoder(model, name) for name in model.task.modalities}
    files["fusion"] = _fusion(model)
    _step(f"write {out}")
    described = manifest(model, config, metrics, files)
    contents = {path_of(name): data for name, data in files.items()}
    write_bundle(out, described, {**contents, CARD: card(described, metrics).encode()})
    _step(f"done: {sum(map(len, files.values())) / 1e6:.2f} MB in {len(files)} model files")


def _encoder(model: MultimodalModel, name: str) -> bytes:
    encoder = model.encoder(name)
    sample = parity.random_hops(model.task, name, 1, seed=0)
    data = export_encoder(encoder, sample if name == "video" else sample[None])
    error = parity.encoder_error(model.task, name, encoder, data, seed=1)
    _step(f"{name}: {len(data) / 1e3:.0f} KB; {parity.HOPS} streamed hops against the whole: {error:.1e}")
    parity.require(name, error)
    return data


def _fusion(model: MultimodalModel) -> bytes:
    fusion = model.fusion
    if not isinstance(fusion, Fusion):
        raise ModelError(f"the fusion is a {type(fusion).__name__.lower()}, a baseline: only a transformer is exported")
    data = export_fusion(fusion)
    error = parity.fusion_error(fusion, data, len(model.task.modalities), seed=1)
    _step(f"fusion: {len(data) / 1e3:.0f} KB; contexts of 1 to 64 tokens: {error:.1e}")
    parity.require("fusion", error)
    return data


def _step(text: str) -> None:
    sys.stderr.write(f"export: {text}\n")


def _tell(text: str) -> None:
    sys.stderr.write(f"mmg_export: {text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="mmg_export.export", description=__doc__)
    parser.add_argument("run", type=Path, help="a folder that mmg-train wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the bundle: a folder, or a file ending in .mmg")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def export_once() -> int:
        if not chosen.out.absolute().parent.is_dir():
            raise ConfigError(f"-o {chosen.out}: there is no folder {chosen.out.parent}")
        export(chosen.run, chosen.out)
        return 0

    return run_command(export_once, _tell, stopped=130)


if __name__ == "__main__":
    raise SystemExit(main())
