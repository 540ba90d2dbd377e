"""The figures of events: how well a model says when each label is heard.

PSDS and the best F1 need no thresholds; they are computed by ``sed_scores_eval``, and the F1 of the events that were
found by ``sed_eval``. Both packages are those of the DCASE challenges. They need the extra ``eval``.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.data.manifest import Manifest
from spectag.errors import DataError, FileError, MissingExtra
from spectag.labels import LabelSet, align

# The figures over all clips, as fields of EventMetrics and as people call them, in the order in which they are shown.
EVENT_FIGURES = {
    "psds1": "PSDS 1",
    "psds2": "PSDS 2",
    "best_event_f1": "event F1, best thresholds",
    "event_f1": "event F1",
    "best_segment_f1": "segment F1, best thresholds",
    "segment_f1": "segment F1",
    "timeline_psds1": "PSDS 1 of the timeline",
    "timeline_psds2": "PSDS 2 of the timeline",
}
# Of DCASE's task 4: PSDS 1 asks for a fast reaction, PSDS 2 for few confusions of classes.
PSDS: dict[str, dict[str, Any]] = {
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "cttc_threshold": None, "alpha_ct": 0.0, "alpha_st": 1.0},
    "psds2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
}
MOST_FALSE = 100.0  # false positives per hour up to which PSDS looks
COLLAR, COLLAR_RATE = 0.2, 0.2  # s of an onset and offset, and fraction of an event for its offset, if that is longer
SEGMENT = 1.0  # s
DECIMALS = 6  # of times
OTHER = "another class"

Times: TypeAlias = "tuple[float, float, str]"  # onset, offset, label
Truth: TypeAlias = "Mapping[str, list[Times]]"  # by clip
Tables: TypeAlias = "Mapping[str, Any]"  # by clip: scores over time, as sed_scores_eval takes them


class FoundEvent(Protocol):
    """An event that a model found, such as one of tagging.

    >>> from spectag.tag.results import Event
    >>> event: FoundEvent = Event("owl", 0.5, 1.0, 0.9)
    """

    @property
    def label(self) -> str: ...
    @property
    def onset(self) -> float: ...
    @property
    def offset(self) -> float: ...
    @property
    def score(self) -> float: ...


class ScoresOverTime(Protocol):
    """Scores over time, such as those of tagging: row n is about the time from n to n + 1 steps.

    >>> from spectag.tag.results import Timeline
    >>> timeline: ScoresOverTime = Timeline(("owl",), 0.5, np.zeros((4, 1), np.float32))
    """

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def step(self) -> float: ...
    @property
    def scores(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Detected:
    """What a model says about a clip.

    Args:
        duration: of the clip in seconds.
        timeline: its scores over time.
        candidates: all events with their scores, as if the threshold was 0. None where a threshold makes the events of
            the timeline; the figures without thresholds are then those of the timeline.
        events: those that were found at the thresholds in use.

    >>> from spectag.tag.results import Event, Timeline
    >>> timeline = Timeline(("owl",), 0.5, np.zeros((4, 1), np.float32))
    >>> Detected(2.0, timeline, None, (Event("owl", 0.5, 1.0, 0.9),)).duration
    2.0
    """

    duration: float
    timeline: ScoresOverTime
    candidates: Sequence[FoundEvent] | None
    events: Sequence[FoundEvent]


@dataclass(frozen=True)
class EventMetrics:
    """Figures over the clips of a data set and the classes that are heard in it.

    Args:
        clips: number of clips.
        events: number of true events.
        hours: duration of all clips.
        psds1, psds2: Polyphonic Sound Detection Scores, 0..1, with the settings of DCASE's task 4, of the candidates;
            where there are none, of the timeline.
        timeline_psds1, timeline_psds2: the same of the timeline.
        event_f1: F1 of the events that were found, mean of the classes, 0..1. An event is right if its onset is within
            0.2 s, and its offset within 0.2 s or 20 % of its length.
        segment_f1: F1 of seconds in which a class is heard, mean of the classes, 0..1.
        best_event_f1, best_segment_f1: the same with the best threshold of each class, which is chosen on these clips.
        labels: the classes.
        event_f1_by_class, best_event_f1_by_class, best_thresholds: of each class; None where undefined.

    >>> len(EVENT_FIGURES.keys() & EventMetrics.__dataclass_fields__.keys())
    8
    """

    clips: int
    events: int
    hours: float
    psds1: float
    psds2: float
    timeline_psds1: float
    timeline_psds2: float
    event_f1: float
    segment_f1: float
    best_event_f1: float
    best_segment_f1: float
    labels: tuple[str, ...]
    event_f1_by_class: tuple[float, ...]
    best_event_f1_by_class: tuple[float, ...]
    best_thresholds: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures of classes are by their names."""
        values = asdict(self)
        for name in ("event_f1_by_class", "best_event_f1_by_class", "best_thresholds"):
            values[name] = dict(zip(self.labels, values[name], strict=True))
        return values


def require_eval_extra() -> None:
    """Raise MissingExtra if a library of the extra ``eval`` is not installed.

    >>> require_eval_extra()  # all of them are installed here
    """
    if any(find_spec(name) is None for name in ("sed_scores_eval", "sed_eval", "pandas")):
        raise MissingExtra("eval", "scoring events")


def import_scorers() -> Any:
    """Import ``sed_scores_eval``, without what it says about an old library below it.

    Raises:
        MissingExtra: the extra ``eval`` is not installed.

    >>> import_scorers().__name__
    'sed_scores_eval'
    """
    require_eval_extra()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated")
        import sed_scores_eval
    return sed_scores_eval


def evaluate_events(
    manifest: Manifest, rows: Iterable[Detected | FileError], labels: LabelSet
) -> tuple[EventMetrics, tuple[str, ...]]:
    """Compare what a model says with the events of a data set.

    Args:
        manifest: N clips whose events are known, see :func:`spectag.data.events.join_events`.
        rows: for each clip, in the manifest's order, what the model says, or why it could not be scored.
        labels: the classes of the model.

    Returns:
        the figures, over the classes that are heard in the clips; and one message for each clip that failed.

    Raises:
        LabelMismatch: the data set has classes that the model does not know.
        DataError: none of the clips could be scored, or there are no events in them.
        MissingExtra: the extra ``eval`` is not installed.

    >>> from spectag.data.manifest import Clip, Heard
    >>> from spectag.tag.results import Event, Timeline
    >>> owl = spectag.LabelSet(("owl",))
    >>> clip = Clip("1.wav", Path("1.wav"), (0,), events=(Heard(0, 1.0, 3.0),))
    >>> scores = np.float32([[0], [0.9], [0.9], [0]])
    >>> found = Detected(4.0, Timeline(("owl",), 1.0, scores), None, (Event("owl", 1.1, 3.0, 0.9),))
    >>> metrics, failed = evaluate_events(Manifest((clip,), owl, "a test"), [found], owl)
    >>> metrics.event_f1, round(metrics.psds1, 3)
    (1.0, 1.0)
    """
    called = [labels.names[place] for place in align(manifest.labels, labels)]
    require_eval_extra()
    truth: dict[str, list[Times]] = {}
    found: dict[str, Detected] = {}
    failed = []
    for clip, row in zip(manifest.clips, rows, strict=True):
        if isinstance(row, FileError):
            failed.append(str(row))
        elif clip.events is not None:
            found[clip.id] = row
            truth[clip.id] = cut_times(((e.onset, e.offset, called[e.label]) for e in clip.events), row.duration)
    names = sorted({label for times in truth.values() for _, _, label in times})
    if not names:
        raise DataError(
            f"expected clips with events, got none: {failed[0]}" if failed else "expected clips with events, got none"
        )
    return _compute(truth, found, names), tuple(failed)


def _compute(truth: Truth, found: Mapping[str, Detected], names: list[str]) -> EventMetrics:
    sse = import_scorers()
    durations = {name: row.duration for name, row in found.items()}
    timelines = {name: _timeline_table(row, names) for name, row in found.items()}
    tables = {
        name: timelines[name] if row.candidates is None else _event_table(row.candidates, row.duration, names)
        for name, row in found.items()
    }
    of_candidates = _psds(tables, truth, durations, names)
    same = all(row.candidates is None for row in found.values())
    of_timelines = of_candidates if same else _psds(timelines, truth, durations, names)
    collars = {"onset_collar": COLLAR, "offset_collar": COLLAR, "offset_collar_rate": COLLAR_RATE}
    best = _best(sse.collar_based.fscore_curve(tables, truth, **collars), names)
    segments = _best(sse.segment_based.fscore_curve(tables, truth, durations, segment_length=SEGMENT), names)
    event_f1, by_class, segment_f1 = _f1(truth, found, names)
    return EventMetrics(
        clips=len(found),
        events=sum(map(len, truth.values())),
        hours=sum(durations.values()) / 3600,
        **of_candidates,
        **{f"timeline_{name}": value for name, value in of_timelines.items()},
        event_f1=event_f1,
        segment_f1=segment_f1,
        best_event_f1=_mean(f1 for f1, _ in best),
        best_segment_f1=_mean(f1 for f1, _ in segments),
        labels=tuple(names),
        event_f1_by_class=tuple(by_class),
        best_event_f1_by_class=tuple(f1 for f1, _ in best),
        best_thresholds=tuple(threshold for _, threshold in best),
    )


def _psds(tables: Tables, truth: Truth, durations: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    if len(names) > 1:
        return {name: float(_psds_at(tables, truth, durations, settings)[0]) for name, settings in PSDS.items()}
    # The library needs a second class. There is nothing to confuse the first with, and no spread between classes.
    first = next(iter(truth))
    truth = {**truth, first: [*truth[first], (0.0, durations[first], OTHER)]}
    tables = {name: table.assign(**{OTHER: 0.0}) for name, table in tables.items()}
    alone = {"cttc_threshold": None, "alpha_ct": 0.0, "alpha_st": 0.0}
    return {
        name: float(_psds_at(tables, truth, durations, {**settings, **alone})[1][names[0]])
        for name, settings in PSDS.items()
    }


def _psds_at(tables: Tables, truth: Truth, durations: Mapping[str, float], settings: Mapping[str, Any]) -> Any:
    """What the library's function returns, but a score of 0 is no event: it would be one as long as the clip."""
    library = import_scorers().intersection_based
    criteria = {name: value for name, value in settings.items() if name.endswith("threshold")}
    deltas = library.intermediate_statistics_deltas(tables, truth, **criteria)
    for classes in deltas.values():
        for name, (scores, changes) in classes.items():
            heard = scores > 0  # and a change of nothing, since the library stops at a class without scores
            classes[name] = (
                np.append(scores[heard], 1.0),
                {key: np.append(values[heard], 0.0) for key, values in changes.items()},
            )
    return library.psds(None, truth, durations, deltas=deltas, max_efpr=MOST_FALSE, **settings)


def _best(curves: Mapping[str, Any], names: Sequence[str]) -> list[tuple[float, float | None]]:
    """The highest F1 of each class and the score at which it is reached, of curves of F1 over scores above 0."""
    best: list[tuple[float, float | None]] = []
    for name in names:
        f1, _, _, scores, _ = curves[name]
        heard = (scores > 0) & np.isfinite(scores)
        values = np.where(heard, f1, 0.0)
        at = int(np.argmax(values))
        best.append((float(values[at]), float(scores[at]) if values[at] > 0 else None))
    return best


def _f1(truth: Truth, found: Mapping[str, Detected], names: list[str]) -> tuple[float, list[float], float]:
    """Of the events that were found: event F1, that of each class, and segment F1."""
    import sed_eval

    events = sed_eval.sound_event.EventBasedMetrics(names, t_collar=COLLAR, percentage_of_length=COLLAR_RATE)
    segments = sed_eval.sound_event.SegmentBasedMetrics(names, time_resolution=SEGMENT)
    for name, row in found.items():
        true = _event_list(name, truth[name])
        heard = [(e.onset, e.offset, e.label) for e in row.events if e.label in names]
        guessed = _event_list(name, cut_times(heard, row.duration))
        events.evaluate(true, guessed)
        segments.evaluate(true, guessed, evaluated_length_seconds=row.duration)
    by_class = [_or_zero(events.class_wise_f_measure(name)["f_measure"]) for name in names]
    by_segment = [_or_zero(segments.class_wise_f_measure(name)["f_measure"]) for name in names]
    return _mean(by_class), by_class, _mean(by_segment)


def _event_list(name: str, times: Iterable[Times]) -> Any:
    import dcase_util

    rows = [{"filename": name, "onset": a, "offset": b, "event_label": label} for a, b, label in times]
    return dcase_util.containers.MetaDataContainer(rows)


def _timeline_table(row: Detected, names: Sequence[str]) -> Any:
    timeline = row.timeline
    edges = np.round(np.arange(len(timeline.scores) + 1) * timeline.step, DECIMALS)
    rows = max(1, int((edges[1:-1] < row.duration).sum()) + 1)  # the last one ends with the clip
    edges = np.append(edges[:rows], round(row.duration, DECIMALS))
    columns = [timeline.labels.index(name) for name in names]
    return _table(np.asarray(timeline.scores[:rows, columns], np.float64), edges, names)


def _event_table(events: Sequence[FoundEvent], duration: float, names: Sequence[str]) -> Any:
    """Scores over time of events: each has its score from its onset to its offset; elsewhere it is 0."""
    times = [
        (_rounded(event.onset), _rounded(min(event.offset, duration)), event.score, names.index(event.label))
        for event in events
        if event.label in names
    ]
    edges = np.unique([0.0, _rounded(duration), *(edge for onset, offset, *_ in times for edge in (onset, offset))])
    scores = np.zeros((len(edges) - 1, len(names)))
    for onset, offset, score, column in times:
        rows = slice(*np.searchsorted(edges, (onset, offset)))
        scores[rows, column] = np.maximum(scores[rows, column], score)
    return _table(scores, edges, names)


def _table(scores: NDArray[np.float64], edges: NDArray[np.float64], names: Sequence[str]) -> Any:
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    return create_score_dataframe(scores, edges, list(names))


def cut_times(times: Iterable[Times], duration: float) -> list[Times]:
    """Events within a clip. Those of one label that touch become one, as the scorers demand.

    >>> cut_times([(1.0, 2.0, "owl"), (2.0, 9.0, "owl"), (7.0, 8.0, "owl")], duration=5.0)
    [(1.0, 5.0, 'owl')]
    """
    by_label: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for onset, offset, label in sorted(times):
        onset, offset = _rounded(onset), _rounded(min(offset, duration))
        spans = by_label[label]
        if spans and onset <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], offset)
        elif onset < offset:
            spans.append((onset, offset))
    return sorted((onset, offset, label) for label, spans in by_label.items() for onset, offset in spans)


def _rounded(seconds: float) -> float:
    return round(float(seconds), DECIMALS)


def _or_zero(value: float) -> float:
    """A class that was never found has no precision, and an F1 of 0."""
    return float(value) if np.isfinite(value) else 0.0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([_or_zero(value) for value in values]))
