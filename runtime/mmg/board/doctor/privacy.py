"""What would keep a camera closed on this machine: tried in a process of its own, which closes everything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from mmg.board.doctor.finding import Finding
from mmg.own_process import command_of

PATIENCE_S = 20.0
COMMAND = command_of("mmg.privacy.look")
MEANING = {
    "seccomp": "cameras by any node, and the network",
    "namespace": "cameras by plain reads too, devices, and files",
    "landlock": "files and the network",
}


def check_privacy(root: Path) -> list[Finding]:
    """A finding for each rung, and whether a camera would be closed. root: another board's files tell nothing of it.

    To be called before this process itself is closed, which would hide what the machine gives.
    """
    if root != Path("/"):
        return [Finding("cameras", "unknown", "what keeps them closed is tried on the machine itself")]
    told = _look()
    if told is None:
        return [Finding("cameras", "unknown", "what keeps them closed could not be tried")]
    kept = {name: f"keeps closed: {MEANING[name]}" for name in told["by"] if name in MEANING}
    rungs = [Finding(name, "ok", kept.get(name) or f"not here: {told['without'].get(name)}") for name in MEANING]
    asked = ", ".join(told["answers"])
    if "cameras" in told["things"]:
        return [*rungs, Finding("cameras", "ok", f"the kernel keeps them closed: {asked}")]
    found = f"nothing keeps them closed here, and mmg-run --privacy strict refuses to run: {asked}"
    return [*rungs, Finding("cameras", "warning", found, "mmg-service install\nwhose unit lets no camera be opened")]


def _look() -> dict[str, Any] | None:
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return dict(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
