"""Recording and replaying by the commands: what may be kept, and what is said where it cannot be."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from forked import mmg
from mmg.recording.messages import MarkMessage
from mmg.recording.part import Part
from mmg.recording.reader import open_recording
from mmg.recording.sensors import Sensor
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk
from recordings import DEMO

IMU = Sensor("imu", "signal", ("ax", "ay", "az", "gx", "gy", "gz"), "serial:///dev/ttyUSB0")
S_NS = 1_000_000_000


def command(name: str, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return mmg(name, *words, environment=os.environ | environment)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's IMU as a run that was recorded: what mmg-run decides on it is known."""
    path = tmp_path_factory.mktemp("recorded") / "demo.mcap"
    rows = np.loadtxt(DEMO / "imu.csv", delimiter=",", skiprows=1)
    part = Part(path, (IMU,), {"origin_ns": "0", "settings": '{"grace_s":0.2}'}, 1_795_000_000 * S_NS)
    status = PortStatus(connected=True, reason="", device="made up")
    for first in range(0, len(rows), 25):
        some = rows[first : first + 25]
        stamps = np.rint(some[:, 0] * 1e6).astype(np.int64)
        chunk = Chunk("imu", some[:, 1:7].astype(np.float32), stamps)
        part.step(Step(int(stamps[-1]) + 10_000_000, (chunk,), {"imu": status}))
    part.finish()
    return path


def test_a_recording_is_decided_on_as_a_run_and_as_a_file(demo: Path) -> None:
    replayed = command("run", demo, "--format", "jsonl")
    assert replayed.returncode == 0, replayed.stderr
    as_file = command("run", "--imu", demo, "--format", "jsonl")
    of_csv = command("run", "--imu", DEMO / "imu.csv", "--format", "jsonl")
    labels = [[json.loads(line)["label"] for line in one.stdout.splitlines()] for one in (replayed, as_file, of_csv)]
    assert len(labels[0]) > 140
    assert labels[1] == labels[2]
    differing = sum(one != other for one, other in zip(labels[0][-140:], labels[2][-140:], strict=True))
    assert differing <= 2, "a port shows what is wrong with its units later than a file that is read ahead"


@pytest.fixture(scope="module")
def marked(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a live run that decided, with marks; one is not ended."""
    path = tmp_path_factory.mktemp("marked") / "day.mcap"
    metadata = {"origin_ns": "0", "bundle": "workshop"}
    part = Part(path, (IMU,), metadata, 1_795_000_000 * S_NS)
    for place, step in enumerate(itertools.islice(open_recording(demo).steps(), 16)):
        part.step(step)
        live = {"t": (place + 1) / 4, "label": "sawing", "confidence": 0.5, "sensors": {"imu": {"state": "live"}}}
        part.decision(json.dumps(live), step.now_ns)
    for mark in (MarkMessage(0.5, "sawing", "start"), MarkMessage(2.0, "stirring", "start")):
        part.mark(mark, round(mark.t * 1e9))
    part.finish()
    return path


def test_marks_are_told_and_written_out_where_no_labels_lie_beside(marked: Path, tmp_path: Path) -> None:
    told = command("label", marked)
    assert told.returncode == 0, told.stderr
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["stirring", "sawing", "no"]
    assert "these are the marks that were set while it was recorded" in told.stderr
    done = command("label", marked, "-o", tmp_path / "out.txt", "--to", "audacity")
    assert done.returncode == 0, done.stderr
    sawing, stirring = (tmp_path / "out.txt").read_text().splitlines()
    assert sawing == "0.500000\t2.000000\tsawing"
    assert stirring == "2.000000\t4.000000\tstirring"
    assert sorted(path.name for path in marked.parent.iterdir()) == ["day.mcap"]


def test_a_recording_without_marks_has_no_labels(demo: Path) -> None:
    done = command("label", demo)
    assert done.returncode == 2
    assert f"has no labels yet (no {demo.with_name('demo.labels.csv')}): mmg-label {demo} labels.txt" in done.stderr


def test_a_page_shows_what_was_decided_and_marked_live_and_another_bundle_decides_anew(
    marked: Path, tmp_path: Path
) -> None:
    live = command("look", marked, "-o", tmp_path / "live.html")
    assert live.returncode == 0, live.stderr
    assert "the decisions are those of the live run, by workshop" in live.stderr
    page = (tmp_path / "live.html").read_text("utf-8")
    assert "16 decisions by workshop" in page
    assert "stirring" in page
    anew = command("look", marked, "--bundle", "starter", "-o", tmp_path / "anew.html")
    assert anew.returncode == 0, anew.stderr
    assert "by workshop" not in (tmp_path / "anew.html").read_text("utf-8")


def test_labels_beside_a_recording_are_shown_in_place_of_its_marks_and_of_any_format(
    marked: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(marked, tmp_path / "day.mcap")
    (tmp_path / "day.labels.csv").write_text("start_s,end_s,label\n1,2,mended\n")
    (tmp_path / "track.txt").write_text("1.0\t2.0\tof Audacity\n")
    for words, shown in (((), "mended"), (("--labels", tmp_path / "track.txt"), "of Audacity")):
        done = command("look", copy, "-o", tmp_path / "page.html", "--overwrite", *words)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "page.html").read_text("utf-8")
        assert (shown in page, "stirring" in page) == (True, False)


def test_without_its_package_a_recording_is_one_line(demo: Path) -> None:
    code = (
        "import sys; sys.modules.update({'mcap': None, 'mcap.records': None, 'mcap.writer': None})\n"
        f"from mmg.cli.run import main; sys.exit(main([{str(demo)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (3, 4), done.stderr
    [line] = done.stderr.splitlines()
    assert "mcap" in line


def test_what_a_recording_holds_is_explained(demo: Path) -> None:
    done = command("run", "--explain", demo)
    assert done.returncode == 0, done.stderr
    assert "imu" in done.stdout


def test_a_recording_is_not_recorded_again(demo: Path, tmp_path: Path) -> None:
    done = command("run", demo, "--record", tmp_path / "again.mcap")
    assert done.returncode == 2
    assert "is a recording already" in done.stderr
    done = command("record", "-o", tmp_path / "again.mcap", "--imu", demo)
    assert done.returncode == 2
    assert "is a recording already" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--record",), ("-o",)])
def test_where_it_cannot_be_kept_is_said_before_anything_is_opened(words: tuple[str], tmp_path: Path) -> None:
    name = "run" if words == ("--record",) else "record"
    url = ("--imu", "serial:///dev/ttyUSB77")
    (tmp_path / "there.mcap").write_bytes(b"kept")
    done = command(name, *url, *words, tmp_path / "there.mcap")
    assert (done.returncode, "is there already: choose another name" in done.stderr) == (2, True)
    assert (tmp_path / "there.mcap").read_bytes() == b"kept"
    done = command(name, *url, *words, tmp_path / "day.csv")
    assert (done.returncode, "a recording is an MCAP file" in done.stderr) == (2, True)
    done = command(name, *url, *words, tmp_path / "none" / "day.mcap")
    assert (done.returncode, "there is no folder" in done.stderr) == (2, True)


def test_a_profile_says_what_may_be_recorded_and_a_flag_cannot_widen_it(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('name = "mine"\ndescription = "x"\n[privacy]\nrecord = ["audio"]\n')
    words = ("-o", tmp_path / "day.mcap", "--imu", "serial:///dev/ttyUSB77", "--profile", profile)
    done = command("record", *words)
    assert done.returncode == 2
    assert "imu is not recorded: privacy.record of profile mine allows audio" in done.stderr
    assert "none of these sensors may be recorded" in done.stderr
    done = command("record", *words, "--set", 'privacy.record=["signal"]')
    assert done.returncode == 2
    assert "it can be widened only there" in done.stderr
    assert not (tmp_path / "day.mcap").exists()


def test_pictures_need_a_word_of_their_own(tmp_path: Path) -> None:
    words = ("-o", tmp_path / "day.mcap", "--video", "camera:///dev/video77")
    done = command("record", *words)
    assert (done.returncode, "add --allow-video" in done.stderr) == (2, True)
    done = command("record", *words, "--allow-video")
    assert (done.returncode, "video is not recorded: add --record-video to keep pictures" in done.stderr) == (2, True)
    assert not (tmp_path / "day.mcap").exists()


@pytest.mark.parametrize("text", ["1x", "h", "-1h", "0MB", "1 parsec"])
def test_a_size_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    done = command("record", "-o", tmp_path / "day.mcap", f"--split={text}")
    assert done.returncode == 2
    assert "1h, 30min or 500MB" in done.stderr


def test_a_full_disk_costs_no_decision_and_is_told(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from mmg.recording.recorder import Recorder; from mmg.recording.sensors import Sensor;"
        "from mmg_tools.recording_check.kills import SENSORS; from pathlib import Path;"
        "from mmg.runs.step import Step; import numpy as np; from mmg.types import Chunk;"
        "r = Recorder(Path(sys.argv[1]), SENSORS, origin_ns=0, metadata={}, report=print, sync_s=0.001);"
        "sound = np.random.default_rng(0).integers(-9999, 9999, (16000, 1)).astype(np.float32) / np.float32(32768);"
        "times = np.arange(16000, dtype=np.int64) * 62500;"
        "heard = lambda n: (Chunk('audio', sound, times + 10**9 * n, 16000.0),);"
        "[(r.step(Step(10**9 * n, heard(n), {})), r.flush()) for n in range(5)];"
        "r.close(); print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path / "day.mcap")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("recording stops:") == 1
    assert "File too large" in done.stdout
    assert done.stdout.endswith("went on\n")


def test_comparing_with_what_is_no_run_is_refused(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("hello\n")
    done = command("run", demo, "--compare", tmp_path / "x.jsonl")
    assert (done.returncode, "line 1 is no decision" in done.stderr) == (2, True)
    done = command("run", demo, "--compare", tmp_path / "none.jsonl")
    assert (done.returncode, "there is no such file" in done.stderr) == (2, True)


@pytest.mark.parametrize("words", [("day.mcap",), ("--imu", "day.mcap"), ("--imu", "x.csv", "--compare", "day.mcap")])
def test_without_the_library_what_to_type_is_said(demo: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    for name, whole in (("day.mcap", demo), ("x.csv", DEMO / "imu.csv")):
        (tmp_path / name).symlink_to(whole)
    hidden = "import sys; sys.modules['mcap'] = None; from mmg.cli.run import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", hidden, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in (3, 4), done.stderr
    assert "mcap, which recordings need, is not installed: " in done.stderr
    assert "-m pip install mcap" in done.stderr
    assert done.stderr.count("\n") == 1


BACKGROUND = """
import fcntl, os, sys, termios
from mmg.cli.keys import keys
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    with keys(print) as has_keys:
        os._exit(10 + has_keys)
_, status = os.waitpid(child, os.WUNTRACED)
os.kill(child, 9) if os.WIFSTOPPED(status) else None
print("stopped" if os.WIFSTOPPED(status) else os.WEXITSTATUS(status))
"""


def on_a_terminal(code: str) -> subprocess.CompletedProcess[str]:
    """Run it in a session of its own, a terminal at its standard input."""
    ours, theirs = os.openpty()
    line = [sys.executable, "-c", code]
    done = subprocess.run(
        line, stdin=theirs, capture_output=True, text=True, start_new_session=True, check=False, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    return done


def test_a_recording_in_the_background_of_a_terminal_is_not_stopped() -> None:
    done = on_a_terminal(BACKGROUND)
    assert done.stdout == "10\n", done.stderr


def test_a_recording_of_nothing_is_no_good_one(tmp_path: Path) -> None:
    words = ("--imu", "serial:///dev/ttyUSB77", "-o", tmp_path / "day.mcap", "--duration", "0.3")
    done = command("record", *words)
    assert done.returncode == 3
    assert done.stderr.endswith("mmg-record: no usable sensor (imu: there is no such device as /dev/ttyUSB77)\n"), (
        done.stderr
    )


def test_a_run_that_does_not_begin_leaves_no_file(tmp_path: Path) -> None:
    done = command("record", "-o", tmp_path / "day.mcap", "--imu", "serial:///dev/ttyUSB77", "--labels", "walk,walk")
    assert (done.returncode, "up to 9 different labels" in done.stderr) == (2, True)
    words = ("--imu", "serial:///dev/ttyUSB77", "--record", tmp_path / "day.mcap")
    hidden = (
        "import sys; import mmg.runs.live as live; from mmg.errors import ModelError\n"
        "def refuse(*_, **__): raise ModelError('no such model')\n"
        "live.LivePipeline = refuse\n"
        "from mmg.cli.run import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", hidden, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "mmg-run: no such model\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("record", "-o"), ("run", "--record")])
def test_a_second_ctrl_c_still_finishes_the_file(tmp_path: Path, words: tuple[str, str]) -> None:
    hidden = (
        "import sys, time; from mmg.runs.listening import Listening\n"
        "turns = []\n"
        "def wait(*_):\n"
        "    turns.append(time.sleep(0.01))\n"
        "    if len(turns) == 5: raise KeyboardInterrupt\n"
        "def press_again(_): raise KeyboardInterrupt\n"
        "Listening.wait, Listening.close = wait, press_again\n"
        f"from mmg.cli.{words[0]} import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", hidden, "--imu", "serial:///dev/ttyUSB77", words[1], str(tmp_path / "day.mcap")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert "recorded" in done.stderr
    recording = open_recording(tmp_path / "day.mcap")
    assert len(list(recording.steps())) > 1
    assert recording.notes == []


FULL = "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.path))"
HANGS = "threading.Event().wait()"


@pytest.mark.parametrize(
    ("finish", "why"),
    [(FULL, "recording stops: {}: No space left on device"), (HANGS, "{}: waiting for its disk; Ctrl-C gives up")],
)
def test_a_recording_without_its_end_is_no_good_one_though_ctrl_c_ended_it(
    tmp_path: Path, finish: str, why: str
) -> None:
    hidden = (
        "import errno, os, sys, threading; from mmg.recording import recorder; from mmg.recording.part import Part\n"
        "from mmg.runs.listening import Listening\n"
        "def press(*_): raise KeyboardInterrupt\n"
        f"def finish(part): {finish}\n"
        "def wait(self, seconds=None): press() if seconds is None else real(self, seconds)\n"
        "real, recorder.Recorder._wait, recorder.SLOW_S = recorder.Recorder._wait, wait, 0.3\n"
        "Listening.wait, Part.finish = press, finish\n"
        "from mmg.cli.record import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", hidden, "--imu", "serial:///dev/ttyUSB77", "-o", str(tmp_path / "day.mcap")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert why.format(tmp_path / "day.mcap") in done.stderr
    assert "stopped" not in done.stderr


TWICE = """
import fcntl, termios, threading
from mmg.cli.keys import keys
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def press(*_):
    raise KeyboardInterrupt
threading.Thread.join = press
before = termios.tcgetattr(0)
try:
    with keys(print):
        between = termios.tcgetattr(0)
        press()
except KeyboardInterrupt:
    print(between == before, termios.tcgetattr(0) == before)
"""


def test_a_second_ctrl_c_leaves_the_terminal_as_it_was() -> None:
    done = on_a_terminal(TWICE)
    assert done.stdout == "False True\n", done.stderr


SUSPENDED = """
import fcntl, termios, threading, tty
from mmg.cli.keys import keys
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
once_more, before, setcbreak = threading.Event(), termios.tcgetattr(0), tty.setcbreak
with keys(print):
    tty.setcbreak = lambda *arguments: (setcbreak(*arguments), once_more.set())
    termios.tcsetattr(0, termios.TCSANOW, before)  # as a shell does at Ctrl-Z
    print(once_more.wait(10), termios.tcgetattr(0)[3] & termios.ICANON)
"""


def test_keys_are_single_ones_again_after_ctrl_z_and_fg() -> None:
    done = on_a_terminal(SUSPENDED)
    assert done.stdout == "True 0\n", done.stderr


@pytest.mark.parametrize("words", [("--split", "1h"), ("--keep", "1d"), ("--record-video",)])
def test_limits_of_a_recording_that_nobody_makes_are_refused(words: tuple[str, ...]) -> None:
    done = command("run", "--imu", "serial:///dev/ttyUSB77", *words)
    assert (done.returncode, done.stderr) == (2, f"mmg-run: {words[0]} is of a recording: add --record DAY.mcap\n")


def two_seconds(path: Path, sensor: Sensor, **metadata: str) -> Path:
    part = Part(path, (sensor,), {"origin_ns": "0", **metadata}, 1_795_000_000 * S_NS)
    status = PortStatus(connected=True, reason="", device="made up")
    for first in range(0, 200, 25):
        stamps = np.arange(first, first + 25, dtype=np.int64) * 10_000_000
        chunk = Chunk(
            sensor.modality,
            np.random.default_rng(first).normal(size=(25, len(sensor.channels))).astype(np.float32),
            stamps,
        )
        part.step(Step(int(stamps[-1]) + 20_000_000, (chunk,), {sensor.modality: status}))
    part.finish()
    return path


def test_what_lets_a_replay_decide_otherwise_is_told(tmp_path: Path) -> None:
    otherwise = {"not_recorded": "video", "mmg": "0.0.1", "backend": "other", "part": "3"}
    done = command("run", two_seconds(tmp_path / "day.mcap", IMU, **otherwise))
    assert done.returncode == 0, done.stderr
    assert "video took part in the live run and is not recorded: decisions differ" in done.stderr
    assert "day.mcap begins amid a run: decisions may differ" in done.stderr
    assert "recorded by mmg 0.0.1, and this is " in done.stderr
    assert "decided live by other, and here by onnx" in done.stderr


def test_a_replay_ends_where_the_live_run_was_told_to(tmp_path: Path) -> None:
    path = two_seconds(tmp_path / "day.mcap", IMU, duration_s="1.0")
    assert len(command("run", path, "--format", "jsonl").stdout.splitlines()) == 2
    assert len(command("run", path, "--format", "jsonl", "--duration", "1.5").stdout.splitlines()) == 3


def test_sensors_that_the_bundle_does_not_know_are_refused_in_a_line(tmp_path: Path) -> None:
    other = two_seconds(tmp_path / "other.mcap", Sensor("imu", "signal", ("ax", "ay", "az"), "x"))
    done = command("run", other)
    assert (done.returncode, "imu is ax, ay, az, and bundle starter" in done.stderr) == (3, True), done.stderr
    wrist = two_seconds(tmp_path / "wrist.mcap", Sensor("wrist", "signal", IMU.channels, "x"))
    done = command("run", wrist)
    assert (done.returncode, f"no imu: --source imu={wrist} takes what is alike" in done.stderr) == (3, True)
    assert command("run", "--source", f"imu={wrist}").returncode == 0
    damaged = command("run", two_seconds(tmp_path / "damaged.mcap", IMU, grace_s="x"))
    assert (damaged.returncode, "its metadata is damaged: grace_s is 'x'" in damaged.stderr) == (3, True)


def test_a_run_of_some_seconds_is_compared_with_so_many(tmp_path: Path) -> None:
    path = two_seconds(tmp_path / "day.mcap", IMU)
    (tmp_path / "all.jsonl").write_text(command("run", path, "--format", "jsonl").stdout)
    done = command("run", path.as_uri(), "--duration", "1", "--compare", tmp_path / "all.jsonl")
    assert (done.returncode, "2 decisions equal, 0 different\n" in done.stderr) == (0, True), done.stderr
    done = command("run", path, "--compare", path)
    assert (done.returncode, "nothing was decided in it" in done.stderr) == (2, True)
