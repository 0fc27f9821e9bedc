"""``mmg-fleet``: many wearables at one broker, kept in a file and shown as a page."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_but
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from mmg.sinks.mqtt.address import Address
    from mmg.sinks.page.listening import Listening

_report = stderr_reporter("mmg-fleet")
PREFIX = "mmg"
SCHEMES = ("mqtt", "mqtts")
EXAMPLES = """\
examples:
  mmg-fleet mqtt://broker                                     all wearables below mmg/: mmg/anna/wrist, mmg/anna/glasses
  mmg-fleet 'mqtts://broker/ward3?credentials=broker.login' --store ward3.sqlite --page 0.0.0.0:8080
  mmg-fleet mqtt://broker --bundles offers/                   serve what mmg-bundle index made, too

A wearable is an mmg-run --to mqtt://broker/mmg/anna/wrist. Those of one group, here anna, should agree.

exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 usage or configuration, 4 a library is missing, or
not enough memory
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-fleet."""
    parser = argparse.ArgumentParser(
        prog="mmg-fleet",
        description="Watch the wearables of a broker: who is there, which bundle each runs, and how it does.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("broker", metavar="URL", help="mqtt(s)://HOST[:PORT][/PREFIX], with the options of mmg-run --to (PREFIX: mmg)")
    add(
        "--store",
        metavar="FILE",
        type=Path,
        default=Path("fleet.sqlite"),
        help="where what is known is kept (default: fleet.sqlite)",
    )
    add("--page", metavar="ADDRESS", default=":8421", help="where the page is (default: 127.0.0.1:8421)")
    add("--forget", metavar="TOPIC", action="append", default=[], help="a wearable that is no more; may be repeated")
    add("--bundles", metavar="FOLDER", type=Path, help="what devices may fetch from here, at /bundles/")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Watch until it is stopped, and return the exit code."""
    options = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    _require_libraries()
    from mmg.sinks.mqtt.credentials import read_credentials, tls_context

    from mmg_fleet.listener import Listener
    from mmg_fleet.offered import Offered
    from mmg_fleet.page import Page
    from mmg_fleet.store import Store
    from mmg_fleet.watching import Watching

    address = _address(options.broker)
    if options.bundles is not None and not options.bundles.is_dir():
        raise ConfigError(f"--bundles {options.bundles}: is no folder")
    try:
        context, credentials = tls_context(address), read_credentials(address, _report)
    except ConfigError as error:
        raise _as_asked(error) from error
    listening = _listening(options.page)
    close_but(options, options.store, network=True, daemons=address.host.endswith(".local"))
    with ExitStack() as at_end:
        store = Store(options.store)
        at_end.callback(store.close)
        for topic in store.forget(options.forget):
            _report(f"--forget {topic}: no such wearable is known")
        offered = Offered(options.bundles, store.offers())
        offered.reread()
        watching = Watching(address.topic, store, offered, _report)
        at_end.callback(watching.close)
        listener = Listener(
            address,
            context=context,
            credentials=credentials,
            client_id=store.client_id(address.topic),
            begin=watching.begin,
            take=watching.take,
            report=_report,
        )
        page = Page(
            listening,
            lambda run, number: watching.figures(run, number) | {"problem": listener.problem},
            store.profile,
            options.bundles,
        )
        at_end.callback(page.close)
        listening.tell(_report)
        listener.open()
        at_end.callback(listener.close)
        threading.Event().wait()
    return 0


def _require_libraries() -> None:
    try:
        import microdot  # noqa: F401
        import paho.mqtt  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable("what mmg-fleet needs", "paho-mqtt>=2", "microdot") from error


def _address(text: str) -> Address:
    """Raises ConfigError."""
    from mmg.sinks.mqtt.address import read_address
    from mmg.sinks.url import parse_sink_url

    try:
        url = parse_sink_url(text, SCHEMES)
        address = read_address(url)
    except ConfigError as error:
        raise _as_asked(error) from error
    return dataclasses.replace(address, topic=PREFIX) if url.path in ("", "/") else address


def _listening(page: str) -> Listening:
    """Raises ConfigError."""
    from mmg.cli.sinks_flag import page_url
    from mmg.sinks.page.listening import Listening
    from mmg.sinks.url import parse_sink_url

    place = page_url(page)
    try:
        url = parse_sink_url(place, ("http",))
        url.allow(("token_file", "host"))
        return Listening(url)
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"--to {place}", f"--page {page}")) from error


def _as_asked(error: ConfigError) -> ConfigError:
    """A broker's problem without the flag under which mmg-run has its URL."""
    return ConfigError(str(error).removeprefix("--to ").removeprefix("--to: "))


if __name__ == "__main__":
    sys.exit(main())
