"""mmg-look's page in a real browser: it is drawn, zooms, plays, and asks for nothing from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from look_pages import made_content
from mmg.labels import Label
from mmg.look.adpcm import encode
from mmg.look.decided import collect
from mmg.look.page import format_page
from mmg_tools.chromium import CHROMIUM, Browser
from mmg_tools.virtual.scenario import SOUND_HZ, render
from mmg_training.wearer.record import write_imu, write_sound

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: sudo apt-get install chromium")

EVIL = "<img src=x onerror='document.documentElement.dataset.evil = 1'>"
TIMELINE = "document.getElementById('timeline')"
# How many colours a part of the canvas has: one where nothing was drawn.
COLOURS = """(() => {
  const canvas = document.getElementById("%s");
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(%s).data.buffer);
  return new Set(pixels).size;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the demo, written by the command."""
    from mmg.cli.look import main

    path = tmp_path_factory.mktemp("page") / "demo.html"
    labels = path.with_suffix(".csv")
    labels.write_text(f'start_s,end_s,label\n10,20,"{EVIL}"\n')
    assert main(["--demo", "-o", str(path), "--labels", str(labels)]) == 0
    return path


@pytest.fixture(scope="module", params=["demo", "five minutes"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A page with its length in seconds: the demo's, and that of five minutes that a virtual wearer lived."""
    if request.param == "demo":
        return request.getfixturevalue("demo"), 75.0
    from mmg.cli.look import main

    folder, seconds = tmp_path_factory.mktemp("page"), 300.0
    lived = render(seconds=seconds)
    write_imu(lived.imu, folder / "imu.csv")
    write_sound(lived.sound, folder / "audio.wav", SOUND_HZ)
    words = ["--imu", str(folder / "imu.csv"), "--audio", str(folder / "audio.wav"), "-o", str(folder / "five.html")]
    assert main(words) == 0
    return folder / "five.html", seconds


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of eight hours."""
    path = tmp_path_factory.mktemp("page") / "day.html"
    path.write_bytes(format_page(made_content(8 * 3600, marks=(Label(600, 1200, "lunch"),))))
    return path


@pytest.fixture(autouse=True)
def _nothing_but_the_page_itself_is_loaded_and_nothing_is_wrong(browser: Browser) -> Iterator[None]:
    browser.call("Page.navigate", url="about:blank")
    browser.events.clear()
    yield
    asked = {one["request"]["url"].partition("#")[0] for one in browser.told("Network.requestWillBeSent")}
    assert len(asked) == 1
    assert asked.pop().startswith("file://")
    assert not browser.told("Network.webSocketCreated")
    assert not browser.told("Runtime.exceptionThrown")
    # That the tests read pixels back is their own slowness.
    assert not [one for one in browser.told("Log.entryAdded") if "getImageData" not in one["entry"]["text"]]
    assert not browser.told("Runtime.consoleAPICalled")
    assert not browser.evaluate("document.documentElement.dataset.error ?? document.documentElement.dataset.evil")


def span(browser: Browser) -> tuple[float, float]:
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shown = json.loads(browser.evaluate(f"JSON.stringify({TIMELINE}.dataset)"))
    return float(shown["from"]), float(shown["to"])


def cursor(browser: Browser) -> float:
    return float(browser.evaluate(f"{TIMELINE}.dataset.cursor"))


def place(browser: Browser, part: float) -> tuple[float, float]:
    """A place in the window: so far along the plot, in the row of acceleration."""
    box = json.loads(browser.evaluate(f"JSON.stringify({TIMELINE}.getBoundingClientRect())"))
    return box["x"] + 132 + part * (box["width"] - 142), box["y"] + 350


def test_every_row_of_the_timeline_is_drawn(browser: Browser, page: tuple[Path, float]) -> None:
    path, seconds = page
    browser.open(path.as_uri())
    height = browser.evaluate("document.getElementById('tracks').height")
    assert height > 500
    for top in range(30, height - 60, 60):
        assert browser.evaluate(COLOURS % ("tracks", f"140, {top}, 900, 40")) > 2, top
    assert browser.evaluate(COLOURS % ("overview", "140, 4, 900, 36")) > 2
    assert span(browser) == pytest.approx((0, seconds), abs=0.1)


@pytest.mark.parametrize("key", ["+", "ArrowRight", "-", "End", "0", "Home"])
def test_keys_change_what_is_seen(browser: Browser, page: tuple[Path, float], key: str) -> None:
    path, end_s = page
    browser.open(f"{path.as_uri()}#20-40")
    browser.press(key)
    inside = {"+": (25, 35), "ArrowRight": (25, 45), "-": (10, 50)}
    expected = {**inside, "End": (end_s - 20, end_s), "0": (0, end_s), "Home": (0, 20)}[key]
    assert span(browser) == pytest.approx(expected, abs=0.1)


def test_the_wheel_zooms_around_the_pointer_and_dragging_moves(browser: Browser, page: tuple[Path, float]) -> None:
    path, seconds = page
    browser.open(path.as_uri())
    x, y = place(browser, 0.25)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    from_s, to_s = span(browser)
    assert to_s - from_s == pytest.approx(seconds / np.e, rel=0.02)
    assert from_s + 0.25 * (to_s - from_s) == pytest.approx(seconds / 4, abs=0.004 * seconds)
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    for step in range(1, 11):
        browser.mouse("mouseMoved", x - 20 * step, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 200, y, button="left", clickCount=1)
    moved_from_s, moved_to_s = span(browser)
    assert moved_from_s - from_s > 2
    assert moved_to_s - moved_from_s == pytest.approx(to_s - from_s)
    assert cursor(browser) == 0


def test_a_button_that_is_let_go_outside_the_timeline_neither_drags_nor_presses(browser: Browser, demo: Path) -> None:
    browser.open(demo.as_uri())
    browser.press("+")
    seen, (x, y) = span(browser), place(browser, 0.5)
    above = float(browser.evaluate(f"{TIMELINE}.getBoundingClientRect().top")) - 20
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", x, above, button="left", buttons=1)
    browser.mouse("mouseReleased", x, above, button="left", clickCount=1)
    for right in (0, 100, 200):
        browser.mouse("mouseMoved", x + right, y)
    assert (span(browser), cursor(browser)) == (seen, 0)


def test_a_closer_look_shows_other_pixels(browser: Browser, demo: Path) -> None:
    browser.open(demo.as_uri())
    whole = browser.evaluate("document.getElementById('tracks').toDataURL()")
    browser.press("+")
    span(browser)
    assert browser.evaluate("document.getElementById('tracks').toDataURL()") != whole


def test_a_click_sets_the_cursor_and_space_plays_from_there(browser: Browser, page: tuple[Path, float]) -> None:
    path, seconds = page
    browser.open(path.as_uri())
    x, y = place(browser, 0.5)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
    assert cursor(browser) == pytest.approx(seconds / 2, abs=0.004 * seconds)
    browser.press(" ")
    browser.wait_for(f"Number({TIMELINE}.dataset.cursor) > {seconds / 2 + 0.7}")
    assert browser.evaluate("document.getElementById('play').textContent") == "Pause"
    browser.press(" ")
    stopped_s = cursor(browser)
    assert stopped_s < seconds / 2 + 22.5
    span(browser)
    assert cursor(browser) == stopped_s


def test_the_tip_tells_the_figures_of_that_moment_as_text(browser: Browser, demo: Path) -> None:
    browser.open(demo.as_uri())
    x, y = place(browser, 15 / 75)
    browser.mouse("mouseMoved", x, y)
    told = browser.evaluate("document.getElementById('tip').innerText")
    for words in ("brushing_teeth", "truth", "acceleration, m/s²", "Hz", "imu", "live", EVIL):
        assert words in told


def test_the_pages_decoder_hears_what_was_encoded(browser: Browser, demo: Path) -> None:
    browser.open(demo.as_uri())
    sound = (0.5 * np.sin(np.arange(4000) * 0.2)).astype(np.float32)
    block = base64.b64encode(encode(sound[None])).decode()
    heard = browser.evaluate(
        f"""(() => {{
        const bytes = Uint8Array.from(atob("{block}"), (one) => one.charCodeAt(0));
        const samples = new Float32Array(4000);
        decode(bytes, samples);
        return [...samples];
        }})()"""
    )
    assert 10 * np.log10((sound**2).mean() / ((np.array(heard) - sound) ** 2).mean()) > 25


def test_levels_of_detail_in_the_page_keep_the_least_and_the_greatest(browser: Browser, day: Path) -> None:
    browser.open(day.as_uri())
    found = browser.evaluate(
        """(() => {
        const made = (place) => (place % 7 ? Math.round(9000 * Math.sin(place)) : NOTHING);
        const low = Int16Array.from({ length: 5001 }, (_, place) => made(place));
        const high = low.map((value) => (value === NOTHING ? NOTHING : value + 5));
        const levels = pyramidOf(low, high);
        const known = (values) => [...values].filter((value) => value !== NOTHING);
        return levels.map((one) => [one.low.length, Math.min(...known(one.low)), Math.max(...known(one.high))]);
        })()"""
    )
    assert [length for length, _, _ in found] == [5001, 2501, 1251, 626, 313, 157]
    assert len({(least, greatest) for _, least, greatest in found}) == 1


@pytest.mark.realtime
@pytest.mark.alone
def test_a_day_opens_at_once_and_plays_the_next_piece_that_was_kept(browser: Browser, day: Path) -> None:
    browser.open(day.as_uri())
    assert browser.evaluate("performance.now()") < 10_000
    assert span(browser) == (0, 8 * 3600)
    first, second = browser.evaluate("facts.sound.pieces")[3:5]
    gap_s = (sum(first) + second[0]) / 2 * 0.5
    browser.call("Runtime.evaluate", expression=f"location.hash = '#{gap_s - 300}-{gap_s + 300}'")
    browser.wait_for(f"Math.abs(Number({TIMELINE}.dataset.from) - {gap_s - 300}) < 1")
    x, y = place(browser, 0.5)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
    browser.press(" ")
    browser.wait_for(f"Number({TIMELINE}.dataset.cursor) > {second[0] * 0.5 + 0.1}")
    assert "No sound was kept at" in browser.evaluate("document.getElementById('said').textContent")


def test_without_sound_the_cursor_runs_by_the_clock(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "quiet.html"
    path.write_bytes(format_page(made_content(20, heard=[])))
    browser.open(path.as_uri())
    browser.press(" ")
    browser.wait_for(f"Number({TIMELINE}.dataset.cursor) > 0.3")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, demo: Path, width: int, dark: bool, tmp_path: Path) -> None:
    browser.open(demo.as_uri(), width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_a_page_of_which_nothing_was_decided_says_so(browser: Browser, tmp_path: Path) -> None:
    content = made_content(20, heard=[], outlines=[])
    content.decided = collect((), ())
    path = tmp_path / "empty.html"
    path.write_bytes(format_page(content))
    browser.open(path.as_uri())
    assert span(browser) == (0, 20)
