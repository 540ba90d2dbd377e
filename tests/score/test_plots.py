"""Plots: whole images that show what they are given, whatever the labels and the user's settings."""

import base64
import re
from importlib import resources
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from spectag.score import plots
from spectag.score.plots import Plot

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></svg><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "$\\frac{1}{2}$ {{ 7 * 7 }} &amp; <!-- -->",
    "_犬\x00\x1b[31m\u202egnp\udcff\nnext",
    "]]>" + "A" * 300,
]
ROWS = [{"epoch": n, "loss": 2 / n, "mean_ap": 1 - 0.9 / n} for n in range(1, 9)]


def parse(plot: Plot) -> ElementTree.Element:
    """The drawing, which must be one SVG image that needs nothing outside of it and runs nothing."""
    root = ElementTree.fromstring(plot.svg)
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title").text == plot.alt
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        assert element.tag not in (f"{SVG}script", f"{SVG}image", f"{SVG}foreignObject")
        assert not any(name.startswith("on") for name in element.attrib)
        assert element.get(HREF, "#").startswith("#")
        assert set(re.findall(r"url\(#([^)]+)\)", " ".join(element.attrib.values()))) <= set(ids)
    return root


def texts(plot: Plot) -> list[str]:
    return ["".join(element.itertext()).strip() for element in parse(plot).iter(f"{SVG}text")]


def draw_all(labels: list[str]) -> dict[str, Plot]:
    classes = len(labels)
    line = (np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    return {
        "curves": plots.plot_curves(ROWS, dict(zip(("loss", "mean_ap"), labels, strict=False)), labels[0]),
        "confusion": plots.plot_confusion(np.eye(classes, dtype=int), labels),
        "bars": plots.plot_bars({label: n / 10 for n, label in enumerate(labels)}, labels[0]),
        "precision-recall": plots.plot_precision_recall([(label, 0.5, *line) for label in labels[:5]]),
        "sweep": plots.plot_sweep(labels, [0.5] * classes, [None] * classes, labels[0]),
    }


def test_labels_are_shown_as_text_and_never_read_as_markup() -> None:
    for kind, plot in draw_all(HOSTILE).items():
        shown = " ".join(texts(plot))
        assert HOSTILE[0] in shown or HOSTILE[0][:23] in shown, kind
        assert HOSTILE[0] in plot.alt or kind == "confusion"
        assert not re.search("[\x00\x1b\u202e\udcff]", plot.svg + plot.alt), kind
        assert "A" * 60 not in shown, "long labels are shortened"


def test_curves() -> None:
    plot = plots.plot_curves([*ROWS, {"epoch": 9, "loss": None}], {"loss": "loss", "mean_ap": "mAP", "none": "none"})
    assert (
        plot.alt == "Line chart over epochs: loss 2 at epoch 1, 0.25 at epoch 8; mAP 0.1 at epoch 1, 0.8875 at epoch 8"
    )
    assert {"loss", "mAP", "epoch"} <= set(texts(plot))
    assert "none" not in texts(plot), "a series without points"
    parse(plots.plot_curves([{"epoch": 1, "loss": float("nan")}], {"loss": "loss"}))
    parse(plots.plot_curves([], {"loss": "loss"}))


def test_confusion_shows_every_count() -> None:
    counts = np.array([[3, 1, 0], [0, 4, 0], [1000, 2, 0]])
    plot = plots.plot_confusion(counts, ["cat", "dog", "owl"])
    assert plot.alt.endswith("rows true, columns predicted: 7 of 1010 clips are on the diagonal")
    assert sorted(text for text in texts(plot) if text.isdigit()) == ["1", "1000", "2", "3", "4"]
    assert [text for text in texts(plot) if text in ("cat", "dog", "owl")] == ["cat", "dog", "owl"] * 2
    parse(plots.plot_confusion(np.zeros((2, 2), int), ["a", "b"]))


def test_the_colour_of_a_cell_is_its_share_of_the_row() -> None:
    """From 8 % opacity for a share of 0 to 54 % for all clips of the row."""
    parsed = parse(plots.plot_confusion(np.array([[1, 3], [0, 5]]), ["a", "b"]))
    styles = [element.get("style", "") for element in parsed.iter() if plots.SERIES[0] in element.get("style", "")]
    opacities = [float(found[1]) for style in styles if (found := re.search(r"fill-opacity: ([\d.]+)", style))]
    assert opacities == pytest.approx([round(0.08 + 0.46 * share, 2) for share in (0.25, 0.75, 1)])


def test_bars_and_precision_recall_name_their_classes() -> None:
    assert plots.plot_bars({"cat": 0.5, "dog": 1.0}, "AP").alt == "Bar chart of AP: cat 0.50; dog 1.00"
    assert {"0.50", "1.00", "cat", "dog", "AP"} <= set(texts(plots.plot_bars({"cat": 0.5, "dog": 1.0}, "AP")))
    plot = plots.plot_precision_recall([("cat", 0.25, np.array([0, 1.0]), np.array([1.0, 0]))])
    assert plot.alt == "Precision over recall: cat, average precision 0.25"
    assert "cat, AP 0.25" in texts(plot)
    parse(plots.plot_bars({}, "AP"))
    parse(plots.plot_precision_recall([]))


def test_a_sweep_leaves_gaps() -> None:
    plot = plots.plot_sweep(["a", "b", "c"], np.array([0.5, np.nan, 0.625]), [0.01, None, None], "mAP")
    assert plot.alt == "mAP for each setting: a 0.5 ± 0.01; c 0.625"
    assert {"a", "b", "c", "mAP"} <= set(texts(plot))


def test_the_uri_holds_the_whole_image() -> None:
    plot = draw_all(["犬", "b"])["bars"]
    kind, _, data = plot.uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data, validate=True).decode("utf-8") == plot.svg


def test_plots_do_not_depend_on_the_users_settings_nor_change_them() -> None:
    before = plots.plot_curves(ROWS, {"loss": "loss"})
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        mine = dict(matplotlib.rcParams)
        assert plots.plot_curves(ROWS, {"loss": "loss"}) == before
        assert dict(matplotlib.rcParams) == mine


def test_plots_bring_their_own_light_paper() -> None:
    """A dark page shows them as they are: dark ink on light paper."""
    for plot in draw_all(["a", "b"]).values():
        first = next(element for element in parse(plot).iter(f"{SVG}path"))
        assert first.get("style") == f"fill: {plots.PAPER}"


def contrast(one: str, other: str) -> float:
    """As defined by WCAG 2, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_legible() -> None:
    """Text and lines have a contrast of at least 4.5 to their ground, in plots and on pages, light and dark."""
    for colour in (plots.INK, plots.MUTED, *plots.SERIES):
        assert contrast(colour, plots.PAPER) >= 4.5, colour
    css = (resources.files("spectag") / "pages" / "style.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in css.split("@media screen")[:2])
    assert light.keys() == dark.keys() == {"ink", "muted", "line", "paper", "card", "accent"}
    assert [light[name] for name in ("ink", "muted", "line", "card")] == [
        *(plots.INK, plots.MUTED, plots.LINE, plots.PAPER)
    ]
    for theme in (light, dark):
        for name in ("ink", "muted", "accent"):
            assert min(contrast(theme[name], theme[paper]) for paper in ("paper", "card")) >= 4.5, name


def test_a_count_is_legible_on_the_strongest_cell() -> None:
    """The cell's colour at 54 % opacity over the paper."""
    mixed = [
        round(0.54 * int(plots.SERIES[0][n : n + 2], 16) + 0.46 * int(plots.PAPER[n : n + 2], 16)) for n in (1, 3, 5)
    ]
    assert contrast(plots.INK, "#" + "".join(f"{part:02x}" for part in mixed)) >= 4.5
