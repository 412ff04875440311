"""The plots of a bench run, each as SVG and PNG. Needs matplotlib."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({"svg.hashsalt": "secalloc", "svg.fonttype": "none", "font.size": 10})
from matplotlib import pyplot  # noqa: E402 (after the choice of what draws)

from secalloc.bench import Report  # noqa: E402
from secalloc.curves import Curves  # noqa: E402
from secalloc.density import SECRET_BYTES, Density  # noqa: E402

__all__ = ["draw"]

OURS = "secalloc"
COLOURS = {
    OURS: "#0b5a86", "malloc + explicit_bzero": "#222222", "mimalloc + explicit_bzero": "#7a7a7a",
    "hardened_malloc": "#a66f00", "libgcrypt": "#2e8b57", "OpenSSL secure heap": "#b03a2e", "libsodium": "#8e44ad",
    "one memfd_secret each": "#d68910",
}  # fmt: skip


def draw(report: Report, folder: Path) -> list[str]:
    """Write what there is to draw; answers the files' names without their endings."""
    names: list[str] = []
    for curves in report.curves:
        if curves.points:
            names.append(_save(_lines(curves), folder, curves.name))
    found = [each for each in report.densities if isinstance(each, Density)]
    if found:
        names.append(_save(_bars(found), folder, "secrets-per-memlock"))
    return names


def _save(figure: Any, folder: Path, name: str) -> str:
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=150)
    pyplot.close(figure)
    return name


def _axes(title: str) -> tuple[Any, Any]:
    made: tuple[Any, Any] = pyplot.subplots(figsize=(8, 5), layout="constrained")
    figure, axes = made
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(curves: Curves) -> Any:
    figure, axes = _axes(curves.title)
    axes.set_xscale("log", base=2 if curves.x == "bytes" else 10)
    axes.set_yscale("log")
    for name, points in curves.points.items():
        ours = name == OURS
        axes.plot(*zip(*points, strict=True), marker="o", markersize=5 if ours else 3, linewidth=3 if ours else 1.3,
                  color=COLOURS[name], label=name, zorder=3 if ours else 2)  # fmt: skip
    xs = sorted({x for points in curves.points.values() for x, _ in points})
    axes.set_xticks(xs, [f"{x:,}" for x in xs], rotation=45 if len(xs) > 6 else 0)
    axes.minorticks_off()
    axes.set_xlabel(curves.x)
    axes.set_ylabel("ns for one object")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _bars(densities: list[Density]) -> Any:
    limit = densities[0].memlock
    figure, axes = _axes(f"Secrets of {SECRET_BYTES} bytes within {limit >> 10:,} KiB of memlock")
    names = [each.name for each in densities]
    bars = axes.barh(names, [each.secrets for each in densities], color=[COLOURS[name] for name in names])
    axes.bar_label(bars, [f"{each.secrets:,}" for each in densities], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(1, 4 * max(each.secrets for each in densities))
    axes.invert_yaxis()
    axes.set_xlabel("secrets, log scale")
    return figure
