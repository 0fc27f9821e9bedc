"""The unit of each channel's columns: what the URL says, else the header, else what gravity shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column
from mmg.sources.files.table.table import Row
from mmg.sources.units import ACCELERATION, ANGULAR_RATE, STANDARD_GRAVITY, canonical, quantity
from mmg.sources.url import SourceUrl

UNIT_OPTIONS = {"acc_unit": ACCELERATION, "gyro_unit": ANGULAR_RATE}
SCALE_OPTIONS = {"acc_unit": "acc_scale", "gyro_unit": "gyro_scale"}
NEAR_GRAVITY = (0.75, 1.33)
"""The median length of acceleration, worn and moving, over that of gravity."""
STEADY = 0.5
"""With gravity in it, acceleration is rarely shorter than half its median; without, it often is."""
FEWEST_ROWS = 20
AXES = 3
GUESSED = ("m/s2", "g", "mg", "g/64")
LEAST_COUNTS = 200
SENSITIVITIES = (16384, 8192, 4096, 2048, 1024, 512, 256)
"""Counts to 1 g of common IMUs, at full scales of 2 g and more."""

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Unit(NamedTuple):
    """A unit and how it is known. factor: to SI, where it is none that has a name."""

    name: str
    how: str
    is_declared: bool = True
    factor: float | None = None
    option: str = "acc_unit"


class Source(NamedTuple):
    """Columns that are summed for a channel, and what to multiply them by to get the manifest's unit."""

    columns: tuple[int, ...]
    factors: tuple[float, ...]


def unit_options(modality: Modality) -> list[str]:
    """The URL options that tell the units of this modality's channels."""
    tables = [quantity(channel.unit) for channel in modality.channels]
    names = [name for name, table in UNIT_OPTIONS.items() if table in tables]
    return [*names, *(SCALE_OPTIONS[name] for name in names)]


def choose_units(
    url: SourceUrl,
    modality: Modality,
    found: Sequence[tuple[Column, ...]],
    rows: Sequence[Row],
    given: Unit | None,
    gravity: str | None,
    notes: list[str],
) -> tuple[tuple[Source, ...], list[Unit | None]]:
    """Where each channel comes from, with factors, and its unit; None for a quantity without units.

    given: the accelerations' unit where the file's form tells it. gravity: that of gravity in a file beside this one.
    Raises ConfigError for an option that cannot be, SourceError for a unit in the header that is not known.
    """
    chosen: dict[str, list[Unit]] = {}
    for option, table in UNIT_OPTIONS.items():
        places = [i for i, channel in enumerate(modality.channels) if quantity(channel.unit) is table]
        if places:
            found_here = [found[i] for i in places if found[i]]
            chosen[option] = _units(url, option, table, found_here, rows, given, gravity, notes)
    sources: list[Source] = []
    units: list[Unit | None] = []
    for channel, columns in zip(modality.channels, found, strict=True):
        own = next((one for one, table in UNIT_OPTIONS.items() if quantity(channel.unit) is table), None)
        of_terms = chosen[own] if own else []
        factors = tuple(_factor(channel, of_terms[term]) if of_terms else 1.0 for term in range(len(columns)))
        sources.append(Source(tuple(column.index for column in columns), factors))
        units.append(of_terms[-1] if of_terms and columns else None)
    assumed = dict.fromkeys(
        f"{unit.option}={unit.name}" + (" (as gravity shows)" if unit.how != "assumed" else "")
        for unit in units
        if unit and not unit.is_declared
    )
    if assumed:
        notes.append(f"no unit is written: {' and '.join(assumed)} {'is' if len(assumed) == 1 else 'are'} assumed")
    return tuple(sources), units


def _units(
    url: SourceUrl,
    option: str,
    table: dict[str, float],
    found: Sequence[tuple[Column, ...]],
    rows: Sequence[Row],
    given: Unit | None,
    gravity: str | None,
    notes: list[str],
) -> list[Unit]:
    """The unit of each term of the sums: of acceleration without gravity, and of gravity."""
    terms = [[columns[term] for columns in found] for term in range(max(map(len, found), default=0))]
    said, scale = url.one_of(option, table), url.number(SCALE_OPTIONS[option], 1e-12, 1e6)
    if said and scale:
        raise ConfigError(f"{url}: {option}= and {SCALE_OPTIONS[option]}= exclude each other")
    if scale:
        return [Unit(f"{SCALE_OPTIONS[option]}={scale}", "the URL says so", True, float(scale), option)] * len(terms)
    if said:
        return [Unit(said, "the URL says so", True, None, option)] * len(terms)
    if given and option == "acc_unit":
        return [given] * len(terms)
    units = [_written(url, option, table, columns, notes) for columns in terms]
    if None in units:
        guess = gravity if option == "acc_unit" else None
        if guess is None and option == "acc_unit" and len(found) == AXES:
            # The last term is gravity, or has it in it: what it shows holds for both.
            guess = _by_gravity(url, terms[-1], rows)
        shown = Unit(guess, "gravity shows it", is_declared=False) if guess else None
        assumed = shown or Unit(next(iter(table)), "assumed", is_declared=False, option=option)
        units = [unit or assumed for unit in units]
    return [unit for unit in units if unit]


def _written(
    url: SourceUrl, option: str, table: dict[str, float], columns: Sequence[Column], notes: list[str]
) -> Unit | None:
    """What the header says. Raises SourceError where that is no unit that is known, or differs among the axes."""
    units: set[str | None] = set()
    for column in columns:
        unit = column.unit_said()
        units.add(unit)
        if column.is_in_unknown_unit(table):
            choice = "|".join(list(table)[:3])
            raise SourceError(
                str(url),
                f"the unit of {column.name} is not known here ({column.written or column.name!r}): add "
                f"?{option}={choice}, or ?{SCALE_OPTIONS[option]}=FACTOR, what one of it is in {next(iter(table))}",
            )
    if len(units) > 1:
        named = ", ".join(f"{column.name}" for column in columns)
        raise SourceError(str(url), f"its axes have different units ({named}): add ?{option}=, which holds for all")
    unit = units.pop() if units else None
    if unit is None:
        return None
    if unit != next(iter(table)):  # what is SI needs no word
        notes.append(f"{option}={unit} is taken from the header")
    return Unit(unit, "the header says so", option=option)


def _by_gravity(url: SourceUrl, columns: Sequence[Column], rows: Sequence[Row]) -> str | None:
    """The unit in which a file's first rows are about as long as gravity; None where none is sure.

    Raises SourceError where no unit explains them.
    """
    lengths = _lengths(columns, rows)
    if len(lengths) < FEWEST_ROWS:
        return None
    middle = float(np.median(lengths))
    steady = float(np.quantile(lengths, 0.05)) > STEADY * middle
    for unit in GUESSED:
        if NEAR_GRAVITY[0] < middle * ACCELERATION[unit] / STANDARD_GRAVITY < NEAR_GRAVITY[1]:
            return unit if steady or unit == "m/s2" else None
    if middle > LEAST_COUNTS:
        per_g = min(SENSITIVITIES, key=lambda counts: abs(np.log(middle / counts)))
        per_g = per_g if abs(np.log(middle / per_g)) < 0.3 else round(middle)
        raise SourceError(
            str(url),
            f"the acceleration is {middle:.0f} long, which is gravity in no unit: raw counts? Add ?acc_scale="
            f"{STANDARD_GRAVITY / per_g:.4g} if {per_g} are 1 g, and gyro_scale=RAD/S-PER-COUNT",
        )
    return None


def looks_like_gravity(columns: Sequence[Column], rows: Sequence[Row]) -> bool:
    """Whether three columns can be nothing else than acceleration: steadily as long as gravity in some unit."""
    lengths = _lengths(columns, rows)
    if len(lengths) < FEWEST_ROWS:
        return False
    middle = float(np.median(lengths))
    near = [
        NEAR_GRAVITY[0] < middle * ACCELERATION[unit] / STANDARD_GRAVITY < NEAR_GRAVITY[1]
        for unit in ("m/s2", "g", "mg")
    ]
    return any(near) and float(np.quantile(lengths, 0.05)) > STEADY * middle


def is_shorter_than_gravity(columns: Sequence[Column], rows: Sequence[Row]) -> bool:
    """Whether three columns cannot be acceleration with gravity: too short in their unit, or in any where none is
    written."""
    lengths = _lengths(columns, rows)
    if len(lengths) < FEWEST_ROWS or looks_like_gravity(columns, rows):
        return False
    role = columns[0].role()
    factor = ACCELERATION.get((role and role.unit) or "", 1.0)
    return float(np.median(lengths)) * factor < NEAR_GRAVITY[0] * STANDARD_GRAVITY


def _lengths(columns: Sequence[Column], rows: Sequence[Row]) -> NDArray[np.float64]:
    cells = []
    for row in rows:
        try:
            cells.append([float(str(row[column.index])) for column in columns])
        except (ValueError, IndexError):
            continue
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(np.array(cells, np.float64), axis=1) if cells else np.empty(0)
    finite: NDArray[np.float64] = lengths[np.isfinite(lengths)]
    return finite


def _factor(channel: Channel, unit: Unit) -> float:
    table = quantity(channel.unit)
    if table is None:
        return 1.0
    own = table[canonical(channel.unit) or unit.name]
    return (table[unit.name] if unit.factor is None else unit.factor) / own
