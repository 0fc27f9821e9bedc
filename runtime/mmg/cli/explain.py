"""``mmg-run --explain``: what is understood of each recording, in place of decisions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from mmg.cli.progress import Progress
from mmg.errors import BackendUnavailable, SourceError
from mmg.printable import as_lines, printable
from mmg.runs.explain import explain
from mmg.sources import open_source

if TYPE_CHECKING:
    from mmg.bundle import Manifest


def print_explanations(
    urls: Mapping[str, str],
    manifest: Manifest,
    format_name: str,
    report: Callable[[str], None],
    *,
    allow_video: bool = False,
) -> int:
    """Print what is understood of each recording. The exit code is 3 where one cannot be used.

    format_name: text or jsonl. Raises ConfigError for a URL or option that cannot be.
    """
    code = 0
    for name, url in urls.items():
        modality = manifest.modality(name)
        try:
            with (
                Progress(report, f"{name} read", unit="s") as progress,
                closing(open_source(url, modality, allow_video=allow_video)) as recording,
            ):
                told = explain(recording, modality, manifest.hop_ns, progress.at)
        except (BackendUnavailable, SourceError) as error:
            code = error.exit_code
            report(f"{name}: {error}")
            continue
        as_text = "\n".join(map(printable, told.lines()))
        print(json.dumps(asdict(told)) if format_name == "jsonl" else as_lines(as_text, sys.stdout.encoding))
    return code
