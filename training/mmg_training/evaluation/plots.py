"""The plots: accuracy by the share of missing hops, by estimated power, and bars of a table's column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError

from mmg_training.evaluation.tables import Figure as Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def require() -> None:
    """Raises ConfigError where plots cannot be drawn, so that nobody waits for hours to learn it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError("plots need matplotlib; in the project's folder: pip install -e '.[train,export]'") from error


def plot_missing(path: Path, rates: Sequence[float], curves: Mapping[str, Sequence[float]], title: str) -> None:
    """A line for each curve, accuracy over the share of hops that are missing."""
    figure, axes = _axes(title)
    for name, values in curves.items():
        axes.plot([100 * rate for rate in rates], values, marker="o", markersize=3, label=name)
    axes.set(xlabel="hops missing (%)", ylabel="accuracy", ylim=(0, 1))
    axes.legend()
    _save(figure, path)


def plot_gate(
    path: Path, points: Sequence[tuple[float, float]], marked: Mapping[str, tuple[float, float]], title: str
) -> None:
    """A dot for each policy at its power in mW and its accuracy; those that are marked have their names."""
    figure, axes = _axes(title)
    axes.plot(*zip(*points, strict=True), linestyle="", marker="o", markersize=4, color="tab:grey", label="tried")
    for name, place in marked.items():
        axes.plot(*place, linestyle="", marker="o", markersize=8, label=name)
    axes.set(xlabel="estimated power (mW): no board was measured", ylabel="accuracy", xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.legend()
    _save(figure, path)


def plot_bars(path: Path, bars: Mapping[str, Mean], label: str, title: str) -> None:
    """A bar for each name, its spread as a whisker."""
    figure, axes = _axes(title)
    names = list(bars)[::-1]
    axes.barh(
        names,
        [bars[name].mean for name in names],
        xerr=[bars[name].spread or 0.0 for name in names],
        color="tab:blue",
        capsize=3,
    )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(label)
    _save(figure, path)


def _axes(title: str) -> tuple[Figure, Axes]:
    require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
