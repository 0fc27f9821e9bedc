"""The leanest loop that one would write by hand: ``python -m mmg_tools.bench.live_loop BACKEND MICROPHONE [TERMINAL]``.

Half a second of the starter's sensors, its models' run, a label printed; nothing is checked, timed or kept. Sound comes
in blocks of 20 ms at 16 kHz and tells when a hop ends; a WitMotion IMU at 100 Hz is read then.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import serial
import sounddevice
from mmg import Bundle
from mmg.bundle import Modality
from numpy.typing import NDArray

from mmg_tools.bench.bare import open_bare, open_bare_fusion

SOUND_HZ, BLOCK, HOP = 16_000, 320, 8_000
CYCLE, IMU_HOP = 22, 50
"""Bytes of an acceleration and an angular rate, and how many of both a hop has."""
SCALE = np.array([16 * 9.80665] * 3 + [np.radians(2000)] * 3, np.float32) / 32768


class Sound:
    """The last hop of a microphone: PortAudio's callback copies, and rings when a hop is whole."""

    def __init__(self, name: str) -> None:
        self._ring: NDArray[np.float32] = np.zeros((2, HOP), np.float32)
        self._have, self._whole = 0, threading.Event()
        self._stream = sounddevice.RawInputStream(
            SOUND_HZ, BLOCK, name, 1, "float32", latency=3 * BLOCK / SOUND_HZ, callback=self._take
        )
        self._stream.start()

    def _take(self, sound: Any, samples: int, _time: object, _flags: object) -> None:
        row, at = divmod(self._have, HOP)
        self._ring[row, at : at + samples] = np.frombuffer(sound, np.float32)
        self._have = (self._have + samples) % (2 * HOP)
        if self._have % HOP == 0:
            self._whole.set()

    def next(self) -> NDArray[np.float32]:
        """``(8000,)``, as soon as they are there."""
        self._whole.wait()
        self._whole.clear()
        whole: NDArray[np.float32] = self._ring[(self._have // HOP + 1) % 2]
        return whole


class Imu:
    """The last hop of a serial IMU."""

    def __init__(self, path: str) -> None:
        self._port, self._rest = serial.Serial(path, 115200, timeout=0), b""
        self._samples = np.zeros((IMU_HOP, 6), np.float32)

    def next(self) -> NDArray[np.float32]:
        """``(25, 6)`` at 50 Hz, the newest last: every other sample."""
        data = self._rest + self._port.read(4096)
        begin = max(data.find(b"\x55\x51"), 0)
        end = begin + (len(data) - begin) // CYCLE * CYCLE
        self._rest = data[end:]
        cycles = np.frombuffer(data[begin:end], np.uint8).reshape(-1, 2, CYCLE // 2)
        good = (cycles[:, :, :10].sum(2, np.uint8) == cycles[:, :, 10]).all(1)
        new = cycles[good, :, 2:8].reshape(-1, 12).view("<i2")[-IMU_HOP:] * SCALE
        self._samples[: IMU_HOP - len(new)] = self._samples[len(new) :]
        self._samples[IMU_HOP - len(new) :] = new
        return self._samples[1::2]


class Encoder:
    """A streaming encoder and the state that it carries."""

    def __init__(self, bundle: Bundle, modality: Modality, backend: str) -> None:
        spec = modality.encoder
        self._run, self._name, self._shape = open_bare(bundle, spec.files, backend), spec.input.name, spec.input.shape
        self._outputs = [spec.output.name, *(state.output for state in spec.states)]
        self._states = {state.input: np.zeros(state.shape, np.float32) for state in spec.states}

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        tokens, *states = self._run(self._outputs, {self._name: samples.reshape(self._shape), **self._states})
        self._states = dict(zip(self._states, states, strict=True))
        return tokens


class Fusion:
    """The fusion on a whole context, which is empty at first."""

    def __init__(self, bundle: Bundle, names: list[str], backend: str) -> None:
        spec, self._labels = bundle.manifest.fusion, bundle.manifest.labels
        self._run, self._feeds = open_bare_fusion(bundle, names, backend)
        self._tokens, self._logits = self._feeds[spec.tokens], spec.logits
        self._tokens[:] = 0

    def __call__(self, tokens: list[NDArray[np.float32]]) -> str:
        """The label for the newest tokens of each modality."""
        end, context_hops = 0, self._tokens.shape[1] // sum(new.shape[1] for new in tokens)
        for new in tokens:
            begin, end, count = end, end + context_hops * new.shape[1], new.shape[1]
            self._tokens[:, begin : end - count] = self._tokens[:, begin + count : end]
            self._tokens[:, end - count : end] = new
        [logits] = self._run([self._logits], self._feeds)
        return self._labels[int(logits.argmax())]


def main() -> None:
    """Decide until it is ended."""
    backend, microphone, *terminal = sys.argv[1:]
    names = [*(["imu"] if terminal else []), "audio"]
    with Bundle.open("starter") as bundle:
        encoders = [Encoder(bundle, bundle.manifest.modality(name), backend) for name in names]
        fuse = Fusion(bundle, names, backend)
    imus, sound = [Imu(path) for path in terminal], Sound(microphone)
    while True:
        heard = sound.next()
        samples = [*(imu.next() for imu in imus), heard]
        print(fuse([encode(one) for encode, one in zip(encoders, samples, strict=True)]), flush=True)


if __name__ == "__main__":
    main()
