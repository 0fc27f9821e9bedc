"""The fleet's page in a real browser, with a thousand wearables in all states."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from mmg_tools.chromium import CHROMIUM, Browser

pytest.importorskip("microdot", reason="the page's server is not installed: pip install -e '.[fleet]'")
from mmg.sinks.jsonl import line_of
from mmg.sinks.page.listening import Listening
from mmg.sinks.url import parse_sink_url
from mmg.types import Decision, SensorState
from mmg_fleet.figures import Figures
from mmg_fleet.offered import Known, Offered
from mmg_fleet.page import Page
from mmg_fleet.wearables import Fleet, Moment

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: sudo apt-get install chromium")

COUNT = 1000
EVIL = "<img src=x onerror='document.documentElement.dataset.evil = 1'>"
SHOWN = "document.getElementById('%s').textContent"
ROWS = "document.querySelectorAll('#rows tr').length"
FIRST = "document.querySelector('#rows tr').innerText"


class Shown:
    """A fleet on a page, whose every message and moment a test decides."""

    def __init__(self) -> None:
        offered = Offered(known={"a" * 64: Known("starter", 1), "b" * 64: Known("starter", 2)})
        offered.newest = {"starter": 2}
        self.now_s, self.problem = time.time(), ""
        self.fleet = Fleet("mmg", offered, now=Moment(self.now_s - 100, self.now_s - 100))
        self.figures = Figures(self.fleet)
        listening = Listening(parse_sink_url("http://127.0.0.1:0", ("http",)))
        self.url = f"http://127.0.0.1:{listening.port}/"
        self.page = Page(listening, self._figures, lambda _: b'{"schema":"mmg-profile/1"}', None)

    def _figures(self, run: str, number: int) -> dict[str, object]:
        self.now_s += 1
        return self.figures.since(run, number, Moment(self.now_s, self.now_s)) | {"problem": self.problem}

    def hear(self, topic: str, payload: str) -> None:
        self.fleet.take(topic, payload.encode(), is_retained=False, now=Moment(self.now_s, self.now_s))

    def arrive(self, topic: str, digest: str = "b" * 64, board: str = "raspberry-pi-4") -> None:
        about = {"mmg": "0.1.0", "bundle": "starter", "digest": digest, "board": board, "hop_s": 1.0}
        self.hear(f"{topic}/about", json.dumps(about))

    def decide(self, topic: str, label: str = "walking", audio: SensorState | None = None) -> None:
        sensors = {"imu": SensorState("live", 1.0, 0), "audio": audio or SensorState("live", 1.0, 0)}
        made = Decision(1, 1.0, label, 0.9, {label: 0.9}, ("imu",), sensors, (), {"event_to_decision": 14.0})
        self.hear(f"{topic}/decision", line_of(made))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    browser.call("Page.navigate", url="about:blank")
    browser.events.clear()
    made = Shown()
    yield made
    assert not browser.told("Runtime.exceptionThrown")
    assert not browser.evaluate("document.documentElement.dataset.evil")
    browser.call("Page.navigate", url="about:blank")
    made.page.close()


def fill(shown: Shown) -> None:
    """A thousand: every tenth offline, every twentieth with an ill microphone, some old, some odd; a pair disagrees."""
    for number in range(COUNT):
        topic = f"mmg/person{number // 2:03}/{('wrist', 'glasses')[number % 2]}"
        digest = {3: "a" * 64, 7: "f" * 64}.get(number % 100, "b" * 64)
        shown.arrive(topic, digest, ("raspberry-pi-4", "jetson-nano")[number % 2])
        ill = SensorState("stale", 9.0, 0, "unplugged") if number % 20 == 1 else None
        shown.decide(topic, "drinking" if number == 0 else "walking", ill)
        if number % 10 == 9:
            shown.hear(f"{topic}/status", "offline")
    shown.fleet.differing["person000"] = shown.now_s - 125


def choose(browser: Browser, name: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const e = document.getElementById('{name}'); e.value = {json.dumps(value)};"
        " e.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def counted(browser: Browser) -> str:
    assert str(browser.evaluate(ROWS)) == browser.evaluate(SHOWN % "count").split()[0]
    return str(browser.evaluate(SHOWN % "count"))


@pytest.mark.parametrize("dark", [False, True])
def test_a_thousand_are_shown_searched_and_filtered(dark: bool, browser: Browser, shown: Shown) -> None:
    fill(shown)
    browser.open(shown.url, dark=dark)
    assert counted(browser) == "1000 wearables"
    for kind, expected in (
        ("offline", 100),
        ("ill", 50),
        ("old", 10),
        ("odd", 10),
        ("differing", 2),
        ("deciding", 900),
    ):
        choose(browser, "kind", kind)
        assert counted(browser) == f"{expected} of 1000 wearables"
    choose(browser, "kind", "")
    choose(browser, "search", "UNPLUGGED person03")
    assert counted(browser) == "1 of 1000 wearables"
    assert "audio stale: unplugged" in browser.evaluate(FIRST)
    choose(browser, "search", "nobody")
    assert counted(browser) == "0 of 1000 wearables"
    choose(browser, "search", "")
    choose(browser, "board", "jetson-nano")
    assert counted(browser) == "500 of 1000 wearables"
    choose(browser, "bundle", f"starter {'f' * 12}")
    assert counted(browser) == "10 of 1000 wearables"
    assert "was never offered here" in browser.evaluate(FIRST)


def test_who_disagrees_and_what_boards_and_bundles_there_are(browser: Browser, shown: Shown) -> None:
    fill(shown)
    browser.open(shown.url)
    told = browser.evaluate(SHOWN % "differing")
    assert "person000 for 2 min: mmg/person000/glasses says walking, mmg/person000/wrist says drinking" in told
    boards = browser.evaluate("document.getElementById('boards').innerText")
    assert "jetson-nano\t400 of 500\t14 ms\t14 ms" in boards
    bundles = browser.evaluate("document.getElementById('bundles').innerText")
    assert "starter\t2, the newest\tbbbbbbbbbbbb\t980" in bundles


def test_a_click_on_a_heading_sorts(browser: Browser, shown: Shown) -> None:
    fill(shown)
    browser.open(shown.url)
    for expected in ("glasses", "wrist"):
        browser.evaluate("document.querySelector('[data-key=ill]').click()")
        assert ("unplugged" in browser.evaluate(FIRST)) == (expected == "glasses")
    head = "document.querySelector('[data-key=ill]').closest('th').getAttribute('aria-sort')"
    assert browser.evaluate(head) == "descending"


def test_what_changes_is_shown_without_loading_again(browser: Browser, shown: Shown) -> None:
    shown.arrive("mmg/anna/wrist")
    shown.decide("mmg/anna/wrist", "still")
    browser.open(shown.url)
    assert "still" in browser.evaluate(FIRST)
    shown.decide("mmg/anna/wrist", "running")
    browser.wait_for(f"{FIRST}.includes('running')")
    shown.hear("mmg/ben/wrist/status", "online")
    browser.wait_for(f"{ROWS} === 2")
    shown.problem = "connection refused"
    browser.wait_for(f"{SHOWN % 'banner'} === 'Nothing is heard just now: connection refused'")
    shown.problem = ""
    browser.wait_for("document.getElementById('banner').hidden")
    shown.page.close()
    browser.wait_for(f"{SHOWN % 'banner'} === 'mmg-fleet does not answer.'")


def test_who_is_gone_does_nothing_any_more(browser: Browser, shown: Shown) -> None:
    shown.arrive("mmg/anna/wrist")
    shown.decide("mmg/anna/wrist", "walking")
    browser.open(shown.url)
    assert "since" in browser.evaluate(FIRST)
    shown.hear("mmg/anna/wrist/status", "offline")
    browser.wait_for(f"{FIRST}.includes('did walking')")
    assert "since" not in browser.evaluate(FIRST)


def test_a_phone_shows_all_of_a_wearable_without_scrolling_sideways(browser: Browser, shown: Shown) -> None:
    fill(shown)
    browser.open(shown.url, width=420)
    cells = "[...document.querySelectorAll('#rows tr:first-child td')]"
    assert browser.evaluate(f"Math.max(...{cells}.map((one) => one.getBoundingClientRect().right))") <= 420
    frame = "document.getElementById('wearables').parentElement"
    assert browser.evaluate(f"{frame}.scrollWidth - {frame}.clientWidth") == 0


def test_what_strangers_write_is_text(browser: Browser, shown: Shown) -> None:
    shown.arrive(f"mmg/{EVIL}/wrist", board=EVIL)
    shown.decide(f"mmg/{EVIL}/wrist", EVIL, SensorState("stale", 1.0, 0, EVIL))
    shown.hear(f"mmg/{EVIL}/wrist/notice", json.dumps({"text": EVIL}))
    browser.open(shown.url)
    assert browser.evaluate(FIRST).count("<img") == 5
    assert browser.evaluate("document.querySelectorAll('#rows img').length") == 0
