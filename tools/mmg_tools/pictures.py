"""The pictures of the documentation, taken of what the commands show in a real browser."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mmg.cli.exit_codes import run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError

from mmg_tools.attached import AttachedRun
from mmg_tools.chromium import CHROMIUM, Browser
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable

_report = stderr_reporter("pictures")
LIVE_S = 150.0
"""So long a run is watched, for its ribbon to have something to show."""
START_S = 30.0
MOST_KB = 150
SUBSETS, HOPS = "imu,audio,imu+audio", "60"
DECIDED = "Number(document.getElementById('ribbon').dataset.count) >= {}"
SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PHONE, DESKTOP, PAGE = (360, 740), (1080, 900), (1000, 640)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take them, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.pictures",
        description="Write the pictures of the documentation: the live page of a run on virtual ports, on a phone "
        "and on a desk, mmg-look's page of the demo, and the page of a short mmg-profile. Takes some minutes.",
    )
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", choices=TAKEN, action="append", help="this one; may be repeated (default: all)")
    parser.add_argument("--seconds", metavar="S", type=float, default=LIVE_S, help=f"of the live run ({LIVE_S:g})")
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    if CHROMIUM is None:
        raise ConfigError("there is no chromium here: sudo apt-get install chromium")
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mmg-pictures-") as made:
        browser = Browser(Path(made) / "chromium")
        try:
            for name in options.only or TAKEN:
                _report(f"{name} ...")
                TAKEN[name](browser, options.output, Path(made), options.seconds)
        finally:
            browser.close()
    return 0


def take_live(browser: Browser, output: Path, folder: Path, seconds: float) -> None:
    """The live page, on a phone in light and on a desk in the dark."""
    with (
        VirtualWearable(render(seconds=300.0), folder, loop=True) as wearable,
        AttachedRun(wearable.urls, wearable.environment, ["--page", "127.0.0.1:0"]) as run,
    ):
        if not run.wait_for(lambda: any("page: http://" in note for note in run.notes), START_S):
            raise ConfigError(f"no page was served: {run.notes[-1] if run.notes else 'mmg-run said nothing'}")
        [url] = [note.partition("page: ")[2] for note in run.notes if "page: http://" in note]
        # Opened at once: what a sensor feels is kept by the page alone.
        _open(browser, url, PHONE, dark=False)
        hops = int(2 * seconds)
        run.wait_for(lambda: len(run.decisions) >= hops, seconds + START_S)
        browser.wait_for(DECIDED.format(hops))
        _take(browser, output / "page-phone.png")
        _resize(browser, DESKTOP, dark=True)
        _take(browser, output / "page-desktop.png")


def take_look(browser: Browser, output: Path, folder: Path, _: float) -> None:
    """mmg-look's page of the demo."""
    page = folder / "look.html"
    _command("mmg.cli.look", "--demo", "-o", str(page), "--title", "a day in the life of a wrist")
    _open(browser, page.as_uri(), PAGE, dark=False)
    _take(browser, output / "look.png")


def take_profile(browser: Browser, output: Path, folder: Path, _: float) -> None:
    """The page of a short profile of the starter here."""
    page = folder / "profile.html"
    _command("mmg.cli.profile", "--subsets", SUBSETS, "--hops", HOPS, "--html", str(page))
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
    _resize(browser, PAGE, dark=False)
    _take(browser, output / "profile.png")


TAKEN: dict[str, Callable[[Browser, Path, Path, float], None]] = {
    "page": take_live,
    "look": take_look,
    "profile": take_profile,
}


def _command(module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{module}: {done.stderr.strip().splitlines()[-1]}")


def _open(browser: Browser, url: str, size: tuple[int, int], *, dark: bool) -> None:
    browser.open(url, width=size[0], height=size[1], dark=dark)


def _resize(browser: Browser, size: tuple[int, int], *, dark: bool) -> None:
    width, height = size
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])


def _take(browser: Browser, path: Path) -> None:
    browser.evaluate(SETTLED)
    browser.evaluate(SETTLED)
    browser.picture(path, whole=False)
    kilobytes = path.stat().st_size / 1000
    if kilobytes > MOST_KB:
        raise ConfigError(f"{path}: has {kilobytes:.0f} kB, and may have {MOST_KB}")
    _report(f"{path}: {kilobytes:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
