"""A bundle that a device asks for: whatever is offered, and wherever it ends, it keeps what it had and says why."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nacl", reason="PyNaCl is not installed: it is in the extra sign")
from certificates import Authority
from fakes import signal_modality, tiny_files, tiny_manifest
from forked import mmg
from killing import killed_at
from mmg.bundle import Bundle, download, fetch, write_bundle
from mmg.bundle.index import INDEX, Index, encode, read_index, write_index
from mmg.bundle.keys import PrivateKey, make_keys, read_private_key, read_public_key
from mmg.bundle.manifest import Manifest
from mmg.bundle.writer import put_signature
from mmg.errors import BundleError, ConfigError, FetchError
from msgspec.structs import replace as change
from web import Page, Web

# Forking with the test runner's threads is what is wanted: the child only fetches, and is killed.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
THEIRS = PrivateKey(bytes(range(32)))


class Maker:
    """Whoever makes bundles: a key, a folder of offers, and a web server that gives what is in it."""

    def __init__(self, folder: Path, web: Web) -> None:
        self.web, self.folder = web, folder / "offers"
        self.folder.mkdir()
        make_keys(str(folder / "acme"))
        self.key, self.pub = read_private_key(folder / "acme.key"), folder / "acme.pub"
        self.public = read_public_key(self.pub)

    def offer(self, words: tuple[str, ...] = (), version: int | None = None) -> Index:
        """The tiny bundle, another one for other words, in the next version."""
        made = other(words)
        write_bundle(self.folder / "tiny.mmg", made, tiny_files(made))
        put_signature(self.folder / "tiny.mmg", self.key)
        index = write_index(self.folder, self.key, lambda _: None, version)
        self.publish()
        return index

    def publish(self) -> None:
        self.web.pages = {f"/{path.name}": Page(path.read_bytes()) for path in self.folder.iterdir()}


def other(words: tuple[str, ...] = (), name: str = "tiny") -> Manifest:
    """The tiny manifest with other words in it."""
    made = tiny_manifest(signal_modality())
    return change(made, name=name, provenance=change(made.provenance, data=" ".join(words)))


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as serving:
        yield serving


@pytest.fixture
def maker(tmp_path: Path, web: Web) -> Maker:
    return Maker(tmp_path, web)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Where the device has its bundle."""
    (tmp_path / "device").mkdir()
    return tmp_path / "device" / "my.mmg"


def get(maker: Maker, path: Path, name: str | None = None) -> tuple[Path, int, bool]:
    place, offer, is_new = fetch.fetch(maker.web.url, maker.public, path, name)
    return place, offer.version, is_new


def refused(maker: Maker, path: Path) -> str:
    """Why nothing is fetched; what was there is there still, and nothing beside it."""
    before = {place.name: place.read_bytes() for place in path.parent.iterdir()}
    with pytest.raises(FetchError) as error:
        get(maker, path)
    assert {place.name: place.read_bytes() for place in path.parent.iterdir()} == before
    assert "\n" not in str(error.value)
    return str(error.value)


def digest(path: Path) -> str:
    with Bundle.open(path) as bundle:
        return bundle.digest


# --- what goes well ------------------------------------------------------------------------------------------------


def test_a_device_fetches_the_newest_and_once_only(maker: Maker, device: Path) -> None:
    [first] = maker.offer().bundles
    assert get(maker, device) == (device, 1, True)
    assert get(maker, device) == (device, 1, False)
    assert maker.web.asked.count("/tiny.mmg") == 1
    [second] = maker.offer(("other",)).bundles
    assert (first.version, second.version) == (1, 2)
    assert get(maker, device) == (device, 2, True)
    assert digest(device) == second.digest
    assert {place.name for place in device.parent.iterdir()} == {"my.mmg", "my.mmg.version"}


def test_the_command_says_what_it_fetched_and_that_it_is_there(maker: Maker, device: Path) -> None:
    maker.offer()
    words = ("fetch", maker.web.url, "--trust", maker.pub)
    done = mmg("bundle", *words, cwd=device.parent)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("mmg-bundle: tiny.mmg: version 1 of tiny, digest ")
    done = mmg("bundle", *words, cwd=device.parent)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "already, the newest that is offered" in done.stderr


def test_a_bundle_that_was_removed_or_altered_on_the_device_is_fetched_again(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    device.unlink()
    assert get(maker, device) == (device, 1, True)
    device.write_bytes(device.read_bytes()[:-50])
    assert get(maker, device) == (device, 1, True)


def test_one_that_was_put_there_by_hand_gives_way_only_where_that_is_said(maker: Maker, device: Path) -> None:
    maker.offer()
    old = dict(maker.web.pages)
    maker.offer(("other",))
    shutil.copy(maker.folder / "tiny.mmg", device)  # the newest
    maker.web.pages = old
    assert "may be newer than version 1: --force replaces it" in refused(maker, device)
    fetch.fetch(maker.web.url, maker.public, device, may_replace=True)
    assert json.loads(device.with_name("my.mmg.version").read_text())["version"] == 1


def test_one_that_was_put_there_by_hand_and_is_offered_is_known_from_then_on(maker: Maker, device: Path) -> None:
    maker.offer()
    shutil.copy(maker.folder / "tiny.mmg", device)
    assert get(maker, device)[1] == 1
    maker.offer(("other",))
    assert get(maker, device) == (device, 2, True)


def test_what_is_no_bundle_is_not_overwritten(maker: Maker, device: Path) -> None:
    maker.offer()
    device.write_text("a diary")
    for may_replace in (False, True):
        with pytest.raises(ConfigError, match="is there, and is no bundle"):
            fetch.fetch(maker.web.url, maker.public, device, may_replace=may_replace)
    assert device.read_text() == "a diary"


def test_a_link_stays_one(maker: Maker, device: Path) -> None:
    maker.offer()
    link = device.with_name("current.mmg")
    link.symlink_to(device.name)
    assert get(maker, link) == (device, 1, True)
    assert link.is_symlink()
    assert digest(link) == maker.offer().bundles[0].digest


def test_the_server_is_verified_over_tls(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost"))
    with Web(context) as web:
        maker = Maker(tmp_path, web)
        maker.offer()
        assert "its certificate is refused" in refused(maker, device)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert get(maker, device) == (device, 1, True)
        web.pages["/index.json"] = Page(status=302, headers={"Location": "http://localhost:1/index.json"})
        assert "is redirected to http://localhost:1/index.json, which is not followed" in refused(maker, device)


def test_a_redirect_is_followed(maker: Maker, device: Path) -> None:
    maker.offer()
    maker.web.pages["/moved/tiny.mmg"] = maker.web.pages["/tiny.mmg"]
    maker.web.pages["/tiny.mmg"] = Page(status=301, headers={"Location": "/moved/tiny.mmg"})
    assert get(maker, device) == (device, 1, True)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_an_older_version_is_refused_also_where_its_signature_is_right(maker: Maker, device: Path) -> None:
    maker.offer()
    old = dict(maker.web.pages)
    maker.offer(("other",))
    get(maker, device)
    maker.web.pages = old
    told = refused(maker, device)
    assert "offers version 1 of tiny, older than version 2" in told
    assert told.endswith(f"{device} stays as it was, version 2")
    device.unlink()  # what was here once counts
    assert "older than version 2" in refused(maker, device)


def test_another_bundle_of_the_same_version_is_refused(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    (maker.folder / INDEX).unlink()
    maker.offer(("other",))
    assert "offers another bundle as version 1" in refused(maker, device)


def test_a_bundle_whose_name_is_no_utf_8_is_not_offered(maker: Maker) -> None:
    maker.offer()
    (maker.folder / "tiny.mmg").rename(maker.folder / os.fsdecode(b"\xff.mmg"))
    with pytest.raises(BundleError, match="cannot be offered: its name is no UTF-8: rename it"):
        write_index(maker.folder, maker.key, lambda _: None)


def test_a_wrong_signature_is_refused_of_the_index_and_of_the_bundle(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    index = maker.offer(("other",))
    ours = maker.web.pages[f"/{INDEX}"].body
    maker.web.pages[f"/{INDEX}"] = Page(encode(index, THEIRS))
    assert f"is signed by key {THEIRS.public.fingerprint}, but only key" in refused(maker, device)
    maker.web.pages[f"/{INDEX}"] = Page(ours.replace(b'"version":2', b'"version":3'))
    assert "was altered since key" in refused(maker, device)
    put_signature(maker.folder / "tiny.mmg", THEIRS)  # a maker that signs the index of a bundle that is another's
    path = maker.folder / "tiny.mmg"
    [offer] = index.bundles
    hashed = sha256(path.read_bytes()).hexdigest()
    maker.publish()
    forged = change(index, bundles=(change(offer, sha256=hashed, bytes=path.stat().st_size),))
    maker.web.pages[f"/{INDEX}"] = Page(encode(forged, maker.key))
    assert f"is signed by key {THEIRS.public.fingerprint}, but only key" in refused(maker, device)


def test_one_cut_off_at_any_byte_leaves_what_was_there(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    maker.offer(("other",))
    whole = maker.web.pages["/tiny.mmg"]
    index = maker.web.pages[f"/{INDEX}"]
    chosen = random.Random(24)
    for _ in range(10):
        size = chosen.randrange(len(whole.body))
        maker.web.pages["/tiny.mmg"] = replace(whole, sent=size, has_length=chosen.random() < 0.5)
        assert f"was cut off after {size} of {len(whole.body)} bytes" in refused(maker, device)
        maker.web.pages["/tiny.mmg"] = whole
        size = chosen.randrange(len(index.body) - 1)  # all but the line's end
        maker.web.pages[f"/{INDEX}"] = replace(index, sent=size, has_length=chosen.random() < 0.5)
        told = refused(maker, device)
        assert "was cut off after" in told or "is not an index of bundles" in told
        maker.web.pages[f"/{INDEX}"] = index
    assert get(maker, device) == (device, 2, True)


def test_one_byte_that_is_another_is_found(maker: Maker, device: Path) -> None:
    maker.offer()
    whole = maker.web.pages["/tiny.mmg"]
    body = bytearray(whole.body)
    body[len(body) // 2] ^= 1
    maker.web.pages["/tiny.mmg"] = Page(bytes(body))
    assert "its SHA-256 is not the index's" in refused(maker, device)


def test_a_full_disk_leaves_what_was_there(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    index = maker.offer(("other",))
    assert index.bundles[0].bytes > 2 << 10
    before = {place.name: place.read_bytes() for place in device.parent.iterdir()}
    # No file of this process may pass 1 KiB: a write ends as on a full disk, with another number.
    fetching = f"{sys.executable} -B -m mmg.cli.bundle fetch {maker.web.url} --trust {maker.pub} -o {device}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; {fetching}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    [line] = done.stderr.splitlines()
    assert line == (f"mmg-bundle: {device}: cannot be written: File too large; {device} stays as it was, version 1")
    assert {place.name: place.read_bytes() for place in device.parent.iterdir()} == before


def test_who_is_killed_at_any_moment_has_the_old_bundle_or_the_new_one(
    maker: Maker, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of a process that is killed the kernel keeps all
    steps = 0
    old = maker.offer().bundles[0].digest
    before = dict(maker.web.pages)
    new = maker.offer(("other",)).bundles[0].digest
    after = dict(maker.web.pages)
    for step in range(1, 1000):
        maker.web.pages = before
        path = device.parent / str(step) / "my.mmg"
        path.parent.mkdir()
        get(maker, path)
        maker.web.pages = after
        if not killed_at(step, lambda path=path: get(maker, path)):  # type: ignore[misc]
            break
        steps += 1
        assert digest(path) in (old, new)
        if digest(path) == new:  # then the old one is refused already
            maker.web.pages = before
            with pytest.raises(FetchError, match="older than version 2"):
                get(maker, path)
            maker.web.pages = after
        get(maker, path)
        assert digest(path) == new
        assert {place.name for place in path.parent.iterdir()} == {"my.mmg", "my.mmg.version"}
    assert steps >= 5


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("file:///etc/passwd", "is redirected to file:///etc/passwd, which is not followed"),
        ("ftp://localhost/tiny.mmg", "is redirected to ftp://localhost/tiny.mmg, which is not followed"),
        ("/tiny.mmg", "which is not followed"),  # in a circle
    ],
)
def test_a_redirect_elsewhere_is_not_followed(location: str, told: str, maker: Maker, device: Path) -> None:
    maker.offer()
    maker.web.pages["/tiny.mmg"] = Page(status=302, headers={"Location": location})
    assert told in refused(maker, device)


def test_the_page_of_a_redirect_is_not_read(maker: Maker, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_S", 5.0)
    maker.offer()
    maker.web.pages["/moved.mmg"] = maker.web.pages["/tiny.mmg"]
    moved = Page(b"x" * 1000, 302, {"Location": "/moved.mmg"}, sent=1, has_length=False, hangs=True)
    maker.web.pages["/tiny.mmg"] = moved
    assert get(maker, device) == (device, 1, True)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://localhost/tiny.mmg", "gopher://localhost/x", "http://[", "http://u:p@h/x"]
)
def test_an_index_that_names_another_kind_of_place_is_refused(url: str, maker: Maker, device: Path) -> None:
    index = maker.offer()
    forged = change(index, bundles=(change(index.bundles[0], url=url),))
    maker.web.pages[f"/{INDEX}"] = Page(encode(forged, maker.key))
    assert "names a place that is not fetched from" in refused(maker, device)


@pytest.mark.parametrize("has_length", [True, False])
def test_what_is_too_big_is_refused_before_it_is_kept(has_length: bool, maker: Maker, device: Path) -> None:
    maker.offer()
    for name, told in ((INDEX, "is too big: "), ("tiny.mmg", "is too big: ")):
        good = maker.web.pages[f"/{name}"]
        sent = 0 if has_length else None  # what is said to be too big is not waited for
        maker.web.pages[f"/{name}"] = Page(good.body + b" " * (2 << 20), has_length=has_length, sent=sent)
        assert told in refused(maker, device)
        maker.web.pages[f"/{name}"] = good


def test_a_server_that_never_ends_is_left(maker: Maker, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.offer()
    monkeypatch.setattr(fetch, "BUNDLE_WITHIN_S", 0.2)
    maker.web.pages["/tiny.mmg"] = replace(maker.web.pages["/tiny.mmg"], sent=100, hangs=True)
    assert "takes longer than 0.2 s" in refused(maker, device)
    monkeypatch.setattr(download, "ANSWER_S", 0.1)
    monkeypatch.setattr(fetch, "BUNDLE_WITHIN_S", 1800.0)
    assert "no answer within 0.1 s" in refused(maker, device)


HANDSHAKE = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"
"""The begin of a record of TLS with a server's greeting, each as long as it may be."""


@pytest.mark.parametrize(
    ("scheme", "begin"), [("http", b"HTTP/1.1 200 OK\r\nX: "), ("https", HANDSHAKE)], ids=["head", "TLS"]
)
def test_a_server_that_never_comes_to_an_end_of_its_greeting_is_left(
    scheme: str, begin: bytes, maker: Maker, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "INDEX_WITHIN_S", 0.3)
    ended, sent = threading.Event(), list[None]()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(begin)
                while not ended.wait(0.01) and len(sent) < 500:
                    connection.sendall(b"\0" if scheme == "https" else b"x")
                    sent.append(None)

        dripping = threading.Thread(target=drip)
        dripping.start()
        maker.web.url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/"
        assert "takes longer than 0.3 s" in refused(maker, device)
        ended.set()
        dripping.join()
    assert len(sent) < 500


@pytest.mark.parametrize("status", [304, 403, 500, 503])
def test_an_answer_of_another_kind_is_told(status: int, maker: Maker, device: Path) -> None:
    maker.offer()
    maker.web.pages[f"/{INDEX}"] = Page(status=status)
    assert f"the server answers {status}" in refused(maker, device)


def test_of_several_bundles_one_is_chosen(maker: Maker, device: Path) -> None:
    [tiny] = maker.offer().bundles
    another = change(tiny, name="other", url="other.mmg")
    maker.web.pages[f"/{INDEX}"] = Page(encode(Index(newest=1, bundles=(another, tiny)), maker.key))
    assert "offers other, tiny: choose one with --name" in refused(maker, device)
    assert get(maker, device, name="tiny") == (device, 1, True)
    assert get(maker, device) == (device, 1, False)  # that of the place
    with pytest.raises(FetchError, match="choose another place with -o"):
        get(maker, device, name="other")
    with pytest.raises(FetchError, match="does not offer none, but other, tiny"):
        get(maker, device, name="none")


def test_a_version_that_cannot_be_read_is_not_taken_for_none(maker: Maker, device: Path) -> None:
    maker.offer()
    get(maker, device)
    place = device.with_name("my.mmg.version")
    place.write_text("{}")
    with pytest.raises(ConfigError, match="remove it to take any version"):
        get(maker, device)


def test_two_at_once_do_not_undo_each_other(maker: Maker, device: Path) -> None:
    maker.offer()
    with fetch._alone(device):
        assert "another mmg-bundle fetches into this folder" in refused(maker, device)
    assert get(maker, device) == (device, 1, True)


def test_what_another_fetched_meanwhile_is_not_undone(
    maker: Maker, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.offer()
    choose = fetch._choose

    def choose_late(*given: Any) -> Any:
        offer = choose(*given)
        monkeypatch.setattr(fetch, "_choose", choose)
        maker.offer(("other",))
        get(maker, device)
        return offer

    monkeypatch.setattr(fetch, "_choose", choose_late)
    with pytest.raises(FetchError, match="offers version 1 of tiny, older than version 2"):
        get(maker, device)


# --- the index -----------------------------------------------------------------------------------------------------


def test_a_version_only_grows_also_where_a_bundle_was_gone(maker: Maker) -> None:
    assert maker.offer().newest == 1
    assert maker.offer().bundles[0].version == 1  # the same bundle
    write_bundle(maker.folder / "other.mmg", other(name="other"), tiny_files(other(name="other")))
    put_signature(maker.folder / "other.mmg", maker.key)
    (maker.folder / "tiny.mmg").unlink()
    index = write_index(maker.folder, maker.key, lambda _: None)
    assert [(offer.name, offer.version) for offer in index.bundles] == [("other", 2)]
    assert [(offer.name, offer.version) for offer in maker.offer().bundles] == [("other", 2), ("tiny", 3)]
    with pytest.raises(ConfigError, match="--new-version 3: version 3 was given already"):
        maker.offer(version=3)
    assert maker.offer(("more",), version=70).newest == 70
    assert read_index(maker.folder, maker.public).of("tiny") is not None


def test_an_index_that_is_lost_or_broken_says_how_versions_go_on(maker: Maker) -> None:
    maker.offer()
    lines: list[str] = []
    write_index(maker.folder, maker.key, lines.append)
    assert len(lines) == 1
    (maker.folder / INDEX).write_text("{")
    with pytest.raises(BundleError, match="remove it and give a --new-version higher than any before"):
        write_index(maker.folder, maker.key, lines.append)
    (maker.folder / INDEX).unlink()
    write_index(maker.folder, maker.key, lines.append)
    assert lines[-1].endswith("devices that have fetched before need a higher --new-version")


def test_only_whole_bundles_signed_by_the_key_are_offered(maker: Maker) -> None:
    maker.offer()
    path = maker.folder / "tiny.mmg"
    whole = path.read_bytes()
    before = (maker.folder / INDEX).read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BundleError, match="is not a whole"):
        write_index(maker.folder, maker.key, lambda _: None)
    path.write_bytes(whole)
    put_signature(path, THEIRS)
    with pytest.raises(BundleError, match="but only key"):
        write_index(maker.folder, maker.key, lambda _: None)
    path.write_bytes(whole)
    (maker.folder / "same.mmg").write_bytes(whole)
    with pytest.raises(BundleError, match=r"is called tiny, as same\.mmg is"):
        write_index(maker.folder, maker.key, lambda _: None)
    with pytest.raises(BundleError, match="but only key"):  # an index of another key is not gone on with
        write_index(maker.folder, THEIRS, lambda _: None)
    assert (maker.folder / INDEX).read_bytes() == before


def test_the_command_offers_a_folder(maker: Maker, tmp_path: Path) -> None:
    maker.offer()
    done = mmg("bundle", "index", maker.folder, "--key", tmp_path / "acme.key")
    assert done.returncode == 0
    assert "index.json: offers 1 bundle, signed with key" in done.stderr
    body = json.loads((maker.folder / INDEX).read_text())["index"]["bundles"][0]
    assert (body["name"], body["version"], body["url"]) == ("tiny", 1, "tiny.mmg")
    (tmp_path / "empty").mkdir()
    done = mmg("bundle", "index", tmp_path / "empty", "--key", tmp_path / "acme.key")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no .mmg file to offer: mmg-bundle pack makes one" in done.stderr


@pytest.mark.parametrize(("command", "first"), [("index", "pack"), ("fetch", "fetch")])
def test_help_has_an_example(command: str, first: str) -> None:
    assert f"example:\n  mmg-bundle {first} " in mmg("bundle", command, "--help").stdout
