"""The page: one HTML file that needs nothing else, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from mmg.board.profiling.markup import Markup, tag
from mmg.look.content import Content
from mmg.look.envelope import quantised
from mmg.look.packing import Packer
from mmg.look.reading import Heard, Outline
from mmg.look.tables import clock, left_out, summary
from mmg.version import installed_version

LARGEST_BYTES = 4_900_000
"""Of the whole page: what is left of it, sound may have."""
SCRIPTS = ("data.js", "view.js", "pen.js", "lanes.js", "signals.js", "health.js", "play.js", "page.js")
FINEST = {"m/s^2": 0.01, "rad/s": 0.002}
SAID = {"m/s^2": ("acceleration", "m/s²"), "rad/s": ("turning", "rad/s")}
"""What a channel of this unit is called, and how its unit is written."""


def format_page(content: Content) -> bytes:
    """The page in UTF-8, with ``?`` for what in a name is none. Its policy forbids the browser to load anything, and to
    run or apply what is not its own."""
    packer = Packer()
    facts = _facts(content, packer)
    data = packer.encoded()
    style, script = _part("page.css"), Markup("\n".join(map(_part, SCRIPTS)))
    room = LARGEST_BYTES - len(data) - len(style) - len(script) - len(_json(facts)) - 100_000
    facts["sound"], sound = _sound(content.heard, room * 3 // 4)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=f"{policy}; form-action 'none'"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{content.title} - mmg-look"),
        tag("style", style),
    )
    top = tag(
        "header", tag("p", "mmg-look", class_="over"), tag("h1", content.title), tag("p", _lead(content), class_="lead")
    )
    main = tag("main", _part("page.html"), tag("div", *summary(content), class_="pair"), left_out(content, facts))
    foot = tag("footer", f"Made by mmg-look {installed_version()}. The page loads nothing and sends nothing.")
    body = tag(
        "body",
        top,
        main,
        foot,
        tag("script", Markup(_json(facts)), type="application/json", id="facts"),
        tag("script", Markup(data), type="application/octet-stream", id="data"),
        tag("script", Markup(base64.b64encode(sound).decode()), type="application/octet-stream", id="sound"),
        tag("script", script),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n".encode(errors="replace")


def _lead(content: Content) -> str:
    decided = content.decided
    parts = [clock(content.span_s), f"{len(decided.times_s)} decisions by {content.bundle}"]
    known = decided.truth >= 0
    if known.any():
        right = int((decided.truth == decided.label)[known].sum())
        parts.append(f"{right} of {int(known.sum())} equal to the truth ({right / known.sum():.0%})")
    return ", ".join(parts)


def _facts(content: Content, packer: Packer) -> dict[str, Any]:
    """All but the sound: what is small in itself, the rest in the packer."""
    return {
        "span_s": content.span_s,
        "hop_s": content.hop_s,
        "labels": content.decided.labels,
        "decisions": _decisions(content, packer),
        "sensors": [
            {"name": name, "runs": [[round(run.start_s, 3), run.state, run.reason] for run in runs]}
            for name, runs in content.decided.sensors.items()
        ],
        "signals": [_signal(outline, number, packer) for number, outline in enumerate(content.outlines)],
        "spectrograms": [_spectrogram(heard, number, content, packer) for number, heard in enumerate(content.heard)],
        "truth": [[round(one.start_s, 3), round(one.end_s, 3), one.label] for one in content.truth],
        "marks": [[round(one.start_s, 3), round(one.end_s, 3), one.label] for one in content.marks],
        "arrays": packer.table,
    }


def _decisions(content: Content, packer: Packer) -> dict[str, Any]:
    """Times go as whole hops since the one before: a regular run is a row of ones."""
    decided = content.decided
    ends = np.round(decided.times_s / decided.hop_s)
    # A run that begins late, and a pause of hours, may be longer than an int16 holds: told as several steps.
    steps = np.diff(ends, prepend=0)
    for name, part in (("confidence", decided.confidence), ("second_score", decided.second_score)):
        packer.add(name, np.round(part.clip(0, 1) * 200).astype(np.uint8))
    return {
        "count": len(ends),
        "hop_s": decided.hop_s,
        "low_steps": packer.add("low_steps", (steps % 16384).astype(np.int16)),
        "high_steps": packer.add("high_steps", (steps // 16384).clip(0, 32767).astype(np.int16)),
        "label": packer.add("label", decided.label),
        "second": packer.add("second", decided.second),
        "truth": packer.add("truth", decided.truth),
    }


def _signal(outline: Outline, number: int, packer: Packer) -> dict[str, Any]:
    channels = []
    for place, name in enumerate(outline.channels):
        low, high = outline.low[:, place], outline.high[:, place]
        step, low_counts, high_counts = quantised(low, high, FINEST.get(outline.unit, 1e-4))
        # The distance from the least to the greatest value is small, and takes less room than the greatest.
        apart = np.where(low_counts == high_counts, 0, high_counts.astype(np.int32) - low_counts)
        channels.append(
            {
                "name": name,
                "step": step,
                "low": packer.add(f"low{number}.{place}", low_counts),
                "apart": packer.add(f"apart{number}.{place}", apart.astype(np.uint16).view(np.int16)),
            }
        )
    title, unit = SAID.get(outline.unit, (outline.sensor, outline.unit))
    return {
        "sensor": outline.sensor,
        "title": title,
        "unit": unit,
        "bin_s": outline.bin_s,
        "is_whole": outline.samples_a_bin < 1.1,
        "channels": channels,
    }


def _spectrogram(heard: Heard, number: int, content: Content, packer: Packer) -> dict[str, Any]:
    levels, lowest, highest = heard.spectrogram.levels()
    return {
        "sensor": heard.sensor,
        "column_s": content.hop_s / heard.spectrogram.columns_a_hop,
        "edges_hz": [round(float(edge), 1) for edge in heard.spectrogram.edges_hz],
        "low_db": lowest,
        "high_db": highest,
        "levels": packer.add(f"levels{number}", levels),
    }


def _sound(heard: Sequence[Heard], room_bytes: int) -> tuple[dict[str, Any] | None, bytes]:
    """The first microphone's sound that can be played, as far as there is room for it."""
    for one in heard:
        data, size = one.kept.encoded(), one.kept.block_bytes
        blocks = min(len(data) // size, max(room_bytes, 0) // size) if size else 0
        if blocks:
            pieces, left = [], blocks
            for first, count in one.kept.pieces():
                pieces += [[first, min(count, left)]] if left else []
                left -= min(count, left)
            facts = {
                "sensor": one.sensor,
                "rate_hz": one.rate_hz / one.kept.divisor,
                "block_samples": one.kept.block_samples,
                "louder_db": one.kept.louder_db,
                "blocks": blocks,
                "pieces": pieces,
            }
            return facts, data[: blocks * size]
    return None, b""


def _part(name: str) -> Markup:
    return Markup(resources.files("mmg.look").joinpath("page", name).read_text("utf-8"))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """As it can stand in a script element: no text in it can end the element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
