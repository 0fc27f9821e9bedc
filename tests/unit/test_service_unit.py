"""The unit that mmg-service makes: its devices, its words, its network, and what systemd says of it."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError, SourceError
from mmg.service.devices import Needs, needs_of
from mmg.service.hidden import HIDDEN, hidden_above, shown
from mmg.service.network import Network, network_of
from mmg.service.places import check_readable, place
from mmg.service.unit import Service, command_line, unit_text
from mmg.sinks.url import parse_sink_url
from units import command_of, settings_of, words_of

KINDS = {"imu": "signal", "audio": "audio", "video": "video"}
SCHEMES = ("jsonl", "mqtt", "mqtts", "http")
USB = ("char-ttyUSB", "char-ttyACM")
# URL -> what it needs, for each sensor; None where the sensor takes no part, "" where it is looked for.
IMUS = {
    None: (),
    "": USB + ("char-iio",),
    "serial:///dev/ttyUSB0": ("char-ttyUSB",),
    "serial:///dev/ttyUSB7?baud=9600&usb=1a86:7523": ("char-ttyUSB",),
    "serial:///dev/ttyACM3": ("char-ttyACM",),
    "serial:///dev/serial/by-id/usb-imu": ("char-ttyACM",),
    "serial:///dev/serial/by-id/usb-away": USB,
    "serial:///dev/ttyS0": ("/dev/ttyS0",),
    "serial:///dev/ttyAMA0": ("/dev/ttyAMA0",),
    "serial:///dev/pts/3": ("char-pts",),
    "serial://socket://10.0.0.7:4000": (),
    "iio://lsm6dsox": ("char-iio",),
}
SOUNDS = {None: (), "": ("char-alsa",), "mic://default": ("char-alsa",), "mic://hw:1?rate=48000": ("char-alsa",)}
VIDEOS = {None: (), "": ("char-video4linux",), "camera:///dev/video0": ("char-video4linux",)}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one IMU at a name of udev's, and a chip in two halves."""
    root = tmp_path_factory.mktemp("board")
    (root / "dev/serial/by-id").mkdir(parents=True)
    (root / "dev/ttyACM0").touch()
    (root / "dev/serial/by-id/usb-imu").symlink_to("../../ttyACM0")
    devices = root / "sys/bus/iio/devices"
    devices.mkdir(parents=True)
    for number, half in enumerate(("accel", "gyro")):
        folder = root / f"sys/devices/i2c-1/1-006a/iio:device{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"lsm6dsox_{half}\n")
        (devices / folder.name).symlink_to(folder)
    return root


def a_service(**changed: object) -> Service:
    made = {
        "name": "mmg",
        "command": ("/opt/mmg/bin/mmg-run", "--sensors", "imu"),
        "sensors": ("imu",),
        "needs": Needs(("char-ttyUSB",), ("dialout",)),
        "network": Network(),
        "hop_s": 0.5,
        "memory_mib": 512,
        "state": ("mmg",),
    }
    return Service(**{**made, **changed})  # type: ignore[arg-type]


def test_each_subset_of_sensors_opens_exactly_its_own_devices(board: Path) -> None:
    for imu, sound, video in product(IMUS, SOUNDS, VIDEOS):
        sensors = {name: url for name, url in zip(KINDS, (imu, sound, video), strict=True) if url is not None}
        needs = needs_of(sensors, KINDS, allow_video=True, root=board)
        wanted = IMUS[imu] + SOUNDS[sound] + VIDEOS[video]
        assert needs.nodes == wanted, sensors
        allowed = settings_of(unit_text(a_service(needs=needs))).get("DeviceAllow", [])
        assert allowed == [f"{node} rw" for node in wanted]


def test_a_chip_may_be_switched_on_and_nothing_else_of_the_board(board: Path) -> None:
    needs = needs_of({"imu": "iio://lsm6dsox"}, KINDS, root=board)
    assert needs.sysfs == (str(board / "sys/devices/i2c-1/1-006a"),)
    unit = settings_of(unit_text(a_service(needs=needs)))
    assert unit["ReadWritePaths"] == [f"-{needs.sysfs[0]}"]
    with pytest.raises(SourceError, match="there is no IIO device"):
        needs_of({"imu": "iio://other"}, KINDS, root=board)


@settings(max_examples=times(50), deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6),
        st.tuples(
            st.sampled_from(["signal", "audio", "video"]),
            st.sampled_from(["", "mic://default", "serial:///dev/ttyUSB0", "camera:///dev/video0", "CAMERA:///dev/v"]),
        ),
        min_size=1,
    )
)
def test_no_camera_is_among_the_devices_without_leave_whatever_it_is_called(
    sensors: dict[str, tuple[str, str]],
) -> None:
    urls, kinds = ({name: each[place] for name, each in sensors.items()} for place in (1, 0))
    is_video = any(kind == "video" or url.lower().startswith("camera") for kind, url in sensors.values())
    try:
        needs = needs_of(urls, kinds)
    except ConfigError:
        assert is_video
    else:
        assert not is_video
        unit = settings_of(unit_text(a_service(needs=needs)))
        assert "video" not in " ".join(unit["DeviceAllow"] + unit["SupplementaryGroups"])
        assert unit["DevicePolicy"] == ["closed"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("walk.csv", "walk.csv: is a recording"),
        ("camera:///tmp/film.mp4", "is a recording"),
        ("serial://spy:///dev/ttyUSB0?file=x", "a serial port is a path"),
        ("serial:///dev/mem", "is no serial port"),
        ("serial:///dev/../etc/passwd", "is no serial port"),
        ("klingon://x", "unknown scheme"),
    ],
)
def test_what_is_no_port_is_refused(url: str, problem: str, board: Path) -> None:
    (board / "dev/mem").touch()
    (board / "etc").mkdir(exist_ok=True)
    (board / "etc/passwd").touch()
    with pytest.raises(ConfigError, match=problem):
        needs_of({"imu": url}, KINDS, allow_video=True, root=board)


# --- words ---------------------------------------------------------------------------------------------------------


@settings(max_examples=times(300), deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1))
def test_every_word_comes_out_of_a_unit_as_it_went_in_or_is_refused(words: list[str]) -> None:
    try:
        line = command_line(words)
    except ConfigError:
        assert any(not word.isprintable() or any("\ud800" <= c <= "\udfff" for c in word) for word in words)
    else:
        assert "\n" not in line
        assert words_of(line, is_command=True) == words


@pytest.mark.parametrize("word", ["100%", "$HOME", "${X}", 'a "b"', "it's", "a b", ";", "\\", "%%$$", "#", "~/x", "é"])
def test_what_means_something_to_systemd_is_only_itself(word: str) -> None:
    assert words_of(command_line(["/bin/x", word, word]), is_command=True) == ["/bin/x", word, word]


@pytest.mark.parametrize("word", ["a\nExecStartPre=/bin/evil", "\r", "\0", "", "\x1b[31m", "\udcff", "\u2028"])
def test_what_a_unit_cannot_hold_is_refused_in_one_line(word: str) -> None:
    with pytest.raises(ConfigError, match="a unit") as caught:
        unit_text(a_service(command=("/bin/x", word)))
    assert len(str(caught.value).splitlines()) == 1
    for field in ({"shown": (f"/home/{word}",)}, {"writes": (f"/srv/{word}",)}, {"secrets": {"key": f"/etc/{word}"}}):
        if word:
            with pytest.raises(ConfigError):
                unit_text(a_service(**field))


def test_a_sensor_of_any_name_adds_no_line_to_the_unit() -> None:
    unit = unit_text(a_service(sensors=("im%u\n[Service]\nUser=root",)))
    assert "User" not in settings_of(unit)
    assert "im%%u" in unit


@pytest.mark.parametrize("name", ["", "../x", "a b", "MMG", "x" * 40, "-x", "a.service"])
def test_a_name_that_is_no_users_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        a_service(name=name)


# --- files ---------------------------------------------------------------------------------------------------------


def test_what_is_read_is_absolute_and_what_is_written_lies_in_its_own_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("mine.taught", "board.toml", "user", "ca.pem"):
        (tmp_path / name).touch(0o644)
    places = place(
        [
            *("--sensors", "imu", "--taught", "mine.taught", "--profile=./board.toml", "--bundle", "starter"),
            *("--record", "days", "--to", "jsonl:logs/day.jsonl", "--allow-video", "--trust=user"),
            *("--to", "mqtts://broker/wrist?credentials=user&ca=ca.pem&retry=2", "--to", "http://:80?token_file=t"),
        ],
        "mmg",
        tmp_path,
    )
    assert places.words == [
        *("--sensors", "imu", "--taught", f"{tmp_path}/mine.taught", "--profile", f"{tmp_path}/board.toml"),
        *("--bundle", "starter", "--record", "/var/lib/mmg/days", "--to", "jsonl:/var/lib/mmg/logs/day.jsonl"),
        *("--allow-video", "--trust", f"{tmp_path}/user"),
        "--to",
        "mqtts://broker/wrist?credentials=/run/credentials/mmg.service/credentials-0"
        "&ca=/run/credentials/mmg.service/ca-1&retry=2",
        *("--to", "http://:80?token_file=/var/lib/mmg/t"),
    ]
    assert places.reads == [tmp_path / "mine.taught", tmp_path / "board.toml", tmp_path / "user"]
    assert places.state == ["mmg", "mmg/days", "mmg/logs"]
    assert places.secrets == {"credentials-0": tmp_path / "user", "ca-1": tmp_path / "ca.pem"}
    assert places.writes == []


def test_what_the_page_teaches_is_written_to_a_copy_of_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.taught"
    mine.touch(0o644)
    for value in ("mine.taught", str(mine)):
        places = place(["--page", "--taught", value], "mmg", tmp_path, teaches=True)
        assert places.words == ["--page", "--taught", "/var/lib/mmg/mine.taught"]
        assert (places.reads, places.writes, places.state) == ([mine], [], ["mmg"])
        assert places.copies == {Path("/var/lib/mmg/mine.taught"): mine}
    mine.chmod(0o600)
    with pytest.raises(ConfigError, match="may not read it: chmod"):
        place(["--taught", "mine.taught"], "mmg", tmp_path, teaches=True)


def test_what_a_link_leads_to_is_shown_where_it_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, outside = tmp_path / "home", tmp_path / "srv"
    for folder in (home / "models", outside):
        folder.mkdir(parents=True)
    (home / "models/v3.mmg").touch(0o644)
    (home / "newest").symlink_to("models/v3.mmg")
    (outside / "link").symlink_to(home)
    monkeypatch.setattr("mmg.service.hidden.HIDDEN", (home,))
    monkeypatch.setattr("mmg.service.places.check_readable", lambda *_: None)  # closed to others is pytest's folder
    places = place(["--bundle", "srv/link/newest"], "mmg", tmp_path)
    assert places.words == ["--bundle", f"{outside}/link/newest"]
    assert shown(places.reads) == (f"{home}/models/v3.mmg", f"{home}/newest")


@pytest.mark.parametrize("value", ["mine.taught", "/home/pi/mine.taught", "/var/lib/mmg/mine.taught"])
def test_what_the_page_teaches_may_begin_with_no_file(value: str, tmp_path: Path) -> None:
    places = place(["--taught", value], "mmg", tmp_path, teaches=True)
    assert places.words == ["--taught", "/var/lib/mmg/mine.taught"]
    assert (places.reads, places.copies, places.state) == ([], {}, ["mmg"])


def test_a_copy_is_made_once_and_what_is_there_is_kept(tmp_path: Path) -> None:
    mine, own = tmp_path / "100% $mine 'x'.taught", tmp_path / "own; a"
    mine.write_text("taught before")
    unit = unit_text(a_service(copies={str(own): str(mine)}))
    [line] = settings_of(unit)["ExecStartPre"]
    assert unit.index("ExecStartPre=") < unit.index("ExecStart=")
    for text in ("taught before", "and on the page"):
        subprocess.run(words_of(line, is_command=True), check=True)
        assert own.read_text() == text.replace("and", "taught before and")
        own.write_text("taught before and on the page")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, own.name])
    mine.unlink()
    subprocess.run(words_of(line, is_command=True), check=True)
    own.unlink()
    failed = subprocess.run(words_of(line, is_command=True), check=False, capture_output=True)
    assert failed.returncode != 0, "a run that begins with nothing would not know what was taught"
    assert "ExecStartPre" not in settings_of(unit_text(a_service()))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("jsonl:///var/lib/mmg/a%20b.jsonl", "/var/lib/mmg/a b.jsonl"),
        ("jsonl://logs/a%25.jsonl", "/var/lib/mmg/logs/a%.jsonl"),
        ("JSONL:///var/lib/mmg/x%3Fy", "/var/lib/mmg/x?y"),
        ("jsonl:a%20b?c.jsonl", "/var/lib/mmg/a%20b?c.jsonl"),
        ("jsonl:day 1.jsonl", "/var/lib/mmg/day 1.jsonl"),
        ("jsonl:////var/lib/mmg/day.jsonl", "/var/lib/mmg/day.jsonl"),
    ],
)
def test_a_file_of_decisions_has_the_name_that_its_url_says(url: str, path: str, tmp_path: Path) -> None:
    flag, placed = place(["--to", url], "mmg", tmp_path).words
    assert (flag, parse_sink_url(placed, SCHEMES).path) == ("--to", path)


@pytest.mark.parametrize(
    ("words", "placed"),
    [
        (["--page"], ["--page"]),
        (["--page", "--sensors", "imu"], ["--page", "--sensors", "imu"]),
        (["--page", ":80", "--allow-video"], ["--page", ":80", "--allow-video"]),
        (["--page=0.0.0.0:80?token_file=t"], ["--page", "0.0.0.0:80?token_file=/var/lib/mmg/t"]),
    ],
)
def test_a_pages_address_may_be_left_out(words: list[str], placed: list[str], tmp_path: Path) -> None:
    assert place(words, "mmg", tmp_path).words == placed


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--record", "day.mcap"), "name a folder, --record recordings"),
        (("--record", "/root/days"), "own user cannot write to /root/days: give a relative path"),
        (("--to", "jsonl:/etc/day.jsonl"), "cannot write to /etc"),
        (("--to", "jsonl:../../../tmp/day.jsonl"), "cannot write to /tmp"),
        (("--taught", "none.taught"), "there is no such file"),
        (("--taught", "closed.taught"), "may not read it: chmod"),
        (("--to", "mqtt://x/y?credentials=none"), "there is no file"),
    ],
)
def test_a_path_that_the_service_cannot_use_is_one_line(words: tuple[str, str], problem: str, tmp_path: Path) -> None:
    (tmp_path / "closed.taught").touch(0o600)
    with pytest.raises(ConfigError, match=problem):
        place(words, "mmg", tmp_path)


def test_a_folder_that_others_may_not_enter_is_told_where_the_service_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    (closed / "venv").mkdir(parents=True)
    (closed / "venv").chmod(0o755)
    closed.chmod(0o700)
    check_readable(closed / "venv", "Python is in")  # below a hidden folder it is shown by itself
    (closed / "venv").chmod(0o700)
    with pytest.raises(ConfigError, match=r"may not read it: chmod -R o\+rX .*/venv"):
        check_readable(closed / "venv", "Python is in")
    (closed / "venv").chmod(0o755)
    monkeypatch.setattr("mmg.service.hidden.HIDDEN", ())
    with pytest.raises(
        ConfigError, match=r"Python is in .*/closed/venv: the service's own user may not enter .*: chmod"
    ):
        check_readable(closed / "venv", "Python is in")


def test_only_what_is_hidden_is_shown_again() -> None:
    paths = [Path(path) for path in ("/home/pi/venv/lib", "/home/pi/venv", "/opt/mmg", "/usr", "/tmp/x", "/homes/x")]
    assert shown(paths) == ("/home/pi/venv", "/tmp/x")
    assert hidden_above(Path("/root/.pyenv/versions")) == Path("/root")
    assert {str(path) for path in HIDDEN} == {"/home", "/root", "/run/user", "/tmp", "/var/tmp"}


# --- network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("urls", "hosts", "allowed"),
    [
        ([], [], None),
        (["jsonl:day.jsonl"], [], None),
        (["http://127.0.0.1:8420"], [], ("localhost",)),
        (["http://:8420"], [], ("localhost",)),
        (["http://[::1]:8420", "mqtt://localhost/x"], [], ("localhost",)),
        (["http://0.0.0.0:8420"], [], ()),
        (["http://192.168.1.4:8420"], [], ()),
        (["mqtt://192.168.1.4/x"], [], ("192.168.1.4",)),
        (["mqtt://broker/x"], [], ()),
        (["mqtt://broker/x", "http://127.0.0.1:1"], [], ()),
        (["jsonl:x"], ["10.0.0.7"], ("10.0.0.7",)),
        ([], ["imu.local"], ()),
    ],
)
def test_the_network_is_open_as_far_as_a_sink_or_sensor_needs_it(
    urls: list[str], hosts: list[str], allowed: tuple[str, ...] | None
) -> None:
    network = network_of([parse_sink_url(url, SCHEMES) for url in urls], hosts)
    assert (network.is_needed, network.allowed) == (allowed is not None, allowed or ())
    unit = settings_of(unit_text(a_service(network=network)))
    families = ["AF_UNIX"] if allowed is None else ["AF_UNIX AF_INET AF_INET6"]
    assert unit["RestrictAddressFamilies"] == families
    assert ("PrivateNetwork" in unit) == (allowed is None)
    assert unit.get("IPAddressDeny") == (["any"] if allowed != () else None)
    assert unit.get("IPAddressAllow") == ([" ".join(allowed)] if allowed else None)


# --- what systemd says ---------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, object]] = {
    "imu": {},
    "imu and sound": {"needs": Needs(("char-ttyACM", "char-alsa"), ("dialout", "audio"))},
    "all, camera too, from anywhere": {
        "needs": Needs(("char-iio", "char-alsa", "char-video4linux"), ("dialout", "audio", "video"), (), ("/sys/x y",)),
        "network": network_of([parse_sink_url("http://0.0.0.0:80", SCHEMES)]),
        "secrets": {"credentials-0": "/etc/a b%"},
        "copies": {"/var/lib/mmg/a b%.taught": "/home/pi/a b%.taught"},
        "shown": ("/home/pi/a b/venv", "/home/pi/100%"),
        "state": ("mmg", "mmg/days"),
        "is_logged": False,
    },
    "a broker": {"network": network_of([parse_sink_url("mqtt://10.0.0.1/x", SCHEMES)])},
    "odd words": {"command": ("/bin/true", "a b", "100%", "$HOME", 'q"\\', ";")},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_systemd_takes_the_unit_and_finds_it_safe(variant: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "mmg.service"
    made: dict[str, object] = {"command": ("/bin/true",), **VARIANTS[variant]}
    text = unit_text(a_service(**made))
    path.write_text(text)
    verified = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    words = [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", str(path)]
    scored = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unrecognized option" in scored.stderr:
        pytest.skip("this systemd-analyze cannot look at a file: it is older than 250")
    assert scored.returncode == 0, scored.stdout.splitlines()[-1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_class_of_devices_is_there_as_it_starts_or_a_sensor_that_comes_later_would_be_refused(variant: str) -> None:
    unit = settings_of(unit_text(a_service(**VARIANTS[variant])))
    classes = [line.split()[0] for line in unit["DeviceAllow"]]
    assert classes
    modules = {
        "ttyUSB": "usbserial",
        "ttyACM": "cdc_acm",
        "alsa": "snd",
        "iio": "industrialio",
        "video4linux": "videodev",
    }
    loads = [f"modprobe@{modules[name.removeprefix('char-')]}.service" for name in classes]
    assert unit["Wants"][-len(loads) :] == unit["After"][-len(loads) :] == loads


def test_it_is_watched_for_ten_hops_and_never_given_up() -> None:
    unit = settings_of(unit_text(a_service()))
    assert (unit["WatchdogSec"], unit["Restart"], unit["StartLimitIntervalSec"]) == (["30"], ["always"], ["0"])
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert settings_of(unit_text(a_service(hop_s=60.0)))["WatchdogSec"] == ["600"]


@pytest.mark.parametrize("needs", [Needs(("char-ttyUSB",), ("dialout",)), Needs(("char-alsa",), ("audio",))])
def test_memory_is_never_written_and_run(needs: Needs) -> None:
    assert settings_of(unit_text(a_service(needs=needs)))["MemoryDenyWriteExecute"] == ["yes"]


@pytest.mark.parametrize(("is_logged", "output"), [(True, "journal"), (False, "null")])
def test_notes_go_to_the_journal_also_where_decisions_do_not(is_logged: bool, output: str) -> None:
    unit = settings_of(unit_text(a_service(is_logged=is_logged)))
    assert (unit["StandardOutput"], unit["StandardError"]) == ([output], ["journal"])


def test_the_command_comes_out_as_it_is() -> None:
    words = ("/home/a b/bin/mmg-run", "--sensors", "imu", "--imu", "serial:///dev/ttyUSB0?axes=-x%2Cy$")
    assert command_of(unit_text(a_service(command=words))) == list(words)
