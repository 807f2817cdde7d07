"""What accuracy costs: nets of low rank by their parameters and their time, with what others published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eckart.results.aggregate import Spread
from eckart.results.published import Published
from eckart.results.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, save

_LOOKS = ((BLUE, "o"), (VERMILLION, "^"), (GREEN, "s"), (PURPLE, "D"), (ORANGE, "v"))
# A logarithmic axis where its ends differ by more than this factor.
_WIDE = 5
_PEERS = ("s", "D", "^", "v", "P")


@dataclass(frozen=True)
class Net:
    """Nets that differ only in their seed.

    Attributes:
        accuracy: Share of the test samples that are classified right.
        parameters: Parameters; their mean, where seeds differ.
        seconds: Seconds of a forward pass by the size of the batch, medians over seeds; empty where not measured.
    """

    accuracy: Spread
    parameters: float
    seconds: Mapping[str, float]


def pareto(
    path: Path, nets: Mapping[str, Sequence[Net]], *, title: str, peers: Sequence[Published] = (), device: str = ""
) -> Path:
    """Draw accuracy against parameters, and against the seconds of a pass for each size of a batch that all have.

    Args:
        path: The file to write.
        nets: Nets of each series. A net beaten by no other of any series in a panel is on the line through the front.
        title: What there is to see.
        peers: What others published, in the panel of parameters: filled where they are counted here, open where they
            were published with fewer.
        device: What the seconds were measured on.

    Raises:
        ValueError: If there is no net.

    Example:
        >>> import tempfile
        >>> net = Net(Spread(0.98, 0.001), 20_000, {"1": 1e-4})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pareto(Path(folder, "pareto.png"), {"compression": [net]}, title="One is enough").name
        'pareto.png'
    """
    return save(_pareto(nets, title, peers, device), path)


def front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Places of the points that no other beats in both, by rising cost.

    Args:
        costs: Less is better.
        gains: More is better.

    Example:
        >>> front([3, 1, 2], [0.9, 0.5, 0.4])
        [1, 0]
    """
    best, kept = float("-inf"), []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -gains[place])):
        if gains[place] > best:
            best = gains[place]
            kept.append(place)
    return kept


@matplotlib.rc_context(STYLE)
def _pareto(nets: Mapping[str, Sequence[Net]], title: str, peers: Sequence[Published], device: str) -> Figure:
    every = [net for series in nets.values() for net in series]
    if not every:
        raise ValueError("There must be at least one net to draw. Found none.")
    sizes = [size for size in every[0].seconds if all(size in net.seconds for net in every)]
    figure = Figure(figsize=(4.6 + 3.2 * len(sizes), 4.4), layout="constrained")
    axes = figure.subplots(1, 1 + len(sizes), sharey=True, squeeze=False)[0]
    _panel(axes[0], nets, [net.parameters for net in every])
    _draw_peers(axes[0], peers)
    axes[0].set(xlabel="parameters, both factors and all biases", ylabel="test accuracy, percent")
    for panel, size in zip(axes[1:], sizes, strict=True):
        _panel(panel, nets, [net.seconds[size] for net in every])
        on = f", {device}" if device else ""
        panel.set_xlabel(f"seconds of a pass, batch {size}{on}")
    for panel in axes:
        values = np.concatenate([np.atleast_1d(np.asarray(line.get_xdata(), dtype=float)) for line in panel.lines])
        if values.min() > 0 and values.max() > _WIDE * values.min():
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
            panel.xaxis.set_minor_formatter(NullFormatter())
        else:
            panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(FuncFormatter(_short))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), fontsize=8.5)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


def _panel(axes: Axes, nets: Mapping[str, Sequence[Net]], costs: Sequence[float]) -> None:
    """Points with their deviations, and the front of all of them."""
    gains = [100 * net.accuracy.mean for series in nets.values() for net in series]
    best = front(costs, gains)
    axes.step(
        [costs[place] for place in best],
        [gains[place] for place in best],
        where="post",
        color=GRAY,
        linewidth=1,
        zorder=1,
    )
    place = 0
    for (name, series), (color, marker) in zip(nets.items(), _LOOKS * (1 + len(nets) // len(_LOOKS)), strict=False):
        own = slice(place, place + len(series))
        place += len(series)
        spread = [100 * (net.accuracy.deviation or 0) for net in series]
        axes.errorbar(
            costs[own],
            gains[own],
            yerr=spread,
            fmt=marker,
            color=color,
            markersize=6,
            elinewidth=1,
            capsize=2,
            label=name,
            zorder=3,
        )


def _draw_peers(axes: Axes, peers: Sequence[Published]) -> None:
    names = list(dict.fromkeys(peer.method for peer in peers))
    for name, marker in zip(names, _PEERS * (1 + len(names) // len(_PEERS)), strict=False):
        own = [peer for peer in peers if peer.method == name]
        axes.plot(
            [peer.parameters for peer in own],
            [100 * peer.accuracy for peer in own],
            marker,
            color=BLACK,
            markersize=5,
            linestyle="none",
            label=f"{name}, published" + (", counted here by the ranks" if any(peer.counted for peer in own) else ""),
            zorder=2,
        )
        for peer in own:
            # Biases alone are not worth an arrow.
            if peer.claimed < 0.98 * peer.parameters:
                height = 100 * peer.accuracy
                axes.plot([peer.claimed, peer.parameters], [height, height], ":", color=GRAY, linewidth=1, zorder=1)
                axes.plot([peer.claimed], [height], marker, markersize=5, markerfacecolor="none", color=GRAY, zorder=1)


def _short(value: float, _: object) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    if value >= 1:
        return f"{value:g}"
    return f"{1e3 * value:g}m" if value >= 1e-3 else f"{1e6 * value:g}µ"
