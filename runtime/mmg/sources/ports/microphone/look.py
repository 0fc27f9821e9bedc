"""Looks for microphones in a process of its own: PortAudio aborts where ALSA has no configuration, and may not return.

Run by its path, it needs nothing of mmg's. Each line on standard input asks once; the answer is two lines of JSON:
``{"alsa": WORD}``, before PortAudio is touched, and then what ``see`` found.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer until standard input ends."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is looked for: it leaves no core file
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would be one import more
    sys.path[:] = [path for path in sys.path if path != here]  # it is not where libraries are
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library may print is no answer
    for _ in sys.stdin:
        for look in (lambda: {"alsa": lacks()}, see):
            answers.write(json.dumps(look()) + "\n")
            answers.flush()


def lacks() -> str:
    """What ALSA lacks that PortAudio 19.6 cannot do without; empty for nothing that is known of."""
    try:
        alsa = ctypes.CDLL("libasound.so.2")
        if alsa.snd_config_update() < 0:
            return "readable configuration"
        root, found = ctypes.c_void_p.in_dll(alsa, "snd_config"), ctypes.c_void_p()
        for key, what in ((b"pcm", "configuration"), (b"pcm.default", "default device")):
            if alsa.snd_config_search(root, key, ctypes.byref(found)) < 0:
                return what
    except (OSError, AttributeError, ValueError):  # no ALSA, or another than we know
        pass
    return ""


def see() -> dict[str, Any]:
    """The devices that record now, ``[number, name, channels, rate in Hz]`` each, and the number of the default one.

    Where there are none to be had: ``missing``, the library that is not found, or ``problem``.
    """
    again = "sounddevice" in sys.modules
    try:
        import sounddevice

        if again:  # PortAudio lists devices only when it starts
            while sounddevice._initialized:
                sounddevice._terminate()
            sounddevice._initialize()
        devices = [
            [one["index"], one["name"], one["max_input_channels"], one["default_samplerate"]]
            for one in sounddevice.query_devices()
            if one["max_input_channels"] > 0
        ]
        try:
            default = sounddevice.query_devices(kind="input")["index"]
        except (sounddevice.PortAudioError, ValueError):
            default = None
    except OSError as error:
        return {"missing": str(error)}
    except Exception as error:  # PortAudioError cannot be named where the import itself raises it
        return {"problem": str(error)}
    return {"devices": devices, "default": default}


if __name__ == "__main__":
    main()
