"""The HTML page of a report: what is in it, and what a real browser makes of it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mmg.board.profiling.budget import check_budget
from mmg.board.profiling.figures import by_variant
from mmg.board.profiling.page import format_page
from mmg.board.profiling.plots import latency_plot, linear, logarithmic
from mmg.board.profiling.result import Case, Report
from mmg.board.profiling.tradeoff import LATENCY_COST, MEMORY_COST, pareto_front
from mmg_tools.chromium import CHROMIUM, Browser
from msgspec.structs import replace
from profile_reports import (
    SUBSETS,
    distribution,
    invalid,
    made_case,
    made_cases,
    made_machine,
    made_report,
    unavailable,
)

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: sudo apt-get install chromium")

VARIANTS = (("onnx", "fp32"), ("onnx", "int8"), ("litert", "fp32"), ("litert", "int8"))
BUDGET = {"decision_ms": 24.0, "memory_mib": 100.0}
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
EVIL = '"><script>document.documentElement.dataset.evil = 1</script><img src=x onerror="throw 1">\'&'
# Looks at the laid-out page: what is wider than the window, and which words of a plot lie on each other.
LOOK = """
const wide = document.documentElement.scrollWidth - innerWidth;
const shown = (text) => text.getBoundingClientRect();
const beside = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1;
const apart = (a, b) => beside(a, b) || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
const met = [], cut = [];
for (const plot of document.querySelectorAll("figure svg[role=img]")) {
  const texts = [...plot.querySelectorAll("text")];
  const edge = plot.getBoundingClientRect();
  texts.forEach((one, place) => {
    if (shown(one).left < edge.left - 14 || shown(one).right > edge.right + 14) cut.push(one.textContent);
    for (const other of texts.slice(place + 1)) {
      if (!apart(shown(one), shown(other))) met.push(`${one.textContent} | ${other.textContent}`);
    }
  });
}
const found = { ready: true, wide, met: met.join("; "), cut: cut.join("; "), width: innerWidth };
Object.assign(top.document.documentElement.dataset, found);
"""


class Dom(HTMLParser):
    """What a test asks of a page: attributes of <html>, and the rows of the table of cases in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root: dict[str, str | None] = {}
        self.rows: list[str] = []
        self.hidden = 0
        self.names: list[str] = []
        self._table: str | None = None
        self._row: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.names.append(tag)
        if tag == "html":
            self.root = known
        elif tag == "table":
            self._table = known.get("id")
        elif tag == "tr" and self._table == "cases" and "data-tags" in known:
            self._row = [] if "hidden" not in known else None
            self.hidden += "hidden" in known

    def handle_data(self, data: str) -> None:
        if self._row is not None:
            self._row.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._row:
            self.rows.append(" ".join(self._row[:4]))
            self._row = None


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


def browse(browser: Browser, page: str, folder: Path, *, address: str = "", dark: bool = False) -> str:
    """The page as chromium has it after its script ran."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    browser.call("Page.navigate", url="about:blank")
    browser.open(f"{path.as_uri()}{address}", height=1000, dark=dark)
    browser.wait_for("document.readyState === 'complete'")
    text: str = browser.evaluate("document.documentElement.outerHTML")
    return text


def driven(page: str, script: str) -> str:
    """The page with a script of the test at its end, which its policy would not let run."""
    return POLICY.sub("", page).replace("</body>", f"<script>{script}</script></body>")


def framed(page: str, width: int) -> str:
    """The page in a frame: a window of chromium cannot be as narrow as a phone."""
    return (
        f'<!doctype html><html><iframe width="{width}" height="900" frameborder="0" srcdoc="{escape(page)}"></iframe>'
    )


def full_report() -> Report:
    """All that can be in one: 28 cases, of which two are invalid, one is warned of and eight are missing."""
    cases: list[Case] = [replace(case, budget=check_budget(case, BUDGET)) for case in made_cases(VARIANTS)]
    cases[3], cases[9] = invalid(cases[3]), invalid(cases[9], "the two halves differ by 31 %")
    cases[5] = replace(cases[5], warnings=("3 deadlines were missed",), misses=3)
    cases[20:] = map(unavailable, cases[20:])
    return made_report(cases, budget=BUDGET)


@pytest.fixture(scope="module")
def page() -> str:
    return format_page(full_report(), [made_report(made_cases(VARIANTS, slower=0.8, seed=1))])


# What is in it


def test_every_case_is_in_the_page_without_its_script(page: str) -> None:
    assert [row.split() for row in Dom(page).rows] == [
        ["+".join(case.modalities), case.backend, case.precision, "1"] for case in full_report().cases[:20]
    ]


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"\b(src|href|srcset|action)\s*=|url\(|@import|https?:|<(link|img|iframe|object)", page)
    assert "default-src 'none'" in unescape(page)


def test_no_text_of_a_report_becomes_markup() -> None:
    bad = replace(made_case((EVIL, "audio")), reasons=(EVIL,), warnings=(EVIL,), valid=False)
    report = made_report([bad, unavailable(made_case(), EVIL)], machine=made_machine(EVIL, numpy=EVIL, commit=EVIL))
    report = replace(report, profile=EVIL, signal=EVIL, command=(EVIL,), bundle=replace(report.bundle, name=EVIL))
    text = format_page(report, [made_report()])
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_the_page_says_what_is_invalid_missing_over_the_budget_or_estimated(page: str) -> None:
    assert "the clock was held down while it ran: too hot" in page
    assert "the two halves differ by 31 %" in page
    assert "8 cases" in page
    assert "memory_mib 107.0 is 7.0 over the budget of 100 (7 %)" in page
    assert "is not measured but estimated (core_w)" in page


def test_a_measured_energy_is_not_called_an_estimate() -> None:
    case = made_case()
    assert case.energy is not None
    measured = replace(case, energy=replace(case.energy, measured=True, meter="rapl"))
    assert "estimated" not in format_page(made_report([measured]))


def test_the_page_names_machine_versions_and_bundle(page: str) -> None:
    for said in ("Made Board 5", "Cortex-A76", "onnxruntime 1.20.0", "0123456789ab", "ab" * 32, "governor performance"):
        assert said in page


def test_without_accuracies_the_page_says_so_instead_of_a_plot() -> None:
    text = format_page(made_report([replace(made_case(), accuracy=None)]))
    assert "does not say how accurate" in text
    assert "Pareto" not in text


def test_a_page_of_times_that_are_none_is_made_all_the_same() -> None:
    none = distribution([0.0] * 5)
    assert "Latency" in format_page(
        made_report([replace(made_case(), stages={"event_to_decision": none, "hop": none})])
    )


def test_a_report_without_a_measured_case_is_a_page_that_says_why() -> None:
    text = format_page(made_report([unavailable(made_case())]))
    assert "No case was measured." in text
    assert "ai-edge-litert is not installed" in text


def test_every_plot_has_a_title_and_its_figures_in_words(page: str) -> None:
    plots = re.findall(r'<svg[^>]*role="img"><title>[^<]+</title><desc>([^<]*)</desc>', page)
    assert len(plots) == page.count('role="img"') == 8  # three variants twice, and two trade-offs
    assert all(len(told) > 20 for told in plots)


def test_the_older_report_is_compared_with(page: str) -> None:
    assert "Compared with the report before" in page
    assert "Worse beyond noise" in page
    assert "Compared with" not in format_page(made_report())


# The plots


def test_the_pareto_front_has_the_valid_cases_that_no_other_beats() -> None:
    cheap, dear = made_case(("imu",)), made_case(("imu", "audio"))
    worse = replace(made_case(("video",)), accuracy=0.5)
    unreliable = invalid(replace(made_case(("audio",)), accuracy=0.99))
    front = pareto_front([worse, dear, unreliable, cheap], LATENCY_COST)
    assert front == [cheap, dear]
    assert pareto_front([worse, dear, unreliable, cheap], MEMORY_COST) == [cheap, dear]


def test_of_two_cases_that_are_equal_one_is_on_the_front() -> None:
    case = made_case()
    assert pareto_front([case, replace(case, threads=2)], MEMORY_COST) == [case]


def test_a_scale_holds_what_it_was_made_for() -> None:
    for values in ([1.0], [0.0, 0.5], [3.0, 3.0001], [0.02, 7000.0]):
        for scale in (logarithmic(values), linear(min(values), max(values))):
            assert len(scale.ticks) >= 2
            places = [scale.percent(value) for value in sorted(values)]
            assert places == sorted(places)
            assert all(0 <= place <= 100 for place in places)


def test_a_histogram_of_one_value_is_drawn() -> None:
    case = made_case()
    same = replace(case, stages={"event_to_decision": distribution([12.0] * 5)})
    plot = latency_plot([same], logarithmic([12.0]), {}, "one")
    assert "nan" not in plot
    assert 'class="box"' in plot


# In a browser


@in_a_browser
def test_the_script_runs_without_an_error(browser: Browser, page: str, tmp_path: Path) -> None:
    dom = Dom(browse(browser, page, tmp_path))
    assert "data-ready" in dom.root
    assert "data-error" not in dom.root
    assert len(dom.rows) == 20
    assert dom.hidden == 0


@in_a_browser
def test_the_address_sorts_and_filters(browser: Browser, page: str, tmp_path: Path) -> None:
    cases = [case for case in full_report().cases[:20] if case.precision == "int8"]
    slowest_first = sorted(cases, key=lambda case: -case.stages["event_to_decision"].p95_ms)
    dom = Dom(browse(browser, page, tmp_path, address="#sort=-p95&filter=onnx,int8"))
    assert [row.split()[0] for row in dom.rows] == ["+".join(case.modalities) for case in slowest_first]
    assert dom.hidden == 20 - 7


@in_a_browser
def test_an_address_that_means_nothing_shows_everything(browser: Browser, page: str, tmp_path: Path) -> None:
    dom = Dom(browse(browser, page, tmp_path, address="#sort=nonsense&filter=nothing&%"))
    assert "data-error" not in dom.root
    assert dom.rows == Dom(page).rows


@in_a_browser
def test_a_press_on_a_heading_sorts_and_a_press_on_a_button_filters(
    browser: Browser, page: str, tmp_path: Path
) -> None:
    press = """
    document.querySelector("th[data-key=peak] button").click();
    document.querySelector("button[data-token=litert]").click();
    document.documentElement.dataset.address = location.hash;
    """
    dom = Dom(browse(browser, driven(page, press), tmp_path))
    litert = [case for case in full_report().cases[:20] if case.backend == "litert" and case.memory]
    smallest_first = sorted(litert, key=lambda case: case.memory.peak_mib if case.memory else 0)
    assert dom.root["data-address"] == "#sort=peak&filter=litert"
    assert [row.split()[0] for row in dom.rows] == ["+".join(case.modalities) for case in smallest_first]


@in_a_browser
def test_evil_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    bad = replace(made_case((EVIL,)), reasons=(EVIL,), valid=False)
    dom = Dom(browse(browser, format_page(made_report([bad], machine=made_machine(EVIL))), tmp_path))
    assert "data-ready" in dom.root
    assert not {"data-error", "data-evil"} & set(dom.root)
    assert dom.names.count("script") == 1
    assert "img" not in dom.names


@in_a_browser
def test_the_policy_stops_a_script_that_is_not_the_pages(browser: Browser, page: str, tmp_path: Path) -> None:
    other = "<script>document.documentElement.dataset.evil = 1</script></body>"
    assert "data-evil" not in Dom(browse(browser, page.replace("</body>", other), tmp_path)).root


@in_a_browser
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("what", ["full", "one", "back to back", "none"])
def test_nothing_is_cut_off_and_no_words_of_a_plot_meet(
    browser: Browser, what: str, width: int, page: str, tmp_path: Path
) -> None:
    pages = {
        "full": page,
        "one": format_page(made_report([made_case()])),
        "back to back": format_page(made_report(mode="backtoback")),
        "none": format_page(made_report([unavailable(made_case())])),
    }
    root = Dom(browse(browser, framed(driven(pages[what], LOOK), width), tmp_path)).root
    assert root["data-width"] == str(width)
    assert root["data-wide"] == "0"
    assert root["data-met"] == ""
    assert root["data-cut"] == ""


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_can_be_taken_of_it(browser: Browser, scheme: str, page: str, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(browser, page, tmp_path, dark=scheme == "dark")
    browser.picture(picture, whole=False)
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1280, 1000)
    assert len(data) > 40_000


def test_the_made_report_is_as_large_as_a_real_one() -> None:
    assert len(SUBSETS) == 7
    assert list(by_variant(made_cases(VARIANTS))) == [
        f"{backend} {precision}, 1 thread" for backend, precision in VARIANTS
    ]
