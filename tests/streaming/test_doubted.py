"""Runs whose sensor lies: told before the first decision of a recording, soon of a port, and not decided from."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import HOP_S, audio_modality, imu_chunk, signal_modality, write_tiny_bundle
from forked import mmg_run
from mmg.bundle import Bundle
from mmg.cli.sensors import DEMO
from mmg.engine import Engine
from mmg.engine.health import Finding, ReadAs
from mmg.errors import NoSensorError, RequiredSensorLost
from mmg.runs.live import LivePipeline
from mmg.runs.look_ahead import LOOK_AHEAD_S, look_ahead, read_as
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.sources import Recording, open_source
from mmg.streams import HopGrid
from mmg.types import Chunk, Decision
from motions import Samples, scaled, wear
from scripted import CONNECTED, World

DEGREE = np.pi / 180
HOP_NS = round(HOP_S * 1e9)
CASES = Path(os.environ.get("MMG_CASES", Path(__file__).parents[3] / "shared" / "cases")) / "files"
WITH_UNITS = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)"
WITHOUT = "t_ms,ax,ay,az,gx,gy,gz"
IMU = signal_modality()


@pytest.fixture(scope="module")
def starter() -> Iterator[Bundle]:
    with Bundle.open("starter") as bundle:
        yield bundle


def demo_rows() -> tuple[Samples, Samples]:
    """Times in ms, and samples."""
    rows = np.loadtxt(DEMO / "imu.csv", delimiter=",", skiprows=1)
    return rows[:, 0], rows[:, 1:]


def write_demo(path: Path, acceleration: float = 1.0, gyro: float = 1.0, header: str = WITH_UNITS) -> Path:
    times_ms, samples = demo_rows()
    rows = np.column_stack([times_ms, scaled(samples, acceleration, gyro)])
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt=["%d"] + ["%.6g"] * 6)
    return path


def decide(bundle: Bundle, settings: Settings, **urls: str) -> tuple[list[Decision], list[str]]:
    """The decisions, and what was told; an error's text is told last."""
    told: list[str] = []
    made: list[Decision] = []
    pipeline = Pipeline(bundle, urls, settings, report=told.append)
    try:
        made += [replace(decision, latency_ms={}) for decision in pipeline]
    except (NoSensorError, RequiredSensorLost) as error:
        told.append(str(error))
    finally:
        pipeline.close()
    return made, told


# --- recordings ----------------------------------------------------------------------------------------------------


def test_nothing_is_decided_from_a_recording_whose_unit_is_doubted(starter: Bundle, tmp_path: Path) -> None:
    path = write_demo(tmp_path / "imu.csv", gyro=1 / DEGREE, header=WITHOUT)
    made, told = decide(starter, Settings(), imu=str(path), audio=str(DEMO / "audio.ogg"))
    assert {decision.modalities for decision in made} == {("audio",)}
    assert {decision.sensors["imu"].state for decision in made} == {"faulty"}
    reason = made[0].sensors["imu"].reason
    assert reason.endswith("times as much as gravity does: wrong unit? Add gyro_unit=deg/s to its URL")
    lines = [line for line in told if "wrong unit?" in line]
    assert len(lines) == 2, "once before the first decision, and once at the end"
    assert lines[0] == f"imu: {reason}"
    assert lines[1].startswith("imu ended faulty")


def test_what_is_advised_mends_it(starter: Bundle, tmp_path: Path) -> None:
    path = write_demo(tmp_path / "imu.csv", gyro=1 / DEGREE, header=WITHOUT)
    made, told = decide(starter, Settings(), imu=f"{path}?gyro_unit=deg/s")
    plain, _ = decide(starter, Settings(), imu=str(DEMO / "imu.csv"))
    assert [decision.label for decision in made] == [decision.label for decision in plain]
    assert not any("gyroscope" in line for line in told)


def test_a_recording_alone_that_is_doubted_gives_no_decision_and_says_why(starter: Bundle, tmp_path: Path) -> None:
    made, told = decide(starter, Settings(), imu=str(write_demo(tmp_path / "imu.csv", acceleration=1 / 3)))
    assert made == []
    assert told[-1].startswith("no usable sensor (imu: faulty: gravity reads 3.")
    assert "though its unit is given as m/s2" in told[-1]


def test_a_required_recording_that_is_doubted_ends_the_run(starter: Bundle, tmp_path: Path) -> None:
    path = write_demo(tmp_path / "imu.csv", acceleration=2.0)
    settings = Settings(required=("imu",))
    made, told = decide(starter, settings, imu=str(path), audio=str(DEMO / "audio.ogg"))
    assert made == []
    assert "required sensor lost: imu: gravity reads" in told[-1]


def test_without_looking_ahead_it_is_found_on_the_way_as_of_a_port(starter: Bundle, tmp_path: Path) -> None:
    path = write_demo(tmp_path / "imu.csv", acceleration=2.0)
    made, told = decide(starter, Settings(look_ahead_s=0), imu=str(path), audio=str(DEMO / "audio.ogg"))
    states = [decision.sensors["imu"].state for decision in made]
    began = states.index("faulty")
    assert 2 <= began <= 12
    assert set(states[:began]) <= {"live", "doubted"}
    assert set(states[began:]) == {"faulty"}
    assert sum(line.startswith("imu: faulty from") for line in told) == 1


def test_looking_ahead_changes_nothing_for_a_recording_that_is_well(starter: Bundle) -> None:
    urls = {"imu": str(DEMO / "imu.csv"), "audio": str(DEMO / "audio.ogg")}
    with_look, told = decide(starter, Settings(), **urls)
    without, told_without = decide(starter, Settings(look_ahead_s=0), **urls)
    assert with_look == without
    assert told == told_without


class Endless:
    """A recording that counts how much of it is read."""

    modality, url, start_ns, offset_ns, duration_s = "imu", "endless.csv", 0, 0, 1e6

    def __init__(self, samples: Samples) -> None:
        self.losses: dict[str, int] = {}
        self.notes: list[str] = []
        self._samples, self.read_s = samples, 0.0

    def chunks(self, start_ns: int, every_ns: int = HOP_NS, /) -> Iterator[Chunk]:
        rows = round(every_ns / 2e7)
        offsets_ns = np.arange(rows, dtype=np.int64) * 20_000_000
        for number in range(10**6):
            self.read_s = (number + 1) * every_ns / 1e9
            places = np.arange(number * rows, (number + 1) * rows) % len(self._samples)
            yield Chunk("imu", self._samples[places], start_ns + number * every_ns + offsets_ns)

    def close(self) -> None:
        """Nothing is held open."""


def look_at(recording: Recording) -> tuple[Finding, ...]:
    return look_ahead(recording, IMU, 0, HopGrid(0, HOP_NS), LOOK_AHEAD_S)


def test_no_more_is_looked_at_than_tells() -> None:
    well, wrong, silent = Endless(wear(30)), Endless(scaled(wear(30), 2.0)), Endless(wear(30, turn=0.0, push=0.0))
    assert look_at(well) == ()
    assert well.read_s < 15
    assert [finding.kind for finding in look_at(wrong)] == ["gravity"]
    assert wrong.read_s < 15
    assert look_at(silent) == ()
    assert LOOK_AHEAD_S < silent.read_s <= LOOK_AHEAD_S + 2 * HOP_S


def test_a_recording_of_anything_else_is_not_looked_at() -> None:
    endless = Endless(wear(30))
    assert look_ahead(endless, audio_modality(), 0, HopGrid(0, HOP_NS), LOOK_AHEAD_S) == ()
    assert endless.read_s == 0


def test_what_is_doubted_is_decided_and_never_shown_as_live(tmp_path: Path) -> None:
    samples = wear(20)
    rows = np.arange(30, len(samples), 120)
    samples[rows, 1] = 157.0
    path = write_tiny_bundle(tmp_path / "tiny", signal_modality(state_hops=4))
    with Bundle.open(path) as bundle:
        made = Engine(bundle, ["imu"]).push(Chunk("imu", samples, (np.arange(len(samples)) * 2e7).astype(np.int64)))
    assert made[0].sensors["imu"].state == "live"
    doubted = made[-1].sensors["imu"]
    assert doubted.state == "doubted"
    assert doubted.reason.endswith("% of its samples are spikes")
    assert made[-1].modalities == ("imu",)
    assert len(made) == 39


# --- cases that others brought -------------------------------------------------------------------------------------

WRONG_CASES = {
    "03-no-gravity-wrong-advice/linear.csv": "this is acceleration without gravity",
    "03-no-gravity-wrong-advice/linear.csv?acc_unit=g": "this is acceleration without gravity",
    "05-gyro-in-degrees-taken-as-radians/no_unit.csv": "wrong unit? Add gyro_unit=deg/s to its URL",
}
RIGHT_CASES = {
    "03-no-gravity-wrong-advice/watch.csv": "walking",
    "05-gyro-in-degrees-taken-as-radians/right.csv": "still",
    "05-gyro-in-degrees-taken-as-radians/latin1.csv": "still",
    "05-gyro-in-degrees-taken-as-radians/no_unit.csv?gyro_unit=deg/s": "still",
    "09-counts-and-64ths/e4_acc.csv": "still",
    "09-counts-and-64ths/raw_lsb.csv?acc_scale=0.00059855&gyro_scale=0.00013323": "still",
}
ABSENT = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not there: set MMG_CASES")


@ABSENT
@pytest.mark.parametrize("place", WRONG_CASES)
def test_a_case_that_cannot_be_right_is_not_decided_and_told(place: str) -> None:
    done = mmg_run("--sensors", "imu", "--imu", CASES / place)
    assert done.returncode == 3
    assert done.stdout == ""
    assert WRONG_CASES[place] in done.stderr
    assert "Add acc_unit" not in done.stderr


@ABSENT
@pytest.mark.parametrize("place", RIGHT_CASES)
def test_a_case_that_is_right_is_decided_as_ever(place: str) -> None:
    done = mmg_run("--sensors", "imu", "--imu", CASES / place, "--format", "jsonl")
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(made) >= 22
    assert {one["sensors"]["imu"]["state"] for one in made} == {"live"}
    labels = [one["label"] for one in made]
    assert labels.count(RIGHT_CASES[place]) > 0.9 * len(labels)


# --- ports ---------------------------------------------------------------------------------------------------------


class Wearer:
    """Gives a scripted port the samples of a wearer, in whatever unit."""

    def __init__(self, samples: Samples) -> None:
        self._samples, self._at = samples, 0

    def __call__(self, chunk: Chunk) -> Chunk:
        rows = np.arange(self._at, self._at + len(chunk.times_ns)) % len(self._samples)
        self._at += len(rows)
        return replace(chunk, samples=self._samples[rows].astype(np.float32))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[World, LivePipeline, list[str]]]:
    path = write_tiny_bundle(tmp_path / "tiny", signal_modality(state_hops=4), audio_modality())
    with Bundle.open(path) as bundle:
        scripted, notes = World(("imu", "audio")), list[str]()
        for port in scripted.ports:
            port.status = CONNECTED
        pipeline = LivePipeline(
            bundle, scripted.ports, Settings(), report=notes.append, monotonic_ns=lambda: scripted.now_ns
        )
        pipeline.start()
        yield scripted, pipeline, notes
        pipeline.close()


def wear_port(world: World, samples: Samples) -> None:
    port, deliver, wearer = world.sensors["imu"].port, world.sensors["imu"].port.deliver, Wearer(samples)
    port.deliver = lambda chunk: deliver(wearer(chunk))  # type: ignore[method-assign]


def test_a_board_that_sends_degrees_is_told_with_the_option_and_not_forgiven_by_a_calm_moment(
    world: tuple[World, LivePipeline, list[str]],
) -> None:
    scripted, pipeline, notes = world
    port = scripted.sensors["imu"].port
    port.url, port.declared = "serial:///dev/ttyACM0?protocol=text", {}  # type: ignore[attr-defined]
    _, samples = demo_rows()
    wear_port(scripted, scaled(samples[::2], gyro=1 / DEGREE))
    made = list(scripted.run(pipeline, 74.0))
    states = [decision.sensors["imu"].state for decision in made]
    began = states.index("faulty")
    assert began <= 16
    assert set(states[began:]) == {"faulty"}
    assert {decision.modalities for decision in made[began + 8 :]} == {("audio",)}
    told = [note for note in notes if note.startswith("imu: faulty")]
    assert len(told) == 1
    assert told[0].endswith("wrong unit? Add gyro_unit=deg/s to its URL")


def test_the_same_board_in_radians_is_well(world: tuple[World, LivePipeline, list[str]]) -> None:
    scripted, pipeline, notes = world
    wear_port(scripted, demo_rows()[1][::2])
    made = list(scripted.run(pipeline, 74.0))
    assert {decision.sensors["imu"].state for decision in made[2:]} == {"live"}
    assert not any("faulty" in note or "doubted" in note for note in notes)


def test_a_board_that_is_set_right_while_it_runs_recovers_and_that_is_told(
    world: tuple[World, LivePipeline, list[str]],
) -> None:
    scripted, pipeline, notes = world
    wear_port(scripted, np.concatenate([scaled(wear(15), 1 / 9.80665), wear(30, seed=1)]))
    made = list(scripted.run(pipeline, 40.0))
    assert made[20].sensors["imu"].state == "faulty"
    assert made[-1].sensors["imu"].state == "live"
    assert "imu: recovered: scripted" in notes


@pytest.mark.parametrize(("factor", "part"), [(1.0, 1 / 157), (1.18, 0.0)])
def test_a_doubt_is_told_of_a_port_too(
    world: tuple[World, LivePipeline, list[str]], factor: float, part: float
) -> None:
    scripted, pipeline, notes = world
    samples = scaled(wear(60, turn=0.1, push=0.2), factor)
    if part:
        samples[:: round(1 / part), 2] = 157.0
    wear_port(scripted, samples)
    last = list(scripted.run(pipeline, 30.0))[-1]
    assert last.sensors["imu"].state == "doubted"
    assert "imu" in last.modalities
    assert any(note.startswith("imu: doubted: ") for note in notes)


# --- how units were read -------------------------------------------------------------------------------------------


def test_a_table_tells_which_units_it_declares_which_it_assumed_and_which_it_was_given(tmp_path: Path) -> None:
    declared = read_as(open_source(str(write_demo(tmp_path / "a.csv")), IMU))
    assert declared.declared == {"acc_unit": "m/s2", "gyro_unit": "rad/s"}
    assumed = read_as(open_source(str(write_demo(tmp_path / "b.csv", header=WITHOUT)), IMU))
    assert (assumed.declared, assumed.taken) == ({}, {"acc_unit": "m/s2", "gyro_unit": "rad/s"})
    given = read_as(open_source(f"{tmp_path / 'a.csv'}?gyro_unit=deg/s", IMU))
    assert given.declared == {"acc_unit": "m/s2"}
    assert given.taken["gyro_unit"] == "deg/s"
    assert given.has_scale
    scaled_by_user = read_as(open_source(f"{tmp_path / 'b.csv'}?acc_scale=1", IMU))
    assert "acc_unit" not in scaled_by_user.options
    assert not scaled_by_user.has_scale


def test_a_source_without_units_to_choose_is_advised_none() -> None:
    assert read_as(Endless(wear(1))) == ReadAs(options={})


@pytest.mark.parametrize(
    ("protocol", "declared"), [("text", {}), ("xsens", {"acc_unit": "m/s2", "gyro_unit": "rad/s"})]
)
def test_a_serial_port_declares_the_units_that_its_protocol_fixes(protocol: str, declared: dict[str, str]) -> None:
    pytest.importorskip("serial", reason="pyserial is not installed: pip install -e '.[serial]'")
    from mmg.sources.ports.serial.port import SerialPort
    from mmg.sources.protocols import encode_sample
    from mmg.sources.protocols.text import encode_header
    from mmg.sources.url import parse_url

    heard = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"serial://socket://127.0.0.1:{server.getsockname()[1]}?protocol={protocol}"
        port = SerialPort(parse_url(url), signal_modality(rate_hz=100))
        assert port.declared == {}
        port.start(lambda _: heard.set())
        try:
            connection, _ = server.accept()
            with connection:
                row = imu_chunk(0, 0.1).samples[0].tolist()
                for index in range(800):  # what comes while the port opens is passed over
                    header = encode_header() if protocol == "text" else b""
                    connection.sendall(header + encode_sample(protocol, row, index, index * 10**7))
                    if heard.wait(0.01):
                        break
                assert heard.is_set()
                assert dict(read_as(port).declared) == declared
        finally:
            port.close()
