"""HTML and SVG, written so that no text of a report can become markup: only what ``tag`` made is not escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = {"meta", "line", "rect", "path", "circle", "br"}


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: object) -> Markup:
    """An element. A child that is no Markup is escaped, as each attribute is; an attribute that is None is left out.

    ``class_`` is the attribute ``class``; other underscores are hyphens, as in ``data_key`` or ``text_anchor``; True is
    an attribute without a value.
    """
    written = "".join(
        f" {_named(key)}" if value is True else f' {_named(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID and not children:
        return Markup(f"<{name}{written}/>" if name != "meta" else f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """One after another; what is no Markup is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def _named(key: str) -> str:
    # SVG spells these few in camel case, and they are case sensitive.
    return key if key in {"viewBox", "preserveAspectRatio"} else key.rstrip("_").replace("_", "-")
