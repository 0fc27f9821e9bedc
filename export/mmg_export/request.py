"""What an export is asked for, checked before anything is run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from typing import get_args

import numpy as np
from mmg.bundle.manifest import Backend, ManifestError, Precision, check
from mmg.bundle.writer import require_place
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError

from mmg_export.convert import require_space
from mmg_export.describe import Cost, MadeFile, describe
from mmg_export.parts import FUSION
from mmg_export.report import paths_of
from mmg_export.spec import Spec
from mmg_export.streams import Array, cut_runs


@dataclass(frozen=True)
class Request:
    """See ``export_bundle``, whose arguments these are."""

    out: Path
    backends: Sequence[Backend]
    precisions: Sequence[Precision]
    half: bool
    recorded: Mapping[str, Array]
    limit: float
    hops: int
    progress: Reporter


def require(asked: Request, encoders: Sequence[str], spec: Spec) -> None:
    """Raises ConfigError, or BundleError for a folder that holds other things."""
    if isinstance(asked.backends, str) or isinstance(asked.precisions, str):
        raise ConfigError("backends and precisions are tuples, as in backends=('onnx',)")
    for given, allowed in ((asked.backends, get_args(Backend)), (asked.precisions, get_args(Precision))):
        for one in given:
            if one not in allowed:
                hint = "; --half stores fp32 as float16" if one in ("fp16", "float16") else ""
                raise ConfigError(f"{one!r} is not one of {', '.join(allowed)}{hint}")
        if len(set(given)) < len(given):
            raise ConfigError(f"{', '.join(given)}: name each once")
    if not isinstance(asked.hops, Integral) or not isinstance(asked.limit, Real):  # numpy's are such too
        raise ConfigError(f"hops is a whole number and limit a number, not {asked.hops!r} and {asked.limit!r}")
    if not isinstance(asked.half, bool):
        raise ConfigError(f"half is True or False, not {asked.half!r}")
    if not asked.backends or "fp32" not in asked.precisions:
        raise ConfigError("at least one backend must be exported in fp32: int8 is measured against it")
    if asked.hops < 1 or not 0 <= asked.limit <= 1:
        raise ConfigError("hops must be at least 1, and limit from 0 to 1")
    if set(encoders) != set(spec.sensors):
        raise ConfigError(f"the spec has the sensors {', '.join(spec.sensors)}, the encoders are {', '.join(encoders)}")
    if "litert" in asked.backends and find_spec("litert_torch") is None:
        raise ConfigError(
            "litert needs litert-torch: in mmg's folder, pip install -e '.[export-litert]', or export --backends onnx"
        )
    if not asked.out.parent.is_dir():
        raise ConfigError(f"{asked.out}: there is no folder {asked.out.parent}")
    if not os.access(asked.out.parent, os.W_OK):
        raise ConfigError(f"{asked.out}: the folder {asked.out.parent} cannot be written to")
    require_place(asked.out)
    for path in paths_of(asked.out):
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, where the report is to be written")
    require_space()
    _require_manifest(spec)
    _require_recordings(asked, spec)


def _require_manifest(spec: Spec) -> None:
    """The manifest's own checks, with files that are not there yet."""
    files = [MadeFile(part, "onnx", "fp32", b"-") for part in (*spec.sensors, FUSION)]
    try:
        check(describe(spec, files, dict.fromkeys((*spec.sensors, FUSION), Cost(0, 0)), b"-", {}))
    except ManifestError as error:
        raise ConfigError(f"{spec.name}: {error}") from error


def _require_recordings(asked: Request, spec: Spec) -> None:
    if not isinstance(asked.recorded, Mapping):
        raise ConfigError("recorded is a mapping of sensors' names to arrays, as in {'imu': array}")
    for name, samples in asked.recorded.items():
        if name not in spec.sensors:
            raise ConfigError(f"{name}: is recorded, but is not a sensor of the spec")
        wanted = np.uint8 if spec.sensors[name].frame else np.floating
        if not isinstance(samples, np.ndarray) or not np.issubdtype(samples.dtype, wanted):
            raise ConfigError(
                f"{name}: recorded samples must be an array of {'uint8' if wanted is np.uint8 else 'float32'}"
            )
        if not cut_runs(name, spec, samples):
            raise ConfigError(f"{name}: {len(samples)} recorded samples are not one hop, or not one window")
    lacking = [name for name in spec.sensors if name not in asked.recorded]
    if "int8" in asked.precisions and "onnx" in asked.backends and lacking:
        raise ConfigError(f"int8 is calibrated with recordings: there are none of {', '.join(lacking)}")
    if asked.recorded and lacking:
        raise ConfigError(f"give recordings of all sensors or of none: there are none of {', '.join(lacking)}")
