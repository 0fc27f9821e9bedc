"""Foreign code in a run tries what the run does not use: the kernel refuses it, with each rung left out in turn."""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from closed_runs import attacked_run, made_node
from recordings import DEMO, ROOT, mmg_run

REFUSED = {"EPERM", "EACCES", "EROFS", "ENETUNREACH"}
CAMERA, SOUND, NULL, SERIAL, CONSOLE = (81, 200), (116, 24), (1, 3), (4, 64), (4, 1)


@pytest.fixture
def dev() -> Iterator[Path]:
    """A folder below /dev, for the nodes of a test."""
    folder = Path(f"/dev/mmg-test-{os.getpid()}")
    try:
        folder.mkdir()
    except PermissionError:
        pytest.skip("only root may make device nodes here")
    yield folder
    for node in folder.iterdir():
        node.unlink()
    folder.rmdir()


@pytest.mark.realtime
@pytest.mark.busy
@pytest.mark.parametrize("without", ["", "seccomp", "namespace", "landlock"])
def test_code_in_a_run_gets_no_camera_sound_socket_or_file(without: str, dev: Path, tmp_path: Path) -> None:
    cameras = {
        "made": made_node(dev / "video0", *CAMERA),
        "elsewhere": made_node(tmp_path / "video0", *CAMERA),
        # Of a driver that is there: it can be opened, if nothing stands before it.
        "answering": made_node(dev / "video1", *NULL),
    }
    sound = made_node(dev / "pcmC0D0c", *NULL)
    flags = ["--privacy", "strict"] + (["--privacy-without", without] if without else [])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run = attacked_run(tmp_path, cameras, sound, port, dev / "video9", *flags)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert run.code == 0, run.stderr
    assert len(run.lines) == 10
    for tried in run.told["main"], run.told["thread"]:
        # The made one has no driver: where it may be opened, the kernel has nothing to open.
        without_driver = REFUSED | ({"ENXIO", "ENODEV"} if without == "namespace" else set())
        assert {tried.pop("made"), tried.pop("elsewhere")} <= without_driver
        if without == "seccomp":
            assert tried.pop("raw") in ("EINVAL", "EFAULT", "ENOSYS")  # not closed, and of no use: no node opens
        assert set(tried.values()) <= REFUSED, tried
    assert not (tmp_path / "outside.txt").exists()
    of_camera = [call for call in run.calls if "video" in call or "0x56, 0" in call or "VIDIOC_QUERYCAP" in call]
    assert [call for call in of_camera if "EPERM" in call or "EACCES" in call]
    assert [call for call in run.calls if "outside.txt" in call and ("EACCES" in call or "EROFS" in call)]
    assert run.lines[0]["camera"] == {
        "state": "closed",
        "by": [rung for rung in ("namespace", "seccomp") if rung != without],
    }


def test_the_same_code_gets_all_of_it_where_nothing_is_closed(dev: Path, tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    camera, sound = made_node(dev / "video1", *NULL), made_node(dev / "pcmC0D0c", *NULL)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        flags = "--privacy-without", "seccomp,namespace,landlock"
        run = attacked_run(tmp_path, {"answering": camera}, sound, port, dev / "video9", *flags)
    tried = run.told["main"]
    assert (tried["answering"], tried["late"], tried["sound"]) == ("ENOTTY", "ENOTTY", "ENOTTY")  # /dev/null answers
    assert (tried["network"], tried["file"]) == ("done", "done")
    assert run.lines[0]["camera"] == {"state": "off", "by": []}
    assert "nothing keeps it closed here" in run.stderr


def test_strict_refuses_to_run_where_nothing_is_closed() -> None:
    words = "--sensors", "imu", "--demo", "--privacy", "strict", "--privacy-without"
    done = mmg_run(*words, "seccomp,namespace,landlock")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mmg-run: --privacy strict: nothing keeps cameras closed here (")
    assert "VIDIOC_QUERYCAP of /dev/null: ENOTTY; mmg-service install makes a unit" in done.stderr
    assert done.stderr.count("\n") == 1
    assert mmg_run(*words, "namespace,landlock", "--duration", "1").returncode == 0


def test_without_privileges_it_is_the_same() -> None:
    if os.geteuid() != 0:
        pytest.skip("this whole test runs without privileges already")
    python = next((one for one in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(one).exists()), None)
    if python is None or shutil.which("setpriv") is None:
        pytest.skip("there is no Python that every user may run, or no setpriv")
    code = "from mmg.privacy import Uses, close_unused; print(close_unused(Uses()))"
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are for one user alone
        package = Path(folder) / "mmg"
        shutil.copytree(ROOT / "runtime/mmg/privacy", package / "privacy")
        (package / "__init__.py").touch()
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-B", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    assert done.returncode == 0, done.stderr
    assert "things=('cameras', 'microphones', 'network', 'writing')" in done.stdout
    assert "by=('namespace', 'landlock', 'seccomp')" in done.stdout


def test_a_run_with_a_thread_before_it_says_what_is_lost() -> None:
    code = (
        "import threading, sys; threading.Thread(target=threading.Event().wait, args=(9,), daemon=True).start()\n"
        "import mmg.cli.run as command; sys.argv[0] = 'mmg-run'; sys.exit(command.main())"
    )
    words = ["--imu", str(DEMO / "imu.csv"), "--duration", "1"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert "closed by the kernel (seccomp): cameras, microphones, the network; a camera was asked" in done.stderr


def test_a_program_that_calls_a_command_is_left_as_it_is(tmp_path: Path) -> None:
    code = (
        "import sys; from mmg.cli.run import main; code = main(sys.argv[1:]); import socket; socket.socket()\n"
        f"open({str(tmp_path / 'mine.txt')!r}, 'w').close(); sys.exit(code)"
    )
    words = ["--imu", str(DEMO / "imu.csv"), "--duration", "1"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.txt").exists()


def test_a_serial_port_that_is_plugged_in_later_opens_and_nothing_else_does(dev: Path) -> None:
    """A made node of the machine's own port stands for it: it is one of the kernel's tty subsystem."""
    code = (
        "import os, sys\n"
        "from mmg.privacy import Uses, close_unused\n"
        "from mmg.privacy.doorkeeper import device_at\n"
        "close_unused(Uses(serial=True))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for path in sys.argv[1:]:\n"
        "    told = []\n"
        "    try:\n"
        "        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY)); told.append('direct')\n"
        "    except OSError as error: told.append(os.strerror(error.errno))\n"
        "    try:\n"
        "        with device_at(path) as place:\n"
        "            os.close(os.open(place, os.O_RDWR | os.O_NOCTTY)); told.append('open')\n"
        "    except OSError as error: told.append(os.strerror(error.errno))\n"
        "    print(*told, sep=', ')\n"
    )
    if not Path("/sys/dev/char/4:64").exists():
        pytest.skip("this machine has no serial port, whose number the made node has")
    paths = [dev / "ttyUSB7", dev / "video7", dev / "null7", dev / "tty1", dev / "none"]
    command = [sys.executable, "-c", code, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for path, number in zip(paths, [SERIAL, CAMERA, NULL, CONSOLE], strict=False):
            made_node(path, *number)
        told, _ = process.communicate("now\n", timeout=30)
    assert told.splitlines() == [
        "Permission denied, open",
        "Permission denied, Permission denied",
        "Permission denied, Permission denied",
        "Permission denied, Permission denied",
        "No such file or directory, No such file or directory",
    ]


def test_the_process_that_opens_ports_ends_with_the_run() -> None:
    code = (
        "import os, sys; from mmg.privacy import Uses, close_unused; close_unused(Uses(serial=True))\n"
        "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        children = process.stdout.readline().split()
        if not children:
            pytest.skip("this machine gives no namespace, so that nothing is opened by another process")
        watched = os.pidfd_open(int(children[0]))
        process.kill()
    ended, _, _ = select.select([watched], [], [], 10)
    os.close(watched)
    assert ended


HOLES = """
import errno, fcntl, os, socket, sys
from mmg.privacy import Uses, close_unused
outside = os.open("/", os.O_DIRECTORY)
os.set_inheritable(outside, True)
close_unused(Uses())

def said(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def become_another():
    os.setgid(65534); os.setuid(65534)

print(said(lambda: os.open("dev/null7", os.O_RDONLY, dir_fd=outside)))
print(said(lambda: fcntl.ioctl(0, 0x5412, b"x")))
print(said(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)))
print(said(lambda: [one.close() for one in socket.socketpair()]))
print(said(become_another) if os.geteuid() == 0 else "EPERM")
print(said(lambda: os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)))
print(said(lambda: os.open("/dev/shm/mmg-test-hole", os.O_WRONLY | os.O_CREAT)))
"""


def test_the_ways_around_it_that_were_found_are_closed() -> None:
    """An open folder, typing into a terminal, datagrams, another user, another's terminal, shared memory."""
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", HOLES, os.ttyname(theirs)], capture_output=True, text=True, check=False, stdin=theirs
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    folder, typed, datagrams, pair, user, terminal, memory = done.stdout.split()
    assert (folder, typed, datagrams, pair, user) == ("EBADF", "EPERM", "EPERM", "done", "EPERM")
    assert (terminal, memory) == ("EACCES", "EROFS")


ASK_FIRMWARE = """\
#!/bin/sh
: <>/dev/vcio && [ "$1" = get_throttled ] && echo throttled=0x50005
"""
BRIEF = (
    "profile",
    "--subsets",
    "imu",
    "--backends",
    "onnx",
    "--precisions",
    "fp32",
    "--mode",
    "backtoback",
    "--hops",
    "2",
)


@pytest.mark.parametrize("words", [("doctor",), BRIEF], ids=["doctor", "profile"])
def test_who_tells_what_a_boards_firmware_says_can_ask_it(words: tuple[str, ...], tmp_path: Path) -> None:
    """A Raspberry Pi 5 tells of throttling in no file."""
    node, tool = Path("/dev/vcio"), tmp_path / "vcgencmd"
    if node.exists():
        pytest.skip("this board has one")
    tool.write_text(ASK_FIRMWARE)
    tool.chmod(0o755)
    made_node(node, *NULL)
    try:
        command = [sys.executable, "-m", f"mmg.cli.{words[0]}", *words[1:], "--json"]
        path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=path)
    finally:
        node.unlink()
    told = json.loads(done.stdout)
    condition = told["condition"] if "condition" in told else told["cases"][0]["before"]
    assert condition["throttled"] == ["under-voltage", "throttled"]


SERVERS = """
import socket, sys
from mmg.privacy import Uses, close_unused
listening = []
for path in sys.argv[2:]:
    listening.append(socket.socket(socket.AF_UNIX))
    listening[-1].bind(path)
    listening[-1].listen()
closed = close_unused(Uses(daemons=True, network=True, sound=sys.argv[1] == "sound"))

def said(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError:
        return "refused"
    return "done"

print("namespace" in closed.by, "microphones" in closed.things, *map(said, sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("used", "answer"), [("nothing", "True" + " refused" * 5), ("sound", "False" + " refused" * 3 + " done done")]
)
def test_a_sound_server_is_reached_by_who_uses_sound_alone_and_a_shell_by_nobody(used: str, answer: str) -> None:
    """A name in .local is looked up at a socket of this board; PipeWire's hands out sound and pictures; tmux, D-Bus
    and a container's engine run what they are told."""
    if os.geteuid() != 0 or not Path("/run").is_dir():
        pytest.skip("only root may make a folder in /run/user")
    user, tmux = Path(f"/run/user/{os.getpid()}"), Path(f"/tmp/tmux-{os.getpid()}")
    session = Path(f"/tmp/dbus-{os.getpid()}")
    (user / "pulse").mkdir(parents=True)
    tmux.mkdir(mode=0o700)
    try:
        shells = [tmux / "default", session, user / "docker.sock"]
        sockets = map(str, [*shells, user / "pipewire-0", user / "pulse/native"])
        words = [sys.executable, "-c", SERVERS, used, *sockets]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(user)
        shutil.rmtree(tmux)
        session.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    has_namespace, _, said = done.stdout.strip().partition(" ")
    if has_namespace == "False":
        pytest.skip("this machine gives no namespace")
    assert said == answer


def test_with_a_microphone_and_a_network_x11_is_not_reached_by_its_name_either() -> None:
    code = """
import socket, sys
from mmg.privacy import Uses, close_unused
from mmg.privacy.landlock import SCOPES_SINCE, version
closed = close_unused(Uses(sound=True, network=True))
if "landlock" not in closed.by or version() < SCOPES_SINCE:
    print("old")
else:
    print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1].replace("@", "\\0")))
"""
    name = f"@/tmp/.X11-unix/X{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.listen()
        done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=False)
    if done.stdout == "old\n":
        pytest.skip("this kernel closes no abstract sockets")
    assert (done.stdout, done.stderr) == (f"{errno.EPERM}\n", "")


def test_a_recording_that_is_called_like_a_servers_folder_is_read_and_written() -> None:
    folder, file = Path(f"/tmp/pulse-{os.getpid()}"), Path(f"/tmp/tmux-{os.getpid()}.csv")
    code = f"""
from pathlib import Path
from mmg.privacy import Uses, close_unused
close_unused(Uses(writes=(Path("{folder}"),)))
Path("{folder}/imu.csv").write_text(Path("{file}").read_text())
"""
    folder.mkdir()
    file.write_text("t,x")
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (folder / "imu.csv").read_text() == "t,x"
    finally:
        shutil.rmtree(folder)
        file.unlink()


def test_a_doorkeeper_that_is_gone_is_told_and_odd_requests_do_not_end_it() -> None:
    code = (
        "import os, signal, time\n"
        "from mmg.privacy import Uses, close_unused, doorkeeper\n"
        "close_unused(Uses(serial=True))\n"
        "if not doorkeeper._door: print('none'); raise SystemExit\n"
        "for path in '/dev/a\\0b', '/dev/' + 'x' * 5000, '/dev/tty':\n"
        "    try: os.close(doorkeeper._ask(path))\n"
        "    except (OSError, ValueError) as error: print(type(error).__name__, getattr(error, 'errno', 0))\n"
        "child = int(open(f'/proc/self/task/{os.getpid()}/children').read().split()[0])\n"
        "os.kill(child, signal.SIGKILL); os.waitpid(child, 0)\n"
        "try: doorkeeper._ask('/dev/ttyS0')\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    if done.stdout == "none\n":
        pytest.skip("this machine gives no namespace, so that nothing is opened by another process")
    assert done.stdout.splitlines() == [
        "OSError 22",
        "OSError 36",
        "PermissionError 13",
        "the process that opens ports is gone: start the run again",
    ]


VOLUMES = """
mount --bind read-only read-only && mount -o remount,ro,bind read-only || exit 9
mount --bind below/inner below/inner && mount -o remount,ro,bind below/inner || exit 9
exec "$@"
"""
WRITING = """
import errno
from pathlib import Path
from mmg.privacy import Uses, close_unused
close_unused(Uses(writes=(Path("read-only"), Path("below"))))
for place in ("read-only", "below", "below/inner", "."):
    try:
        (Path(place) / "file").touch()
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_what_was_mounted_read_only_stays_so_though_it_is_to_be_written(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may mount here")
    (tmp_path / "read-only").mkdir()
    (tmp_path / "below/inner").mkdir(parents=True)
    mounted = ["unshare", "-m", "--propagation", "private", "sh", "-c", VOLUMES, "sh"]
    command = [*mounted, sys.executable, "-c", WRITING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    if done.returncode == 9:
        pytest.skip("this machine lets root mount nothing")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["EROFS", "done", "EROFS", "EROFS"]


def test_a_doorkeeper_is_let_go_at_the_end() -> None:
    code = "from mmg.privacy import doorkeeper; doorkeeper.begin()"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_may_not_be_entered_any_more_is_no_fault(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user here")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'runtime')!r}); import mmg.privacy, mmg.privacy.namespace\n"
        "from mmg.privacy import landlock, manager, seccomp, ask, doorkeeper\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(mmg.privacy.close_unused(mmg.privacy.Uses()).things)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "'cameras'" in done.stdout
