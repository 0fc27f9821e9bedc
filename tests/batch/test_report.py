"""mmg-report on what mmg-batch wrote, and its figures on rows that are known."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import batch
from mmg_batch.columns import DecisionsFile
from mmg_batch.compare import Pair
from mmg_batch.page import format_page
from mmg_batch.report import make_report
from mmg_batch.report_cli import main
from mmg_batch.results import key_of, read_recordings
from mmg_batch.shared import Shared
from pyarrow.dataset import dataset
from recordings import ROOT

SUBSETS = (("audio",), ("imu",), ("imu", "audio"))


def report(*words: object) -> subprocess.CompletedProcess[str]:
    """Run mmg-report."""
    command = [sys.executable, "-m", "mmg_batch.report_cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def row(recording: str, bundle: str = "one", subset: str = "imu", **others: Any) -> dict[str, Any]:
    """A recording of an hour with a hundred decisions, all of them right."""
    usual: dict[str, Any] = {
        "person": None,
        "board": None,
        "span_s": 3600.0,
        "decisions": 100,
        "judged": 100,
        "correct": 100,
    }
    made: dict[str, Any] = {"recording": recording, "bundle": bundle, "subset": subset, "faults": [], "problem": None}
    made |= {**usual, **others}
    return made | {"accuracy": made["correct"] / made["judged"] if made["judged"] else None}


def all_of_them(one: dict[str, Any], other: dict[str, Any]) -> Pair:
    """In place of ``Shared``: the bundles decided alike."""
    return Pair(one["judged"], one["correct"], other["correct"])


class Cells(HTMLParser):
    """The text of a page, cell by cell, and where its links go."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        if name in ("td", "th", "h1", "h2", "p"):
            self.cells.append("")
        self.links += [value for key, value in attributes if key == "href" and value]

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def results(short: Path, other_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two people and two bundles, with a recording that fails."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "bad.zip").write_bytes(b"no archive")
    lines = [f"{short},,p1,pi-5", f"walk,{short}/imu.csv,p2,pi-4", f"{folder}/bad.zip,,p2,pi-4"]
    (folder / "list.csv").write_text("recording,imu,person,board\n" + "\n".join(lines) + "\n")
    words = ("--subsets", "all", "--bundles", f"starter,{other_bundle}")
    done = batch(folder / "list.csv", "-o", folder / "results", *words)
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_the_page_tells_accuracy_faults_failures_and_the_worst(results: Path) -> None:
    done = report(results)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"mmg-report: wrote {results}/report.html: 3 recordings, 1 failed, ")
    page = (results / "report.html").read_text()
    cells = Cells(page).cells
    for heading in ("Accuracy by sensors", "Bundles compared", "Accuracy by person", "Accuracy by board", "Failed"):
        assert heading in cells
    assert "other less starter" in cells
    assert "+0.0 % (+0.0 to +0.0)" in cells or "+0.0 %" in cells
    assert {"p1", "pi-5", "imu+audio"} <= set(cells)
    assert "<script" not in page


def test_the_worst_recordings_have_pages_of_mmg_look(short: Path, tmp_path: Path) -> None:
    batch(short, "-o", tmp_path / "results")
    [worst] = json.loads(report(tmp_path / "results", "--json").stdout)["worst"]
    assert worst["recording"] == str(short)
    done = report(tmp_path / "results", "-o", tmp_path / "page.html", "--look", "1")
    assert done.returncode == 0, done.stderr
    [link] = Cells((tmp_path / "page.html").read_text()).links
    assert "<title>" in (tmp_path / link).read_text()


def test_a_page_of_mmg_look_is_made_without_the_files_of_the_working_directory(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(short, "-o", tmp_path / "results")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert main(["results", "-o", "page.html", "--look", "1"]) == 0
    assert Cells((tmp_path / "page.html").read_text()).links


def test_a_command_is_shown_where_it_finds_a_recording(short: Path, tmp_path: Path) -> None:
    lines = [f"{short},,", f"walk,{short}/imu.csv,{short}/labels.csv"]
    (tmp_path / "list.csv").write_text("recording,imu,truth\n" + "\n".join(lines) + "\n")
    results = tmp_path / "results"
    assert batch(tmp_path / "list.csv", "-o", results).returncode == 0
    assert report(results).returncode == 0
    cells = Cells((results / "report.html").read_text()).cells
    assert f"{tmp_path}/walk" in cells
    assert [cell for cell in cells if cell.startswith("mmg-look ")] == [f"mmg-look {short} --bundle starter"]
    told = report(results, "--look", "9").stderr
    assert told.count("no page") == told.count(f"{tmp_path}/walk: no page: nothing is here by this name") == 1


def test_a_page_goes_into_folders_that_are_made_and_a_recording_without_one_is_told(
    results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "results")
    described = json.loads((results / "batch.json").read_text())
    (tmp_path / "results" / "batch.json").write_text(
        json.dumps({**described, "paths": dict.fromkeys(described["paths"], "/no/such")})
    )
    done = report(tmp_path / "results", "-o", tmp_path / "no" / "such" / "x.html", "--look", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "no" / "such" / "x.html").is_file()
    assert ": no page: " in done.stderr
    assert "[" not in done.stderr


def test_what_cannot_be_reported_is_told_in_one_line(results: Path, tmp_path: Path) -> None:
    assert "'-2' is not a number of recordings" in report(results, "--look", "-2").stderr
    shutil.copytree(results, tmp_path / "results")
    stray = tmp_path / "results" / "recordings" / "mine.parquet"
    stray.write_bytes(b"text")
    done = report(tmp_path / "results")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "remove any other" in done.stderr
    assert "mine.parquet" in done.stderr
    pq.write_table(pa.table({"x": [1]}), stray)
    assert "has rows without a recording" in report(tmp_path / "results").stderr
    stray.unlink()
    described = json.loads((results / "batch.json").read_text())
    (tmp_path / "results" / "batch.json").write_text(json.dumps({**described, "paths": [1]}))
    done = report(tmp_path / "results")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_the_questions_of_the_docs_have_answers(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install -e '.[batch]'")
    monkeypatch.chdir(results.parent)
    [block] = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "batch.md").read_text(), re.DOTALL)
    accuracy, confused, *others = [duckdb.sql(query).fetchall() for query in block.split(";") if query.strip()]
    assert [row[:2] for row in accuracy] == [
        (name, "+".join(subset)) for name in ("other", "starter") for subset in SUBSETS
    ]
    assert confused
    assert len(others) == 3


def test_the_command_of_the_docs_answers_each_question(results: Path) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed: pip install -e '.[batch]'")
    text = (ROOT / "docs" / "batch.md").read_text()
    [block] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    [code] = re.findall(r"\.venv/bin/python -c '(import duckdb.*)'", text)
    (results.parent / "questions.sql").write_text(block)
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=results.parent, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("┌") == block.count(";") == 5


def test_damaged_and_missing_files_are_told_with_what_mends_them(walks: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert batch(walks, "-o", results).returncode == 0
    cut, lost = sorted((results / "decisions").iterdir())[:2]
    cut.write_bytes(cut.read_bytes()[:1000])
    (results / "recordings" / lost.name).unlink()
    done = report(results)
    assert done.returncode == 0
    said = f"2 files are damaged or missing, such as decisions/{cut.name}: the same mmg-batch again decides anew"
    assert f"mmg-report: {results}: {said}" in done.stderr
    assert batch(walks, "-o", results).returncode == 0
    assert "damaged or missing" not in report(results).stderr


def test_of_many_parts_a_few_are_read_at_a_time(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, counts = read_recordings(results), list[int]()

    def count(paths: list[Path], **how: Any) -> Any:
        counts.append(len(paths))
        return dataset(paths, **how)

    monkeypatch.setattr("mmg_batch.results.AT_A_TIME", 4)
    monkeypatch.setattr("mmg_batch.results.dataset", count)
    assert read_recordings(results).equals(table)
    assert counts == [4, 2]


def test_a_page_that_cannot_be_written_is_named(results: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmg_batch.report_cli", str(results), "-o", f"{tmp_path}/x.html"]
    words = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"mmg-report: cannot write {tmp_path}/x.html: File too large"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("", "", "holds no results of mmg-batch: there is no batch.json"),
        ("batch.json", "{", "cannot be read: "),
        ("batch.json", '{"schema": "mmg-batch/9"}', "is of another mmg: this one reads mmg-batch/1"),
        ("batch.json", '{"schema": "mmg-batch/1"}', "no recording is decided yet"),
    ],
)
def test_a_folder_without_results_is_told_in_one_line(name: str, content: str, said: str, tmp_path: Path) -> None:
    if name:
        (tmp_path / name).write_text(content)
    done = report(tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert said in line


def test_bundles_are_compared_on_a_recording_whose_name_is_no_utf_8(
    short: Path, other_bundle: Path, tmp_path: Path
) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff"))
    place.mkdir()
    for name in ("imu.csv", "labels.csv"):
        shutil.copy(short / name, place)
    assert batch(place, "-o", tmp_path / "results", "--bundles", f"starter,{other_bundle}").returncode == 0
    done = report(tmp_path / "results", "--json")
    assert done.returncode == 0, done.stderr
    [compared] = json.loads(done.stdout)["compared"]
    assert (compared["decisions"], compared["left_out"]) == (8, 0)


def test_a_folder_whose_name_is_no_utf_8_is_told_before_it_is_written_or_read(short: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    for done in (batch(short, "-o", folder), report(folder)):
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "is no UTF-8, as a folder of tables must be: rename it, or choose another" in line
    assert not folder.exists()


def test_accuracy_is_of_decisions_and_groups_are_by_what_they_say() -> None:
    rows = [
        row("a", person="p1", board="pi-5", correct=50),
        row("b", person="p1", board="pi-4", correct=100),
        row("c", person="p2", board="pi-4", judged=200, correct=0),
        row("a", subset="imu+audio", person="p1", board="pi-5", correct=80),
    ]
    made = make_report(rows, all_of_them)
    assert [(line.names, line.recordings, line.judged) for line in made.by_subset] == [
        (("one", "imu"), 3, 400),
        (("one", "imu+audio"), 1, 100),
    ]
    assert [line.accuracy.value for line in made.by_subset if line.accuracy] == [150 / 400, 0.8]
    # Of a recording that was decided from several subsets, people and boards count the fullest.
    assert [(line.names[0], line.accuracy.value) for line in made.by_person if line.accuracy] == [
        ("p1", 0.9),
        ("p2", 0),
    ]
    assert [line.names[0] for line in made.by_board] == ["pi-4", "pi-5"]
    assert [one.recording for one in made.worst] == ["c", "a", "b"]
    assert made.hours == 3


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (("p1", "p2"), ""),
        (("p1", None), "A recording of which nobody says who wore it stands for a person."),
        ((None, None), "Nobody says who wore what: each recording stands for a person."),
    ],
)
def test_the_page_says_where_a_recording_stands_for_a_person(people: tuple[str | None, ...], said: str) -> None:
    rows = [row(name, person=person) for name, person in zip("ab", people, strict=True)]
    page = format_page(make_report(rows, all_of_them), "walks", {}, {})
    assert ("stands for a person" in page) == bool(said)
    assert said in page


def test_bundles_are_compared_on_what_both_decided() -> None:
    rows = [row(name, correct=90) for name in "abc"] + [row(name, "two", correct=80) for name in "ab"]
    rows.append(row("c", "two", problem="broke", correct=0))
    [compared] = make_report(rows, all_of_them).compared
    assert (compared.bundle, compared.other, compared.recordings) == ("one", "two", 2)
    assert compared.difference.value == pytest.approx(0.1)
    assert compared.difference.people == 2
    assert (compared.decisions, compared.left_out) == (200, 200)  # of a, b and c of one, and of a, b and c of two


def test_decisions_of_other_hops_are_shared_where_they_end_together_and_have_one_truth(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    for digest, hop_s, label in (("1" * 64, 0.5, "still"), ("2" * 64, 1.0, "walking")):
        file = DecisionsFile()
        for hop in range(round(4 / hop_s)):
            t_s = (hop + 1) * hop_s
            truth = "still" if t_s - hop_s / 2 < 1.6 else "walking"
            file.add({"recording": "a", "subset": "imu", "hop": hop, "t_s": t_s, "label": label, "truth": truth})
        (tmp_path / "decisions" / f"{key_of('a', digest)}.parquet").write_bytes(file.close())
    rows = [
        row("a", "one", bundle_digest="1" * 64, decisions=8, judged=8, correct=3),
        row("a", "two", bundle_digest="2" * 64, decisions=4, judged=4, correct=2),
    ]
    [compared] = make_report(rows, Shared(tmp_path)).compared
    # They end together at 1, 2, 3 and 4 s; what ends at 2 s is walking to the one and still to the other.
    assert (compared.decisions, compared.left_out) == (3, 8 + 4 - 2 * 3)
    assert compared.difference.value == pytest.approx(1 / 3 - 2 / 3)


def test_faults_and_failures_are_counted_by_kind() -> None:
    fault = {"sensor": "imu", "state": "faulty", "reason": "stuck for 3 s", "hops": 10, "first_s": 1.0}
    rows = [row("a", faults=[fault]), row("b", faults=[{**fault, "reason": "stuck for 7 s", "hops": 30}])]
    rows += [
        row(name, subset="", decisions=0, judged=0, correct=0, problem=f"{name}: cut at {at}")
        for name, at in (("x", 7), ("y", 8))
    ]
    made = make_report(rows, all_of_them)
    [kind] = made.faults
    assert (kind.reason, kind.recordings, kind.decisions, kind.share) == ("stuck for 3 s", 2, 40, 0.2)
    [failed] = made.failures
    assert (failed.reason, failed.recordings, failed.example) == ("cut at 7", 2, "x")


@pytest.mark.parametrize(("span_s", "said"), [(17.0, "17 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_lengths_are_in_the_unit_that_suits_them(span_s: float, said: str) -> None:
    cells = Cells(format_page(make_report([row("a", span_s=span_s)], all_of_them), "", {}, {})).cells
    assert f"1 recording: {said}, 100 decisions." in cells
    assert said in cells


def test_no_name_becomes_markup() -> None:
    page = format_page(make_report([row("<script>alert(1)</script>\x1b[31m", correct=0)], all_of_them), "<b>", {}, {})
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
