"""What the tests in this folder are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mmg_tools.virtual.microphone import BLOCK_MS, AlsaMicrophone
from numpy.typing import NDArray
from ports.microphone.sounds import (
    RATE_HZ,
    Listener,
    MakeDevice,
    tone,
)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    for port in listener.ports:
        port.close()


@pytest.fixture
def make_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDevice]:
    """Makes a device that plays a sound at a rate. It is not plugged in yet."""
    made: list[AlsaMicrophone] = []

    def make(sound: NDArray[np.int16], rate_hz: int, block_ms: int = BLOCK_MS) -> AlsaMicrophone:
        made.append(AlsaMicrophone(tmp_path, sound, rate_hz, block_ms=block_ms))
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(made[-1].config))
        monkeypatch.setenv("JACK_NO_START_SERVER", "1")
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def device(make_device: MakeDevice) -> AlsaMicrophone:
    return make_device(tone(6), RATE_HZ)
