"""What the servers cost on which the live page could stand: ``python -m mmg_tools.page_servers`` prints a table.

Each is installed in an environment of its own, from the package index, and imported in processes that have numpy and
json loaded already, as a run has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmg.cli.progress import counted
from mmg.cli.reporting import stderr_reporter

SERVERS: dict[str, tuple[tuple[str, ...], str]] = {
    "`http.server` of Python": ((), "http.server"),
    "asyncio alone": ((), "asyncio"),
    "bottle": (("bottle",), "bottle, http.server, wsgiref.simple_server"),
    "microdot": (("microdot",), "microdot"),
    "starlette, uvicorn": (("starlette", "uvicorn"), "uvicorn, starlette.applications, starlette.responses"),
    "aiohttp": (("aiohttp",), "aiohttp.web"),
}
"""What is installed for each, and what is imported."""
STARTS = 7
MEASURE = """
import json, os, sys, time
import numpy
def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before_mib, before_s = resident_mib(), time.perf_counter()
exec("import " + sys.argv[1])
print(json.dumps([(time.perf_counter() - before_s) * 1e3, resident_mib() - before_mib]))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.page_servers", description=__doc__)
    parser.parse_args(arguments)
    rows = ["| | installed | import | memory |", "|---|---:|---:|---:|"]
    report = stderr_reporter("page_servers")
    for name, (packages, modules) in counted(report, "measured", SERVERS.items(), len(SERVERS), "servers"):
        with tempfile.TemporaryDirectory(prefix="mmg-servers-") as folder:
            rows.append(_row(name, packages, modules, Path(folder)))
    print("\n".join(rows))
    return 0


def _row(name: str, packages: tuple[str, ...], modules: str, folder: Path) -> str:
    """Raises CalledProcessError where a package cannot be installed."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    _install(python, "numpy")
    before = _bytes_below(folder)
    if packages:
        _install(python, *packages)
    added_mb = (_bytes_below(folder) - before) / 1e6
    starts = [
        json.loads(subprocess.run([python, "-c", MEASURE, modules], capture_output=True, check=True).stdout)
        for _ in range(STARTS + 1)
    ]
    # The first one compiles.
    import_ms, memory_mib = (statistics.median(column) for column in zip(*starts[1:], strict=True))
    return f"| {name} | {added_mb:.1f} MB | {import_ms:.0f} ms | {memory_mib:.1f} MiB |"


def _install(python: Path, *packages: str) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True, stderr=subprocess.DEVNULL)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    sys.exit(main())
