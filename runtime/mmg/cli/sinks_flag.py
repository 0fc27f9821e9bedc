"""``--to`` and ``--page``: other places for decisions than standard output."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mmg.cli.privacy import camera_state
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle
    from mmg.recording.recorder import Recorder
    from mmg.runs.controls import Controls
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.replay import Replay
    from mmg.sinks.outbox import Outboxes
    from mmg.teaching.taught import Taught

ADDRESS = r"(\[[0-9a-fA-F:.]+\]|[\w.-]*):\d+|\[[0-9a-fA-F:.]+\]|\d+(\.\d+){3}|localhost|"


def add_sinks_flag(parser: argparse.ArgumentParser) -> None:
    """``--to URL``, as often as there are places, and ``--page``."""
    parser.add_argument(
        "--to",
        metavar="URL",
        action="append",
        default=[],
        help="send decisions there too, such as jsonl:decisions.jsonl; may be repeated",
    )
    parser.add_argument(
        "--page",
        metavar="ADDRESS",
        nargs="?",
        const="",
        help="show the run in a browser while it goes on (default address: 127.0.0.1:8420)",
    )


def open_outboxes(
    options: argparse.Namespace,
    bundle: Bundle,
    labels: tuple[str, ...],
    urls: Mapping[str, str],
    profile: Profile,
    report: Callable[[str], None],
) -> tuple[Outboxes | None, Controls | None]:
    """What takes decisions to the places of ``--to`` and ``--page``; None, and nothing imported, where there is none.

    Raises ConfigError, BackendUnavailable, SinkError.
    """
    to = sink_urls(options)
    if not to:
        return None, None
    from mmg.runs.controls import Controls
    from mmg.sinks.event import About
    from mmg.sinks.outbox import Outbox, Outboxes
    from mmg.sinks.places import check_places, open_sink
    from mmg.sources import is_live

    live = any(is_live(url) for url in urls.values())
    controls = Controls(can_record=bool(options.record), can_pause=live, can_teach=live and bool(options.taught))
    about = About(
        bundle=bundle.manifest.name,
        digest=bundle.digest,
        labels=labels,
        sensors=dict(urls),
        hop_s=bundle.manifest.hop_s,
        board=profile.name,
        camera=camera_state(),
        is_live=live,
        kinds={name: bundle.manifest.modality(name).kind for name in urls},
        controls=controls,
    )
    places = check_places(to)
    with ExitStack() as opened:
        sinks = []
        for url in places:
            sinks.append(sink := open_sink(url, about, report))
            opened.callback(sink.close)
        opened.pop_all()  # from here on, each outbox closes its own
    # A run of recordings may wait for a sink; a live one may not.
    boxes = [
        Outbox(sink, name=str(url), patient=not live, report=report) for url, sink in zip(places, sinks, strict=True)
    ]
    about.sinks.extend(boxes)
    return Outboxes(boxes, about.camera), controls


def sink_urls(options: argparse.Namespace) -> list[str]:
    """The URLs of ``--to`` and ``--page``. Raises ConfigError."""
    return [*options.to, *([] if options.page is None else [page_url(options.page)])]


def has_page(options: argparse.Namespace) -> bool:
    """Whether there is a page, from which may be taught."""
    return options.page is not None or any(url.lower().startswith("http:") for url in options.to)


def attach_controls(
    controls: Controls,
    options: argparse.Namespace,
    bundle: Bundle,
    pipeline: Pipeline | LivePipeline | Replay,
    recorder: Recorder | None,
    taught: Taught | None,
    profile: Profile,
    outboxes: Outboxes,
) -> None:
    """Let the run be asked for what it can do. taught: what the file of ``--taught`` has."""
    from mmg.runs.live import LivePipeline

    lessons = None
    if taught is not None and has_page(options) and isinstance(pipeline, LivePipeline):
        from mmg.runs.lessons import Lessons

        manifest = bundle.manifest
        names = [name for name in pipeline.engine.modalities if manifest.modality(name).kind in profile.privacy.record]
        lessons = Lessons(pipeline, manifest, taught, options.taught, names, tell=outboxes.taught)
    controls.attach(pipeline, recorder, lessons)


def page_url(address: str) -> str:
    """The URL of ``--page ADDRESS``: ``HOST:PORT``, either of them, or neither. Raises ConfigError."""
    host, mark, options = address.partition("?")
    if host.isdecimal():
        host = f":{host}"
    if not re.fullmatch(ADDRESS, host):
        known = "write --page, --page :8421 or --page 0.0.0.0:8420; a recording comes before it"
        raise ConfigError(f"--page {address}: is no address: {known}")
    return f"http://{host or '127.0.0.1:8420'}{mark}{options}"
