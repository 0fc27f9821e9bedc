"""ELAN: its ``.eaf`` documents, and the tab-delimited text that it exports.

Of a document only annotations with times of their own are labels (EAF 3.0, ALIGNABLE_ANNOTATION). The text has a tier,
a participant, begin, end and duration, each as hh:mm:ss.ms, as seconds, or as milliseconds, and what was annotated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmg.labels.label import Label, make_label

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CLOCK, SECONDS, MILLISECONDS = re.compile(r"\d+:\d\d:\d\d\.\d{1,3}"), re.compile(r"\d+\.\d+"), re.compile(r"\d+")
TIMES = (CLOCK, SECONDS, MILLISECONDS)
ROUNDING_S = 0.0015
HEADER = ("tier", "begin", "annotation")


def is_document(text: str) -> bool:
    """Whether it is XML."""
    return text.lstrip().startswith("<")


def parse_document(text: str, tier: str) -> list[Label]:
    """The labels of one tier of an ``.eaf``. Raises ValueError."""
    # A document type may define entities that grow without end; ELAN writes none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("has a document type, which ELAN does not write: it is not read")
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"is no whole XML document: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise ValueError(f"is XML, but of {root.tag[:40]!a}, not ELAN's ANNOTATION_DOCUMENT")
    times = {slot.get("TIME_SLOT_ID", ""): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    found: dict[str, list[Label]] = {}
    for layer in root.iter("TIER"):
        labels = [_annotation(one, times) for one in layer.iter("ALIGNABLE_ANNOTATION")]
        if labels:
            found.setdefault(layer.get("TIER_ID", ""), []).extend(labels)
    return _only(found, tier)


def is_export(text: str) -> bool:
    """Whether one of its first two lines is of an export."""
    return any(_row(line.split("\t")) is not None for line in text.strip().splitlines()[:2])


def parse_export(text: str, tier: str) -> list[Label]:
    """The labels of one tier of the exported text. Raises ValueError."""
    found: dict[str, list[Label]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip() for field in line.split("\t")]
        row = _row(fields)
        if row is None:
            if not line.strip() or any(word in line.lower() for word in HEADER):
                continue
            raise ValueError(f"line {number}: has no begin and end between tabs")
        try:
            found.setdefault(fields[0], []).append(make_label(*row))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return _only(found, tier)


def _annotation(element: Element, times: Mapping[str, str | None]) -> Label:
    name = element.get("ANNOTATION_ID", "")
    ends = [times.get(element.get(f"TIME_SLOT_REF{place}", "")) for place in (1, 2)]
    try:
        if None in ends:
            raise ValueError("has no time of its own")
        start_ms, end_ms = (float(str(end)) for end in ends)
        return make_label(start_ms / 1000, end_ms / 1000, element.findtext("ANNOTATION_VALUE") or "")
    except ValueError as error:
        raise ValueError(f"annotation {name[:40]!a}: {error}") from error


def _row(fields: list[str]) -> tuple[float, float, str] | None:
    """Begin, end and what was annotated, which comes after all times; None where there are no two times."""
    stamped = [place for place, field in enumerate(fields) if place and any(kind.fullmatch(field) for kind in TIMES)]
    for kind in TIMES:
        own = [place for place in stamped if kind.fullmatch(fields[place])]
        if len(own) >= 2:
            text = fields[min(stamped[-1] + 1, len(fields) - 1)]
            times = [_seconds(fields[place]) for place in own]
            # A participant may be a number as well: the duration tells which two are begin and end.
            lasts = enumerate(zip(times, times[1:], times[2:], strict=False))
            first = next((at for at, (begin, end, lasting) in lasts if abs(end - begin - lasting) < ROUNDING_S), 0)
            return times[first], times[first + 1], text
    return None


def _seconds(text: str) -> float:
    if CLOCK.fullmatch(text):
        hours, minutes, seconds = text.split(":")
        return float(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(text) if "." in text else float(text) / 1000


def _only(found: Mapping[str, list[Label]], tier: str) -> list[Label]:
    names = ", ".join(f"{name[:40]!a}" for name in found)
    if tier:
        if tier not in found:
            raise ValueError(f"has no labels in tier {tier!a}: it has {names or 'none'}")
        return found[tier]
    if len(found) > 1:
        raise ValueError(f"has several tiers, {names}: choose one with --tier NAME")
    return next(iter(found.values()), [])
