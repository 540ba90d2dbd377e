"""The pages of a run and of a sweep: each one HTML file without scripts that needs no other file and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from spectag.score import plots
from spectag.score.metrics import FIGURES, name_scopes
from spectag.score.page import write_page
from spectag.score.plots import Plot
from spectag.score.table import ScoreTable

LARGE = 60  # classes up to which a confusion matrix or a chart shows them all
ENDS = 25  # with more classes, charts show this many at either end
PAIRS, WORST, UNREAD = 15, 20, 200  # longest tables of confusions, of the worst clips, of clips that were left out
POINTS = 300  # of a precision-recall curve
WEIGHTS = {"last": "last epoch", "averaged": "mean over epochs", "best": "best epoch"}


def write_report(path: Path, report: Mapping[str, Any], scores: ScoreTable | None) -> None:
    """Write the page of a run.

    Args:
        path: the HTML file.
        report: the content of ``report.json``; what it lacks is left out of the page.
        scores: the scores of the held-out clips by the chosen weights; None leaves out the confusions, the curves per
            class and the worst clips.

    Raises:
        SaveError: the file could not be written.

    >>> write_report(Path("report.html"), {"recipe": {"name": "esc10"}, "result": {"accuracy": 0.875}}, None)
    >>> "Training run esc10" in Path("report.html").read_text("utf-8")
    True
    """
    recipe, data = _section(report, "recipe"), _section(report, "data")
    result = _section(report, "result")
    if scores is not None and not len(scores.ids):
        scores = None
    single = scores.single_label if scores is not None else recipe.get("loss") == "ce"
    counts = scores.confusion_matrix() if scores is not None and single else None
    labels = scores.labels if scores is not None else ()
    few = counts is not None and len(counts) <= LARGE
    write_page(
        path,
        "report.html",
        title=f"Training run {recipe.get('name', '')}".strip(),
        chosen=_chosen(report, data, result),
        cards=_cards(result, single),
        comparisons=_comparisons(report, single),
        flattered=bool(_section(report, "results").get("best")) and not report.get("validation"),
        curves=_curves(report.get("epochs") or [], single, "validation" if report.get("validation") else "held-out"),
        confusion=plots.plot_confusion(counts, labels) if counts is not None and few else None,
        pairs=_pairs(counts, labels, PAIRS if few else 2 * ENDS) if counts is not None else [],
        precision=[] if single else _precision(_section(result, "ap"), scores),
        worst=_worst(scores) if scores is not None else [],
        worst_caption=f"The clips {'whose true class has the lowest score' if single else 'with the highest loss'}",
        classes=_classes(result, scores, counts),
        unread=_unread(report, result),
        facts=_facts(report, recipe, data),
        command=report.get("command"),
        recipe=yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True) if recipe else "",
    )


def write_sweep(path: Path, title: str, rows: Sequence[Mapping[str, Any]], plot: Plot | None) -> None:
    """Write the page of a sweep: a plot and a table.

    Args:
        path: the HTML file.
        title: the heading of the page.
        rows: one per setting, with the keys ``setting`` (its name), ``runs`` (their number), those of
            :data:`spectag.score.metrics.FIGURES` (means) and the same with `` std`` (standard deviations). A figure may
            be None or missing.
        plot: from :func:`spectag.score.plots.plot_sweep`; None for no plot.

    Raises:
        SaveError: the file could not be written.

    >>> rows = [{"setting": "lr=0.1", "runs": 2, "mean_ap": 0.5, "mean_ap std": 0.125}]
    >>> write_sweep(Path("sweep.html"), "Sweep of lr", rows, None)
    >>> "0.500 ± 0.125" in Path("sweep.html").read_text("utf-8")
    True
    """
    names = [name for name in FIGURES if any(row.get(name) is not None for row in rows)]
    columns = ["setting", "runs", *(FIGURES[name] for name in names)]
    cells = [
        [row["setting"], row["runs"], *(_with_spread(row.get(name), row.get(f"{name} std")) for name in names)]
        for row in rows
    ]
    write_page(path, "sweep.html", title=title, columns=columns, rows=cells, plot=plot)


def _section(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return mapping.get(key) or {}


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return _percent(value) if name == "accuracy" else f"{value:.3f}"


def _with_spread(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.3f}" + ("" if std is None else f" ± {std:.3f}")


def _names(single: bool) -> list[str]:
    """Accuracy means little where a clip has several labels."""
    return list(FIGURES) if single else [name for name in FIGURES if name != "accuracy"]


def _chosen(report: Mapping[str, Any], data: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    chosen = f"Chosen: {report.get('chosen', 'the last weights')}."
    if not result:
        return f"{chosen} No clips were held out, so these weights have not been scored."
    negatives = f", {result['negatives']} of them without a label" if result.get("negatives") else ""
    clips = f" ({result['clips']} clips{negatives})" if "clips" in result else ""
    return f"{chosen} Scored on {data.get('held_out', 'held-out clips')}{clips}."


def _cards(result: Mapping[str, Any], single: bool) -> list[tuple[str, str, str]]:
    """For each figure its name, its value, and its interval with what it is over."""
    intervals, resampled, notes = _section(result, "intervals"), _section(result, "resampled"), name_scopes(result)
    cards = []
    for name in _names(single):
        if name in result:
            parts = [notes[name]] if name in notes else []
            if name in intervals:
                low, high = (_figure(name, bound) for bound in intervals[name])
                units = f"{resampled.get('number', '')} {resampled.get('units', 'clips')}".strip()
                parts.append(f"95 % interval for {units}: {low} to {high}")
            cards.append((FIGURES[name], _figure(name, result[name]), "; ".join(parts)))
    return cards


def _comparisons(report: Mapping[str, Any], single: bool) -> list[tuple[str, list[str], list[list[str]]]]:
    """For the clips that are reported on and for those that chose the weights: caption, columns and rows."""
    names = _names(single)
    columns = ["weights", *(FIGURES[name] for name in names)]
    tables = []
    for key, clips in (("results", "held-out"), ("validation", "validation")):
        rows = [
            [WEIGHTS.get(weights, weights), *(_figure(name, figures.get(name)) for name in names)]
            for weights, figures in _section(report, key).items()
            if figures
        ]
        if rows:
            tables.append((f"The weights of this run on the {clips} clips", columns, rows))
    return tables


def _curves(epochs: Sequence[Mapping[str, Any]], single: bool, clips: str) -> list[tuple[str, Plot]]:
    shares = {name: FIGURES[name] for name in _names(single) if name != "d_prime"}
    wanted: list[tuple[str, dict[str, str]]] = [
        ("Training loss", {"loss": "loss"}),
        ("Learning rate", {"lr": "learning rate"}),
        ("", shares),
        ("", {"d_prime": FIGURES["d_prime"]}),
    ]
    drawn = []
    for caption, series in wanted:
        present = {key: label for key, label in series.items() if any(row.get(key) is not None for row in epochs)}
        if present:
            unit = next(iter(present.values())) if len(present) == 1 else ""
            caption = caption or f"{', '.join(present.values())} on the {clips} clips"
            drawn.append((caption, plots.plot_curves(epochs, present, unit)))
    return drawn


def _pairs(counts: NDArray[np.int64], labels: Sequence[str], most: int) -> list[tuple[str, str, str, str]]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(labels)) for place in order]
    return [
        (labels[true], labels[guess], str(wrong[true, guess]), _percent(wrong[true, guess] / counts[true].sum()))
        for true, guess in places
        if wrong[true, guess]
    ]


def _precision(ap: Mapping[str, float | None], scores: ScoreTable | None) -> list[tuple[str, Plot]]:
    known = dict(sorted(((k, v) for k, v in ap.items() if v is not None), key=lambda item: item[1]))
    if not known:
        return []
    items = list(known.items())
    if len(items) > LARGE:
        charts = [
            (f"The {ENDS} classes with the lowest", items[:ENDS]),
            (f"The {ENDS} classes with the highest", items[-ENDS:]),
        ]
    else:
        charts = [("Per class, lowest first", items)]
    drawn = [(caption, plots.plot_bars(dict(part), "average precision")) for caption, part in charts]
    if scores is not None:
        columns = {label: column for column, label in enumerate(scores.labels)}
        picked = sorted({round(q * (len(items) - 1)) for q in (0, 0.25, 0.5, 0.75, 1)})
        lines = [(*items[p], *_line(scores, columns[items[p][0]])) for p in picked if items[p][0] in columns]
        caption = "The worst class, the best, and three evenly between them"
        drawn.append((caption, plots.plot_precision_recall(lines)))
    return drawn


def _line(scores: ScoreTable, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision, thinned out to what a plot can show."""
    precision, recall, _ = precision_recall_curve(
        scores.targets[:, column], scores.scores[:, column], drop_intermediate=True
    )
    kept = np.unique(np.linspace(0, len(recall) - 1, POINTS).round().astype(int))
    return recall[kept], precision[kept]


def _worst(scores: ScoreTable) -> list[tuple[str, str, str, str]]:
    loss = scores.losses()
    if scores.single_label:
        order = np.argsort((scores.scores * scores.targets).sum(1), kind="stable")[:WORST]
    else:
        order = np.argsort(-loss, kind="stable")[:WORST]

    def named(clip: int, columns: NDArray[np.int64]) -> str:
        return "; ".join(f"{scores.labels[c]} {scores.scores[clip, c]:.2f}" for c in columns)  # names have commas

    rows = []
    for clip in order:
        truth = np.flatnonzero(scores.targets[clip])
        truth = truth[np.argsort(-scores.scores[clip, truth], kind="stable")]
        more = f"; and {len(truth) - 5} more" if len(truth) > 5 else ""
        top = np.argsort(-scores.scores[clip], kind="stable")[:3]
        rows.append(
            (scores.ids[clip], named(clip, truth[:5]) + more or "no label", named(clip, top), f"{loss[clip]:.2f}")
        )
    return rows


def _classes(
    result: Mapping[str, Any], scores: ScoreTable | None, counts: NDArray[np.int64] | None
) -> dict[str, list[Any]]:
    ap, auc = _section(result, "ap"), _section(result, "auc")
    labels = list(scores.labels) if scores is not None else list(ap)
    columns: dict[str, list[str]] = {}
    if scores is not None:
        columns["clips"] = [str(int(n)) for n in scores.targets.sum(0)]
    if ap or auc:
        columns["AP"] = [_figure("ap", ap.get(label)) for label in labels]
        columns["AUC"] = [_figure("auc", auc.get(label)) for label in labels]
    if counts is None and (f1 := _section(result, "f1")):
        columns["F1"] = [_figure("f1", f1.get(label)) for label in labels]
    if counts is not None:
        right = np.diag(counts)
        for name, whole in (("recall", counts.sum(1)), ("precision", counts.sum(0))):
            columns[name] = [_percent(r / w) if w else "–" for r, w in zip(right, whole, strict=True)]
    order = sorted(range(len(labels)), key=lambda c: math.inf if ap.get(labels[c]) is None else ap[labels[c]])
    rows = [[labels[c], *(column[c] for column in columns.values())] for c in order]
    return {"columns": ["class", *columns], "rows": rows if columns else []}


def _unread(report: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]], int]]:
    """Clips that could not be used: caption, columns, rows, and the number of rows left out."""
    skipped = [[str(clip.get("id", "–")), str(clip.get("reason", "–"))] for clip in report.get("skipped") or []]
    failed = [[str(message)] for message in result.get("failed") or []]
    tables = [
        ("Training clips that could not be read", ["clip", "reason"], skipped),
        ("Held-out clips that could not be scored", ["message"], failed),
    ]
    return [(name, columns, rows[:UNREAD], max(0, len(rows) - UNREAD)) for name, columns, rows in tables if rows]


def _facts(report: Mapping[str, Any], recipe: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds, parameters, labels = report.get("seconds"), report.get("parameters"), data.get("labels")
    versions = ", ".join(f"{name} {version}" for name, version in _section(report, "versions").items())
    facts = {
        "data": data.get("layout"),
        "training clips": data.get("clips"),
        "clips not found on disk": data.get("missing") or None,
        "classes": len(labels) if labels else None,
        "held out": data.get("held_out"),
        "seed": recipe.get("seed"),
        "parameters": f"{parameters:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if parameters is not None else None,
        "epochs": len(report.get("epochs") or []) or None,
        "time": _time(seconds) if seconds is not None else None,
        "device": report.get("device"),
        "processes": report.get("processes"),
        "threads": report.get("threads"),
        "precision": report.get("precision"),
        "versions": versions or None,
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
