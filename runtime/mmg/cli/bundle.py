"""``mmg-bundle``: look into a bundle, verify it where it runs, sign it, compare two, offer and fetch some."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.cli import bundle_fetch
from mmg.cli.exit_codes import run_printing_command
from mmg.cli.last_line import LAST_LINE
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_but, tried_folder
from mmg.cli.progress import Progress
from mmg.cli.reporting import silence_libraries, stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.cli.watchdog import WATCHDOG
from mmg.errors import ModelError
from mmg.printable import as_lines, encodable, printable
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmg.bundle import Bundle
    from mmg.bundle.compare import Change
    from mmg.bundle.verify import Checked

_report = stderr_reporter("mmg-bundle")
DIFFERENT = 1
EXAMPLES = """\
examples:
  mmg-bundle inspect starter                 what is in it: sensors, cost, measured accuracy, where it comes from
  mmg-bundle verify my.mmg                   hash every file, and compare its outputs with those of the export
  mmg-bundle keygen acme                     acme.key, to keep secret, and acme.pub, for every device
  mmg-bundle pack my/ my.mmg                 one file of a bundle that is a folder, to be signed
  mmg-bundle sign my.mmg --key acme.key
  mmg-bundle verify my.mmg --trust acme.pub  refuse what acme.key did not sign, as mmg-run --trust does
  mmg-bundle diff old.mmg new.mmg --json | jq -r '.changes[] | select(.what | startswith("subsets"))'
  mmg-bundle index offers/ --key acme.key    offers/index.json, signed: what devices may fetch from a web server
  mmg-bundle fetch https://example.org/offers/ --trust acme.pub -o my.mmg

PATH is a directory, a .mmg file, or starter, the bundle that mmg ships.

exit codes: 0 done, 1 a file failed or the bundles differ, 2 usage, 4 bundle or a model that cannot be run, a bundle
that is not fetched, a package or memory, 130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and flags of mmg-bundle, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-bundle",
        description="Inspect a model's bundle, verify it on this machine, sign it, compare two, offer or fetch one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=PrintVersion)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str, *paths: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
        command.set_defaults(run=run)
        for path in paths:
            command.add_argument(path, metavar=path.upper(), help="a directory, a .mmg file, or starter")
        return command

    inspect = add("inspect", _inspect, "Show what the manifest says; no model file is read", "path")
    verify = add("verify", _verify, "Hash every file and compare its outputs with the golden ones", "path")
    verify.add_argument("--trust", metavar="KEY.pub", help="refuse a bundle that this key did not sign")
    sign = add("sign", _sign, "Verify every hash and put a signature into the bundle", "path")
    sign.add_argument("--key", metavar="NAME.key", required=True, help="the private key that mmg-bundle keygen wrote")
    pack = add("pack", _pack, "Write a bundle as one .mmg file, without its signature", "path")
    pack.add_argument("to", metavar="FILE.mmg", type=Path, help="where")
    pack.add_argument("--overwrite", action="store_true", help="replace the file if it is there already")
    keygen = add("keygen", _keygen, "Write a new key pair: NAME.key, to keep secret, and NAME.pub")
    keygen.add_argument("name", metavar="NAME", help="the path of both files, without the suffix")
    diff = add("diff", _diff, "Show what differs between two bundles, by their manifests", "a", "b")
    bundle_fetch.add_index_flags(add("index", _index, "Offer the bundles of a folder to devices, in a signed index"))
    bundle_fetch.add_fetch_flags(add("fetch", _fetch, "Fetch the newest bundle of a signed index, never an older one"))
    for command in (inspect, verify, diff):
        command.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked, and return the exit code."""
    options = parse(build_parser(), arguments)
    return run_printing_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    if options.run in (_index, _fetch):
        return int(options.run(options))  # these know better what they use
    written = {_sign: "path", _pack: "to", _keygen: "name"}.get(options.run)
    places = [Path(os.path.realpath(getattr(options, written))).parent] if written else []
    if options.run in (_verify, _sign):
        places += tried_folder(options.path, getattr(options, "trust", None))
    close_but(options, *places)
    return int(options.run(options))


def _inspect(options: argparse.Namespace) -> int:
    from mmg.bundle import Bundle
    from mmg.bundle.summary import describe, summarize

    with Bundle.open(options.path) as bundle:
        if options.json:
            _print_json(describe(bundle))
        else:
            _print_lines(summarize(bundle))
    return 0


def _verify(options: argparse.Namespace) -> int:
    set_up_process()
    from mmg.backends import AUTO, usual_backends
    from mmg.bundle import Bundle
    from mmg.bundle.verify import check_files

    WATCHDOG.start("mmg-bundle")
    if options.is_own_process:
        silence_libraries()
    checked: list[Checked] = []
    with (
        Progress(_report, "checked", unit="files") as progress,
        Bundle.open(options.path, trust=options.trust, tell=_report) as bundle,
    ):
        manifest, signature = bundle.manifest, bundle.read_signature()
        count, width = len(manifest.stored()), max(len(file.path) for file in manifest.stored())
        if not options.json:
            _print_lines([_row(width, "file", "backend", "", "error", "limit", "a run", "")])
        for one in check_files(bundle, lambda path: progress.at(len(checked), count, note=path)):
            checked.append(one)
            if not options.json:
                _print_lines([_checked_row(width, one)])
    signer = signature.signer.fingerprint if options.trust and signature else None
    if options.json:
        _print_json({**_head(bundle), "signed_by": signer, "golden": manifest.golden is not None, "files": checked})
    _report(_verdict(checked, has_golden=manifest.golden is not None, signer=signer))
    models = [one for one in checked if one.backend]
    if manifest.golden is not None and models and all(one.result == "skipped" for one in models):
        usual_backends(AUTO)  # raises where nothing that runs models is installed: no model was checked
    if any(one.refused for one in checked):
        return ModelError.exit_code
    return DIFFERENT if any(one.result == "failed" for one in checked) else 0


def _verdict(checked: Sequence[Checked], *, has_golden: bool, signer: str | None) -> str:
    counts = {result: sum(one.result == result for one in checked) for result in ("ok", "hashed", "skipped", "failed")}
    verdict = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    if not has_golden:
        verdict += "; it has no golden outputs, so only hashes were compared"
    if signer:
        verdict += f"; signed by key {signer}"
    refused = "; ".join(f"{one.path}: {one.reason}" for one in checked if one.refused)
    return f"{verdict}; cannot be run: {refused}" if refused else verdict


def _checked_row(width: int, one: Checked) -> str:
    error = "-" if one.error is None else f"{one.error:.1e}"
    limit = "-" if one.limit is None else f"{one.limit:.1e}"
    spent = "-" if one.run_ms is None else f"{one.run_ms:.3g} ms"
    result = one.result.upper() if one.result == "failed" else one.result
    reason = f": {one.reason}" if one.reason else ""
    return _row(width, one.path, one.backend or "-", one.precision or "-", error, limit, spent, result + reason)


def _row(width: int, *cells: str) -> str:
    path, backend, precision, error, limit, spent, result = cells
    return f"{path:<{width}}  {backend:<7} {precision:<4} {error:>8} {limit:>8} {spent:>10}  {result}".rstrip()


def _sign(options: argparse.Namespace) -> int:
    from mmg.bundle.keys import read_private_key
    from mmg.bundle.writer import sign_bundle

    key = read_private_key(options.key)
    sign_bundle(options.path, key, tell=_report)
    _report(f"signed {options.path} with key {key.public.fingerprint}")
    return 0


def _pack(options: argparse.Namespace) -> int:
    from mmg.bundle.writer import pack_bundle

    pack_bundle(options.path, options.to, overwrite=options.overwrite)
    _report(f"wrote {options.to}, not signed")
    return 0


def _keygen(options: argparse.Namespace) -> int:
    from mmg.bundle.keys import make_keys

    public = make_keys(options.name)
    _report(f"wrote {options.name}.key (keep it secret) and {options.name}.pub: key {public.fingerprint}")
    return 0


def _index(options: argparse.Namespace) -> int:
    return bundle_fetch.index(options, _report)


def _fetch(options: argparse.Namespace) -> int:
    return bundle_fetch.fetch(options, _report)


def _diff(options: argparse.Namespace) -> int:
    from mmg.bundle import Bundle
    from mmg.bundle.compare import compare

    with Bundle.open(options.a) as a, Bundle.open(options.b) as b:
        changes = compare(a, b)
    if options.json:
        _print_json({"a": _head(a), "b": _head(b), "changes": changes})
    else:
        width = max((len(change.what) for change in changes), default=0)
        _print_lines([f"{change.what:<{width}}  {_change(change)}" for change in changes])
    if not changes:
        _report("no differences: both promise the same, and their files have the same hashes")
    return DIFFERENT if changes else 0


def _head(bundle: Bundle) -> dict[str, Any]:
    return {"path": encodable(str(bundle.path)), "name": bundle.manifest.name, "version": bundle.manifest.version}


def _change(change: Change) -> str:
    if change.what == "labels" and set(change.a) != set(change.b):
        gone = [f"-{label}" for label in change.a if label not in change.b]
        return ", ".join([*gone, *(f"+{label}" for label in change.b if label not in change.a)])
    difference = "" if change.difference is None else f" ({change.difference:+.4g})"
    return f"{_value(change.a)} -> {_value(change.b)}{difference}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return str(value.get("path", "there"))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        # A bundle is a stranger's: what its texts would do to the terminal, or it cannot show, is not printed.
        with LAST_LINE.above():
            print(as_lines(printable(line), sys.stdout.encoding), flush=True)


def _print_json(document: dict[str, Any]) -> None:
    import json

    import msgspec

    # msgspec writes null for what is not finite, and json nothing but ASCII, which any stream can hold.
    print(json.dumps(msgspec.json.decode(msgspec.json.encode(document)), indent=2), flush=True)


if __name__ == "__main__":
    sys.exit(main())
