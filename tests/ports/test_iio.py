"""IMU chips through the kernel, on a fake sysfs tree and FIFOs: scans, units, times, coming and going."""

from __future__ import annotations

import errno
import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import ConfigError, SourceError, SourceLost, SourceNotFound
from mmg.sources.ports.iio import port as iio
from mmg.sources.ports.iio.device import Element, IioDevice, ScanLayout, choose_rate, explain
from mmg.sources.ports.iio.mounting import plan_mounting
from mmg.sources.ports.iio.port import IioPort, find_devices, list_iio
from mmg.sources.ports.port import PortStatus
from mmg.sources.url import parse_url
from mmg.streams.grid import HopGrid
from mmg.types import Chunk
from ports.iio_tree import MONOTONIC, Chip, IioTree, stamped, triple

WAIT_S = 10
MS = 1_000_000
SCALES = {"in_accel_scale": "0.01", "in_anglvel_scale": "0.001"}
SIX = stamped(triple("accel"), triple("anglvel"))
ENCODER = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="samples", shape=(1, 25, 6)),
    output=Tensor(name="tokens", shape=(1, 1, 4)),
    files=(),
)
ACCELERATIONS = tuple(Channel(name=f"a{axis}", unit="m/s^2") for axis in "xyz")


def imu(*, gyro: bool = True, optional: bool = False, hz: float = 50) -> Modality:
    rates = tuple(Channel(name=f"g{axis}", unit="rad/s", optional=optional) for axis in "xyz")
    channels = ACCELERATIONS + rates if gyro else ACCELERATIONS
    return Modality(name="imu", kind="signal", rate_hz=hz, channels=channels, encoder=ENCODER)


class Listener(IioPort):
    """A port that also keeps every status and every chunk in a queue, to be waited for."""

    def __init__(self, url: str, modality: Modality) -> None:
        self.statuses: queue.Queue[PortStatus] = queue.Queue()
        self.chunks: queue.Queue[Chunk] = queue.Queue()
        super().__init__(parse_url(url), modality)

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

    def samples(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The next ``count`` samples, or more where the last chunk had more, and their times."""
        got: list[Chunk] = []
        while sum(len(chunk.times_ns) for chunk in got) < count:
            got.append(self.chunks.get(timeout=WAIT_S))
        return np.concatenate([c.samples for c in got]), np.concatenate([c.times_ns for c in got])

    def reason(self, words: str) -> PortStatus:
        """The next status whose reason has these words; the empty ones are passed over."""
        while words not in (status := self.statuses.get(timeout=WAIT_S)).reason:
            pass
        return status

    def connected(self) -> PortStatus:
        """The next status of a device that was opened: its buffer runs."""
        while not (status := self.statuses.get(timeout=WAIT_S)).connected:
            pass
        return status


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[IioTree]:
    tree = IioTree(tmp_path)
    yield tree
    tree.close()


@pytest.fixture
def ports() -> Iterator[list[Listener]]:
    ports: list[Listener] = []
    yield ports
    for port in ports:
        port.close()


def six(chip: Chip, value: int, time_ns: int) -> bytes:
    """A scan that holds value, value + 1, ... and this time."""
    raw = {name: value + index for index, name in enumerate(list(SIX)[:6])}
    return chip.scan(**raw, timestamp=time_ns)


# --- scans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("le:s16/16>>0", b"\xfe\xff", -2),
        ("be:s16/16>>0", b"\x80\x00", -32768),
        ("le:u16/16>>0", b"\xfe\xff", 65534),
        ("le:s12/16>>4", b"\xf7\xff", -1),
        ("le:s12/16>>4", b"\x0f\x80", -2048),
        ("be:u12/16>>0", b"\xf1\x23", 0x123),
        ("le:s8/8>>0", b"\x81", -127),
        ("be:s24/32>>8", b"\xff\xff\xfe\x55", -2),
        ("le:s20/32>>12", b"\xff\x0f\x00\x80", -524288),
        ("be:s64/64>>0", b"\x80" + bytes(7), -(2**63)),
    ],
)
def test_a_word_is_cut_shifted_and_signed_as_its_type_says(kind: str, word: bytes, value: int) -> None:
    element = Element.parse("accel_x", "0", kind)
    assert ScanLayout([element]).decode(word)["accel_x"].tolist() == [value]


@pytest.mark.parametrize("kind", ["", "le:s16", "xe:s16/16>>0", "le:f32/32>>0", "le:s16/16X4>>0", "le:s16/16>>1"])
def test_a_type_that_cannot_be_read_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="type"):
        Element.parse("accel_x", "0", kind)


def test_elements_lie_in_the_order_of_their_index_each_aligned_to_its_size() -> None:
    kinds = {"c": (5, "be:s32/32"), "a": (0, "le:s8/8"), "b": (2, "le:s16/16"), "d": (9, "le:u8/8")}
    layout = ScanLayout([Element.parse(name, str(index), kind) for name, (index, kind) in kinds.items()])
    scan = b"\x01\xaa\x02\x00\x00\x00\x00\x03\x04\xaa\xaa\xaa"
    assert layout.scan_bytes == 12
    assert {name: raw.tolist() for name, raw in layout.decode(scan * 2).items()} == {
        "a": [1, 1],
        "b": [2, 2],
        "c": [3, 3],
        "d": [4, 4],
    }


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, int]]]:
    kinds, values = {}, {}
    for number in range(draw(st.integers(1, 8))):
        storage = draw(st.sampled_from((8, 16, 32, 64)))
        bits = draw(st.integers(1, storage))
        sign = draw(st.sampled_from("su"))
        order = draw(st.sampled_from("bl"))
        kinds[f"e{number}"] = f"{order}e:{sign}{bits}/{storage}>>{draw(st.integers(0, storage - bits))}"
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "s" else (0, min((1 << bits), 1 << 63) - 1)
        values[f"e{number}"] = st.integers(low, high)
    return kinds, draw(st.lists(st.fixed_dictionaries(values), max_size=5))


@given(layouts())
@settings(max_examples=times(100), derandomize=True, deadline=None)
def test_whatever_a_driver_packs_is_read_back(made: tuple[dict[str, str], list[dict[str, int]]]) -> None:
    kinds, rows = made
    chip = Chip(Path(), Path(), kinds)
    layout = ScanLayout([Element.parse(name, str(index), kind) for index, (name, kind) in enumerate(kinds.items())])
    raw = layout.decode(b"".join(chip.scan(**row) for row in rows))
    assert {name: column.tolist() for name, column in raw.items()} == {name: [r[name] for r in rows] for name in kinds}


def test_halves_that_were_given_on_are_let_go(tree: IioTree) -> None:
    chip = tree.add("imu", SIX, SCALES | MONOTONIC)
    mounting = plan_mounting(chip.folder, list(SIX)[:3], None, "iio://imu")
    device = IioDevice("iio://imu", chip.folder, chip.node, mounting.names)
    halves = [iio._Half(device, [0, 1, 2], mounting) for _ in range(2)]
    for read in range(50):
        for half in halves:
            half.times_ns = np.append(half.times_ns, np.arange(read * 10, read * 10 + 10) * 10_000_000)
            half.rows = np.concatenate((half.rows, np.full((10, 3), float(read))))
        assert len(iio._join(halves)[0]) == 10
    assert [len(half.times_ns) for half in halves] == [0, 1]  # the last one is needed to go on from


def test_scans_are_the_same_however_the_reads_cut_them(tree: IioTree) -> None:
    chip = tree.add("imu", SIX, SCALES | MONOTONIC)
    data = b"".join(six(chip, value, value) for value in range(20))
    for size in (1, 2, 3, 5, 7, 23, 24, 25, 47, 59):
        device = IioDevice("iio://imu", chip.folder, chip.node, list(SIX)[:6])
        device.start(50, None)
        read = []
        for start in range(0, len(data), size):
            chip.write(data[start : start + size])
            read.append(device.read())
        device.stop()
        np.testing.assert_allclose(np.concatenate([r.values for r in read])[:, 0], np.arange(20) * 0.01)
        stamps = [r.stamps_ns for r in read if r.stamps_ns is not None]
        np.testing.assert_array_equal(np.concatenate(stamps), np.arange(20))


# --- the port ------------------------------------------------------------------------------------------------------


def test_samples_come_in_si_units_stamped_by_the_kernel(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("bmi160", SIX, SCALES | MONOTONIC | {"in_accel_x_offset": "100", "in_accel_z_scale": "0.5"})
    ports.append(Listener(tree.url("bmi160"), imu()).listen())
    ports[0].connected()
    now = time.monotonic_ns()
    chip.write(six(chip, 10, now - 2 * MS) + six(chip, -20, now - MS))
    samples, times_ns = ports[0].samples(2)
    assert times_ns.tolist() == [now - 2 * MS, now - MS]
    assert samples.dtype == np.float32
    np.testing.assert_allclose(
        samples, [[1.1, 0.11, 6, 0.013, 0.014, 0.015], [0.8, -0.19, -9, -0.017, -0.016, -0.015]], rtol=1e-6
    )
    while (status := ports[0].statuses.get(timeout=WAIT_S)).reason:
        pass
    assert (status.connected, status.device) == (True, "bmi160 (iio:device0)")


@pytest.mark.parametrize(("buffer", "chunks"), [(1000, [2]), (4, [1, 1])], ids=["holds a hop", "holds 0.1 s"])
def test_what_is_wanted_at_a_hops_end_stays_in_the_buffer_until_then(
    tree: IioTree, ports: list[Listener], buffer: int, chunks: list[int]
) -> None:
    chip = tree.add("imu", SIX, SCALES | MONOTONIC)
    ports.append(Listener(tree.url("imu", buffer=buffer), imu()))
    ports[0].start(ports[0].chunks.put, HopGrid(time.monotonic_ns(), 3600 * 10**9))
    ports[0].connected()
    chip.write(six(chip, 1, time.monotonic_ns()))
    ports[0].samples(1)
    came = []
    for number in (2, 3):
        chip.write(six(chip, number, time.monotonic_ns()))
        if len(chunks) == 2:
            came.append(len(ports[0].samples(1)[1]))
    came = came or [len(ports[0].chunks.get(timeout=WAIT_S).times_ns)]
    assert came == chunks


def test_opening_sets_the_device_up_and_closing_stops_its_buffer(tree: IioTree, ports: list[Listener]) -> None:
    rates = {"sampling_frequency": "12.5", "sampling_frequency_available": "12.5 26 52 104"}
    chip = tree.add(
        "chip", stamped(triple("accel"), {"temp": "le:s16/16>>0"}), MONOTONIC | rates | {"buffer/watermark": "7"}
    )
    (chip.folder / "scan_elements/in_temp_en").write_text("1")
    (chip.folder / "buffer/enable").write_text("1")
    ports.append(Listener(tree.url("chip", buffer=64), imu(gyro=False)).listen())
    ports[0].connected()
    names = ("accel_x", "accel_y", "accel_z", "timestamp", "temp")
    assert [chip.says(f"scan_elements/in_{name}_en") for name in names] == ["1", "1", "1", "1", "0"]
    assert chip.says("current_timestamp_clock") == "monotonic"
    assert chip.says("sampling_frequency") == "52"
    assert [chip.says(f"buffer/{name}") for name in ("length", "watermark", "enable")] == ["64", "1", "1"]
    ports[0].close()
    ports[0].close()
    assert chip.says("buffer/enable") == "0"


def test_a_driver_without_a_trigger_gets_its_own(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("mpu6050", SIX, MONOTONIC | {"trigger/current_trigger": ""})
    for number, name in enumerate(("sysfstrig1", "mpu6050-dev0")):
        (tree.sysfs / f"trigger{number}").mkdir()
        (tree.sysfs / f"trigger{number}/name").write_text(f"{name}\n")
    ports.append(Listener(tree.url("mpu6050"), imu()).listen())
    ports[0].connected()
    assert chip.says("trigger/current_trigger") == "mpu6050-dev0"


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        ("12.5 26 52 104", 50, 52),
        ("104 52 26", 100, 104),
        ("10 25 49.8 100", 50, 49.8),
        ("1 10", 50, 10),
        ("[1 0.5 400]", 50, 50),
        ("[1 1 25]", 50, 25),
        ("", 50, 50),
        ("fast slow", 50, 50),
    ],
)
def test_the_lowest_rate_that_is_enough_is_chosen(offered: str, wanted: float, chosen: float) -> None:
    assert choose_rate(offered, wanted) == chosen


def test_a_missing_gyro_is_zeros_where_the_bundle_allows_it(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("adxl345", stamped(triple("accel")), SCALES | MONOTONIC)
    ports.append(Listener(tree.url("adxl345"), imu(optional=True)).listen())
    ports[0].connected()
    chip.write(chip.scan(accel_x=1, accel_y=2, accel_z=3, timestamp=time.monotonic_ns()))
    np.testing.assert_allclose(ports[0].samples(1)[0], [[0.01, 0.02, 0.03, 0, 0, 0]], rtol=1e-6)


def test_a_missing_gyro_is_told_where_the_bundle_needs_it(tree: IioTree, ports: list[Listener]) -> None:
    tree.add("adxl345", stamped(triple("accel")), MONOTONIC)
    ports.append(Listener(tree.url("adxl345"), imu()).listen())
    assert not ports[0].reason("does not give in_anglvel_x, which this bundle needs").connected


def test_a_model_in_degrees_gets_degrees(tree: IioTree, ports: list[Listener]) -> None:
    channels = (Channel(name="acc_z", unit="g"), Channel(name="gyro_x", unit="deg/s"))
    modality = Modality(name="imu", kind="signal", rate_hz=50, channels=channels, encoder=ENCODER)
    chip = tree.add("imu", SIX, {"in_accel_scale": "0.0980665", "in_anglvel_scale": "1"} | MONOTONIC)
    ports.append(Listener(tree.url("imu"), modality).listen())
    ports[0].connected()
    chip.write(chip.scan(accel_z=100, anglvel_x=1, timestamp=time.monotonic_ns()))
    np.testing.assert_allclose(ports[0].samples(1)[0], [[1.0, 57.29578]], rtol=1e-6)


@pytest.mark.parametrize("mark", ["_", "-"])
def test_the_gyro_of_a_chip_in_two_halves_is_taken_at_the_times_of_its_acceleration(
    tree: IioTree, ports: list[Listener], mark: str
) -> None:
    gyro = tree.add(f"chip{mark}gyro", stamped(triple("anglvel")), SCALES | MONOTONIC)
    accel = tree.add(f"chip{mark}accel", stamped(triple("accel")), SCALES | MONOTONIC)
    ports.append(Listener(tree.url("chip"), imu()).listen())
    ports[0].connected()
    now = time.monotonic_ns() - 400 * MS

    def write(accel_ms: range, gyro_ms: range) -> None:
        """Both hold, and are stamped with, the milliseconds since the start."""
        for at in accel_ms:
            accel.write(accel.scan(accel_x=at, accel_y=0, accel_z=0, timestamp=now + at * MS))
        for at in gyro_ms:
            gyro.write(gyro.scan(anglvel_x=at, anglvel_y=-at, anglvel_z=0, timestamp=now + at * MS))

    def check(*at_ms: int) -> None:
        samples, times_ns = ports[0].samples(len(at_ms))
        np.testing.assert_array_equal(times_ns, now + MS * np.array(at_ms))
        np.testing.assert_allclose(samples[:, 0] * 100, at_ms, atol=1e-3)
        np.testing.assert_allclose(samples[:, 3] * 1000, at_ms, atol=1e-3)
        np.testing.assert_allclose(samples[:, 4], -samples[:, 3])

    write(range(0, 70, 10), range(0, 100, 25))  # 100 Hz and 40 Hz, the acceleration behind
    check(*range(0, 70, 10))
    write(range(70, 140, 10), range(0))  # and now ahead: up to the newest of the gyro
    check(70)
    write(range(0), range(100, 150, 25))
    check(*range(80, 130, 10))


# --- times ---------------------------------------------------------------------------------------------------------


def test_without_a_time_stamp_times_follow_the_rate_back_from_the_arrival(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("plain", triple("accel"), {"sampling_frequency": "100"})
    ports.append(Listener(tree.url("plain", rate=100), imu(gyro=False)).listen())
    ports[0].connected()
    before = time.monotonic_ns()
    chip.write(chip.scan(accel_x=1, accel_y=2, accel_z=3) * 10)
    _, times_ns = ports[0].samples(10)
    assert before <= times_ns[-1] <= time.monotonic_ns()
    np.testing.assert_allclose(np.diff(times_ns), 10 * MS, atol=2)
    assert ports[0].chunks.empty()


@pytest.mark.parametrize("clock", ["none", "realtime", "ignored"])
def test_stamps_of_another_clock_are_mapped_to_the_monotonic_one(
    tree: IioTree, ports: list[Listener], clock: str
) -> None:
    chip = tree.add("old", stamped(triple("accel")), MONOTONIC if clock == "ignored" else {})
    if clock == "realtime":  # a file that cannot be written, as of a driver that refuses
        (chip.folder / "current_timestamp_clock").symlink_to("/proc/sys/kernel/ostype")
    ports.append(Listener(tree.url("old"), imu(gyro=False)).listen())
    ports[0].connected()
    before, real = time.monotonic_ns(), time.time_ns()
    chip.write(b"".join(chip.scan(accel_x=1, accel_y=2, accel_z=3, timestamp=real + at * MS) for at in range(10)))
    _, times_ns = ports[0].samples(10)
    assert before <= times_ns[-1] <= time.monotonic_ns()
    np.testing.assert_allclose(np.diff(times_ns), MS, atol=2)
    while "estimated from arrival" not in ports[0].statuses.get(timeout=WAIT_S).device:
        pass


# --- coming and going ----------------------------------------------------------------------------------------------


def test_a_chip_that_comes_later_is_found_and_one_that_left_is_found_again(
    tree: IioTree, ports: list[Listener]
) -> None:
    tree.add("light", {"illuminance": "le:u16/16>>0"})
    ports.append(Listener(tree.url("imu"), imu()).listen())
    ports[0].reason("there is no IIO device 'imu': there are light")
    chip = tree.add("imu", SIX, SCALES | MONOTONIC)
    for value in (1, 2):
        ports[0].connected()
        chip.write(six(chip, value, time.monotonic_ns()))
        assert ports[0].samples(1)[0][0, 0] == pytest.approx(value / 100)
        chip.unplug()
        assert ports[0].reason("went away").device == "imu (iio:device1)"
        chip.plug()


def test_a_buffer_that_falls_silent_is_started_anew(
    tree: IioTree, ports: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iio, "SILENT_S", 0.05)
    monkeypatch.setattr(iio, "SILENT_PERIODS", 1)
    chip = tree.add("imu", SIX, MONOTONIC)
    ports.append(Listener(tree.url("imu"), imu()).listen())
    ports[0].reason("silent")
    ports[0].connected()
    chip.write(six(chip, 1, time.monotonic_ns()))
    ports[0].samples(1)


def test_what_is_missing_is_told_apart(tree: IioTree) -> None:
    with pytest.raises(SourceNotFound, match="there is no IIO device in /nowhere"):
        find_devices(Path("/nowhere"), "imu", "iio://imu")
    for _ in range(2):
        chip = tree.add("imu", SIX)
    with pytest.raises(SourceError, match=r"more than one: name it by its number, iio://iio:device0 or"):
        find_devices(tree.sysfs, "imu", "iio://imu")
    assert find_devices(tree.sysfs, "iio:device1", "iio://iio:device1") == [chip.folder]
    device = IioDevice("iio://imu", chip.folder, tree.dev / "none", ["accel_x"])
    with pytest.raises(SourceNotFound, match=r"there is no .*/none"):
        device.start(50, None)
    device.stop()


def test_a_device_without_a_buffer_is_told(tree: IioTree, ports: list[Listener]) -> None:
    tree.add("imu", {}, {"in_accel_x_raw": "12"})
    ports.append(Listener(tree.url("imu"), imu()).listen())
    ports[0].reason("has no buffer")


@pytest.mark.parametrize(("file", "text"), [("in_accel_scale", "?"), ("scan_elements/in_accel_x_type", "int")])
def test_a_tree_that_makes_no_sense_is_told_with_its_file(
    tree: IioTree, ports: list[Listener], file: str, text: str
) -> None:
    (tree.add("imu", SIX, SCALES).folder / file).write_text(text)
    ports.append(Listener(tree.url("imu"), imu()).listen())
    ports[0].reason(file.removesuffix("_type"))


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EACCES, SourceError, "no permission for /s/buffer/enable: run as root"),
        (errno.EROFS, SourceError, "read-only"),
        (errno.EBUSY, SourceError, "taken by another program"),
        (errno.EINVAL, SourceError, "does it need a trigger in /s/trigger/current_trigger"),
        (errno.ENODEV, SourceLost, "went away"),
        (errno.ENOENT, SourceNotFound, "there is no"),
        (errno.EREMOTEIO, SourceError, "Remote I/O error"),
    ],
)
def test_what_the_kernel_answers_becomes_what_to_do(number: int, kind: type[SourceError], words: str) -> None:
    told = explain("iio://imu", Path("/s/buffer/enable"), OSError(number, os.strerror(number)))
    assert type(told) is kind
    assert words in str(told)


@pytest.mark.parametrize("options", ["?speed=1", "?rate=0", "?buffer=many"])
def test_options_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(ConfigError):
        IioPort(parse_url("iio://imu" + options), imu())


def test_a_modality_that_is_no_imu_is_refused() -> None:
    channels = (*ACCELERATIONS, Channel(name="ppg", unit=""))
    with pytest.raises(ConfigError, match="an IMU does not give ppg"):
        IioPort(
            parse_url("iio://imu"), Modality(name="m", kind="signal", rate_hz=50, channels=channels, encoder=ENCODER)
        )


def test_the_list_names_each_chip_and_the_url_that_opens_it(tree: IioTree) -> None:
    tree.add("chip_gyro", stamped(triple("anglvel")), {"sampling_frequency": "104.5"})
    tree.add("chip_accel", stamped(triple("accel")))
    tree.add("light", {"illuminance": "le:u16/16>>0"})
    tree.add("twin", {}, {"in_accel_x_raw": "1"})
    tree.add("twin", triple("accel"))
    found = list_iio(tree.sysfs)
    urls = ["iio://chip", "iio://chip", "iio://iio:device3", "iio://iio:device4"]
    assert [listing.url for listing in found] == urls
    assert [listing.rate_hz for listing in found] == [104.5, 0, 0, 0]
    assert found[0].channels == ("anglvel_x", "anglvel_y", "anglvel_z", "timestamp")
    assert found[2].channels == ()
    assert list_iio(tree.sysfs / "nowhere") == []


# --- how a chip is mounted -----------------------------------------------------------------------------------------


def turned(ports: list[Listener], chip: Chip, url: str, modality: Modality) -> list[float]:
    """What the raw values 1 to 6 become."""
    ports.append(Listener(url, modality).listen())
    ports[-1].connected()
    chip.write(six(chip, 1, time.monotonic_ns()))
    samples, _ = ports[-1].samples(1)
    return [round(float(value), 6) for value in samples[0]]


@pytest.mark.parametrize("file", ["in_accel_mount_matrix", "in_mount_matrix", "mount_matrix"])
def test_the_mount_matrix_is_applied(tree: IioTree, ports: list[Listener], file: str) -> None:
    chip = tree.add("imu", SIX, MONOTONIC | {file: "0, 1, 0; -1, 0, 0; 0, 0, 1"})
    gyro = [4, 5, 6] if "accel" in file else [5, -4, 6]
    assert turned(ports, chip, tree.url("imu"), imu()) == [2, -1, 3, *gyro]
    while not (status := ports[0].statuses.get(timeout=WAIT_S)).device.endswith(", turned by its mount matrix"):
        pass
    assert status.note == ""


def test_the_matrix_of_a_kind_goes_before_that_of_the_device(tree: IioTree, ports: list[Listener]) -> None:
    files = {"in_mount_matrix": "-1, 0, 0; 0, -1, 0; 0, 0, 1", "in_anglvel_mount_matrix": "1, 0, 0; 0, 1, 0; 0, 0, 1"}
    chip = tree.add("imu", SIX, MONOTONIC | files)
    assert turned(ports, chip, tree.url("imu"), imu()) == [-1, -2, 3, 4, 5, 6]


def test_axes_turn_what_the_matrix_gave(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("imu", SIX, MONOTONIC | {"in_mount_matrix": "0, 1, 0; -1, 0, 0; 0, 0, 1"})
    assert turned(ports, chip, tree.url("imu", axes="z,x,y"), imu()) == [3, 2, -1, 6, 5, -4]


def test_axes_that_the_model_does_not_want_are_read_to_be_turned(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("imu", SIX, MONOTONIC | {"in_mount_matrix": "0, 1, 0; 0, 0, 1; 1, 0, 0"})
    channels = (Channel(name="gz", unit="rad/s"), Channel(name="ax", unit="m/s^2"))
    modality = Modality(name="imu", kind="signal", rate_hz=50, channels=channels, encoder=ENCODER)
    assert turned(ports, chip, tree.url("imu"), modality) == [4, 2]


@pytest.mark.parametrize("matrix", ["0, 0, 0; 0, 0, 0; 0, 0, 0", "1, 0, 0; 0, 1, 0; 0, 0, -1", "1, 0; 0, 1", "front"])
def test_a_matrix_that_is_no_rotation_is_not_applied_and_told(
    tree: IioTree, ports: list[Listener], matrix: str
) -> None:
    chip = tree.add("imu", SIX, MONOTONIC | {"in_mount_matrix": matrix})
    assert turned(ports, chip, tree.url("imu"), imu()) == [1, 2, 3, 4, 5, 6]
    while not (status := ports[0].statuses.get(timeout=WAIT_S)).note:
        pass
    assert status.note == f"its mount matrix {matrix!r} is no rotation, so it is not applied: give axes="


def test_axes_of_a_chip_without_one_of_them_are_refused(tree: IioTree, ports: list[Listener]) -> None:
    tree.add("flat", {"accel_x": "le:s16/16>>0", "accel_y": "le:s16/16>>0"}, MONOTONIC)
    modality = Modality(name="imu", kind="signal", rate_hz=50, channels=ACCELERATIONS[:2], encoder=ENCODER)
    ports.append(Listener(tree.url("flat", axes="y,-x,z"), modality).listen())
    assert not ports[0].reason("axes= turns x, y and z together: this chip does not give in_accel_z").connected


def test_stamps_that_stand_still_are_replaced_by_the_rate_and_told(tree: IioTree, ports: list[Listener]) -> None:
    chip = tree.add("old", stamped(triple("accel")), MONOTONIC | {"sampling_frequency": "100"})
    ports.append(Listener(tree.url("old", rate=100), imu(gyro=False)).listen())
    ports[0].connected()
    chip.write(chip.scan(accel_x=1, accel_y=2, accel_z=3, timestamp=0) * 20)
    _, times_ns = ports[0].samples(20)
    np.testing.assert_allclose(np.diff(times_ns), 10 * MS, atol=2)
    assert abs(time.monotonic_ns() - int(times_ns[-1])) < 1000 * MS
    while (status := ports[0].statuses.get(timeout=WAIT_S)).reason:
        pass
    assert status.note == "many samples share one time of its clock: they are counted instead"
    assert status.device == "old (iio:device0), times estimated from arrival"
