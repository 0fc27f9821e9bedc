"""Copies of the tree in which mutations are tried, and which tests are tried on them first."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mmg.errors import ConfigError

from mmg_tools.mutate.mutations import Mutation, read_source

SOURCE_ROOTS = ("runtime", "device_profiles", "training", "export", "batch", "fleet", "tools")
SLOW_FOLDERS = ("tests/export/", "tests/training/")
"""Tried in the last stage only, but for an area's own folder of tests."""
HEAVY_FILES = {
    "tests/end_to_end/test_profile_command.py",
    "tests/ports/microphone/test_choosing.py",
    "tests/ports/microphone/test_closing.py",
    "tests/ports/microphone/test_driver.py",
    "tests/ports/microphone/test_losses.py",
    "tests/ports/microphone/test_sound.py",
    "tests/ports/serial_port/test_detection.py",
    "tests/ports/serial_port/test_losses.py",
    "tests/ports/serial_port/test_opening.py",
    "tests/ports/serial_port/test_stamps_and_rests.py",
    "tests/ports/test_live_run.py",
    "tests/ports/test_timing.py",
    "tests/unit/test_doctor.py",
    "tests/unit/test_profile_page.py",
    "tests/unit/test_source_any_bytes.py",
}
"""Last, unless they are nearest: half of the time of all that are not of the exporter or the training."""
SHORTEST_LIMIT_S, LIMIT_FACTOR = 60.0, 3.0
MOST_MEMORY = 8 << 30
"""Of data for a process: a loop that has lost its end fails before it hurts the machine."""
QUICK = "not realtime and not installs"
_SHORTEST_NAME = 4
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Stage:
    """Test files that pytest runs in one go, those of their tests that have the marker."""

    name: str
    files: tuple[str, ...]
    marker: str


@dataclass
class Outcome:
    """failed: the tests. seconds: what each test file took. code: pytest's exit code, None after the time limit."""

    code: int | None = 0
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing failed; 5 is a run without a test."""
        return self.code in (0, 5)


class TestFiles:
    """The test files of a tree, and which of them have to do with a source file."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self._root = root
        tests = sorted(root.glob("tests/**/test_*.py"))
        self._texts = {path.relative_to(root).as_posix(): path.read_text() for path in tests}
        sources = [path for folder in SOURCE_ROOTS for path in (root / folder).glob("*/**/*.py")]
        self._modules = {path: _module_of(path, root) for path in sources}
        self._sources = {path: path.read_text() for path in sources}

    def near(self, mutation: Mutation) -> tuple[set[str], set[str]]:
        """Those that have to do with what is changed, and the part of them that has most to do with it.

        Near are those that name the module, one of its definitions, or those of a module of its package that imports
        it; where there are none, of any module that imports it. An area's own folder of tests is near, and no slow one
        else. Nearest are those called as the module, or else those that name it or the very definition.
        """
        own = f"tests/{mutation.area}/"
        texts = {name: text for name, text in self._texts.items() if name.startswith(own) or not _is_slow(name)}
        path = self._root / mutation.path
        inside = [name for name in mutation.where.split(".") if _is_telling(name)]
        named = _that_have([_naming(self._modules[path]), *map(_as_word, inside)], texts)
        around = self._with_importers({path}, within=path.parent)
        near = {name for name in texts if name.startswith(own)} | named
        while not (near := near | _that_have(self._patterns(around), texts)):
            further = self._with_importers(around)
            if further == around:
                break
            around = further
        called = re.compile(rf"_{re.escape(path.stem)}(_|\.py$)")
        return near, {name for name in near if called.search(name)} or named

    def _patterns(self, paths: set[Path]) -> list[str]:
        definitions = {name for path in paths for name in _definitions(self._sources[path])}
        return [*(_naming(self._modules[path]) for path in paths), *map(_as_word, definitions)]

    def _with_importers(self, paths: set[Path], within: Path | None = None) -> set[Path]:
        """These modules and those that import one of them; ``within`` a folder also those that import these, and so on.

        A package's front is left out there: it stands for all of the package.
        """
        texts = self._sources
        if within is not None:
            texts = {path: text for path, text in texts.items() if path.parent == within and path.stem != "__init__"}
        grown = paths | _that_have([_naming(self._modules[path]) for path in paths], texts)
        return grown if within is None or grown == paths else self._with_importers(grown, within)

    def stages(self, mutation: Mutation, scope: str, seconds: Mapping[str, float]) -> list[Stage]:
        """What to run one after the other, as long as nothing fails; the cheapest first, where costs are known."""

        def in_order(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(sorted(names, key=lambda name: (seconds.get(name, 0.0), name)))

        near, nearest = self.near(mutation)
        near -= HEAVY_FILES - nearest
        later = {name for name in self._texts if _is_slow(name) or name in HEAVY_FILES} - near
        others = set(self._texts) - later - near
        stages = [Stage("nearest", in_order(nearest), QUICK), Stage("near", in_order(near - nearest), QUICK)]
        # An area that has a folder of tests of its own is known to hardly any other.
        has_own = any(name.startswith(f"tests/{mutation.area}/") for name in near)
        if scope == "all" or (scope == "quick" and not has_own):
            stages.append(Stage("quick", in_order(others), QUICK))
        if scope == "all":
            stages.append(Stage("realtime", in_order(near | others), "realtime or installs"))
            stages.append(Stage("all", in_order(later), ""))
        return [stage for stage in stages if stage.files]


def _module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _naming(module: str) -> str:
    """A pattern of what names a module: whole, or as imported from its package."""
    package, _, name = module.rpartition(".")
    return rf"\b{re.escape(module)}\b(?!\.)|\bfrom {re.escape(package)} import [^\n]*\b{name}\b"


def _that_have(patterns: Sequence[str], texts: Mapping[Key, str]) -> set[Key]:
    pattern = re.compile("|".join(patterns))
    return {key for key, text in texts.items() if pattern.search(text)}


def _is_slow(name: str) -> bool:
    return name.startswith(SLOW_FOLDERS)


def _is_telling(name: str) -> bool:
    """Whether a definition's name says which module is meant."""
    return len(name) >= _SHORTEST_NAME and name != "main" and not name.startswith("__")


def _as_word(name: str) -> str:
    return rf"\b{re.escape(name)}\b"


def _definitions(text: str) -> list[str]:
    """The telling names of a module's functions and classes."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in ast.parse(text).body if isinstance(node, kinds) and _is_telling(node.name)]


class Copy:
    """A copy of the tree for one worker, with what the tests expect beside it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree, self._home = folder / root.name, folder / "tmp"
        listed = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in names:
            if name and (root / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.tree / name)
        self._home.mkdir()
        if (root.parent / "shared").is_dir():
            (folder / "shared").symlink_to((root.parent / "shared").resolve())
        paths = os.pathsep.join(str(self.tree / name) for name in SOURCE_ROOTS)
        self._environment = os.environ | {"PYTHONPATH": paths, "TMPDIR": str(self._home)}
        self._stamp = int(time.time())
        self._stopped = threading.Event()
        self._check_imports()

    def _check_imports(self) -> None:
        """The copy must win over an installed mmg, in processes that the tests start, too."""
        packages = [path.name for folder in SOURCE_ROOTS for path in (self.tree / folder).glob("mmg*")]
        code = f"import {','.join(packages)}; print(*(m.__file__ for m in ({','.join(packages)},)), sep='\\n')"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, cwd="/")
        files = done.stdout.splitlines()
        if len(files) != len(packages) or not all(file.startswith(f"{self.tree}/") for file in files):
            raise ConfigError(f"the modules of {self.tree} are not what is imported: {done.stdout}{done.stderr}")

    @contextlib.contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """The copy with this error in it."""
        path = self.tree / mutation.path
        text = read_source(path)
        try:
            self._write(path, mutation.apply(text))
            yield
        finally:
            self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        path.write_bytes(text.encode())
        # Python knows a compiled file's source by its whole second and size: each text has a second of its own.
        self._stamp += 2
        os.utime(path, (self._stamp, self._stamp))

    def run(self, tests: Sequence[str], marker: str, limit_s: float, without: Collection[str], *flags: str) -> Outcome:
        """Run pytest on these files or tests. Raises KeyboardInterrupt after ``stop``."""
        report = self._home.parent / "report.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags]
        command += [f"--basetemp={self._home / 'pytest'}", f"--junitxml={report}"]
        command += ["-o", "junit_family=xunit1", "-o", "junit_duration_report=total"]
        command += ["-m", marker] if marker else []
        # Always the same examples, and no deadlines.
        command += ["--hypothesis-profile=ci"] if importlib.util.find_spec("hypothesis") else []
        command += [f"--deselect={name}" for name in without]
        code = None if self._stopped.is_set() else self._run_limited([*command, *tests], limit_s)
        if self._stopped.is_set():
            raise KeyboardInterrupt
        outcome = Outcome(code)
        if report.exists():
            _read_report(report, outcome)
        if not outcome.passed and not outcome.failed:
            outcome.failed.append("the time limit" if code is None else f"pytest, which ended with {code}")
        return outcome

    def _run_limited(self, command: Sequence[str], limit_s: float) -> int | None:
        null = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=self.tree, env=self._environment, stdin=null, stdout=null, stderr=null, start_new_session=True
        ) as process:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
            try:
                return process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                self._end_all()

    def _end_all(self) -> None:
        """What a test has started may outlive it; it is known by its folder for temporary files."""
        mark = f"TMPDIR={self._home}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)

    def stop(self) -> None:
        """End what runs, from another thread."""
        self._stopped.set()
        self._end_all()


def _read_report(path: Path, outcome: Outcome) -> None:
    for case in ElementTree.parse(path).iter("testcase"):
        file, name = case.get("file", ""), case.get("name", "")
        seconds = float(case.get("time", 0.0))
        outcome.seconds[file] = outcome.seconds.get(file, 0.0) + seconds
        if case.find("failure") is not None or case.find("error") is not None:
            # Without a class it is the file itself that cannot be collected.
            outcome.failed.append(f"{file}::{name}" if case.get("classname") else file)
