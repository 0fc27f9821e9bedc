"""The run that the flags of ``mmg-run`` ask for: live, of recordings, or a recorded one again."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.recording import as_tokens, open_recorder
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Bundle
    from mmg.recording.recorder import Recorder
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.replay import Replay
    from mmg.runs.settings import Settings
    from mmg.runs.step import Step
    from mmg.sinks.outbox import Outboxes

    Report = Callable[[str], None]


def open_pipeline(
    options: argparse.Namespace,
    bundle: Bundle,
    urls: dict[str, str],
    settings: Settings,
    profile: Profile,
    report: Report,
    outboxes: Outboxes | None,
) -> tuple[Pipeline | LivePipeline | Replay, Recorder | None]:
    """The run, and what records it where that is asked for. outboxes: told of each step of a live run."""
    from mmg.sources import is_live

    live = [name for name, url in urls.items() if is_live(url)]
    recorded = [name for name in urls if name not in live]
    if live and recorded:
        raise ConfigError(f"{live[0]} is a live port and {recorded[0]} a recording: a run takes one or the other")
    if options.record and recorded:
        raise ConfigError(f"--record {options.record}: {urls[recorded[0]]} is a recording already")
    if recorded:
        if options.deadline is not None:
            report("--deadline is for live sensors, and changes nothing here")
        return _open_recorded(options, bundle, urls, settings, report), None
    from mmg.engine.variant import choose_variant
    from mmg.runs.live import LivePipeline, open_ports

    taps = [outboxes.step] if outboxes else []
    live_pipeline = partial(LivePipeline, bundle, report=report, sensed=outboxes.sensed if outboxes else None)
    if settings.deadline_s is not None:
        from mmg.board.machine.watch import watch_throttling

        live_pipeline = partial(live_pipeline, held_down=watch_throttling(report))
    ports, origin_ns = open_ports(bundle.manifest, urls, settings, report), time.monotonic_ns()
    if not options.record:
        return live_pipeline(ports, settings, record=_each(taps), origin_ns=origin_ns), None
    names = [port.modality for port in ports]
    chosen = choose_variant(bundle, names, settings.backend, settings.precision, settings.preferred_backend)
    told = replace(settings, backend=chosen.backend)
    recorder = open_recorder(options, options.record, bundle, ports, profile, told, origin_ns, report)
    try:
        record = _each([recorder.step, *taps])
        pipeline = live_pipeline(ports, settings, record=record, origin_ns=origin_ns)
        kinds = {port.modality: bundle.manifest.modality(port.modality).kind for port in ports}
        pipeline.keep_tokens(as_tokens(options, kinds))
    except BaseException:
        recorder.discard()  # the same line again must not find the name taken
        raise
    return pipeline, recorder


def _open_recorded(
    options: argparse.Namespace, bundle: Bundle, urls: dict[str, str], settings: Settings, report: Report
) -> Pipeline | Replay:
    path = _replayed(options)
    if path is None:
        from mmg.runs.recorded import Pipeline

        return Pipeline(bundle, urls, settings, report=report)
    from mmg.recording.reader import open_recording
    from mmg.runs.replay import Replay, as_recorded

    recording, names = open_recording(path), tuple(urls)
    settings = as_recorded(
        recording,
        bundle,
        settings,
        report,
        names,
        grace=options.grace,
        precision=options.precision,
        unknown=options.unknown,
    )
    return Replay(bundle, recording, names, settings, report=report)


def _replayed(options: argparse.Namespace) -> Path | None:
    """The recording of a run that is to be decided on as it was live; None where there is none."""
    from mmg.sources.files.contents import container_of
    from mmg.sources.url import parse_url

    url = parse_url(options.recording) if options.recording else None
    if url is None or url.options or not Path(url.path).is_file():
        return None
    return Path(url.path) if container_of(Path(url.path)) == "mcap" else None


def _each(takers: Sequence[Callable[[Step], None]]) -> Callable[[Step], None]:
    def take(step: Step) -> None:
        for taker in takers:
            taker(step)

    return take
