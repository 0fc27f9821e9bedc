"""``mmg-bundle index`` and ``mmg-bundle fetch``: bundles offered to devices, and a device that asks for one."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from mmg.cli.privacy import close_but
from mmg.cli.progress import Progress
from mmg.cli.reporting import Reporter
from mmg.counts import count_of
from mmg.errors import ConfigError

MIB = 1 << 20
INDEX_EXAMPLE = """\
example:
  mmg-bundle pack starter offers/starter.mmg         one file of a bundle that is a folder
  mmg-bundle sign offers/starter.mmg --key acme.key
  mmg-bundle index offers/ --key acme.key            serve offers/ with any web server, or with mmg-fleet --bundles
"""
FETCH_EXAMPLE = """\
example:
  mmg-bundle fetch https://example.org/offers/ --trust acme.pub -o my.mmg
"""


def add_index_flags(parser: argparse.ArgumentParser) -> None:
    """Of ``mmg-bundle index``."""
    parser.epilog, parser.formatter_class = INDEX_EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="every .mmg file in it is offered")
    parser.add_argument("--key", metavar="NAME.key", required=True, help="the private key that signed the bundles")
    parser.add_argument(
        "--new-version",
        metavar="N",
        type=_version,
        help="the version of what is new or changed (default: one more than the highest so far)",
    )


def add_fetch_flags(parser: argparse.ArgumentParser) -> None:
    """Of ``mmg-bundle fetch``."""
    parser.epilog, parser.formatter_class = FETCH_EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("url", metavar="URL", help="http(s):// of index.json, or of its folder, ending in a slash")
    parser.add_argument("--trust", metavar="KEY.pub", required=True, help="whose index and bundles are trusted")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="the .mmg file (default: NAME.mmg)")
    parser.add_argument(
        "--name", metavar="NAME", help="which bundle, where several are offered (default: that of PATH)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace also a bundle that was not fetched, whose version nobody knows"
    )


def index(options: argparse.Namespace, report: Reporter) -> int:
    """Write and sign the index of a folder."""
    from mmg.bundle.index import INDEX, write_index
    from mmg.bundle.keys import read_private_key

    if not options.folder.is_dir():
        raise ConfigError(f"{options.folder}: is no folder")
    key = read_private_key(options.key)
    close_but(options, options.folder)
    made = write_index(options.folder, key, report, options.new_version)
    count = count_of(len(made.bundles), "bundle")
    report(f"{options.folder / INDEX}: offers {count}, signed with key {key.public.fingerprint}")
    return 0


def fetch(options: argparse.Namespace, report: Reporter) -> int:
    """Fetch the newest bundle, unless it is there."""
    from mmg.atomic_write import real_path
    from mmg.bundle.download import check_url
    from mmg.bundle.fetch import fetch as fetch_bundle
    from mmg.bundle.keys import read_public_key

    key = read_public_key(options.trust)
    check_url(options.url)
    host = urlsplit(options.url).hostname or ""
    writes = real_path(options.output) if options.output else Path.cwd()
    close_but(options, writes, network=True, daemons=host.endswith(".local"))
    with Progress(report, "fetched", unit="MiB") as progress:
        path, offer, is_new = fetch_bundle(
            options.url,
            key,
            options.output,
            options.name,
            lambda done, of: progress.at(done / MIB, of / MIB),
            may_replace=options.force,
        )
    what = f"version {offer.version} of {offer.name}, digest {offer.digest[:12]}"
    report(f"{path}: {what}" if is_new else f"{path}: is {what} already, the newest that is offered")
    return 0


def _version(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) < 1 << 53):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
