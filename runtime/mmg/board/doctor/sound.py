"""Whether PortAudio, the library behind the microphones, is there and sees one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmg.board.doctor.finding import Finding
from mmg.board.doctor.libraries import SOUND, Trial


def judge_portaudio(root: Path, trials: Sequence[Trial]) -> list[Finding]:
    """From what sounddevice's process printed; nothing where sounddevice itself cannot be used."""
    printed = next((trial.printed for trial in trials if trial.library.module == SOUND and trial.status == 0), "")
    counted = re.search(r"^inputs (\d+)$", printed, re.MULTILINE)
    if "no PortAudio" in printed:
        return [
            Finding("PortAudio", "warning", "missing: no microphone can be used", "sudo apt-get install libportaudio2")
        ]
    if counted is None:
        return []
    if inputs := int(counted[1]):
        return [Finding("PortAudio", "ok", f"sees {inputs} device{'s' if inputs > 1 else ''} that can record")]
    # The kernel's nodes that record: pcm, card, device, c for capture.
    there = sorted(path.name for path in (root / "dev/snd").glob("pcmC*D*c"))
    if there:
        do = "close the program that records, or see the permissions below"
        return [Finding("PortAudio", "warning", f"sees no microphone, though the kernel has {', '.join(there)}", do)]
    return [Finding("PortAudio", "ok", "works, but no microphone is plugged in")]
