"""What the kernel is told to close: the filter of system calls, read as the kernel reads it, and who closes what."""

from __future__ import annotations

import argparse
import errno
import socket
import struct
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from mmg.cli.privacy import uses_of
from mmg.cli.run import build_parser
from mmg.errors import ConfigError
from mmg.privacy import Closed, Uses, _things, ask
from mmg.privacy.kernel import NUMBERS, Unavailable
from mmg.privacy.manager import closes_cameras
from mmg.privacy.namespace import ACCELERATORS
from mmg.privacy.seccomp import AUDIT_ARCH, NEVER, USB_REQUESTS, filter_of

ALLOWED, REFUSED, NO_SUCH_CALL = 0, errno.EPERM, errno.ENOSYS
QUERYCAP, MEDIA_INFO, HW_PARAMS, CARD_INFO, TTY_GET, SERIAL_LOW_LATENCY = (
    0x80685600,
    0xC1007C00,
    0xC2604111,
    0x81785501,
    0x5401,
    0x541F,
)
VI_CAPTURE_SETUP = 0x40604901
"""Of a Jetson's capture-vi-channel, whatever the size of what it takes."""
PROCESSORS = sorted(NUMBERS)


def answer(program: bytes, number: int, *arguments: int, arch: int) -> int:
    """Of the kernel to a call, 0 where it is let through: classic BPF, as net/core/filter.c runs it."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, arch, 0, *(value & (1 << 64) - 1 for value in padded))
    at, accumulator = 0, 0
    while True:
        code, true, false, k = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x15:
            at += true if accumulator == k else false
        elif code == 0x35:
            at += true if accumulator >= k else false
        elif code == 0x45:
            at += true if accumulator & k else false
        elif code == 0x54:
            accumulator &= k
        elif code == 0x74:
            accumulator >>= k
        else:
            assert code == 0x06
            return 0 if k == 0x7FFF0000 else k & 0xFFFF


class Filter:
    def __init__(self, uses: Uses, processor: str) -> None:
        self.program, self.numbers, self.arch = filter_of(uses, processor), NUMBERS[processor], AUDIT_ARCH[processor]

    def __call__(self, name: str | int, *arguments: int) -> int:
        number = self.numbers[name] if isinstance(name, str) else name
        return answer(self.program, number, *arguments, arch=self.arch)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_camera_is_asked_nothing_and_a_terminal_everything(processor: str) -> None:
    ask = Filter(Uses(), processor)
    for request in (QUERYCAP, MEDIA_INFO, 0xC4 << 8, 0x2300, VI_CAPTURE_SETUP, *USB_REQUESTS):
        assert ask("ioctl", 5, request) == REFUSED
        assert ask("ioctl", 5, request | 7 << 32) == REFUSED  # the kernel drops the upper half
    assert ask("ioctl", 5, TTY_GET) == ask("ioctl", 5, SERIAL_LOW_LATENCY) == ALLOWED
    assert Filter(Uses(camera=True, sound=True), processor)("ioctl", 5, QUERYCAP) == ALLOWED


def test_each_form_of_a_request_to_a_usb_device_is_refused() -> None:
    sizes = {0: (24, 16), 2: (24, 16), 10: (56, 42), 18: (16, 12)}  # linux/usbdevice_fs.h: for 64 bits, and for 32
    directions = {10: 2}
    asked = {
        directions.get(number, 3) << 30 | size << 16 | ord("U") << 8 | number
        for number, both in sizes.items()
        for size in both
    }
    assert asked <= set(USB_REQUESTS)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_microphone_is_open_to_who_uses_one_and_a_usb_camera_is_not(processor: str) -> None:
    assert [Filter(Uses(), processor)("ioctl", 5, one) for one in (HW_PARAMS, CARD_INFO)] == [REFUSED, REFUSED]
    ask = Filter(Uses(sound=True), processor)
    assert [ask("ioctl", 5, one) for one in (HW_PARAMS, CARD_INFO)] == [ALLOWED, ALLOWED]
    assert [ask("ioctl", 5, one) for one in USB_REQUESTS] == [REFUSED] * len(USB_REQUESTS)
    assert ask("ioctl", 5, QUERYCAP) == REFUSED


@pytest.mark.parametrize("processor", PROCESSORS)
def test_without_a_microphone_no_pcm_is_set_up_and_a_jetsons_gpu_maps_its_memory(processor: str) -> None:
    ask = Filter(Uses(accelerator=True), processor)
    pcm = [
        number
        for first, last in ((0x10, 0x14), (0x20, 0x25), (0x30, 0x33), (0x40, 0x62))
        for number in range(first, last)
    ]
    assert {ask("ioctl", 5, 0xC2604100 | number) for number in pcm} == {REFUSED}
    assert {ask("ioctl", 5, 0xC0284100 | number) for number in range(1, 15)} == {ALLOWED}  # of nvgpu-as.h


@pytest.mark.parametrize("processor", PROCESSORS)
def test_sockets_are_those_that_are_used(processor: str) -> None:
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 17, 40)
    assert [Filter(Uses(), processor)("socket", one) for one in families] == [REFUSED] * 6
    assert [Filter(Uses(sound=True), processor)("socket", one) for one in families] == [ALLOWED, *[REFUSED] * 5]
    assert [Filter(Uses(daemons=True), processor)("socket", one) for one in families] == [ALLOWED, *[REFUSED] * 5]
    online = Filter(Uses(network=True), processor)
    assert [online("socket", one) for one in families] == [REFUSED] + [ALLOWED] * 3 + [REFUSED] * 2


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_pair_of_sockets_reaches_nobody_else(processor: str) -> None:
    ask = Filter(Uses(), processor)
    kinds = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    assert {ask("socketpair", socket.AF_UNIX, kind) for kind in kinds} == {ALLOWED}
    assert ask("socketpair", socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) == REFUSED


@pytest.mark.parametrize("processor", PROCESSORS)
def test_nothing_is_typed_into_a_terminal_whatever_is_used(processor: str) -> None:
    ask = Filter(Uses(camera=True, sound=True), processor)
    assert [ask("ioctl", 0, request) for request in (0x5412, 0x541C)] == [REFUSED] * 2


@pytest.mark.parametrize("processor", PROCESSORS)
def test_no_way_round_is_left_whatever_is_used(processor: str) -> None:
    ask = Filter(Uses(camera=True, sound=True, network=True, daemons=True, serial=True, sysfs=True), processor)
    assert {ask(name) for name in NEVER if name in ask.numbers} == {REFUSED}
    assert ask("clone3") == NO_SUCH_CALL
    assert ask("clone", 0x11) == ask("clone", 0x3D0F00) == ALLOWED  # a process and a thread, as glibc makes them
    assert ask("clone", 0x10000000 | 0x11) == REFUSED
    assert answer(ask.program, 0, arch=0x40000003) == REFUSED  # a 32-bit program has other numbers
    known = set(ask.numbers.values())
    assert {ask(number) for number in range(440) if number not in known} == {ALLOWED}


def test_the_other_set_of_calls_of_x86_is_closed_too() -> None:
    ask = Filter(Uses(), "x86_64")
    assert ask(0x40000000 | NUMBERS["x86_64"]["ioctl"], 5, TTY_GET) == REFUSED
    # Before Linux 5.4 these are its ioctl, ptrace and the rest without the bit that marks them.
    assert {ask(number, 5, QUERYCAP) for number in range(512, 548)} == {REFUSED}


def test_an_accelerators_nodes_are_none_of_a_cameras() -> None:
    def is_open(node: str) -> bool:
        return any(fnmatchcase(node, pattern) for pattern in ACCELERATORS)

    models = (
        *("nvhost-ctrl", "nvhost-ctrl-gpu", "nvhost-as-gpu", "nvhost-ctrl-nvdla0", "nvmap", "nvidia0"),
        *("nvgpu", "dri", "host1x-fence"),  # those of JetPack 6
    )
    cameras = (
        *("nvhost-vi", "nvhost-ctrl-vi", "nvhost-ctrl-vi0-thi", "nvhost-isp", "nvhost-ctrl-isp.1"),
        *("nvhost-ctrl-nvcsi", "capture-vi-channel0", "tegra_camera_ctrl", "video0", "media0"),
    )
    assert [node for node in (*models, *cameras) if is_open(node)] == list(models)


def test_of_another_processor_it_says_so() -> None:
    with pytest.raises(Unavailable, match="64-bit x86 and ARM only"):
        filter_of(Uses(), "riscv64")


def test_each_processor_has_a_number_for_each_call() -> None:
    on_x86_alone = {"mknod", "iopl", "ioperm"}
    assert set(NUMBERS["x86_64"]) - set(NUMBERS["aarch64"]) == on_x86_alone
    for numbers in NUMBERS.values():
        assert len(set(numbers.values())) == len(numbers)


def options(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(words)


KINDS = {"imu": "signal", "audio": "audio", "video": "video", "glasses": "video"}


def uses(urls: dict[str, str], *words: str) -> Uses:
    return uses_of(options(*words), urls, KINDS)


def test_a_run_uses_what_its_urls_name() -> None:
    assert uses({"imu": "walk.csv", "audio": "walk.wav"}) == Uses()
    imu = uses({"imu": "serial:///dev/ttyUSB0"})
    assert (imu.serial, imu.sound, imu.network, imu.camera) == (True, False, False, False)
    sound = uses({"audio": "mic://default"})
    assert (sound.serial, sound.sound) == (False, True)
    looked_for = uses({"imu": "", "audio": ""})
    assert (looked_for.serial, looked_for.sound, looked_for.network) == (True, True, False)
    far = uses({"imu": "serial://socket://wrist.lan:7000"})
    assert (far.network, far.daemons, far.serial) == (True, False, False)
    assert uses({"imu": "serial://socket://wrist.local:7000"}).daemons  # who knows such names is asked over a socket
    assert uses({"imu": "iio://lsm6dsx"}).sysfs


@pytest.mark.parametrize("name", ["video", "glasses"])
def test_only_a_cameras_node_is_a_camera(name: str) -> None:
    assert uses({name: "camera:///dev/video0"}).camera
    assert not uses({name: "camera://lavfi/testsrc=size=320x240:rate=10"}).camera
    assert not uses({name: "film.mp4"}).camera


def test_other_programs_terminals_stay_closed_to_a_port_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not uses({"imu": "serial:///dev/ttyUSB0"}).terminals
    assert not uses({"imu": ""}).terminals
    assert uses({"imu": "serial:///dev/pts/7"}).terminals
    assert uses({"imu": f"serial://{tmp_path}/a-link"}).terminals
    monkeypatch.setenv("MMG_SERIAL", f"{tmp_path}/a-link")
    assert uses({"imu": ""}).terminals
    assert not uses({"audio": ""}).terminals


def test_it_writes_where_the_flags_say(tmp_path: Path) -> None:
    urls = {"imu": "walk.csv"}
    assert uses(urls).writes == ()
    assert uses(urls, "--record", str(tmp_path / "day.mcap")).writes == (tmp_path,)
    assert uses(urls, "--record", str(tmp_path)).writes == (tmp_path,)
    assert uses(urls, "--to", f"jsonl:{tmp_path}/day.jsonl").writes == (tmp_path / "day.jsonl",)
    assert (tmp_path / "day.jsonl").read_text() == ""  # it alone can be let in, and not the folder with it
    assert uses(urls, "--record", str(tmp_path / "new/day.mcap")).writes == (tmp_path,)
    assert uses(urls, "--taught", str(tmp_path / "mine.taught")).writes == (tmp_path,)
    assert uses(urls, "--to", "jsonl:/dev/full").writes == (Path("/dev/full"),)


def test_a_sink_on_the_network_opens_it(tmp_path: Path) -> None:
    urls = {"imu": "walk.csv"}
    assert not uses(urls, "--to", f"jsonl:{tmp_path}/day.jsonl").network
    assert uses(urls, "--to", "mqtt://localhost/wrist").network
    assert uses(urls, "--page").network
    with pytest.raises(ConfigError, match="names no sink"):
        uses(urls, "--to", "ftp://somewhere")


def test_the_state_of_the_camera_is_told_in_three_words() -> None:
    closed = Closed(("namespace", "landlock", "seccomp"), {}, ("cameras", "network"), ("open: EPERM",))
    assert closed.camera == {"state": "closed", "by": ["namespace", "seccomp"]}
    assert Closed(("landlock",), {"seccomp": "left out"}).camera == {"state": "off", "by": []}
    assert Closed(("seccomp",), {}, uses_camera=True).camera == {"state": "open", "by": []}


@pytest.mark.parametrize(
    ("uses", "by", "is_closed"),
    [
        (Uses(), {"seccomp"}, True),
        (Uses(daemons=True), {"seccomp"}, False),  # a sound server's socket can be reached
        (Uses(daemons=True), {"namespace"}, True),
        (Uses(daemons=True, camera=True), {"namespace"}, False),
        (Uses(daemons=True, camera=True), {"namespace", "seccomp"}, True),
        (Uses(sound=True), {"namespace", "seccomp"}, False),
        (Uses(), {"landlock"}, False),
    ],
)
def test_microphones_are_closed_where_neither_a_device_nor_a_server_is_left(
    uses: Uses, by: set[str], is_closed: bool
) -> None:
    assert ("microphones" in _things(uses, by, (), is_cut=False)) is is_closed


def test_a_filter_alone_closes_no_camera_that_gives_pictures_without_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is no camera's has no driver; a USB camera's and a Raspberry Pi's codecs' give none."""
    nodes, drivers = tmp_path / "dev", tmp_path / "sys/class/video4linux"
    nodes.mkdir()
    codecs = ("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc-dec", "pispbe")
    cameras = ("", "uvcvideo", "bcm2835-v4l2")
    for name, driver in ((f"video{number}", driver) for number, driver in enumerate((*cameras, *codecs))):
        (nodes / name).touch()
        if driver:
            (tmp_path / "drivers" / driver).mkdir(parents=True)
            (drivers / name / "device").mkdir(parents=True)
            (drivers / name / "device/driver").symlink_to(tmp_path / "drivers" / driver)
    monkeypatch.setattr(ask, "DEVICES", nodes)
    monkeypatch.setattr(ask, "DRIVERS", drivers)
    [plain] = ask.plain_reads()
    assert str(plain) == f"a plain read of {nodes}/video2: nothing refuses it"
    refused = ask.Answer("VIDIOC_QUERYCAP of /dev/null", "EPERM", is_refusal=True)
    assert "cameras" in _things(Uses(), {"seccomp"}, (refused,), is_cut=False)
    assert "cameras" not in _things(Uses(), {"seccomp"}, (refused, plain), is_cut=False)
    assert "microphones" in _things(Uses(), {"seccomp"}, (), is_cut=False)
    (nodes / "dsp").touch()  # OSS's
    assert "microphones" not in _things(Uses(), {"seccomp"}, (), is_cut=False)
    assert "microphones" in _things(Uses(), {"namespace"}, (), is_cut=False)


DEVICES = """\
Character devices:
  1 mem
  5 /dev/tty
  5 /dev/ptmx
 81 video4linux
116 alsa
136 pts
189 usb_device
506 nvhost-vi

Block devices:
511 iio
"""
"""A USB camera may be spoken to as a USB device, and a Jetson's has nodes of its own; of the last nothing is known."""


@pytest.mark.parametrize(
    ("allowed", "is_closed"),
    [
        ("a *:* rwm\n", False),
        ("c 81:* rw\nc 1:3 rw\n", False),
        ("c *:* m\nc 1:3 rw\n", False),
        ("c 1:3 rwm\nc 5:2 rwm\nc 136:* rw\nc 116:* rw\nb 81:* rw\n", True),
        ("", True),
        ("c 1:3 rwm\nc 189:* rw\n", False),
        ("c 1:3 rwm\nc 506:0 rw\n", False),
        ("c 1:3 rwm\nc 511:* rw\n", False),
    ],
)
def test_a_policy_of_the_first_cgroups_is_read(allowed: str, is_closed: bool, tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/devices").write_text(DEVICES)
    (tmp_path / "proc/self/cgroup").write_text("9:cpu:/\n8:devices:/system.slice/wrist.service\n0::/x\n")
    group = tmp_path / "sys/fs/cgroup/devices/system.slice/wrist.service"
    group.mkdir(parents=True)
    (group / "devices.list").write_text(allowed)
    assert closes_cameras(tmp_path) is is_closed


def systemctl(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the second cgroups, whose systemd says this of the unit."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text("0::/system.slice/wrist.service\n")
    tool = folder / "systemctl"
    tool.write_text(f'#!/bin/sh\n[ "$3" = wrist.service ] && printf "%b" "{text}"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("INVOCATION_ID", "made")
    return folder


@pytest.mark.parametrize(
    ("text", "is_closed"),
    [
        (r"DevicePolicy=closed\nDeviceAllow=char-ttyUSB rw\n", True),
        (r"DevicePolicy=strict\n", True),
        (r"DevicePolicy=auto\n", False),
        (r"DevicePolicy=closed\nDeviceAllow=char-video4linux rw\n", False),
        (r"DevicePolicy=closed\nDeviceAllow=/dev/video0 rw\n", False),
        (r"DevicePolicy=closed\nDeviceAllow=/dev/v4l/by-path/usb-0 rw\n", False),
        (r"DevicePolicy=closed\nDeviceAllow=/dev/char/81:0 rw\nDeviceAllow=char-alsa rw\n", False),
        (r"DevicePolicy=closed\nDeviceAllow=char-v* rw\n", False),
        ("", False),
    ],
)
def test_of_the_second_cgroups_systemd_is_asked(
    text: str, is_closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closes_cameras(systemctl(tmp_path, text, monkeypatch)) is is_closed


def test_a_program_that_systemd_did_not_start_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = systemctl(tmp_path, r"DevicePolicy=closed\n", monkeypatch)
    monkeypatch.delenv("INVOCATION_ID")
    assert not closes_cameras(root)
