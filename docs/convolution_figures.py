"""Draws the figures of docs/convolution.md.

python docs/convolution_figures.py

What is drawn is computed by ``cnnlab.models.arithmetic``.
"""

import pathlib

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from jax import numpy as jnp
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from cnnlab.models import arithmetic

FIGURES = pathlib.Path(__file__).parent / "figures"
INK, PALE, INPUT, OUTPUT, WINDOW = "#333333", "#f2f2f2", "#9ecae1", "#a1d99b", "#e6550d"
SECOND = "#54278f"


def cells(axes: Axes, left: float, bottom: float, size: int, colour: str, padding: int = 0) -> None:
    """A square grid of ``size`` cells, with ``padding`` cells of zeros around it."""
    for row in range(-padding, size + padding):
        for column in range(-padding, size + padding):
            inside = 0 <= row < size and 0 <= column < size
            axes.add_patch(
                Rectangle(
                    (left + column, bottom + size - 1 - row),
                    1,
                    1,
                    facecolor=colour if inside else "white",
                    edgecolor=INK if inside else "#bbbbbb",
                    linewidth=0.8,
                    linestyle="-" if inside else ":",
                )
            )


def empty(axes: Axes, title: str) -> None:
    """Leaves nothing of the axes but a title."""
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_axis_off()


def sizes() -> None:
    """Input, padding, the first window with its taps, the second one's frame, and the output."""
    settings = [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2)]
    figure, grid = plt.subplots(2, 2, figsize=(8, 5.2), gridspec_kw={"hspace": 0.3, "wspace": 0.05})
    size, kernel, left = 5, 3, 9.5
    for axes, (stride, padding, dilation) in zip(grid.flat, settings, strict=True):
        out = arithmetic.output_size(size, kernel, stride, padding, dilation)
        top, above = size + padding, (size + out) / 2
        cells(axes, 0, 0, size, INPUT, padding)
        cells(axes, left, (size - out) / 2, out, OUTPUT)
        for tap in range(kernel**2):
            down, across = (dilation * step for step in divmod(tap, kernel))
            frame(axes, across - padding + 0.15, top - down - 0.15, 0.7, WINDOW, fill=0.45)
        extent = dilation * (kernel - 1) + 1
        frame(axes, -padding, top, extent, WINDOW)
        frame(axes, stride - padding, top, extent, SECOND, "--")
        frame(axes, left + 0.08, above - 0.08, 0.84, WINDOW, fill=0.45)
        frame(axes, left + 1.08, above - 0.08, 0.84, SECOND, "--")
        axes.annotate(
            "", (9.1, 2.5), (7.3, 2.5), arrowprops={"arrowstyle": "->", "color": INK, "lw": 1}
        )
        axes.set(xlim=(-2.2, 14.8), ylim=(-2.2, 7.2), aspect="equal")
        empty(axes, f"stride {stride}, padding {padding}, dilation {dilation}: {size} → {out}")
    save(figure, "sizes")


def frame(
    axes: Axes, left: float, top: float, side: float, colour: str, style: str = "-", fill: float = 0
) -> None:
    """A square's outline, filled with ``fill`` of its colour."""
    axes.add_patch(
        Rectangle(
            (left, top - side),
            side,
            side,
            facecolor=(colour, fill),
            edgecolor=colour,
            linewidth=0.8 if fill else 2,
            linestyle=style,
            zorder=3,
        )
    )


def receptive_field() -> None:
    """One unit, and what it sees through three windows of 3 and one of 7."""
    figure, row = plt.subplots(1, 2, figsize=(9, 3.1))
    width = 11
    for axes, layers in zip(row, ([(3, 1)] * 3, [(7, 1)]), strict=True):
        heights = np.linspace(0, 3, len(layers) + 1)
        fields = [
            arithmetic.receptive_field(layers[len(layers) - level :])
            for level in range(len(layers) + 1)
        ][::-1]
        for level, height in enumerate(heights):
            for unit in range(width):
                seen = abs(unit - width // 2) <= fields[level] // 2
                axes.add_patch(
                    Rectangle(
                        (unit - 0.4, height - 0.2),
                        0.8,
                        0.4,
                        facecolor=(INPUT if level == 0 else OUTPUT) if seen else PALE,
                        edgecolor=INK if seen else "#cccccc",
                        linewidth=0.8,
                    )
                )
            if level:
                reach, below = layers[0][0] // 2, heights[level - 1]
                for unit in range(width):
                    if abs(unit - width // 2) > fields[level] // 2:
                        continue
                    for other in range(unit - reach, unit + reach + 1):
                        ends = ([unit, other], [height - 0.2, below + 0.2])
                        axes.plot(*ends, color=WINDOW, linewidth=0.7, alpha=0.7)
            axes.text(width + 0.1, height, f"{fields[level]}", va="center", fontsize=9, color=INK)
        weights = sum(kernel**2 for kernel, _ in layers)
        name = "three 3 x 3 convolutions" if len(layers) == 3 else "one 7 x 7 convolution"
        axes.set(xlim=(-0.7, width + 0.8), ylim=(-0.4, 3.4))
        empty(axes, f"{name}: field {fields[0]} x {fields[0]}, {weights} C² weights")
    save(figure, "receptive_field")


def dense() -> None:
    """The matrix of a 3 x 3 convolution, every weight in a colour of its own."""
    figure, row = plt.subplots(
        1, 3, figsize=(9.5, 3.9), gridspec_kw={"width_ratios": [1, 4, 1.35], "wspace": 0.3}
    )
    kernel = 1.0 + jnp.arange(9.0).reshape(3, 3, 1, 1)
    colours = matplotlib.colors.ListedColormap(["white", *matplotlib.colormaps["Set1"](range(9))])
    bounds = {"cmap": colours, "vmin": -0.5, "vmax": 9.5, "interpolation": "nearest"}
    row[0].imshow(kernel[:, :, 0, 0], **bounds)
    for weight in range(9):
        row[0].text(weight % 3, weight // 3, f"$w_{weight + 1}$", ha="center", va="center")
    row[0].set(xticks=[], yticks=[], title="kernel\n9 free numbers")
    shape, strides = (6, 6, 1), {1: row[1], 2: row[2]}
    for stride, axes in strides.items():
        matrix = np.asarray(arithmetic.as_dense(kernel, shape, stride, 1))
        counts = arithmetic.sharing(3, 1, shape, stride, 1)
        assert (counts.connections, counts.dense) == (np.count_nonzero(matrix), matrix.size)
        axes.imshow(matrix, **bounds)
        side = arithmetic.output_size(6, 3, stride, 1)
        axes.set_xticks(np.arange(0, side**2, side) - 0.5, [])
        axes.set_yticks(np.arange(0, 36, 6) - 0.5, [])
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.tick_params(length=0)
        axes.set(xlabel=f"{side} x {side} outputs", ylabel="6 x 6 inputs")
        axes.set_title(f"stride {stride}\n{counts.connections} of {counts.dense:,} connected")
    for axes in row:
        axes.title.set(fontsize=9, color=INK)
        axes.xaxis.label.set(fontsize=9, color=INK)
        axes.yaxis.label.set(fontsize=9, color=INK)
    save(figure, "dense")


def transposed() -> None:
    """A convolution with stride 2 on a line, and its transpose: the same arrows, turned round."""
    kernel = 1.0 + jnp.arange(3.0).reshape(1, 3, 1, 1)
    matrix = np.asarray(arithmetic.as_dense(kernel, (1, 7, 1), (1, 2), 0))
    colours = ["#e41a1c", "#377eb8", "#4daf4a"]
    figure, row = plt.subplots(1, 2, figsize=(9.5, 2.9))
    titles = (
        "convolution: an output collects a window\n$y = M^T x$,  7 → 3",
        "transposed: a value is spread over a window, overlaps add\n$z = M y$,  3 → 7",
    )
    size = arithmetic.transposed_output_size(3, 3, 2)
    assert matrix.shape == (size, arithmetic.output_size(size, 3, 2))
    for axes, title, backwards in zip(row, titles, (False, True), strict=True):
        for place, (count, name) in enumerate(((7, "z" if backwards else "x"), (3, "y"))):
            for unit in range(count):
                x = unit if place == 0 else 1 + 2 * unit
                colour = INPUT if (place == 1) == backwards else OUTPUT
                axes.add_patch(
                    Rectangle(
                        (x - 0.35, 2 * place - 0.25),
                        0.7,
                        0.5,
                        facecolor=colour,
                        edgecolor=INK,
                        linewidth=0.8,
                    )
                )
                axes.text(x, 2 * place, f"${name}_{unit + 1}$", ha="center", va="center")
        for below, above in zip(*np.nonzero(matrix), strict=True):
            ends = [(below, 0.27), (1 + 2 * above, 1.73)]
            if backwards:
                ends.reverse()
            axes.add_patch(
                FancyArrowPatch(
                    *ends,
                    arrowstyle="-|>",
                    color=colours[int(matrix[below, above]) - 1],
                    linewidth=1.3,
                    mutation_scale=9,
                    shrinkA=0,
                    shrinkB=0,
                )
            )
        axes.set(xlim=(-0.6, 7.4), ylim=(-0.4, 2.4))
        empty(axes, title)
    for weight, colour in enumerate(colours):
        row[1].text(6.75, 1.55 - 0.35 * weight, f"$w_{weight + 1}$", color=colour, fontsize=12)
    save(figure, "transposed")


def save(figure: plt.Figure, name: str) -> None:
    """Writes ``figures/convolution_NAME.png``."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"convolution_{name}.png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Draws all four."""
    matplotlib.use("Agg")
    sizes()
    receptive_field()
    dense()
    transposed()


if __name__ == "__main__":
    main()
