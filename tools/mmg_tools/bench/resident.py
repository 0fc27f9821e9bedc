"""``python -m mmg_tools.bench.resident WHAT [NAMES]``: a process that does one thing and prints its resident MiB.

Imports come with what needs them: they are what is measured.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOPS = 12


def main() -> int:
    """WHAT is bare, sessions or engine; NAMES the modalities, and fusion for a session, with commas between."""
    what, names = sys.argv[1], sys.argv[2:]
    # Kept until the memory is read.
    kept = bare() if what == "bare" else engine(*names) if what == "engine" else sessions(*names)
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is an import too
        pages = int(file.read().split()[1])
    print(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
    del kept
    return 0


def bare() -> object:
    """The imports alone."""
    import numpy
    import onnxruntime

    return numpy, onnxruntime


def sessions(names: str) -> object:
    """Sessions of onnxruntime, and nothing of mmg's but the files, that run as often as in ``engine``."""
    import json
    from importlib.util import find_spec

    found = find_spec("mmg")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = f"{found.submodule_search_locations[0]}/starter"
    with open(f"{folder}/manifest.json", encoding="utf-8") as file:  # noqa: PTH123
        manifest = json.load(file)
    encoders = {one["name"]: one["encoder"] for one in manifest["modalities"]}
    return [_run(f"{folder}/{name}.onnx", encoders.get(name), manifest) for name in names.split(",")]


def _run(path: str, encoder: "Any", manifest: "Any") -> object:
    """An encoder's session, or the fusion's on the context of one modality, after its runs."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if encoder is None:
        count = manifest["context_hops"]
        feeds = {name: np.zeros((1, count), np.int32) for name in ("modality", "age")}
        feeds["tokens"] = np.zeros((1, count, manifest["fusion"]["token_dim"]), np.float32)
        return opened, [opened.run(None, feeds) for _ in range(HOPS)]
    states = {state["input"]: np.zeros(state["shape"], np.float32) for state in encoder["states"]}
    samples = np.ones(encoder["input"]["shape"], encoder["input"].get("dtype", "float32"))
    outputs = [encoder["output"]["name"], *(state["output"] for state in encoder["states"])]
    for _ in range(HOPS):
        _, *following = opened.run(outputs, {encoder["input"]["name"]: samples, **states})
        states = dict(zip(states, following, strict=True))
    return opened, states


def engine(names: str) -> object:
    """mmg's engine for some modalities, after a few decisions."""
    from mmg import Bundle, Engine

    from mmg_tools.bench.hops import Recording

    bundle = Bundle.open("starter")
    made, recording = Engine(bundle, names.split(",")), Recording(bundle.manifest, names.split(","), HOPS)
    decided = sum(len(made.push(chunk)) for hop in range(HOPS) for chunk in recording.chunks(hop))
    assert decided == HOPS, f"{decided} of {HOPS} hops were decided"
    return bundle, made


if __name__ == "__main__":
    raise SystemExit(main())
