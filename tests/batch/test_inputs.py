"""What is a recording, and what is none, among files, folders, globs, lists and URLs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import batch, command, link
from hostile import nothing_yet
from mmg.errors import ConfigError, SourceError
from mmg_batch import fetching
from mmg_batch.fetching import fetched
from mmg_batch.grouping import has_samples
from mmg_batch.inputs import find
from mmg_batch.lists import entries_in, is_list
from mmg_batch.recording import Entry, digest_of, state_of
from web import Page, Web


def names(*words: object) -> list[str]:
    """The ends of the names of what is found."""
    return [Path(entry.name).name for entry in find([str(word) for word in words])]


def test_a_folder_of_folders_holds_a_recording_in_each(walks: Path) -> None:
    assert names(walks) == ["a", "b", "c", "d"]


def test_a_folder_whose_files_belong_together_is_one_recording(short: Path) -> None:
    assert names(short) == [short.name]


def test_a_folder_of_tables_that_are_alike_holds_a_recording_in_each(short: Path, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        shutil.copy(short / "imu.csv", tmp_path / name)
    (tmp_path / "notes.csv").write_text("who,when\nme,today\n")
    (tmp_path / "one.labels.csv").write_text("start_s,end_s,label\n")
    assert names(tmp_path) == ["one.csv", "two.csv"]


def test_sounds_and_archives_are_recordings_of_their_own(short: Path, tmp_path: Path) -> None:
    for name in ("one.wav", "two.wav"):
        shutil.copy(short / "audio.wav", tmp_path / name)
    (tmp_path / "three.zip").write_bytes(b"PK")
    (tmp_path / ".hidden.zip").write_bytes(b"PK")
    (tmp_path / "empty.zip").touch()
    (tmp_path / "readme.md").write_text("text")
    assert names(tmp_path) == ["one.wav", "three.zip", "two.wav"]


def test_an_export_of_several_tables_is_one_recording(tmp_path: Path) -> None:
    (tmp_path / "Accelerometer.csv").write_text("t (s),x (m/s^2),y (m/s^2),z (m/s^2)\n" + "0.01,0,0,9.8\n" * 9)
    (tmp_path / "Gyroscope.csv").write_text("t (s),x (rad/s),y (rad/s),z (rad/s)\n" + "0.01,0,0,0\n" * 9)
    assert names(tmp_path) == [tmp_path.name]


def test_an_export_with_a_sensor_twice_and_one_of_each_wrist_are_told_apart(tmp_path: Path) -> None:
    export, wrists = tmp_path / "export", tmp_path / "wrists"
    for folder, stems in (
        (export, ("Accelerometer", "AccelerometerUncalibrated", "TotalAcceleration", "Gyroscope", "Location")),
        (wrists, ("left_acc", "right_acc")),
    ):
        folder.mkdir()
        for stem in stems:
            (folder / f"{stem}.csv").write_text("t,x,y,z\n" + "0.01,0,0,9.8\n" * 9)
    assert names(tmp_path) == ["export", "left_acc.csv", "right_acc.csv"]


@pytest.mark.parametrize("stems", [("a", "b"), ("walk_a", "walk_b"), ("walkG", "walkH")])
def test_tables_that_a_letter_tells_apart_are_recordings_of_their_own(
    stems: tuple[str, ...], short: Path, tmp_path: Path
) -> None:
    for stem in stems:
        shutil.copy(short / "imu.csv", tmp_path / f"{stem}.csv")
    assert names(tmp_path) == [f"{stem}.csv" for stem in stems]


def test_a_folder_with_labels_is_one_recording_and_a_table_of_people_is_none(short: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,sex\n" + "7,f\n" * 9)
    shutil.copytree(short, tmp_path / "walk")
    (tmp_path / "walk" / "audio.wav").unlink()
    assert names(tmp_path) == ["walk"]


def test_a_table_with_dates_and_decimal_commas_has_samples(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("when;x;y;z\n" + "2026-01-01 10:00:00,5;0,1;-2,5;9,81\n" * 9)
    (tmp_path / "two.txt").write_text("x,y,z\n" + "1,2,3\n" * 9, encoding="utf-16")
    assert names(tmp_path) == ["one.csv", "two.txt"]


def test_a_link_that_leads_back_is_not_followed(walks: Path) -> None:
    (walks / "again").symlink_to(walks)
    assert names(walks) == ["a", "b", "c", "d"]


def test_a_glob_that_no_shell_expanded_is_one_here(walks: Path) -> None:
    assert names(walks / "[ab]") == ["a", "b"]
    assert names(walks / "**" / "imu.csv") == ["imu.csv"] * 4


def test_a_file_that_has_nothing_yet_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("recording,x,y,z\n" + "0.01,0,0,9.8\n" * 9)
    with nothing_yet():
        assert not is_list(path)
        assert not has_samples(path)
        with pytest.raises(ConfigError, match="cannot be read as a list"):
            list(entries_in(path))
        with pytest.raises(SourceError, match=r"walk.csv: cannot be read: Resource temporarily unavailable"):
            digest_of([str(path)])


def test_what_is_named_twice_is_decided_once(walks: Path) -> None:
    assert names(walks, walks / "a") == ["a", "b", "c", "d"]


def test_a_glob_takes_what_a_folder_would_and_nothing_of_a_recording_twice(walks: Path, short: Path) -> None:
    (walks / "README.md").write_text("text")
    (walks / "people.csv").write_text("id,sex\n" + "7,f\n" * 9)
    (walks / "empty.zip").touch()
    shutil.copy(short / "audio.wav", walks / "talk.wav")
    assert names(walks / "*") == ["a", "b", "c", "d", "talk.wav"]
    assert names(walks / "**") == ["a", "b", "c", "d", "talk.wav"]
    with pytest.raises(ConfigError, match="holds no recording"):
        find([str(walks / "*.md")])


def test_a_list_and_a_folder_may_name_the_same_recording_and_what_the_list_says_counts(
    walks: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("recording,person\nwalks/a,p1\n")
    for words in ([walks, tmp_path / "list.csv"], [tmp_path / "list.csv", walks]):
        assert [entry.person for entry in find([str(word) for word in words])] == ["p1", "", "", ""]


def test_a_folder_in_a_folder_that_cannot_be_read_is_left_out_and_told(short: Path) -> None:
    told: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(short, folder / "walk")
        (folder / "walk").chmod(0o755)
        (folder / "lost+found").mkdir(mode=0)
        is_root = os.geteuid() == 0
        if is_root:  # who may read everything
            os.seteuid(65534)
        try:
            found = find([name], tell=told.append)
            with pytest.raises(ConfigError, match=r"lost\+found: cannot be read: Permission denied"):
                find([f"{name}/lost+found"])
        finally:
            if is_root:
                os.seteuid(0)
    assert [entry.name for entry in found] == [f"{name}/walk"]
    assert told == [f"{name}/lost+found: cannot be read: Permission denied: it is left out"]


def test_what_is_neither_a_file_nor_a_folder_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    for word in (tmp_path / "fifo.csv", "/dev/zero"):
        with pytest.raises(ConfigError, match="is neither a file nor a folder"):
            find([str(word)])


def test_a_url_on_the_web_is_a_file_that_nobody_asks_for_yet() -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for the web")
    with Web() as web:
        for url in (f"{web.url}walk.zip", f"{web.url}walk.csv?token=a.b&of=me"):
            assert find([url]) == [Entry(url)]
        assert not web.asked
        web.pages["/day/"] = Page(b'<a href="one.csv"></a> <a href="notes.md"></a> <a href="one.labels.csv"></a>')
        assert find([f"{web.url}day/"]) == find([f"{web.url}day/*.csv"]) == [Entry(f"{web.url}day/one.csv")]


def test_a_server_that_is_away_and_a_page_that_is_not_there_are_told() -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for the web")
    with Web() as web:
        for word in ("day/", "day/*.csv"):
            with pytest.raises(ConfigError, match="there is no such page"):
                find([f"{web.url}{word}"])
        web.pages["/empty/"] = web.pages["/empty"] = Page(b"<p>nothing</p>")
        with pytest.raises(ConfigError, match="holds no recording"):
            find([f"{web.url}empty/"])
    for word in ("day/", "day/*.csv"):
        with pytest.raises(ConfigError, match="cannot be listed: Cannot connect to host"):
            find([f"{web.url}{word}"])


def test_without_what_the_web_needs_its_package_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from mmg_batch.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, *command("https://localhost/walk.csv", "-o", tmp_path / "results")[3:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "aiohttp, which URLs on the web need, is not installed: " in done.stderr
    assert done.stderr.endswith(" -m pip install aiohttp\n")


def test_a_file_on_the_web_is_fetched_under_its_name_without_the_query(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for the web")
    with Web() as web:
        web.pages["/walk.csv?token=a.b"] = Page(b"abc")
        place = fetched(Entry(f"{web.url}walk.csv?token=a.b"), tmp_path, lambda: None).name
    assert place == f"{tmp_path}/0/walk.csv"
    assert Path(place).read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MOST_BYTES", 1000, "is larger than"),
        ("LEAST_FREE", 1 << 60, "there is no room for it in"),
        ("LONGEST_S", 0.0, "was not fetched within 0 hours"),
    ],
)
@pytest.mark.parametrize("has_length", [True, False])
def test_what_does_not_end_is_given_up(
    limit: str, value: float, said: str, has_length: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for the web")
    monkeypatch.setattr(fetching, limit, value)
    with Web() as web:
        web.pages["/walk.csv"] = Page(bytes(2000), has_length=has_length, hangs=True)
        with pytest.raises(SourceError, match=said):
            fetched(Entry(f"{web.url}walk.csv"), tmp_path, lambda: None)


def test_files_in_an_archive_are_found_and_named_with_it(short: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rec.zip", "w") as archive:
        archive.write(short / "imu.csv", "one.csv")
        archive.write(short / "imu.csv", "two.csv")
    end = f"::{tmp_path}/rec.zip"
    assert find([f"zip://*.csv{end}"]) == [Entry(f"zip://one.csv{end}"), Entry(f"zip://two.csv{end}")]
    place = fetched(Entry(f"zip://one.csv{end}"), tmp_path, lambda: None).name
    assert Path(place).read_bytes() == (short / "imu.csv").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_list_says_who_wore_what_and_where_each_sensor_is(kind: str, tmp_path: Path) -> None:
    rows = [
        {"recording": "one", "person": "p1", "board": "pi-5", "imu": "one.csv?acc_unit=g", "truth": ""},
        {"recording": "s3://bucket/two.zip", "person": "", "board": "", "imu": "", "truth": "two.csv"},
    ]
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert find([str(path)]) == [
        Entry(f"{tmp_path}/one", {"imu": f"{tmp_path}/one.csv?acc_unit=g"}, "p1", "pi-5"),
        Entry("s3://bucket/two.zip", truth=f"{tmp_path}/two.csv"),
    ]


def test_a_list_of_parquet_lies_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with (folder / "list.parquet").open("wb") as stream:
        pq.write_table(pa.table({"recording": ["one"]}), stream)
    assert find([f"{folder}/list.parquet"]) == [Entry(f"{folder}/one")]


@pytest.mark.parametrize(
    "text", [" recording , person \n one , p1 \n", "recording;person\none;p1\n", ",recording,person\n0,one,p1\n"]
)
def test_a_list_as_a_spreadsheet_or_pandas_writes_it_is_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert find([str(tmp_path / "list.csv")]) == [Entry(f"{tmp_path}/one", person="p1")]


def test_a_column_that_is_no_sensor_is_told_before_anything_is_decided(short: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"recording,age\n{short},33\n")
    done = batch(tmp_path / "list.csv", "-o", tmp_path / "results")
    assert done.returncode == 2
    assert (
        "its list has a column 'age', and bundle starter no such sensor: columns are recording, imu, audio, video, "
        in (done.stderr)
    )
    assert not (tmp_path / "results").exists()


def test_a_table_of_samples_is_no_list(short: Path) -> None:
    assert find([str(short / "imu.csv")]) == [Entry(str(short / "imu.csv"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recording,person\n,p1\n", "row 1 names no recording"),
        ("recording,imu\na,mic://default\n", "row 1: mic://default: is a live port"),
        ("recording\na,b\n", "a row has more cells than the header"),
        ("recording,person\na,p1\na,p2\n", "is named twice, and not alike"),
    ],
)
def test_a_list_that_cannot_be_says_where(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=said):
        find([str(tmp_path / "list.csv")])


def test_the_digest_of_a_file_is_that_of_sha256sum_and_of_a_folder_that_of_its_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc")
    of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of([str(tmp_path / "a.csv")]) == of_abc
    link(tmp_path, tmp_path / "folder")
    (tmp_path / "folder" / "b.csv").write_bytes(b"abc")
    assert digest_of([str(tmp_path / "folder")]) not in (of_abc, digest_of([str(tmp_path)]))


def test_labels_that_come_later_change_a_recordings_state(short: Path, tmp_path: Path) -> None:
    shutil.copy(short / "imu.csv", tmp_path / "walk.csv")
    before = state_of(Entry(str(tmp_path / "walk.csv")))
    shutil.copy(short / "labels.csv", tmp_path / "walk.labels.csv")
    assert state_of(Entry(str(tmp_path / "walk.csv"))) != before


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("changed", ["walk.csv", "walk.labels.csv"])
def test_a_file_on_the_web_that_keeps_its_size_changes_with_what_its_server_says_of_it(
    header: str, changed: str
) -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for the web")
    with Web() as web:
        entry = Entry(f"{web.url}walk.csv")
        for name in ("walk.csv", "walk.labels.csv"):
            web.pages[f"/{name}"] = Page(b"abc", headers={header: "one"})
        before = state_of(entry)
        assert state_of(entry) == before
        web.pages[f"/{changed}"] = Page(b"abd", headers={header: "two"})
        assert state_of(entry) != before
