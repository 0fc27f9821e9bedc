"""All devices of a virtual wearable, on one time."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from mmg.errors import ConfigError
from mmg_training.wearer.record import IMU_HZ, VIDEO_FPS

from mmg_tools.virtual.camera import VirtualCamera
from mmg_tools.virtual.microphone import BLOCK_MS, NAME, AlsaMicrophone
from mmg_tools.virtual.scenario import SOUND_HZ, Scenario
from mmg_tools.virtual.serial_device import VirtualSerial

LEAD_NS = 100_000_000
"""Time to plug everything before scenario time 0."""
UNUSABLE = frozenset('"\n\\')
"""What ALSA's configuration cannot have in the path of a FIFO."""


class VirtualWearable:
    """A scenario on real ports, from ``with`` to its end.

    devices: by sensor, ``imu`` a VirtualSerial, ``audio`` an AlsaMicrophone, ``video`` a VirtualCamera; those that were
    asked for. urls: where mmg finds each. environment: what a process needs to see them. start_ns: host monotonic time
    of scenario time 0, known once everything is plugged.
    """

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        imu: str | None = "witmotion",
        audio: bool = True,
        video: bool = False,
        loop: bool = False,
        seed: int = 0,
        block_ms: int = BLOCK_MS,
    ) -> None:
        """folder: where the devices appear; it must exist. imu: the protocol that it speaks, or None. seed: of what is
        random in a faulty IMU. block_ms: how much sound comes at once. Nothing is plugged yet.

        Raises ConfigError where there is nothing to play, or a path or protocol cannot be.
        """
        folder = folder.absolute()
        if UNUSABLE & set(str(folder)):
            raise ConfigError(f"{folder}: a path with a quote, backslash or line break cannot hold an ALSA device")
        if not (imu or audio or video):
            raise ConfigError("no sensor to play: leave one of IMU, audio and video on")
        if video and scenario.frames is None:
            raise ConfigError("the scenario has no frames: render it with video")
        self.scenario, self.start_ns, self._folder, self._lock = scenario, 0, folder, -1
        self.devices: dict[str, Any] = {}
        self.urls: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        place = quote(str(folder))
        if imu:
            self.devices["imu"] = VirtualSerial(folder / "imu", scenario.imu, imu, rate_hz=IMU_HZ, loop=loop, seed=seed)
            self.urls["imu"] = f"serial://{place}/imu?protocol={imu}"
        if audio:
            microphone = AlsaMicrophone(folder, scenario.sound, SOUND_HZ, loop=loop, block_ms=block_ms)
            self.devices["audio"] = microphone
            self.urls["audio"] = f"mic://{NAME}"
            # PortAudio would start a JACK server where one is installed.
            self.environment = {"ALSA_CONFIG_PATH": str(microphone.config), "JACK_NO_START_SERVER": "1"}
        if video and scenario.frames is not None:
            self.devices["video"] = VirtualCamera(folder / "camera.mp4", scenario.frames, VIDEO_FPS, loop=loop)
            self.urls["video"] = f"camera://{place}/camera.mp4"

    @property
    def command(self) -> str:
        """What to type into a shell to connect to it."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        run = Path(sys.argv[0]).with_name("mmg-run")
        words += [
            shlex.quote(str(run)) if run.exists() and shutil.which("mmg-run") is None else "mmg-run",
            "--sensors",
            ",".join(self.urls),
        ]
        for sensor, url in self.urls.items():
            words += [f"--{sensor}", shlex.quote(url)]
        return " ".join(words + ["--allow-video"] * ("video" in self.urls))

    def __enter__(self) -> VirtualWearable:
        """Raises ConfigError where another wearable plays in this folder."""
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise ConfigError(f"{self._folder}: another virtual wearable plays here") from error
        self.start_ns = time.monotonic_ns() + LEAD_NS
        try:
            for device in self.devices.values():
                device.begin(self.start_ns)
                device.plug()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unplug everything and end it. Twice is fine."""
        for device in self.devices.values():
            device.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
