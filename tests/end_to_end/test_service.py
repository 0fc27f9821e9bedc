"""mmg-service as its users run it, and mmg-run under the limits of the very unit that it wrote."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forked import mmg
from mmg.backends import is_installed
from mmg.bundle import Bundle
from mmg.cli.service import main
from mmg.service.systemd import Systemd
from mmg.teaching.store import write_taught
from mmg.teaching.taught import Taught, encoder_digests
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable
from recordings import ROOT, need_ports
from unit_limits import forget_groups, has_device_policy, need_limits, under
from units import command_of, settings_of, words_of

USB = ("--sensors", "imu", "--imu", "serial:///dev/ttyUSB0")
ENOUGH, PATIENCE_S = 4, 20.0
Done = subprocess.CompletedProcess[str]


def service(*words: str, cwd: Path = ROOT) -> Done:
    return mmg("service", *words, cwd=cwd)


class MadeSystemd(Systemd):
    """A systemd that runs, whose commands are kept. shown: what ``systemctl show`` prints."""

    def __init__(self, folder: Path, shown: str = "") -> None:
        self.asked: list[str] = []
        self._shown = shown
        super().__init__(folder, folder, self._answer)

    def _answer(self, words: Sequence[str]) -> Done:
        self.asked.append(" ".join(words))
        log = "imu: unplugged\nimu: \x1b[31mback\n" if words[0] == "journalctl" else ""
        return subprocess.CompletedProcess(words, 0, self._shown if words[1] == "show" else log, "")


# --- the command ---------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_unit_and_nothing_else_and_tells_what_it_opens() -> None:
    done = service("install", "--dry-run", *USB, "--to", "jsonl:day.jsonl")
    assert done.returncode == 0, done.stderr
    unit = settings_of(done.stdout)
    assert command_of(done.stdout)[1:] == [*USB, "--to", "jsonl:/var/lib/mmg/day.jsonl"]
    assert (unit["DeviceAllow"], unit["StandardOutput"]) == (["char-ttyUSB rw"], ["null"])
    assert "mmg-service: devices: char-ttyUSB\n" in done.stderr
    assert "mmg-service: video: off\n" in done.stderr
    assert all(line.startswith("mmg-service: ") for line in done.stderr.splitlines())


def test_an_accelerator_that_the_unit_does_not_let_be_opened_is_told() -> None:
    for providers, is_told in (('["XnnpackExecutionProvider"]', False), ('["CUDAExecutionProvider"]', True)):
        done = service("install", "--dry-run", *USB, "--set", f"providers={providers}")
        assert done.returncode == 0, done.stderr
        assert ("mmg-service: CUDAExecutionProvider: the unit lets no accelerator" in done.stderr) is is_told


ASKS = """
import fcntl, os, socket, sys
from pathlib import Path
from mmg.cli.service import main
from mmg.service.systemd import Systemd

def ask(words):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(bus)
    try:
        fcntl.ioctl(os.open("/dev/null", os.O_RDWR), 0x80685600, bytearray(104))
    except PermissionError:
        print("connected, and no camera")
    sys.exit()

bus = sys.argv.pop()
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(bus)
    listening.listen()
    main(systemd=Systemd(Path("/"), Path("/"), ask))
"""


def test_it_reaches_the_systemd_that_it_speaks_to() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a folder in /run/user")
    folder = Path(f"/run/user/{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        words = [sys.executable, "-c", ASKS, "status", str(folder / "bus")]
        alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a second thread would leave the socket where it is
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=alone)
    finally:
        shutil.rmtree(folder)
    assert (done.stdout, done.stderr) == ("connected, and no camera\n", "")


@pytest.mark.parametrize("words", [("--to", "mqtt://b/x?credentials=PLACE"), ("--page", "--taught", "PLACE")])
def test_a_file_in_a_folder_that_is_closed_cannot_be_read(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    place = tmp_path / "closed/file"
    place.touch(0o600)
    command = [sys.executable, "-m", "mmg.cli.service", "install", "--dry-run", *USB]
    if os.geteuid() == 0:
        os.chown(place.parent, 61_200, 61_200)
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
    else:
        place.parent.chmod(0)
    done = subprocess.run(
        [*command, *(word.replace("PLACE", str(place)) for word in words)], capture_output=True, text=True, check=False
    )
    place.parent.chmod(0o700)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"mmg-service: {place}: cannot be read: Permission denied"


def test_flags_may_follow_two_dashes_and_where_no_sensor_is_named_it_says_which() -> None:
    done = service("install", "--dry-run", "--", "--require", "imu")
    assert done.returncode == 0, done.stderr
    assert command_of(done.stdout)[1:] == ["--require", "imu"]
    assert "no sensor is named: imu, audio; --sensors says which" in done.stderr
    assert settings_of(done.stdout)["StandardOutput"] == ["journal"]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("--demo",), 2, "--demo: is not for a service"),
        (("walk.csv",), 2, "walk.csv: is not for a service"),
        (("--duration", "5", *USB), 2, "--duration: is not for a service"),
        (("--truth", "x.csv", *USB), 2, "--truth: is not for a service"),
        (("--imu", "walk.csv"), 2, "is a recording: a service decides on sensors that are plugged in"),
        (("--video", "camera:///dev/video0"), 2, "video is off: add --allow-video"),
        (("--imu", "serial:///dev/ttyUSB0?protocol=klingon"), 2, "klingon"),
        (("--sensors", "ppg"), 2, "has no sensor 'ppg'"),
        ((*USB, "--record", "day.mcap"), 2, "name a folder, --record recordings"),
        ((*USB, "--split", "1h"), 2, "--split is of a recording"),
        ((*USB, "--to", "smoke:signal"), 2, "names no sink"),
        ((*USB, "--to", "mqtt://broker/a/+"), 2, "the topic cannot have a +"),
        ((*USB, "--to", "mqtt://broker/a?retry=never"), 2, "retry is the longest wait"),
        ((*USB, "--to", "jsonl:///var/lib/mmg/a?b=c"), 2, "unknown option 'b'"),
        ((*USB, "--to", "http://:8420/wrist"), 2, "a page has no path"),
        ((*USB, "--page", "walk.zip"), 2, "--page walk.zip: is no address"),
        ((*USB, "--page", "127.0.0.1:8420?tokenfile=x"), 2, "unknown option 'tokenfile'"),
        ((*USB, "--page", "--to", "http://localhost:99999"), 2, "cannot be"),
        ((*USB, "--taught", "none.taught"), 2, "none.taught"),
        ((*USB, "--bundle", "none.mmg"), 4, "none.mmg"),
        ((*USB, "--name", "../x"), 2, "--name ../x: must be"),
        (("--imu", "mic://a\nUser=root"), 2, "mic://"),
    ],
)
def test_what_cannot_be_a_service_is_one_line(words: tuple[str, ...], code: int, problem: str) -> None:
    done = service("install", "--dry-run", *words)
    assert (done.returncode, done.stdout) == (code, "")
    [line] = [line for line in done.stderr.splitlines() if problem in line]
    assert line.startswith("mmg-service: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", [("--page",), ("--page", "8421"), ("--page", ":8421"), ("--page=127.0.0.1",)])
def test_a_page_of_this_machine_alone_opens_no_other_address(page: tuple[str, ...]) -> None:
    done = service("install", "--dry-run", *USB, *page)
    assert done.returncode == 0, done.stderr
    unit = settings_of(done.stdout)
    assert (unit.get("IPAddressDeny"), unit.get("IPAddressAllow")) == (["any"], ["localhost"])


def test_with_a_page_the_taught_file_is_its_own_and_may_begin_with_nothing(tmp_path: Path) -> None:
    words = ("install", "--dry-run", *USB, "--page", "--taught", "mine.taught")
    done = service(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert command_of(done.stdout)[-2:] == ["--taught", "/var/lib/mmg/mine.taught"]
    assert "--taught mine.taught: is /var/lib/mmg/mine.taught, in the service's own folder" in done.stderr
    assert "ExecStartPre" not in settings_of(done.stdout)
    nothing_taught(tmp_path / "mine.taught")
    done = service(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert command_of(done.stdout)[-2:] == ["--taught", "/var/lib/mmg/mine.taught"]
    assert "mine.taught: is copied there if nothing is there" in done.stderr
    assert "ExecStartPre" in settings_of(done.stdout)


def nothing_taught(path: Path) -> None:
    """A file of the starter's encoders that all may read."""
    with Bundle.open("starter") as bundle:
        write_taught(path, Taught(encoder_digests(bundle.manifest)))
    path.chmod(0o644)


def test_a_flag_that_mmg_run_does_not_have_is_refused_by_its_own_parser() -> None:
    done = service("install", "--dry-run", "--senors", "imu")
    assert done.returncode == 2
    assert done.stderr.endswith("mmg-run: error: unrecognized arguments: --senors\n")
    done = service("status", "--sensors", "imu")
    assert done.returncode == 2
    assert done.stderr.endswith("mmg-service: error: unrecognized arguments: --sensors imu\n")


def test_install_writes_starts_and_tells_and_remove_takes_it_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd = MadeSystemd(tmp_path)
    assert main(["install", "--name", "mmg-left", *USB], systemd) == 0
    path = tmp_path / "mmg-left.service"
    assert command_of(path.read_text())[1:] == [*USB]
    assert path.stat().st_mode & 0o777 == 0o644
    unit = "mmg-left.service"
    assert systemd.asked == [
        f"systemctl {each}" for each in (f"daemon-reload|enable {unit}|restart --no-block {unit}").split("|")
    ]
    told = capsys.readouterr().err
    assert f"wrote {path}; it is started now, and at every boot" in told
    assert "journalctl -u mmg-left -f; how it is: mmg-service status --name mmg-left" in told
    assert main(["install", "--name", "mmg-left", *USB, "--require", "imu"], systemd) == 0
    assert command_of(path.read_text())[-1] == "imu"
    systemd.asked.clear()
    assert main(["remove", "--name", "mmg-left"], systemd) == 0
    assert systemd.asked == [f"systemctl disable --now {unit}", "systemctl daemon-reload"]
    assert list(tmp_path.iterdir()) == []
    assert main(["remove", "--name", "mmg-left"], systemd) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("nothing to remove")


@pytest.mark.parametrize("there", ["file", "link", "folder"])
def test_a_unit_that_it_did_not_make_stays_as_it_is(
    tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, systemd = tmp_path / "mmg.service", MadeSystemd(tmp_path)
    if there == "file":
        path.write_text("[Service]\nExecStart=/bin/true\n")
    elif there == "link":
        path.symlink_to("/dev/null")  # as systemctl mask makes it
    else:
        path.mkdir()
    before = path.lstat().st_mtime_ns
    for command in (["install", *USB], ["remove"]):
        assert main(command, systemd) == 2
        assert "was not made by mmg-service: choose another name" in capsys.readouterr().err
    assert (path.lstat().st_mtime_ns, systemd.asked) == (before, [])


def test_who_is_not_root_is_told_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmg.service.systemd.os.access", lambda *_: False)
    monkeypatch.setattr(sys, "argv", ["/opt/mmg/bin/mmg-service", "install", *USB, "--name", "mmg"])
    systemd = MadeSystemd(tmp_path)
    assert main(sys.argv[1:], systemd) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"mmg-service: only root may change {tmp_path}: sudo {shlex.join(sys.argv)}"
    assert systemd.asked == []


def test_where_systemd_does_not_run_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    systemd = Systemd(tmp_path, tmp_path / "none")
    for command in (["install", *USB], ["remove"], ["status"]):
        assert main(command, systemd) == 2
        assert "systemd does not run here" in capsys.readouterr().err.splitlines()[-1]


SHOWN = """\
LoadState=loaded
ActiveState=active
SubState=running
ActiveEnterTimestamp=Sun 2026-11-29 12:00:00 UTC
NRestarts=2
StatusText=walking 91% from imu
Result=success
"""


def test_status_tells_since_when_how_often_and_what_it_said_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"], MadeSystemd(tmp_path, SHOWN)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mmg: active (running) since Sun 2026-11-29 12:00:00 UTC, restarted 2 times",
        "walking 91% from imu",
        "  imu: unplugged",
        "  imu: ?[31mback",
    ]
    assert main(["status", "--json"], MadeSystemd(tmp_path, SHOWN)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["active"], told["restarts"], told["lines"][0]) == ("active", 2, "imu: unplugged")
    assert main(["status", "--name", "mmg-left"], MadeSystemd(tmp_path, "LoadState=not-found\n")) == 1
    assert capsys.readouterr().out == "mmg-left: is not-found: mmg-service install makes it\n"


# --- the run under its limits --------------------------------------------------------------------------------------

PROBE = """
import errno, json, mmap, os, socket, sys
from pathlib import Path
def tried(do):
    try: do()
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
opened = lambda path: lambda: os.open(path, os.O_RDWR)
print(json.dumps({
    "camera": tried(opened("/dev/video0")), "null": tried(opened("/dev/null")),
    "a camera node of its own": tried(lambda: os.mknod("/var/lib/mmg/video0", 0o20666, os.makedev(81, 0))),
    "internet": tried(lambda: socket.socket(socket.AF_INET)),
    "unix": tried(lambda: socket.socket(socket.AF_UNIX).close()),
    "etc": tried(lambda: Path("/etc/mmg").touch()), "state": tried(lambda: Path("/var/lib/mmg/day").touch()),
    "code": tried(lambda: mmap.mmap(-1, 4096, prot=7)), "processes": tried(lambda: os.stat(f"/proc/{sys.argv[1]}")),
    "homes": os.listdir("/home"), "user": os.getuid(),
}))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the service sees: it has a /tmp of its own."""
    need_limits()
    with tempfile.TemporaryDirectory(dir="/run", prefix="mmg-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)
        forget_groups()


def unit_for(folder: Path, *words: str) -> Path:
    done = service("install", "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    path = folder / "mmg.service"
    path.write_text(done.stdout)
    return path


def probed(unit: Path) -> dict[str, Any]:
    command = under(unit, sys.executable, "-c", PROBE, str(os.getpid()))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_under_the_unit_no_camera_opens_and_nothing_else_that_is_no_sensor(folder: Path) -> None:
    found = probed(unit_for(folder, *USB))
    refused = {"camera", "a camera node of its own", "internet", "etc", "code", "processes"}
    assert {name for name, answer in found.items() if str(answer).startswith("E")} == refused
    assert (found["null"], found["state"], found["unix"], found["homes"]) == ("done", "done", "done", [])
    assert found["user"] != 0
    if has_device_policy():
        assert found["camera"] == "EPERM", "the kernel's policy, and not a driver that is missing, refuses it"


def test_under_the_unit_what_was_taught_is_copied_to_where_the_run_may_write(folder: Path) -> None:
    nothing_taught(folder / "mine.taught")
    unit = unit_for(folder, *USB, "--page", "--taught", str(folder / "mine.taught"))
    [line] = settings_of(unit.read_text())["ExecStartPre"]
    once = 'cd /var/lib/mmg && "$@" && cmp mine.taught "$0"'
    script = f'{once} && echo more >> mine.taught && "$@" && tail -c 5 mine.taught'
    command = ("sh", "-c", script, str(folder / "mine.taught"), *words_of(line, is_command=True))
    done = subprocess.run(under(unit, *command), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "more\n"


def test_with_allow_video_it_is_the_policy_that_lets_a_camera_through(folder: Path) -> None:
    if not has_device_policy():
        pytest.skip("there is no device policy of version 1 here")
    found = probed(unit_for(folder, "--video", "camera:///dev/video0", "--allow-video"))
    assert found["camera"] != "EPERM"  # without a driver ENXIO


@pytest.mark.parametrize("backend", ["onnx", "litert"])
def test_under_the_unit_decisions_come_from_virtual_ports_and_its_manager_hears_of_each_hop(
    folder: Path, backend: str
) -> None:
    need_ports()
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    with VirtualWearable(render(seconds=8.0), folder, loop=True) as wearable:
        port = Path(os.path.realpath(folder / "imu"))
        port.chmod(0o666)  # as the group dialout has it
        for path in folder.iterdir():
            if not path.is_symlink():
                path.chmod(0o666)
        imu = f"serial://{port}?protocol=witmotion"
        sensors = ("--sensors", "imu,audio", "--imu", imu, "--audio", wearable.urls["audio"])
        unit = unit_for(
            folder, *sensors, "--backend", backend, "--format", "jsonl", "--record", "days", "--split", "1h"
        )
        with Manager(folder) as manager:
            run = subprocess.Popen(
                under(unit, *command_of(unit.read_text())),
                env=os.environ | manager.environment | wearable.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                lines = until_both_decide(run)
                run.send_signal(signal.SIGTERM)
                _, notes = run.communicate(timeout=PATIENCE_S)
            finally:
                run.kill()
                run.wait()
    assert (run.returncode, lines[-1]["modalities"] if lines else None) == (0, ["imu", "audio"]), notes
    assert "to /var/lib/mmg/days/run-0001-0000.mcap" in notes
    heard = manager.lines
    assert heard[0] == "READY=1"
    assert heard[-2:] == ["STOPPING=1", "STATUS=stopping"]
    assert heard.count("WATCHDOG=1") >= len(lines) // 2, (
        "it is told at each turn, in which a busy machine decides two hops"
    )
    statuses = [line for line in heard if line.startswith("STATUS=")]
    assert any(line.startswith(f"STATUS={lines[0]['label']} ") for line in statuses)


def until_both_decide(run: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Its decisions until there are enough, and both sensors are in the newest."""
    lines: list[dict[str, Any]] = []
    assert run.stdout
    patience = threading.Timer(PATIENCE_S, run.kill)
    patience.start()
    for line in run.stdout:
        lines.append(json.loads(line))
        if len(lines) >= ENOUGH and len(lines[-1]["modalities"]) == 2:
            break
    patience.cancel()
    return lines


class Manager:
    """The other end of NOTIFY_SOCKET, which hears on a thread of its own: the kernel keeps a few messages only."""

    def __init__(self, folder: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify")}
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        (folder / "notify").chmod(0o666)
        self._thread = threading.Thread(target=self._hear)

    def __enter__(self) -> Manager:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.environment["NOTIFY_SOCKET"])
        self._thread.join()
        self._socket.close()

    def _hear(self) -> None:
        while message := self._socket.recv(4096):
            self.lines += message.decode().split("\n")


def test_a_run_of_recordings_is_ready_too_and_leaves_nothing_for_its_children(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mmg.cli.run",
        "--sensors",
        "imu",
        "--demo",
        "--duration",
        "3",
    ]  # the kernel keeps ten
    with Manager(tmp_path) as manager:
        environment = os.environ | manager.environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (manager.lines[:2], manager.lines[-2]) == (["READY=1", "WATCHDOG=1"], "STOPPING=1")
