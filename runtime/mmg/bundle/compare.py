"""What differs between two bundles: every part of the manifests, the cards and who signed them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec

from mmg.bundle.reader import Bundle

ORDER = "(order)"

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``a`` and ``b`` are what either bundle has, None where it has nothing there.

    what: where it is, by names: ``modalities.imu.rate_hz``; difference: ``b - a`` where both are numbers.
    """

    what: str
    a: Any
    b: Any
    difference: float | None = None


def compare(a: Bundle, b: Bundle) -> list[Change]:
    """Every difference of what is promised; the files are not read. Raises BundleError."""
    return list(_compare(_facts_of(a), _facts_of(b), ""))


def _facts_of(bundle: Bundle) -> Facts:
    card, signature = bundle.read_card(), bundle.read_signature()
    facts: Facts = _by_name(msgspec.json.decode(msgspec.json.encode(bundle.manifest)))
    if card is not None:
        facts["card"] = {"bytes": len(card), "sha256": hashlib.sha256(card).hexdigest()}
    if signature is not None:
        facts["signed_by"] = signature.signer.fingerprint
    return facts


def _by_name(value: Any) -> Any:
    """The same with every list of parts as a dictionary by the parts' names, so that like meets like."""
    if isinstance(value, dict):
        return {key: _by_name(one) for key, one in value.items()}
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return value
    names = [_name_of(part) for part in value]
    if "" in names or len(set(names)) < len(names):
        names = [str(number) for number in range(len(names))]
    return {name: _by_name(part) for name, part in zip(names, value, strict=True)} | {ORDER: names}


def _name_of(part: Facts) -> str:
    """Empty where it has none."""
    if "modalities" in part:
        return "+".join(sorted(part["modalities"]))
    if "backend" in part:
        return f"{part['backend']}-{part['precision']}"
    return next((str(part[key]) for key in ("name", "policy", "input") if key in part), "")


def _compare(a: Facts, b: Facts, place: str) -> Iterator[Change]:
    for key in dict.fromkeys([*a, *b]):
        left, right = a.get(key), b.get(key)
        if left == right or (key == ORDER and _are_of_others(left, right)):
            continue  # an order says nothing new where the parts are not the same ones
        if isinstance(left, dict) and isinstance(right, dict):
            yield from _compare(left, right, f"{place}{key}.")
        elif _is_number(left) and _is_number(right):
            yield Change(place + key, left, right, right - left)
        else:
            yield Change(place + key, left, right)


def _are_of_others(a: Any, b: Any) -> bool:
    """Whether these are the names of parts that are not the same ones; what a stranger called so is none."""
    if isinstance(a, list) and isinstance(b, list):
        return sorted(a) != sorted(b)
    return isinstance(a, list) or isinstance(b, list)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
