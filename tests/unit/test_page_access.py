"""Who may look at the page: nobody else's pages, no foreign names, and from elsewhere only with the token."""

from __future__ import annotations

import errno
import gc
import json
import re
import socket
import stat
from pathlib import Path

import pytest
from full_disk import file_limit
from mmg.cli.sinks_flag import page_url
from mmg.errors import ConfigError
from mmg.sinks.page.access import Access, Asked, is_loopback, token_in
from mmg.sinks.page.listening import _draw
from mmg.sinks.url import parse_sink_url
from page_client import ask, page_at, post

TOKEN = "t0ken-of-this-machine"
LAN = "192.168.1.7"


def refused(
    access: Access, *, here: str = "127.0.0.1", method: str = "GET", path: str = "/events", **headers: str
) -> int:
    """The status of the refusal; 0 where there is none."""
    named = {name.replace("_", "-"): value for name, value in {"host": f"{here}:8420", **headers}.items()}
    refusal = access.refusal(Asked(method, path, named, here, headers.get("token", "")))
    return refusal.status if refusal else 0


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "LOCALHOST", "[::1]:8420", "127.0.0.1:9000"])
def test_this_machine_may_be_called_by_its_loopback_names(host: str) -> None:
    assert not refused(Access("127.0.0.1", ""), host=host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "", "192.168.1.7:8420", "localhost.evil.example", "[::2]", "[", "a b"]
)
def test_a_foreign_name_that_points_here_is_refused(host: str) -> None:
    assert refused(Access("127.0.0.1", ""), host=host) == 403


def test_on_a_network_this_machine_has_its_address_its_name_and_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Wrist.lan")
    access = Access("0.0.0.0", TOKEN)
    for host in (f"{LAN}:8420", "wrist.lan:8420", "wrist.local:8420", "localhost"):
        assert not refused(access, here=LAN, host=host, token=TOKEN)
    for host in ("192.168.1.8:8420", "other.local", "wrist.lan.evil.example"):
        assert refused(access, here=LAN, host=host, token=TOKEN) == 403
    assert not refused(Access("::", TOKEN), here=f"::ffff:{LAN}", host=LAN, token=TOKEN)


def test_a_name_that_the_url_allows_is_answered() -> None:
    access = Access("0.0.0.0", "", ("wrist.example", "10.0.0.9"))
    for host in ("Wrist.example:443", "10.0.0.9:8420"):  # of a proxy, or of the host of a container
        assert not refused(access, here=LAN, host=host)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "é"])
def test_without_the_right_token_nothing_is_answered(token: str) -> None:
    assert refused(Access(LAN, TOKEN), here=LAN, token=token) == 401
    assert not refused(Access(LAN, TOKEN), here=LAN, token=TOKEN)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8421"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/events"), ("GET", "/decision"), ("POST", "/do/mark")])
def test_another_origin_is_refused(headers: dict[str, str], method: str, path: str) -> None:
    kind = {"content_type": "application/json"}
    assert refused(Access("127.0.0.1", ""), method=method, path=path, **kind, **headers) == 403


def test_the_own_origin_is_answered_also_behind_a_proxy_with_tls() -> None:
    access = Access("127.0.0.1", "")
    for origin in ("http://127.0.0.1:8420", "https://127.0.0.1:8420"):
        assert not refused(access, origin=origin, sec_fetch_site="same-origin")


def test_a_link_of_another_site_leads_to_the_page_and_to_nothing_else() -> None:
    access = Access("127.0.0.1", "")
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert not refused(access, path="/", **link)
    assert refused(access, path="/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403
    assert refused(access, path="/decision", **link) == 403


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_form_is_no_order(kind: str) -> None:
    assert refused(Access("127.0.0.1", ""), method="POST", path="/do/mark", content_type=kind) == 415


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        (LAN, False),
        ("wrist", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


# --- over the wire -------------------------------------------------------------------------------------------------


def test_on_loopback_the_line_that_is_told_is_the_pages_address() -> None:
    told: list[str] = []
    page = page_at(told=told)
    assert told == [f"page: http://127.0.0.1:{page.port}"]
    assert ask(page, "/")[0] == 200
    page.close()


def test_elsewhere_the_link_with_the_token_brings_a_cookie_and_the_cookie_opens_the_rest() -> None:
    told: list[str] = []
    page = page_at("http://0.0.0.0:0", told=told)
    token = told[0].partition("?token=")[2]
    assert len(token) == 32
    assert ask(page, "/")[0] == 401
    status, headers, _ = ask(page, f"/?token={token}")
    assert (status, headers["location"]) == (303, "/")
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    assert ask(page, "/", headers={"Cookie": cookie})[0] == 200
    assert ask(page, "/decision", headers={"Authorization": f"Bearer {token}"})[0] == 204
    assert ask(page, "/decision", headers={"Authorization": f"Bearer {token[:-1]}"})[0] == 401
    assert ask(page, "/nowhere")[0] == 401  # who may not look is not told what is there
    page.close()


def test_a_link_on_another_site_leads_on_by_a_page_as_a_strict_cookie_would_not_come_along() -> None:
    told: list[str] = []
    page = page_at("http://0.0.0.0:0", told=told)
    token = told[0].partition("?token=")[2]
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    status, headers, body = ask(page, f"/?token={token}", headers=link)
    assert status == 200
    assert "set-cookie" in headers
    assert 'http-equiv="refresh" content="0; url=/"' in body
    page.close()


def test_a_name_of_this_machine_that_only_it_reaches_needs_no_token() -> None:
    told: list[str] = []
    page = page_at("http://localhost:0", told=told)
    assert told == [f"page: http://localhost:{page.port}"]
    assert ask(page, "/", headers={"Host": f"localhost:{page.port}"})[0] == 200
    page.close()


def test_each_run_has_a_token_of_its_own_unless_a_file_holds_one(tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "token"
    for url in ("http://0.0.0.0:0", "http://0.0.0.0:0", *[f"http://127.0.0.1:0?token_file={file}"] * 2):
        page_at(url, told=told).close()
    first, second = (line.partition("?token=")[2] for line in told[:2])
    assert first != second
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    page = page_at(f"http://127.0.0.1:0?token_file={file}")
    assert ask(page, "/")[0] == 401
    assert ask(page, f"/?token={file.read_text().strip()}")[0] == 303
    page.close()


def test_the_token_of_a_file_is_shown_on_a_terminal_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    file = tmp_path / "token"
    url = f"http://127.0.0.1:0?token_file={file}"
    page_at(url, told=told).close()
    token = file.read_text().strip()
    assert token not in told[0]
    assert told[0].endswith(f"/?token=, followed by what is in {file}")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("mmg.sinks.page.listening.find_spec", lambda _: None)
    page_at(url, told=told).close()
    assert told[1].endswith(f"/?token={token}")


@pytest.mark.parametrize("host", ["wrist.example", ""])
def test_a_page_that_a_proxy_shows_to_others_needs_a_token_on_loopback_too(host: str) -> None:
    told: list[str] = []
    page = page_at(f"http://127.0.0.1:0?host={host}", told=told)
    assert ask(page, "/decision")[0] == 401
    assert ask(page, "/decision", headers={"Host": "wrist.example"})[0] == (401 if host else 403)
    token = told[0].partition("?token=")[2]
    assert ask(page, "/decision", headers={"Authorization": f"Bearer {token}"})[0] == 204
    page.close()


def test_the_code_to_scan_is_drawn_by_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("segno")
    (tmp_path / "segno.py").write_text("open('executed', 'w')\n")
    monkeypatch.chdir(tmp_path)
    _draw("http://192.168.1.7:8420/?token=x")
    assert not (tmp_path / "executed").exists()
    assert "█" in capfd.readouterr().err


def test_a_token_that_finds_no_room_leaves_no_file(tmp_path: Path) -> None:
    with file_limit(0), pytest.raises(ConfigError, match="cannot be written: File too large"):
        token_in(tmp_path / "token")
    assert len(token_in(tmp_path / "token")) > 16


def test_a_token_that_others_may_read_or_guess_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token_in(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it: chmod 600"):
        token_in(file)
    for text in ("short", "", "0123456789 0123456789"):
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="a token is 16 or more"):
            token_in(file)
    with pytest.raises(ConfigError, match="cannot be made"):
        token_in(tmp_path / "missing" / "token")
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="cannot be read"):
        token_in(tmp_path / "folder")


def test_every_refusal_is_one_line_of_json_with_the_headers_that_all_have() -> None:
    page = page_at()
    asked = [
        ask(page, "/nowhere"),
        ask(page, "/../../etc/passwd"),
        ask(page, "/page.js%2f..%2fserver.py"),
        ask(page, "/events", headers={"Host": "evil.example"}),
        ask(page, "/events", headers={"Origin": "http://evil.example"}),
        ask(page, "/health", method="DELETE"),
        ask(page, "/do/mark", method="POST", body="label=walk"),
    ]
    assert [status for status, _, _ in asked] == [404, 404, 404, 403, 403, 405, 415]
    for _, headers, body in asked:
        assert list(json.loads(body)) == ["error"]
        assert body.count("\n") == 1
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "access-control-allow-origin" not in headers
    status, told = post(page, "/do/mark", {"label": "walk"}, Origin=f"http://127.0.0.1:{page.port}")
    assert (status, list(told)) == (409, ["error"])
    page.close()


def test_a_page_that_lacks_descriptors_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", none_left)
    with pytest.raises(ConfigError, match=r"--to http://127.0.0.1:0: cannot be served: Too many open files"):
        page_at()
    gc.collect()


def test_a_port_that_is_taken_is_told_with_what_to_type() -> None:
    page = page_at()
    with pytest.raises(
        ConfigError, match=rf"port {page.port} is taken: choose another, as --page :8421, or any free one, as --page :0"
    ):
        page_at(f"http://127.0.0.1:{page.port}")
    page.close()
    page_at(f"http://127.0.0.1:{page.port}").close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:0/page", "a page has no path"),
        ("http://127.0.0.1:0?tokenfile=x", "unknown option 'tokenfile'"),
        ("http://192.0.2.1:0", "cannot be served at port 0: Cannot assign requested address"),
        ("http://127.0.0.1:99999", "cannot be"),
    ],
)
def test_an_address_that_cannot_be_is_one_line(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        page_at(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("", "http://127.0.0.1:8420"),
        (":8421", "http://:8421"),
        ("8421", "http://:8421"),
        ("localhost", "http://localhost"),
        ("0.0.0.0", "http://0.0.0.0"),
        ("wrist.local:80", "http://wrist.local:80"),
        ("[::]:8420?token_file=/run/token", "http://[::]:8420?token_file=/run/token"),
        ("?token_file=token", "http://127.0.0.1:8420?token_file=token"),
    ],
)
def test_an_address_is_a_host_a_port_or_both(address: str, url: str) -> None:
    assert page_url(address) == url
    assert parse_sink_url(url, ("http",)).scheme == "http"


@pytest.mark.parametrize(
    "address", ["walk.zip", "/tmp/day.mcap", "http://0.0.0.0:8420", "::1", "wrist", ":", "1.2.3", "a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=f"--page {re.escape(address)}: is no address"):
        page_url(address)


def test_ipv6_is_served_and_its_address_is_in_brackets() -> None:
    told: list[str] = []
    try:
        page = page_at("http://[::1]:0", told=told)
    except ConfigError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert told == [f"page: http://[::1]:{page.port}"]
    assert ask(page, "/", host="::1")[0] == 200
    page.close()
