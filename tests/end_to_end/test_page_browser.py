"""The live page in a real browser: it shows what the run says, to every reader, and says when the board is gone."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("microdot", reason="the page's server is not installed: pip install -e '.[page]'")
from made_runs import HOP_S, LABELS, URLS, MadeRun
from mmg.errors import ConfigError
from mmg.sinks.page.routes import ASSETS
from mmg.types import UNKNOWN, SensorState
from mmg_tools.attached import AttachedRun
from mmg_tools.chromium import CHROMIUM, Browser
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable
from recordings import need_ports

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: sudo apt-get install chromium")

START_S = 30.0
GRACE_S = 0.2
PHONE, DESKTOP = (360, 740), (1280, 900)
SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
EMPTY = "\N{EN DASH}"
EVIL = "<img src=x onerror='document.documentElement.dataset.evil = 1'>"
ODD = (EVIL, "W" * 80, "\u202etrap \u0645\u0631\u062d\u0628\u0627", "e\u0301\u0336\u0489" * 20, UNKNOWN)
GONE = SensorState("stale", 8400.0, 160, reason="unplugged")
SHOWN = "document.getElementById('%s').textContent"
COUNT = "Number(document.getElementById('ribbon').dataset.count)"
BANNER = "!document.getElementById('banner').hidden"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _nothing_else_is_loaded_and_nothing_is_wrong(browser: Browser) -> Iterator[None]:
    browser.call("Page.navigate", url="about:blank")
    browser.events.clear()
    yield
    asked = {one["request"]["url"].split("/")[2] for one in browser.told("Network.requestWillBeSent")}
    assert len(asked) == 1, asked
    assert asked.pop().startswith("127.0.0.1:")
    assert not browser.told("Network.webSocketCreated")
    assert not browser.told("Runtime.exceptionThrown")
    assert not browser.told("Runtime.consoleAPICalled")
    # That a board does not answer is what some of them are about.
    entries = [one["entry"] for one in browser.told("Log.entryAdded")]
    assert not [entry for entry in entries if entry["source"] != "network"], entries
    assert not browser.evaluate("document.documentElement.dataset.evil")
    browser.call("Page.navigate", url="about:blank")


@pytest.fixture
def run() -> Iterator[MadeRun]:
    with made() as started:
        yield started


@contextmanager
def made(**about: Any) -> Iterator[MadeRun]:
    started = MadeRun(**about)
    try:
        yield started
    finally:
        started.close()


def shown(browser: Browser, name: str) -> str:
    return str(browser.evaluate(SHOWN % name))


def wait_for_words(browser: Browser, name: str, words: str) -> None:
    browser.wait_for(f"{SHOWN % name}.includes({json.dumps(words)})")


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_decision_is_shown_with_its_confidence_and_what_is_next_best(browser: Browser, run: MadeRun) -> None:
    browser.open(run.url)
    run.decide("walking", 0.82)
    wait_for_words(browser, "label", "walking")
    assert shown(browser, "confidence") == "82%"
    assert shown(browser, "from") == "from imu and audio"
    assert browser.evaluate("document.getElementById('next').children.length") == 3
    assert "6%" in shown(browser, "next")
    run.decide(UNKNOWN, 0.6)
    wait_for_words(browser, "label", "none of these")
    assert shown(browser, "from").startswith("none of the labels fits")


def test_a_label_is_spoken_when_it_has_changed_and_not_with_every_decision(browser: Browser, run: MadeRun) -> None:
    browser.open(run.url)
    browser.evaluate(
        """(() => {
        window.said = [];
        const region = document.getElementById("announced");
        new MutationObserver(() => window.said.push(region.textContent)).observe(region, { childList: true });
        })()"""
    )
    for label in ("still", "still", "still", "walking", "still", "walking", "walking", "walking"):
        run.decide(label)
    browser.wait_for(f"{COUNT} === 8")
    assert browser.evaluate("window.said") == ["still, 70%", "walking, 70%"]


def test_what_was_decided_before_is_not_shown_as_what_is_done_now(browser: Browser, run: MadeRun) -> None:
    browser.open(run.url)
    for _ in range(2):
        run.decide("walking")
    wait_for_words(browser, "label", "walking")
    wait_for_words(browser, "confidence", "nothing decided for")
    assert (shown(browser, "label"), shown(browser, "announced")) == (EMPTY, "nothing decided")
    run.decide("still")
    wait_for_words(browser, "label", "still")


def test_what_was_decided_before_is_not_shown_for_longer_where_the_boards_clock_is_set_back(
    browser: Browser, run: MadeRun
) -> None:
    set_clock(run, 3600.0)
    run.decide("still")
    set_clock(run, 0.0)
    browser.open(run.url)
    wait_for_words(browser, "confidence", "nothing decided for")
    set_clock(run, 3600.0)
    run.decide("walking")
    wait_for_words(browser, "label", "walking")
    set_clock(run, 0.0)
    run.sense()
    wait_for_words(browser, "confidence", "nothing decided for")


def test_where_a_viewer_slept_the_board_tells_for_how_long_nothing_was_decided(browser: Browser, run: MadeRun) -> None:
    browser.open(run.url)
    run.decide("walking")
    wait_for_words(browser, "label", "walking")
    run.page._hub._state._monotonic_s = lambda: time.monotonic() + 700  # type: ignore[attr-defined]
    browser.evaluate("dispatchEvent(new Event('online'))")
    wait_for_words(browser, "confidence", "nothing decided for 11 min")


def set_clock(run: MadeRun, ahead_s: float) -> None:
    """The time of day of the run's board, so far ahead."""
    run.page._hub._state._wall_s = lambda: time.time() + ahead_s  # type: ignore[attr-defined]


def test_of_what_a_sensor_feels_no_more_than_half_a_minute_is_kept_where_the_boards_clock_is_set_back(
    browser: Browser, run: MadeRun
) -> None:
    browser.open(run.url)
    kept = browser.call(
        "Runtime.evaluate",
        awaitPromise=True,
        returnByValue=True,
        expression="""import("/sensors.js").then(({ Sensors }) => {
            const sensors = new Sensors();
            sensors.begin({ sensors: { imu: "serial:///dev/ttyUSB0" }, kinds: { imu: "signal" }, hop_s: 0.5 });
            const hear = (at) => sensors.hear({ at, sensors: { imu: { state: "live", envelope: [[1, 2]] } } });
            hear(86400);
            for (let at = 0; at <= 60; at += 0.5) hear(at);
            return sensors.cards.get("imu").heard.map(({ at }) => at);
        })""",
    )
    assert kept["result"]["value"] == [30 + hop / 2 for hop in range(61)]


def test_who_opens_it_later_sees_what_was_decided_before(browser: Browser, run: MadeRun) -> None:
    run.note("imu: using it")
    for _ in range(12):
        run.decide("walking", 0.9)
    browser.open(run.url)
    browser.wait_for(f"{COUNT} === 12")
    assert "imu: using it" in shown(browser, "notices")
    assert "walking100%" in shown(browser, "legend")


def test_a_sensor_tells_its_state_in_a_word_with_its_reason_and_clock(browser: Browser, run: MadeRun) -> None:
    browser.open(run.url)
    run.decide("walking", audio=GONE)
    browser.wait_for("document.querySelectorAll('#sensors [data-state]').length === 2")
    imu, audio = browser.evaluate("[...document.getElementById('sensors').children].map((card) => card.innerText)")
    for words in ("imu", "●live", "12 ppm", "0.80 ms", "8 ms ago"):
        assert words in " ".join(imu.split())
    for words in ("audio", "○stale", "unplugged", "8.4 s ago", "160"):
        assert words in " ".join(audio.split())
    assert "Camera off" in shown(browser, "camera")
    assert "mmg opens none" in shown(browser, "camera")


@SIZES
def test_odd_labels_are_text_and_break_nothing(browser: Browser, size: tuple[int, int]) -> None:
    with made(labels=ODD, sensors={EVIL: "mic://default", "i" * 80: "serial:///dev/" + "t" * 200}) as run:
        browser.open(run.url, width=size[0], height=size[1])
        for label in ODD:
            run.decide(label)
            run.note(label)
        browser.evaluate("document.getElementById('stretches').open = true")
        browser.wait_for(f"{COUNT} === {len(ODD)} && document.querySelectorAll('tbody tr').length === {len(ODD)}")
        assert browser.evaluate("document.documentElement.scrollWidth") == size[0]
        assert EVIL in shown(browser, "stretches")
        assert EVIL in shown(browser, "notices")


def test_of_hops_that_are_short_the_ribbon_has_two_a_second_and_stays_one_stretch(browser: Browser) -> None:
    with made(hop_s=0.01) as run:
        for _ in range(200):
            run.decide("walking")
        browser.open(run.url)
        browser.wait_for(f"{COUNT} === 4")
        for _ in range(100):
            run.decide("walking")
        browser.evaluate("document.getElementById('stretches').open = true")
        browser.wait_for(f"{COUNT} === 6 && document.querySelectorAll('tbody tr').length === 1")


# --- by keyboard and for screen readers ----------------------------------------------------------------------------


def test_by_keyboard_each_moment_is_told_and_the_table_opened(browser: Browser, run: MadeRun) -> None:
    for label in ("still", "walking", "walking"):
        run.decide(label, 0.61)
    browser.open(run.url)
    browser.wait_for(f"{COUNT} === 3")
    assert [tab(browser), tab(browser)] == ["ribbon", "summary"]
    press(browser, "Enter")
    browser.wait_for("document.querySelectorAll('tbody tr').length === 2")
    assert "walking" in browser.evaluate("document.querySelector('tbody tr').innerText")
    browser.evaluate("document.getElementById('ribbon').focus()")
    told = []
    for key in ("End", "ArrowLeft", "ArrowLeft", "ArrowRight", "Home"):
        press(browser, key)
        told.append(browser.evaluate("document.getElementById('ribbon').ariaValueText"))
    assert [words.partition("): ")[2].partition(",")[0] for words in told] == [
        "walking", "walking", "still", "walking", "still",
    ]  # fmt: skip
    assert told[-1].endswith("still, 61%, from imu and audio")
    assert shown(browser, "moment") == told[-1]


AXE = importlib.util.find_spec("axe_playwright_python")


@pytest.mark.skipif(AXE is None, reason="axe is not installed: pip install --no-deps axe-playwright-python")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@SIZES
def test_axe_finds_no_fault_of_any_weight(browser: Browser, size: tuple[int, int], dark: bool) -> None:
    assert AXE is not None
    [folder] = list(AXE.submodule_search_locations or [])
    script = (Path(folder) / "axe.min.js").read_text()
    with made() as run:
        browser.open(run.url, width=size[0], height=size[1], dark=dark)
        for label in (*LABELS, "walking"):
            run.decide(label, audio=GONE)
        run.note("audio: unplugged")
        browser.evaluate("document.getElementById('stretches').open = true")
        browser.wait_for(f"{COUNT} === 5")
        browser.evaluate(script)
        assert faults(browser) == []
    browser.wait_for(BANNER)
    assert faults(browser) == [], "when the run has ended"


def faults(browser: Browser) -> list[str]:
    """What axe finds, with where."""
    told = browser.evaluate(
        """axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) =>
        `${impact} ${id}: ${nodes.map((one) => one.target.join(" ")).join(", ")}`))"""
    )
    assert isinstance(told, list)
    return told


def tab(browser: Browser) -> str:
    """What the next Tab leads to, which is seen to have the focus."""
    press(browser, "Tab")
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    return str(browser.evaluate("document.activeElement.id || document.activeElement.localName"))


def press(browser: Browser, key: str) -> None:
    """With what the browser itself does at this key."""
    codes = {"Tab": 9, "Enter": 13}
    text = {"text": "\r"} if key == "Enter" else {}
    code = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
    browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **code, **text)
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, **code)


# --- when it is gone -----------------------------------------------------------------------------------------------


def test_the_end_of_a_run_is_told_what_was_shown_stays_and_the_next_run_starts_afresh(browser: Browser) -> None:
    with made() as first:
        browser.open(first.url)
        first.decide("walking")
        wait_for_words(browser, "label", "walking")
    wait_for_words(browser, "banner", "The run has ended.")
    assert shown(browser, "label") == "walking"
    with made(port=first.port) as second:
        browser.wait_for(f"!({BANNER})")
        assert (shown(browser, "label"), browser.evaluate(COUNT)) == (EMPTY, 0)
        second.decide("still")
        wait_for_words(browser, "label", "still")


def test_a_page_whose_token_is_no_longer_good_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    tokens = [tmp_path / "one", tmp_path / "two"]
    with made(token_file=tokens[0]) as first:
        browser.open(first.url)
        assert "token" not in browser.evaluate("location.href")
    with made(port=first.port, token_file=tokens[1]) as second:
        wait_for_words(browser, "banner", "Open the link with the token of this run.")
        browser.open(second.url)
        assert not browser.evaluate(BANNER)


# --- a whole run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wearable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualWearable]:
    need_ports()
    with VirtualWearable(render(seconds=24.0), tmp_path_factory.mktemp("ports"), loop=True) as plugged:
        yield plugged


@contextmanager
def mmg_run(wearable: VirtualWearable, address: str, *arguments: str) -> Iterator[tuple[AttachedRun, str]]:
    """The command with its page, from when it tells where that is."""
    with AttachedRun(wearable.urls, wearable.environment, ["--page", address, *arguments]) as run:
        assert run.wait_for(lambda: any("page: http://" in note for note in run.notes), START_S), run.notes
        [told] = [note for note in run.notes if "page: http://" in note]
        yield run, told.partition("page: ")[2]


@contextmanager
def held(run: AttachedRun) -> Iterator[None]:
    """The board does nothing at all, and its connections stay."""
    os.kill(run.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(run.pid, signal.SIGCONT)


@pytest.mark.realtime
def test_a_run_on_ports_is_seen_at_once_told_when_unplugged_missed_when_held_and_followed_when_killed(
    browser: Browser, wearable: VirtualWearable
) -> None:
    with mmg_run(wearable, "127.0.0.1:0") as (run, url):
        began_s = time.monotonic()
        browser.open(url, width=PHONE[0], height=PHONE[1])
        assert time.monotonic() - began_s < 1.0
        browser.wait_for(f"{COUNT} >= 10")
        browser.wait_for("document.querySelectorAll('#sensors [data-state=live] canvas:not([hidden])').length === 2")
        assert "m/s²" in shown(browser, "sensors")
        assert "dB" in shown(browser, "sensors")
        wait_for_words(browser, "board", "95% within")
        wearable.devices["imu"].unplug()
        began_s = time.monotonic()
        browser.wait_for("document.querySelector('#sensors li').dataset.state !== 'live'")
        assert time.monotonic() - began_s < 2 * HOP_S + GRACE_S
        wait_for_words(browser, "notices", "imu: unplugged")
        wearable.devices["imu"].plug()
        browser.wait_for("document.querySelector('#sensors li').dataset.state === 'live'")
        before = browser.evaluate("document.documentElement.dataset.run")
        with held(run):
            wait_for_words(browser, "banner", "The board has not been heard for")
        browser.wait_for(f"!({BANNER})")
        assert browser.evaluate("document.documentElement.dataset.run") == before
        assert browser.evaluate(COUNT) >= 10
    browser.wait_for(BANNER)
    assert "The board has not been heard for" in shown(browser, "banner")
    assert browser.evaluate(COUNT) >= 10
    with mmg_run(wearable, url.removeprefix("http://")) as _:
        browser.wait_for(f"!({BANNER})")
        assert browser.evaluate("document.documentElement.dataset.run") != before
        browser.wait_for(f"{COUNT} > 0")


class Teacher:
    """A run that can be taught in, and nothing else. ``asked``: what for."""

    is_paused, problem = False, ""

    def __init__(self) -> None:
        self.asked = list[object]()

    def offered(self, _labels: object) -> dict[str, bool]:
        return {"mark": False, "record": False, "pause": False, "teach": True}

    def recording(self) -> None:
        return None

    def do(self, name: str, asked: object) -> dict[str, object]:
        self.asked.append((name, asked))
        if len(self.asked) > 1:
            raise ConfigError("knead is being taught: wait until that example is over")
        return {name: "knead"}


def test_an_example_is_asked_for_by_keyboard_and_how_it_goes_is_told(browser: Browser) -> None:
    teacher = Teacher()
    run = MadeRun(controls=teacher)
    browser.open(run.url, width=PHONE[0], height=PHONE[1])
    browser.evaluate("document.getElementById('teach-name').focus()")
    browser.call("Input.insertText", text="knead")
    press(browser, "Enter")
    wait_for_words(browser, "said", "Get ready.")
    assert teacher.asked == [("teach", {"name": "knead"})]
    assert browser.evaluate("document.getElementById('teaching').hidden")
    run.teach("now", "knead: begin now, and go on for 4 s")
    wait_for_words(browser, "said", "example 2 of 5: knead: begin now, and go on for 4 s")
    press(browser, "Enter")
    wait_for_words(browser, "said", "Not done: knead is being taught: wait until that example is over")
    run.close()


@pytest.mark.realtime
def test_a_mark_is_set_and_ended_and_the_run_paused_by_keyboard(
    browser: Browser, wearable: VirtualWearable, tmp_path: Path
) -> None:
    pytest.importorskip("mcap", reason="mcap is not installed: pip install -e '.[record]'")
    with mmg_run(wearable, "127.0.0.1:0", "--record", str(tmp_path / "day.mcap")) as (run, url):
        browser.open(url, width=PHONE[0], height=PHONE[1])
        wait_for_words(browser, "board", "day.mcap")
        browser.evaluate("document.getElementById('mark-label').focus()")
        browser.call("Input.insertText", text="knead")
        press(browser, "Enter")
        wait_for_words(browser, "said", "Marked: knead")
        wait_for_words(browser, "board", "marking knead")
        press(browser, "Enter")
        wait_for_words(browser, "said", "The mark has ended.")
        order = [tab(browser) for _ in range(3)]
        assert order == ["button", "record", "pause"]
        press(browser, "Enter")
        wait_for_words(browser, "said", "Paused")
        wait_for_words(browser, "confidence", "paused")
        assert shown(browser, "label") == EMPTY
        press(browser, "Enter")
        wait_for_words(browser, "said", "Going on.")
        browser.wait_for("document.querySelectorAll('#sensors [data-state=live]').length === 2")
        assert run.stop()[0] == 0, run.notes
    wait_for_words(browser, "banner", "The run has ended.")


def test_it_is_small_and_has_nothing_of_its_own_within_the_page(browser: Browser, run: MadeRun) -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 60_000
    browser.open(run.url)
    inline = "document.querySelectorAll('script:not([src]), style, [onclick]').length"
    assert browser.evaluate(inline) == 0
    assert list(run.sensors) == list(URLS)
