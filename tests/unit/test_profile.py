"""Device profiles: what is wrong names the file, the key and what is allowed, in one line."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from datetime import date
from pathlib import Path

import msgspec
import pytest
from fuzzing import times
from hostile import peak_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg_device_profiles import ProfileProblem, load_profile
from mmg_device_profiles.checking import value_keys
from mmg_device_profiles.profile import BOARDS
from mmg_device_profiles.schema import Budget, Detect, Energy, Privacy, Profile

BOARD_NAMES = sorted(path.stem for path in BOARDS.glob("*.toml"))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "device-profiles.md"
HEAD = 'name = "mine"\ndescription = "a board"\n'
OWN = """\
name = "mine"
description = "my watch"
backend = "litert"
precision = "int8"
providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
threads = 2
grace_s = 0.5

[detect]
compatible = ["me,watch"]

[sensors]
imu = "serial:///dev/ttyUSB0"

[rates]
imu = 100

[budget]
decision_ms = 50
cpu_percent = 12.5
memory_mib = 80
first_decision_s = 3
power_mw = 700

[energy]
meter = "ina"
core_w = 0.5

[privacy]
video = "never"

[documents]
threads = "the chip's data sheet: two cores"
"budget.power_mw" = "chosen: a day of its battery"
"sensors.imu" = "the watch's wiring"
"""


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def problem_of(name_or_path: str, *overrides: str) -> ProfileProblem:
    """What is told, in one printable line that starts with the file, or with --set for an override."""
    with pytest.raises(ProfileProblem) as caught:
        load_profile(name_or_path, overrides)
    assert caught.value.path == ("--set" if overrides else name_or_path)
    assert str(caught.value).startswith(caught.value.path)
    assert str(caught.value).isprintable()
    assert caught.value.problem
    return caught.value


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_every_board_that_is_shipped_loads_under_the_name_of_its_file(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.detect.compatible or profile.detect.machine


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_every_value_of_a_board_says_where_it_comes_from(name: str) -> None:
    raw = msgspec.toml.decode((BOARDS / f"{name}.toml").read_bytes())
    exempt = {"name", "description", "detect.compatible", "detect.machine"}
    assert set(value_keys(raw)) - exempt <= set(raw["documents"])


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_no_board_claims_a_measurement(name: str) -> None:
    profile = load_profile(name)
    assert "not measured" in profile.description
    goals = [said for key, said in profile.documents.items() if key.startswith("budget.")]
    assert goals
    assert all(said.startswith("chosen, not measured: ") for said in goals)


def test_a_profile_of_ones_own_is_read_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, OWN)
    monkeypatch.chdir(tmp_path)
    for name in (path, "mine.toml", "./mine.toml"):
        assert load_profile(name) == Profile(
            name="mine",
            description="my watch",
            detect=Detect(compatible=("me,watch",)),
            backend="litert",
            precision="int8",
            providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
            threads=2,
            grace_s=0.5,
            sensors={"imu": "serial:///dev/ttyUSB0"},
            rates={"imu": 100.0},
            budget=Budget(decision_ms=50, cpu_percent=12.5, memory_mib=80, first_decision_s=3, power_mw=700),
            energy=Energy(meter="ina", core_w=0.5),
            privacy=Privacy(video="never"),
            documents={
                "threads": "the chip's data sheet: two cores",
                "budget.power_mw": "chosen: a day of its battery",
                "sensors.imu": "the watch's wiring",
            },
        )


def test_what_a_profile_leaves_out_has_a_default(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, HEAD))
    assert (profile.backend, profile.precision, profile.threads, profile.grace_s) == ("auto", "fp32", 1, 0.2)
    assert profile.providers == ("CPUExecutionProvider",)
    assert profile.unknown == 0.05
    assert (profile.sensors, profile.rates, profile.documents) == ({}, {}, {})
    assert (profile.budget, profile.energy, profile.privacy) == (Budget(), Energy(), Privacy())
    assert (profile.budget.decision_ms, profile.energy.meter, profile.privacy.video) == (None, "auto", "flag")


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ('description = "a board"\n', "name", "is missing: it must be a string"),
        ('name = "mine"\n', "description", "is missing"),
        ("", "name", "is missing"),
        ("name = 5\ndescription = ''\n", "name", "must be a string that is not empty, not 5"),
        ('name = "mine"\ndescription = ""\n', "description", "not empty"),
        (HEAD + "thread = 2\n", "thread", "did you mean threads?; allowed are name, "),
        (HEAD + "[power]\nwatts = 5\n", "power", "allowed are name, description, detect, "),
        (HEAD + "[budget]\nmemory = 5\n", "budget.memory", "did you mean memory_mib?; allowed are decision_ms, "),
        (HEAD + "budget = 5\n", "budget", "must be a table with decision_ms, "),
        (HEAD + "[budget]\nmemory_mib = -1\n", "budget.memory_mib", "must be a number above 0, not -1"),
        (HEAD + "[budget]\ncpu_percent = 0\n", "budget.cpu_percent", "above 0, not 0"),
        (HEAD + "[budget]\ncpu_percent = inf\n", "budget.cpu_percent", "above 0, not inf"),
        (HEAD + "[budget]\ndecision_ms = '50 ms'\n", "budget.decision_ms", 'above 0, not "50 ms"'),
        (HEAD + f"[budget]\npower_mw = 0x{'f' * 400}\n", "budget.power_mw", "not a number too large"),
        (HEAD + "[energy]\nmeter = 'watt'\n", "energy.meter", "must be auto, none, rapl, ina or pmic"),
        (HEAD + "[energy]\ncore_w = 0.0\n", "energy.core_w", "above 0, not 0.0"),
        (HEAD + "[privacy]\nvideo = 'always'\n", "privacy.video", 'must be flag or never, not "always"'),
        (HEAD + "[sensors]\nimu = 1\n", "sensors.imu", "must be a URL or a path, as a string, not 1"),
        (HEAD + "[sensors]\nimu = ''\n", "sensors.imu", "must be a URL"),
        (HEAD + "[sensors.imu]\nurl = 'x'\n", "sensors.imu", "not a table"),
        (HEAD + "sensors = []\n", "sensors", "must be a table of modality = value, not an empty list"),
        (HEAD + "[rates]\nimu = -50\n", "rates.imu", "above 0, not -50"),
        (HEAD + "backend = 'tflite'\n", "backend", 'must be auto, onnx or litert, not "tflite"'),
        (HEAD + "backend = ['onnx']\n", "backend", "not a list"),
        (HEAD + "precision = 'fp16'\n", "precision", "must be fp32 or int8"),
        (HEAD + "providers = ['CudaExecutionProvider']\n", "providers", "TensorrtExecutionProvider, the preferred one"),
        (HEAD + "providers = ['CPUExecutionProvider', 'x']\n", "providers", 'not "x"'),
        (HEAD + "providers = []\n", "providers", "not an empty list"),
        (HEAD + "providers = 'CPUExecutionProvider'\n", "providers", "must be a list"),
        (HEAD + "providers = ['CPUExecutionProvider', 'CPUExecutionProvider']\n", "providers", "twice"),
        (HEAD + "threads = 0\n", "threads", "must be a whole number from 1 to 64, not 0"),
        (HEAD + "threads = 65\n", "threads", "not 65"),
        (HEAD + 'threads = "2"\n', "threads", 'not "2"'),
        (HEAD + "threads = 2.5\n", "threads", "not 2.5"),
        (HEAD + "threads = true\n", "threads", "not true"),
        (HEAD + f"threads = {'9' * 30}\n", "threads", "not a number too large"),
        (HEAD + "grace_s = -0.1\n", "grace_s", "must be 0 to 10 seconds, not -0.1"),
        (HEAD + "grace_s = 10.1\n", "grace_s", "not 10.1"),
        (HEAD + "grace_s = nan\n", "grace_s", "not nan"),
        (HEAD + "unknown = 0.41\n", "unknown", "must be a share from 0 to 0.4, not 0.41"),
        (HEAD + "unknown = -0.01\n", "unknown", "not -0.01"),
        (HEAD + "unknown = nan\n", "unknown", "not nan"),
        (HEAD + "unknown = true\n", "unknown", "not true"),
        (HEAD + "grace_s = 1979-05-27\n", "grace_s", "not a date or time"),
        (HEAD + "[detect]\nmachine = 'sparc'\n", "detect.machine", "must be aarch64 or x86_64"),
        (HEAD + "[detect]\ncompatible = 'a,b'\n", "detect.compatible", "must be a list of device-tree strings"),
        (HEAD + "[documents]\nthreads = 'a sheet'\n", "documents.threads", "a value that is not set here"),
        (HEAD + "threads = 2\n[documents]\nthread = 'a'\n", "documents.thread", "did you mean threads?"),
        (HEAD + "[budget]\ndecision_ms = 9\n[documents]\nbudget = 'a'\n", "documents.budget", "not set here"),
        (HEAD + "[documents]\nbudget.decision_ms = 'a'\n", "documents.budget", "not a table"),
        (HEAD + '"a\\nb\\u001b" = 1\n', "a\\nb\\x1b", "is not a known key"),
        (HEAD + f"{'k' * 5000} = 1\n", f"{'k' * 60}...", "is not a known key"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(tmp_path: Path, text: str, key: str, allowed: str) -> None:
    problem = problem_of(written(tmp_path, text))
    assert problem.key == key
    assert allowed in problem.problem


@pytest.mark.parametrize(
    "data",
    [
        b"name = ",
        b'{"name": "mine"}',
        b"\xff\xfe",
        b"\0",
        HEAD.encode() + b'name = "twice"\n',
        HEAD.encode() + b"x = " + b"[" * 50_000,
        HEAD.encode() + b"threads = " + b"9" * 5000,
    ],
    ids=["cut", "JSON", "not UTF-8", "null", "a key twice", "nested too deep", "a huge number"],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    problem = problem_of(written(tmp_path, data))
    assert problem.problem.startswith("not TOML: ")
    assert problem.key == ""
    assert str(problem) == f"{problem.path}: {problem.problem}"


# The library that reads TOML keeps every beginning of a key: these 60 kB took 3.5 GB and 18 s.
MANY_PARTS = ".".join("a" * 30_000)


@pytest.mark.parametrize("text", [f"{MANY_PARTS} = 1\n", f"[{MANY_PARTS}]\n", f"x = {{{MANY_PARTS} = 1}}\n"])
def test_a_key_of_thousands_of_parts_is_refused_before_it_takes_memory(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    problems = []
    assert peak_bytes(lambda: problems.append(problem_of(path).problem)) < 1 << 20
    assert "line 1 has more than 64 dots" in problems[0]


@pytest.mark.parametrize("override", ["budget.memory_mib=\udcff", "na\udcffme=1", "name=\udcff"])
def test_an_override_whose_bytes_are_no_text_is_refused(override: str) -> None:
    with pytest.raises(ProfileProblem, match="bytes that are no text"):
        load_profile("generic-x86-64", [override])


@pytest.mark.parametrize("override", [f"{MANY_PARTS}=1", f"name={{{MANY_PARTS} = 1}}"])
def test_an_override_of_thousands_of_parts_is_refused_before_it_takes_memory(override: str) -> None:
    def change() -> None:
        with contextlib.suppress(ProfileProblem):
            load_profile("generic-x86-64", [override])

    assert peak_bytes(change) < 1 << 22


def test_the_value_that_is_twice_in_a_long_list_is_found_at_once(tmp_path: Path) -> None:
    names = ",".join(f'"{number:x}"' for number in range(9000))
    path = written(tmp_path, HEAD + f'[detect]\ncompatible = [{names},"2327"]\n')
    began_s = time.process_time()
    assert problem_of(path).problem == 'names "2327" twice'
    assert time.process_time() - began_s < 0.5  # it took a second for each 60 kB


def test_a_file_too_large_for_a_profile_is_refused(tmp_path: Path) -> None:
    assert "too large" in problem_of(written(tmp_path, HEAD + "#" * (1 << 20))).problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in problem_of(str(tmp_path / "nothing.toml")).problem


def test_a_directory_is_no_profile(tmp_path: Path) -> None:
    assert "is not a regular file" in problem_of(str(tmp_path)).problem


def test_a_path_with_a_null_character_is_no_path() -> None:
    with pytest.raises(ProfileProblem, match="is not a path") as caught:
        load_profile("a\0b.toml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["raspberry-pi-99", "", "..", "generic"])
def test_an_unknown_board_lists_those_that_there_are(name: str) -> None:
    problem = problem_of(name)
    for board in BOARD_NAMES:
        assert board in problem.problem


def test_single_values_are_overridden(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    changed = load_profile(
        path,
        [
            "threads=4",
            "backend=onnx",
            "budget.memory_mib=90.5",
            'providers=["CPUExecutionProvider"]',
            "sensors.imu=serial:///dev/ttyACM0?baud=115200",
            "sensors.audio = mic://default",
            'description="two words"',
        ],
    )
    assert (changed.threads, changed.backend, changed.budget.memory_mib) == (4, "onnx", 90.5)
    assert changed.providers == ("CPUExecutionProvider",)
    assert changed.sensors == {"imu": "serial:///dev/ttyACM0?baud=115200", "audio": "mic://default"}
    assert changed.description == "two words"
    assert (changed.precision, changed.budget.decision_ms) == ("int8", 50)


def test_an_overridden_value_no_longer_comes_from_its_document(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    assert set(load_profile(path, ["threads=4"]).documents) == {"budget.power_mw", "sensors.imu"}
    assert set(load_profile(path, ["budget={decision_ms=5}"]).documents) == {"threads", "sensors.imu"}


def test_the_last_of_two_overrides_counts(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path, HEAD), ["threads=2", "threads=3"]).threads == 3


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("threads", "", '"threads" must be KEY=VALUE, such as threads=2'),
        ("", "", "must be KEY=VALUE"),
        ("=2", "", "must be KEY=VALUE"),
        ("budget..memory_mib=2", "", "must be KEY=VALUE"),
        ("threads=", "threads", 'must be a whole number from 1 to 64, not ""'),
        ("threads=65", "threads", "not 65"),
        ("threads=two", "threads", 'not "two"'),
        ("thread=2", "thread", "did you mean threads?"),
        ("threads.most=2", "threads.most", "threads holds one value: threads=2"),
        ("budget=2", "budget", "must be a table"),
        ("budget.memory_mib=-80", "budget.memory_mib", "must be a number above 0, not -80"),
        ("budget.memory_mib=nan", "budget.memory_mib", "not nan"),
        ("providers=[CPUExecutionProvider]", "providers", "must be a list of onnxruntime's CPUExecutionProvider, "),
        ("sensors.imu=true", "sensors.imu", "must be a URL or a path"),
        ("grace_s=1\nthreads=2", "grace_s", 'not "1\\nthreads=2"'),
        ("a.b.c=1", "a", "is not a known key"),
        ("documents.rates.imu=a", "documents.rates", "must be a string"),
        ("privacy.video=flag", "privacy.video", "can be changed only there"),
    ],
)
def test_a_wrong_override_names_the_flag_and_the_key(tmp_path: Path, override: str, key: str, said: str) -> None:
    problem = problem_of(written(tmp_path, OWN), override)
    assert problem.key == key
    assert said in problem.problem


def test_a_wrong_file_is_told_before_its_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "threads = 0\n")
    with pytest.raises(ProfileProblem) as caught:
        load_profile(path, ["threads=2"])
    assert caught.value.path == path


def test_video_can_be_forbidden_by_an_override(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path, HEAD), ["privacy.video=never"]).privacy.video == "never"


NAMES = st.sampled_from([*Profile.__struct_fields__, *Budget.__struct_fields__, "imu", "x"]) | st.text(max_size=5)
SCALARS = st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates() | st.datetimes()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def as_toml(value: object) -> str:
    """A value as TOML writes it inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date) else repr(value)


def loads_or_tells_one_line(data: bytes, overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), data)
        try:
            assert isinstance(load_profile(path, overrides), Profile)
        except ProfileProblem as problem:
            assert problem.path in (path, "--set")  # noqa: PT017
            assert str(problem).isprintable()  # noqa: PT017


@settings(max_examples=times(100), deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_load_or_are_told_in_one_line(data: bytes, headed: bool) -> None:
    loads_or_tells_one_line(HEAD.encode() + data if headed else data, [])


@settings(max_examples=times(100), deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_toml_loads_or_is_told_in_one_line(table: dict[str, object]) -> None:
    lines = [f"{as_toml(key)} = {as_toml(value)}\n" for key, value in table.items()]
    loads_or_tells_one_line((HEAD + "".join(lines)).encode(), [])


@settings(max_examples=times(100), deadline=None)
@given(NAMES, NAMES, st.text(max_size=20) | VALUES.map(as_toml))
def test_any_override_loads_or_is_told_in_one_line(table: str, key: str, value: str) -> None:
    loads_or_tells_one_line(OWN.encode(), [f"{table}={value}", f"{table}.{key}={value}"])


def test_the_page_names_every_key_and_every_board() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = {"detect": Detect, "budget": Budget, "energy": Energy, "privacy": Privacy}
    keys = [name for name in Profile.__struct_fields__ if name not in tables]
    keys += [f"{table}.{name}" for table, struct in tables.items() for name in struct.__struct_fields__]
    missing = [key for key in (*keys, *BOARD_NAMES) if f"`{key}" not in page]
    assert missing == []
