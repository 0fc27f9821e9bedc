"""Finding what is plugged in: real ptys, a fake sysfs, a virtual microphone, and everything that goes wrong there."""

from __future__ import annotations

import ctypes.util
import errno
import importlib.util
import os
import sys
import termios
import threading
import time
import tty
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from mmg.errors import SourceError, pip_install
from mmg.sources.ports.discovery import Found, choose, find_devices
from mmg.sources.ports.microphone.device import Microphone
from mmg.sources.ports.microphone.lookout import Sight
from mmg.sources.ports.serial.opening import open_serial
from mmg.sources.ports.serial.usb import UsbIdentity, find_usb
from mmg.sources.protocols import PROTOCOLS, encode_sample
from mmg.sources.protocols.witmotion import encode_frame
from mmg.sources.url import parse_url
from mmg_tools.virtual.microphone import AlsaMicrophone
from mmg_tools.virtual.serial_device import VirtualSerial
from ports.iio_tree import IioTree, stamped, triple
from ports.usb_tree import UsbTree

serial = pytest.importorskip("serial", reason="pip install -e '.[serial]'")
list_ports = importlib.import_module("serial.tools.list_ports")

STILL = np.array([[0.1, 0.2, 9.8, 0.01, 0.02, 0.03]], np.float32)
GARBAGE = np.random.default_rng(7).integers(128, 256, 4096).astype(np.uint8).tobytes()
TICK_S = 0.01
MakePty: TypeAlias = Callable[[Callable[[int], bytes]], "ScriptedPty"]


class ScriptedPty:
    """A serial port on which a script says what comes, a hundred times a second while somebody has it open."""

    def __init__(self, script: Callable[[int], bytes]) -> None:
        """script: from the baud rate that the reader has set (termios' code) to the next bytes."""
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave, self._script = slave, script
        os.set_blocking(self._master, False)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def received(self) -> bytes:
        """What was written to the device."""
        try:
            return os.read(self._master, 4096)
        except BlockingIOError:
            return b""

    def hang_up(self) -> None:
        """Unplug it; to be called by the script."""
        self._closing.set()
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._slave)
        if self._master >= 0:
            os.close(self._master)

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._closing.wait(max(due_s - time.monotonic(), 0)):
            due_s += TICK_S
            data = self._script(termios.tcgetattr(self._master)[5])
            if self._master >= 0:
                try:
                    os.write(self._master, data)
                except BlockingIOError:
                    termios.tcflush(self._slave, termios.TCIFLUSH)  # nobody reads


@pytest.fixture(autouse=True)
def this_machine_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port of the machine that runs the tests is opened."""
    monkeypatch.setattr(list_ports, "comports", list)
    monkeypatch.delenv("MMG_SERIAL", raising=False)


@pytest.fixture
def make_pty() -> Iterator[MakePty]:
    made: list[ScriptedPty] = []

    def make(script: Callable[[int], bytes]) -> ScriptedPty:
        made.append(ScriptedPty(script))
        return made[-1]

    yield make
    for pty in made:
        pty.close()


def imus(*paths: str, seconds: float = 0.5, root: Path = Path("/nowhere")) -> list[Found]:
    return find_devices(kinds=("imu",), serial_paths=paths, seconds=seconds, root=root)


class Script:
    """Speaks a protocol with a clock of its own choice, ``samples`` in each tick."""

    def __init__(self, protocol: str, sample: list[float], *, period_ns: int = 10_000_000) -> None:
        self._protocol, self._sample, self._period_ns, self._number = protocol, sample, period_ns, 0

    def __call__(self, _baud: int) -> bytes:
        self._number += 1
        return encode_sample(self._protocol, self._sample, self._number, self._number * self._period_ns)


def test_each_protocol_is_told_with_its_rate_and_its_gyro_all_ports_at_once(tmp_path: Path) -> None:
    devices = [VirtualSerial(tmp_path / name, STILL, name, loop=True) for name in PROTOCOLS]
    for device in devices:
        device.plug()
    notes: list[str] = []
    began_s = time.monotonic()
    found = find_devices(
        kinds=("imu",), serial_paths=[str(device.link) for device in devices], root=tmp_path, report=notes.append
    )
    took_s = time.monotonic() - began_s
    for device in devices:
        device.close()

    assert took_s < 3
    assert notes == ["listening on 6 serial ports for up to 3 s ..."]
    assert [one.problem for one in found] == [""] * 6
    for name, one in zip(PROTOCOLS, found, strict=True):
        gyro = "no gyro" if name == "bno08x" else "with gyro"
        assert one.url == f"serial://{tmp_path}/{name}?protocol={name}&baud=115200"
        assert one.detail == f"{name} at 115200 baud, {gyro}"
        assert one.has_gyro == (name != "bno08x")
        assert one.rate_hz == pytest.approx(100, rel=0.1)
        assert parse_url(one.url).path == str(tmp_path / name)


def test_the_rate_is_by_the_devices_clock_where_it_has_one(make_pty: MakePty) -> None:
    pty = make_pty(Script("xsens", STILL[0].tolist(), period_ns=8_000_000))
    [found] = imus(pty.path)
    assert found.rate_hz == pytest.approx(125)


def test_the_rate_is_by_arrival_where_the_devices_clock_cannot_tell_it(make_pty: MakePty) -> None:
    """A clock of whole seconds, and one in another unit than was said."""
    for period_ns in (0, 10_000):
        [found] = imus(make_pty(Script("text", STILL[0].tolist(), period_ns=period_ns)).path)
        assert found.rate_hz == pytest.approx(100, rel=0.2)


def test_a_device_at_another_baud_rate_is_understood_at_its_own(make_pty: MakePty) -> None:
    speak = Script("witmotion", STILL[0].tolist())
    pty = make_pty(lambda baud: speak(baud) if baud == termios.B921600 else GARBAGE[:20])
    [found] = imus(pty.path, seconds=2)
    assert found.url == f"serial://{pty.path}?protocol=witmotion&baud=921600"


def test_a_board_that_restarts_when_it_is_opened_is_waited_for(make_pty: MakePty) -> None:
    speak, began_s = Script("text", STILL[0].tolist()), time.monotonic()
    pty = make_pty(lambda baud: speak(baud) if time.monotonic() - began_s > 0.6 else b"")
    [found] = imus(pty.path, seconds=1)
    assert found.detail == "text at 115200 baud, with gyro"


def test_what_is_wrong_with_a_port_is_told_apart_and_nothing_is_written_to_any(
    make_pty: MakePty, tmp_path: Path
) -> None:
    silent, noisy, taken = make_pty(lambda _: b""), make_pty(lambda _: GARBAGE[:20]), make_pty(lambda _: b"")
    with serial.Serial(taken.path, exclusive=True):
        found = imus(silent.path, noisy.path, taken.path, str(tmp_path / "ttyUSB7"), seconds=1)
    assert [(one.url, one.problem) for one in found] == [
        (f"serial://{silent.path}", "silent for 1 s: is the device on, and its TX wired to this port's RX?"),
        (
            f"serial://{noisy.path}",
            "bytes but no protocol that mmg knows (tried 115200, 9600, 921600, 460800, 230400 baud)",
        ),
        (f"serial://{taken.path}", "in use by another program"),
        (f"serial://{tmp_path}/ttyUSB7", f"there is no such device as {tmp_path}/ttyUSB7"),
    ]
    assert [pty.received() for pty in (silent, noisy, taken)] == [b""] * 3
    assert choose(found, ["imu"]) == {}


def test_a_port_without_permission_says_what_to_do(make_pty: MakePty, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    [found] = imus(make_pty(lambda _: b"").path)
    assert found.problem == "no permission: sudo usermod -aG dialout $USER, then log in again"


def test_a_device_that_is_unplugged_meanwhile_is_told(make_pty: MakePty) -> None:
    ptys: list[ScriptedPty] = []
    speak = Script("witmotion", STILL[0].tolist())
    said = iter([b""] * 20)

    def script(baud: int) -> bytes:
        if next(said, None) is None:
            ptys[0].hang_up()
        return speak(baud)

    ptys.append(make_pty(script))
    [found] = imus(ptys[0].path)
    assert found.problem == "unplugged"


def test_a_port_whose_driver_hangs_does_not_hold_up_the_others(
    make_pty: MakePty, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    opened, good = serial.serial_for_url, make_pty(Script("witmotion", STILL[0].tolist()))
    hung = make_pty(lambda _: b"")

    def open_slowly(path: str, **settings: object) -> object:
        if path == hung.path:
            free.wait()
        return opened(path, **settings)

    monkeypatch.setattr(serial, "serial_for_url", open_slowly)
    monkeypatch.setattr("mmg.sources.ports.discovery.NO_ANSWER_S", 0.2)
    found = imus(good.path, hung.path)
    free.set()
    assert [one.problem for one in found] == ["", "its driver does not answer: unplug it and plug it in again"]


def test_a_device_that_sends_only_angles_is_named_at_its_baud_rate(make_pty: MakePty) -> None:
    angles = encode_frame(0x53, bytes(8))
    pty = make_pty(lambda baud: angles * 2 if baud == termios.B9600 else GARBAGE[:20])
    [found] = imus(pty.path, seconds=2)
    assert found.problem == (
        "witmotion at 9600 baud: valid frames, but none with acceleration: is that output switched on?"
    )


def test_lines_that_are_no_samples_are_told_with_one_of_them(make_pty: MakePty) -> None:
    [found] = imus(make_pty(lambda _: b"0.1,0.2,9.8\r\n").path, seconds=1)
    assert found.problem == (
        "text at 115200 baud: numbers without a header, such as '0.1,0.2,9.8': name them, such as columns=ax,ay,az"
    )


def test_a_usb_device_is_to_be_known_again_by_the_url_that_is_given(make_pty: MakePty, tmp_path: Path) -> None:
    tree = UsbTree(tmp_path)
    pty = make_pty(Script("witmotion", STILL[0].tolist()))
    path = tree.plug("ttyUSB0", "1-1.2", pty.path)
    [found] = imus(str(path), root=tmp_path)
    assert parse_url(found.url).options == {"protocol": "witmotion", "baud": "115200", "usb": "1a86:7523:00:@1-1.2"}
    assert find_usb(UsbIdentity.parse("1a86:7523:00:@1-1.2", ""), "/dev/ttyUSB9", tmp_path, "") == str(path)


def test_the_stable_name_is_preferred_and_no_port_is_listened_to_twice(
    make_pty: MakePty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pty = make_pty(Script("witmotion", STILL[0].tolist()))
    by_id = tmp_path / "dev/serial/by-id/usb-1a86_USB 100% Serial?-if00"
    by_id.parent.mkdir(parents=True)
    by_id.symlink_to(pty.path)
    info = port_info(pty.path, "USB Serial")
    monkeypatch.setattr(list_ports, "comports", lambda: [info])
    (tmp_path / "imu").symlink_to(pty.path)
    monkeypatch.setenv("MMG_SERIAL", f"{tmp_path}/none*:{tmp_path}/im?:{pty.path}:")
    [found] = imus(root=tmp_path)
    assert parse_url(found.url).path == str(by_id)
    assert parse_url(found.url).options == {"protocol": "witmotion", "baud": "115200"}
    assert found.device == f"USB Serial ({tmp_path}/imu)"


def port_info(device: str, product: str | None) -> object:
    info = importlib.import_module("serial.tools.list_ports_common").ListPortInfo(device)
    info.product = product
    return info


def test_the_systems_consoles_and_ports_without_hardware_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminals = tmp_path / "sys/class/tty"
    for name, kind in (("ttyS0", "4"), ("ttyS1", "0"), ("ttyS2", "4")):
        (terminals / name).mkdir(parents=True)
        (terminals / name / "type").write_text(f"{kind}\n")
    (terminals / "console").mkdir()
    (terminals / "console/active").write_text("tty0 ttyS0\n")
    infos = [port_info(str(tmp_path / name), None) for name in ("ttyS0", "ttyS1", "ttyS2")]
    monkeypatch.setattr(list_ports, "comports", lambda: infos)
    assert [one.device for one in imus(root=tmp_path)] == [str(tmp_path / "ttyS2")]


def test_a_path_of_the_environment_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMG_SERIAL", str(tmp_path / "ttyAMA0"))
    [found] = imus()
    assert found.device == str(tmp_path / "ttyAMA0")
    assert found.problem.startswith("there is no such device")


def test_without_pyserial_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    problem = f"pyserial is not installed: {pip_install('pyserial')}"
    assert imus() == [Found("imu", "", "serial ports", problem=problem)]


def test_another_module_in_pyserials_place_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("serial")
    other.__spec__, other.__file__ = ModuleSpec("serial", None), "/somewhere/serial/__init__.py"
    monkeypatch.setitem(sys.modules, "serial", other)
    problem = "another module called serial is in pyserial's place, /somewhere/serial/__init__.py: "
    [found] = imus()
    assert (found.url, found.device) == ("", "serial ports")
    assert found.problem.startswith(problem)
    assert found.problem.endswith(pip_install("--force-reinstall", "pyserial"))
    with pytest.raises(SourceError) as caught:
        open_serial("/dev/ttyUSB0", 9600, "serial:///dev/ttyUSB0")
    assert str(caught.value) == f"serial:///dev/ttyUSB0: {found.problem}"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[IioTree]:
    """Chips below ``tmp_path / sys`` and ``tmp_path / dev``."""
    tree = IioTree(tmp_path)
    (tmp_path / "sys/bus/iio").mkdir(parents=True)
    (tmp_path / "sys/bus/iio/devices").symlink_to(tree.sysfs)
    yield tree
    tree.close()


def test_chips_are_found_and_the_halves_of_one_are_one(tree: IioTree, tmp_path: Path) -> None:
    tree.add("bmi160", stamped(triple("accel"), triple("anglvel")), {"in_accel_sampling_frequency": "100.0"})
    tree.add("lsm6dsox_accel", stamped(triple("accel")), {"in_accel_sampling_frequency": "104"})
    tree.add("lsm6dsox_gyro", stamped(triple("anglvel")), {"in_anglvel_sampling_frequency": "104"})
    tree.add("adxl345", stamped(triple("accel")))
    tree.add("mma8452", {}, {"in_accel_x_raw": "1"})
    tree.add("bmp280", {}, {"in_pressure_raw": "1"})
    assert imus(root=tmp_path) == [
        Found("imu", "iio://bmi160", "bmi160", "iio:device0, with gyro", 100.0, True),
        Found("imu", "iio://lsm6dsox", "lsm6dsox", "iio:device1 and iio:device2, with gyro", 104.0, True),
        Found("imu", "iio://adxl345", "adxl345", "iio:device3, no gyro"),
        Found(
            "imu",
            "iio://mma8452",
            "mma8452",
            "iio:device4, no gyro",
            problem="has no buffer: the device tree gives the chip no interrupt, or the driver none",
        ),
    ]


def test_a_chip_without_permission_is_a_problem(tree: IioTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add("bmi160", stamped(triple("accel")))
    monkeypatch.setattr(os, "access", lambda path, _: "buffer" not in str(path))
    [found] = imus(root=tmp_path)
    assert found.problem.startswith(f"no permission for {tmp_path}/sys/bus/iio/devices/iio:device0/buffer/enable: run")


def test_cameras_are_told_by_their_names_without_metadata_nodes_and_codecs(tmp_path: Path) -> None:
    for number, index, name in (
        (10, 0, "bcm2835-codec-decode"),
        (2, 0, "Wrist Cam: Wrist Cam"),
        (1, 1, "HD Webcam"),
        (0, 0, "HD Webcam"),
    ):
        folder = tmp_path / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{index}\n")
    found = find_devices(kinds=("video",), root=tmp_path)
    assert found == [
        Found("video", "camera:///dev/video0", "HD Webcam"),
        Found("video", "camera:///dev/video2", "Wrist Cam: Wrist Cam"),
    ]
    assert choose(found, ["imu", "audio"]) == {}
    assert choose(found, ["video"]) == {"video": found[0]}


def test_a_machine_without_cameras_chips_and_ports_has_none(tmp_path: Path) -> None:
    assert find_devices(kinds=("imu", "video", "ppg"), root=tmp_path) == []


needs_portaudio = pytest.mark.skipif(
    importlib.util.find_spec("sounddevice") is None or ctypes.util.find_library("portaudio") is None,
    reason="pip install -e '.[audio]', sudo apt-get install libportaudio2",
)


@needs_portaudio
def test_a_microphone_is_listed_the_default_one_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = AlsaMicrophone(tmp_path, np.zeros(16000, np.int16))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    assert find_devices(kinds=("audio",)) == []
    device.plug()
    found = find_devices(kinds=("audio",))
    device.close()
    assert [(one.url, one.device, one.rate_hz, one.problem) for one in found] == [
        ("mic://default", "default", 16000, ""),
        ("mic://wrist_mic", "wrist_mic", 16000, ""),
    ]
    assert choose(found, ["audio"]) == {"audio": found[0]}


@needs_portaudio
@pytest.mark.parametrize("name", ["USB Audio: -", "50% mic?", "a&b=c#d", "mikrofon żółty", "mic\udcff", " mic ", "a/b"])
def test_a_microphones_name_comes_back_from_its_url(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = listed(monkeypatch, (3, name))
    assert found.url.isascii()
    assert parse_url(found.url).path == name
    assert parse_url(found.url).options == {}


@needs_portaudio
def test_microphones_that_no_name_tells_apart_have_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed(monkeypatch, (1, "twin"), (2, "twin"), (3, "7"), (4, "default"), (5, ""))
    assert [one.url for one in found] == [f"mic://{number}" for number in range(1, 6)]


def test_the_number_of_a_card_goes_into_a_url_only_where_its_name_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = listed(monkeypatch, (1, "twin (hw:1,0)"), (2, "twin (hw:2,0)"), (3, "alone (hw:3,0)"), (4, "7 (hw:4,0)"))
    assert [parse_url(one.url).path for one in found] == ["twin (hw:1,0)", "twin (hw:2,0)", "alone", "7 (hw:4,0)"]


def listed(monkeypatch: pytest.MonkeyPatch, *devices: tuple[int, str]) -> list[Found]:
    """What is found where PortAudio lists these, none of them its default."""
    there = [Microphone(number, name, 2, 48000.0) for number, name in devices]
    monkeypatch.setattr("mmg.sources.ports.microphone.port.list_microphones", lambda: Sight(there, None))
    return find_devices(kinds=("audio",))


def test_without_sounddevice_the_extra_is_named_for_microphones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    problem = f"sounddevice is not installed: {pip_install('soundfile', 'soxr', 'sounddevice')}"
    assert find_devices(kinds=("audio",)) == [Found("audio", "", "microphones", problem=problem)]


SERIAL = Found("imu", "serial:///dev/ttyUSB0?protocol=xsens&baud=115200", "", "", 100.0, has_gyro=True)
NO_GYRO = Found("imu", "serial:///dev/ttyUSB1?protocol=bno08x&baud=115200", "", "", 100.0)
CHIP = Found("imu", "iio://bmi160", "", has_gyro=True)
BROKEN = Found("imu", "serial:///dev/ttyUSB2", "", has_gyro=True, problem="silent")


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ([NO_GYRO, CHIP, SERIAL], SERIAL),
        ([NO_GYRO, CHIP], CHIP),
        ([BROKEN, NO_GYRO], NO_GYRO),
    ],
)
def test_the_imu_that_is_chosen(found: list[Found], taken: Found) -> None:
    assert choose(found, ["imu", "audio"]) == {"imu": taken}


def test_the_microphone_that_is_chosen() -> None:
    first, second = Found("audio", "mic://first", ""), Found("audio", "mic://second", "")
    assert choose([first, second], ["audio"]) == {"audio": first}
    default = Found("audio", "mic://default", "")
    assert choose([first, default], ["audio"]) == {"audio": default}
