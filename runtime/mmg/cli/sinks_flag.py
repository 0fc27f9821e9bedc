"""``--to``: other places for decisions than standard output."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle
    from mmg.sinks.outbox import Outboxes


def add_sinks_flag(parser: argparse.ArgumentParser) -> None:
    """``--to URL``, as often as there are places."""
    parser.add_argument(
        "--to",
        metavar="URL",
        action="append",
        default=[],
        help="send decisions there too, such as jsonl:decisions.jsonl; may be repeated",
    )


def open_outboxes(
    options: argparse.Namespace,
    bundle: Bundle,
    labels: tuple[str, ...],
    urls: Mapping[str, str],
    profile: Profile,
    report: Callable[[str], None],
) -> Outboxes | None:
    """What takes decisions to the places of ``--to``; None, and nothing imported, where there is none.

    Raises ConfigError, BackendUnavailable, SinkError.
    """
    if not options.to:
        return None
    from mmg.sinks.event import About
    from mmg.sinks.outbox import Outbox, Outboxes
    from mmg.sinks.places import check_places, open_sink
    from mmg.sources import is_live

    live = any(is_live(url) for url in urls.values())
    about = About(
        bundle=bundle.manifest.name,
        labels=labels,
        sensors=dict(urls),
        hop_s=bundle.manifest.hop_s,
        board=profile.name,
        allow_video=options.allow_video,
        is_live=live,
    )
    places = check_places(options.to)
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
    return Outboxes(boxes)
