"""A camera's port, on FFmpeg's test pictures and on files: newest first, at the model's pace, only where allowed."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import ConfigError, SourceError
from mmg.sources.frames import FrameChooser
from mmg.sources.ports import camera
from mmg.sources.ports.camera import CameraPort, DeviceFrames
from mmg.sources.ports.port import PortStatus
from mmg.sources.url import parse_url
from mmg.types import Chunk

av = pytest.importorskip("av")

WAIT_S = 10
MS = 1_000_000
ENCODER = Encoder(
    kind="window",
    tokens_per_hop=1,
    input=Tensor(name="frames", shape=(5, 24, 32, 3), dtype="uint8"),
    output=Tensor(name="tokens", shape=(1, 1, 4)),
    files=(),
    window_s=0.5,
)


def video(hz: float = 10) -> Modality:
    return Modality(name="video", kind="video", rate_hz=hz, channels=(), encoder=ENCODER, frame=(24, 32))


class Listener(CameraPort):
    """A camera that also keeps every status and every chunk in a queue, to be waited for."""

    def __init__(self, url: str, modality: Modality) -> None:
        self.statuses: queue.Queue[PortStatus] = queue.Queue()
        self.chunks: queue.Queue[Chunk] = queue.Queue()
        super().__init__(parse_url(url), modality, allow_video=True)

    @property
    def status(self) -> PortStatus:
        return self._status

    @status.setter
    def status(self, status: PortStatus) -> None:
        self._status = status
        self.statuses.put(status)

    def listen(self) -> Listener:
        self.start(self.chunks.put)
        return self

    def frames(self, count: int) -> tuple[list[Any], list[int]]:
        """The next frames and their times."""
        chunks = [self.chunks.get(timeout=WAIT_S) for _ in range(count)]
        assert all(chunk.samples.shape == (1, 24, 32, 3) and chunk.samples.dtype == np.uint8 for chunk in chunks)
        return [chunk.samples[0] for chunk in chunks], [int(chunk.times_ns[0]) for chunk in chunks]

    def reason(self, words: str) -> PortStatus:
        """The next status whose reason has these words; those in between are passed over."""
        while words not in (status := self.statuses.get(timeout=WAIT_S)).reason:
            pass
        return status


@pytest.fixture
def ports() -> Iterator[list[Listener]]:
    ports: list[Listener] = []
    yield ports
    for port in ports:
        port.close()


def film(path: Path, levels: list[int], *, fps: int = 20, codec: str = "mpeg4", junk: int | None = None) -> Path:
    """A film of grey pictures; packet ``junk`` is overwritten."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        packets = []
        for level in levels:
            picture = np.full((48, 64, 3), level, np.uint8)
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += stream.encode(None)
        for number, packet in enumerate(packets):
            if number == junk:
                packet.update(b"\xff" * packet.size)
            container.mux(packet)
    return path


# --- leave ---------------------------------------------------------------------------------------------------------


def test_without_leave_nothing_is_opened_nor_loaded() -> None:
    with pytest.raises(ConfigError, match="add --allow-video"):
        CameraPort(parse_url("camera:///dev/video0?nonsense=1"), video(), allow_video=False)
    loaded = "import sys, mmg.sources.ports.camera; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False, timeout=WAIT_S * 3).returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "camera:///dev/video0?speed=1",
        "camera:///dev/video0?rate=0",
        "camera:///dev/video0?size=big",
        "camera:///dev/video0?size=0x10",
        "camera:///dev/video0?format=gif",
        "camera://lavfi/testsrc?rate=5",
        "camera:///film.mp4?size=640x480",
        "camera://lavfi/nonsense=1",
    ],
)
def test_options_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        CameraPort(parse_url(url), video(), allow_video=True)


def test_a_modality_that_is_no_video_is_refused() -> None:
    sound = Modality(
        name="audio", kind="audio", rate_hz=8000, channels=(Channel(name="mic", unit=""),), encoder=ENCODER
    )
    with pytest.raises(ConfigError, match="not a video modality"):
        CameraPort(parse_url("camera:///dev/video0"), sound, allow_video=True)


# --- pictures ------------------------------------------------------------------------------------------------------


def test_pictures_are_rgb_of_the_models_size_stamped_by_the_hosts_clock(ports: list[Listener]) -> None:
    before = time.monotonic_ns()
    ports.append(Listener("camera://lavfi/color=c=0xff8000:size=320x240:rate=20", video()).listen())
    frames, times_ns = ports[0].frames(3)
    assert before < times_ns[0] < times_ns[-1] <= time.monotonic_ns()
    np.testing.assert_allclose(frames[0].reshape(-1, 3).mean(axis=0), [255, 128, 0], atol=3)
    while (status := ports[0].statuses.get(timeout=WAIT_S)).reason:
        pass
    assert (status.connected, status.device) == (True, "color=c=0xff8000:size=320x240:rate=20 320x240 at 20 Hz")


def test_at_most_two_pictures_a_model_frame_are_given(ports: list[Listener]) -> None:
    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=100", video(hz=10)).listen())
    _, times_ns = ports[0].frames(8)
    cells = np.floor(np.array(times_ns) / (50 * MS) + 0.1)  # the chooser forgives a tenth
    assert len(set(cells.tolist())) == 8


def test_a_slow_camera_is_given_whole(ports: list[Listener]) -> None:
    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=15", video(hz=10)).listen())
    _, times_ns = ports[0].frames(8)
    periods = np.diff(times_ns) * 15 / 1e9
    np.testing.assert_allclose(periods, np.round(periods), atol=1e-6)
    assert periods.min() == pytest.approx(1)


def test_a_film_plays_at_its_pace_and_begins_anew(tmp_path: Path, ports: list[Listener]) -> None:
    path = film(tmp_path / "x.mp4", [20, 80, 140, 200])
    ports.append(Listener(f"camera://{path}", video()).listen())
    for _ in range(2):
        ports[0].reason("ended")
        frames, times_ns = ports[0].frames(ports[0].chunks.qsize())
        numbers = (np.array([frame.mean() for frame in frames]) - 20) / 60
        np.testing.assert_allclose(numbers, np.round(numbers), atol=0.1)
        assert len(frames) >= 2
        # Each picture at its time, be it that a busy machine let one go.
        np.testing.assert_allclose(np.diff(times_ns), np.diff(np.round(numbers)) * 50 * MS, atol=2)
        assert times_ns[-1] <= time.monotonic_ns()


def test_after_a_halt_only_the_newest_picture_is_given(ports: list[Listener]) -> None:
    resume = threading.Event()
    given: queue.Queue[Chunk] = queue.Queue()

    def deliver(chunk: Chunk) -> None:
        given.put(chunk)
        resume.wait(WAIT_S)

    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=50", video(hz=25)))
    ports[0].start(deliver)
    before = int(given.get(timeout=WAIT_S).times_ns[0])
    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=50", video(hz=25)).listen())
    ports[1].frames(20)  # 0.4 s, by a camera that is not held up
    resumed = time.monotonic_ns()
    resume.set()
    after = int(given.get(timeout=WAIT_S).times_ns[0])
    assert after - before > 300 * MS
    assert resumed - 25 * MS < after <= time.monotonic_ns()


# --- a device's frames, on containers that stand in for it ---------------------------------------------------------


def opened(url: str, form: str | None = None) -> Any:
    return av.open(url, format=form)


def test_of_all_that_wait_the_newest_is_given_with_its_arrival() -> None:
    with opened("color=c=black:size=64x48:rate=100", "lavfi") as container:
        frames = DeviceFrames("camera://x", container, FrameChooser(10))
        now = time.monotonic_ns()
        newest = frames.newest(now)
    assert newest is not None
    assert (newest[0], newest[1].pts) == (now, camera.QUEUED - 1)


def test_a_drivers_monotonic_stamp_is_kept() -> None:
    start_us = time.monotonic_ns() // 1000
    graph = f"color=size=64x48:rate=1000,settb=1/1000000,setpts={start_us}+N*1000"
    with opened(graph, "lavfi") as container:
        newest = DeviceFrames("camera://x", container, FrameChooser(10)).newest(start_us * 1000 + 40 * MS)
    assert newest is not None
    assert newest[0] == (start_us + (camera.QUEUED - 1) * 1000) * 1000


def test_only_pictures_that_the_model_may_use_are_decoded(tmp_path: Path) -> None:
    path = film(tmp_path / "x.avi", [10] * 95 + [200], codec="mjpeg", junk=40)
    with opened(str(path)) as container:
        frames = DeviceFrames("camera://x", container, FrameChooser(10))
        given = [frames.newest(at * MS) for at in (1000, 1001, 1100)]
    assert [frame is not None for frame in given] == [True, False, True]
    assert given[2] is not None
    assert given[2][1].to_ndarray(format="gray").mean() == pytest.approx(200, abs=4)
    assert frames.unreadable == 0  # the broken one was among those that nobody looked at


def test_a_broken_picture_is_counted_and_the_next_one_comes(tmp_path: Path, ports: list[Listener]) -> None:
    path = film(tmp_path / "x.avi", [100] * 4, codec="mjpeg", junk=1)
    ports.append(Listener(f"camera://{path}", video()).listen())
    ports[0].frames(3)
    while ports[0].statuses.get(timeout=WAIT_S).losses != (("unreadable", 1),):
        pass


# --- coming and going ----------------------------------------------------------------------------------------------


def test_a_camera_that_comes_later_is_found(tmp_path: Path, ports: list[Listener]) -> None:
    path = tmp_path / "late.mp4"
    ports.append(Listener(f"camera://{path}", video()).listen())
    assert not ports[0].reason("there is no file").connected
    film(tmp_path / "early.mp4", [100] * 20).rename(path)
    ports[0].frames(3)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("camera:///dev/video-that-is-not", "there is no /dev/video-that-is-not"),
        ("camera:///dev/null", "is not a camera"),
        ("camera:///proc/cpuinfo", "cannot be opened"),
    ],
)
def test_what_is_no_camera_is_told(ports: list[Listener], url: str, words: str) -> None:
    ports.append(Listener(url, video()).listen())
    assert not ports[0].reason(words).connected


def plug_in(root: Path, name: str, serial: str, socket: str = "1-1.2") -> None:
    """Lay out what sysfs has of a camera that is ``/dev/null`` here."""
    device = root / "sys/devices" / socket / f"{socket}:1.0"
    device.mkdir(parents=True)
    for file, text in (("idVendor", "046d"), ("idProduct", "0825"), ("serial", serial)):
        (device.parent / file).write_text(f"{text}\n" if text else "")
    (device / "bInterfaceNumber").write_text("00\n")
    node = root / "sys/class/video4linux/null"
    shutil.rmtree(node, ignore_errors=True)
    node.mkdir(parents=True)
    (node / "name").write_text(f"{name}\n")
    (node / "device").symlink_to(device)


def test_another_camera_that_got_the_name_is_not_opened(
    tmp_path: Path, ports: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Semaphore(0)
    monkeypatch.setattr(camera, "camera_at", partial(camera.camera_at, root=tmp_path))

    def open_nothing(*_: object) -> None:
        opened.release()
        raise SourceError("camera:///dev/null", "cannot be opened")

    monkeypatch.setattr(CameraPort, "_open_with", open_nothing)
    ports.append(Listener("camera:///dev/null?format=v4l2", video()))
    plug_in(tmp_path, "Chest", "A1")
    port = ports[0].listen()
    assert opened.acquire(timeout=WAIT_S)
    port.close()
    shutil.rmtree(tmp_path / "sys/devices")
    plug_in(tmp_path, "Living room", "B2")
    port.listen()
    port.reason(
        "/dev/null is another camera now (Living room, 046d:0825:00:B2): "
        "plug in the first one (Chest, 046d:0825:00:A1), or start again"
    )
    port.close()
    assert not opened.acquire(blocking=False)
    shutil.rmtree(tmp_path / "sys/devices")
    plug_in(tmp_path, "Chest", "A1", socket="1-1.4")
    port.listen()
    assert opened.acquire(timeout=WAIT_S)


def test_a_camera_that_gives_nothing_is_opened_anew(ports: list[Listener], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "SILENT_S", 0.05)
    monkeypatch.setattr(camera, "SILENT_FRAMES", 0.05)
    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=1", video()).listen())
    ports[0].frames(1)
    ports[0].reason("no picture for")
    ports[0].frames(1)


def test_closing_is_prompt_and_twice_is_fine(ports: list[Listener]) -> None:
    ports.append(Listener("camera://lavfi/testsrc=size=64x48:rate=1/20", video()).listen())
    ports[0].frames(1)
    began = time.monotonic()
    ports[0].close()
    ports[0].close()
    assert time.monotonic() - began < 2


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match="pip install av"):
        CameraPort(parse_url("camera:///dev/video0"), video(), allow_video=True)
