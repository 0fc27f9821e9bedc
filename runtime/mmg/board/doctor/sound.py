"""Whether PortAudio, the library behind the microphones, is there and sees one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmg.board.doctor.finding import Finding
from mmg.board.doctor.libraries import Trial
from mmg.counts import count_of
from mmg.sources.ports.microphone.lookout import why_no_sound

RESTART = "systemctl --user restart pipewire pulseaudio\nor restart the machine"


def judge_portaudio(root: Path, trials: Sequence[Trial]) -> list[Finding]:
    """From what sounddevice's process printed; nothing where sounddevice itself cannot be used."""
    trial = next((trial for trial in trials if trial.reached_portaudio), None)
    if trial is None:
        return []
    if trial.status != 0:
        return [_judge_end(trial)]
    printed = trial.printed
    counted = re.search(r"^inputs (\d+)$", printed, re.MULTILINE)
    if "no PortAudio" in printed:
        return [
            Finding("PortAudio", "warning", "missing: no microphone can be used", "sudo apt-get install libportaudio2")
        ]
    if inputs := int(counted[1]) if counted else 0:
        return [Finding("PortAudio", "ok", f"sees {count_of(inputs, 'device')} that can record")]
    # The kernel's nodes that record: pcm, card, device, c for capture.
    there = sorted(path.name for path in (root / "dev/snd").glob("pcmC*D*c"))
    if there:
        do = "close the program that records, or see the permissions below"
        return [Finding("PortAudio", "warning", f"sees no microphone, though the kernel has {', '.join(there)}", do)]
    return [Finding("PortAudio", "ok", "works, but no microphone is plugged in")]


def _judge_end(trial: Trial) -> Finding:
    """Of one that hung, crashed or said what is wrong."""
    if trial.status is None:
        return Finding("PortAudio", "problem", "does not answer: a sound server or a driver holds it", RESTART)
    lacks = trial.printed.splitlines()[0].removeprefix("ALSA lacks ")
    if trial.status > 0 and lacks == "nothing":
        return Finding("PortAudio", "problem", f"does not start: {trial.complaint}", RESTART)
    why, do = why_no_sound(trial.status, "" if lacks == "nothing" else lacks)
    return Finding("PortAudio", "problem", why, do)
