"""An exported model: a folder with a card, a graph, and what the graph was made from and for.

============================  ==========================================================================================
``config.json``, ...          the card, in the files of a bundle (:mod:`spectag.model.directory`), without its weights
``model.onnx``                the graph for ONNX Runtime; or
``model.xml``, ``model.bin``  the graph for OpenVINO
``engine.json``               format, engine, precision, whether the front end is in the graph, layers that stayed in
                              float, a digest of the model that was exported, and digests of the files above
``agreement.json``            how well the graph agrees with the model (:mod:`spectag.export.agreement`)
============================  ==========================================================================================

Nothing in it depends on the place of the folder, and nothing is ever written to it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from spectag.choices import ExportPrecision, Target
from spectag.engines.exported import GraphEngine
from spectag.errors import InputError, NotAModel, UnreadableModel
from spectag.model import loading
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.device import computes_int8
from spectag.model.directory import digest_of, read_card
from spectag.model.ensemble import Ensemble
from spectag.model.fields import CONFIG, ENGINE, EXTRA, PREPROCESSOR, UNKNOWN, Fields

FORMAT = 1  # of engine.json
GRAPHS: dict[Target, tuple[str, ...]] = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
PRECISIONS: dict[Target, tuple[ExportPrecision, ...]] = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}


@dataclass(frozen=True, eq=False)
class Artefact:
    """An exported model, read by :func:`read_artefact`.

    Args:
        card: of the model that was exported.
        folder: with the files.
        engine: the library that the graph is for.
        precision: of the graph.
        front_end: whether the graph takes waveforms. Engines of this package take that part off.
        model: digest of the model that was exported.
        files: digests of the files, by name.
        kept: layers of an int8 graph that stayed in float.

    >>> from spectag.export.write import write_artefact
    >>> artefact = write_artefact(spectag.load("esc10"), Path("exported"), "onnx")
    >>> artefact.engine, artefact.precision, artefact.card.activation
    ('onnx', 'fp32', 'softmax')
    """

    card: Card
    folder: Path
    engine: Target
    precision: ExportPrecision
    front_end: bool
    model: str
    files: Mapping[str, str]
    kept: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of all that its scores depend on."""
        return hashlib.sha256(repr(sorted(self.files.items())).encode()).hexdigest()

    def make_engine(self, waveforms: bool = False) -> GraphEngine:
        """Make the engine that runs the graph.

        Args:
            waveforms: let its method ``run`` take waveforms ``[B, N]``, if the graph has a front end.

        Raises:
            MissingExtra: its library is not installed.
            InputError: int8 on a processor that computes it wrongly.
            UnreadableModel: the library cannot read the graph.
        """
        if self.precision == "int8" and not computes_int8():
            raise InputError(
                f"{self.folder}: int8 gives wrong scores on this processor, which has neither VNNI nor AMX: use an "
                "export in fp32"
            )
        return make_graph_engine(
            self.engine, self.card, self.folder / GRAPHS[self.engine][0], self.precision, waveforms
        )

    def describe(self) -> dict[str, Any]:
        """All facts as plain data, for ``spectag info``."""
        graph = {
            "name": self.engine,
            "precision": self.precision,
            "front_end": self.front_end,
            "layers_in_float": list(self.kept),
            "made_from": self.model,
        }
        facts = self.card.describe()
        return {**{name: facts[name] for name in ("source", "format")}, "engine": graph, **facts}


def is_artefact(source: object) -> bool:
    """Whether a source is the folder of an exported model.

    >>> is_artefact("esc10")
    False
    """
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return False
    return (Path(source).expanduser() / ENGINE).is_file()


def read_artefact(source: str | os.PathLike[str]) -> Artefact:
    """Read an exported model and check that its files belong together.

    Raises:
        NewerBundle: a newer spectag wrote it.
        NotAModel, UnreadableModel: a field or a file is missing or damaged; the message names it.

    >>> from spectag.export.write import write_artefact
    >>> _ = write_artefact(spectag.load("esc10"), Path("exported"), "onnx")
    >>> read_artefact("exported").front_end
    False
    """
    folder = Path(source).expanduser()
    fields = Fields.read(folder / ENGINE)
    fields.require_format(FORMAT)
    engine: Target = fields.choice("engine", get_args(Target))
    precision: ExportPrecision = fields.choice("precision", PRECISIONS[engine])
    digests = fields.mapping("files") or {}
    wanted = {CONFIG, PREPROCESSOR, EXTRA, *GRAPHS[engine]}
    if not wanted <= set(digests) <= {*wanted, UNKNOWN}:
        raise NotAModel(f"{fields.path}: files: expected digests of {', '.join(sorted(wanted))}: export again")
    for name, digest in digests.items():
        if not (folder / name).is_file() or digest_of(folder / name) != digest:
            raise UnreadableModel(
                f"{folder}: {name} and {ENGINE} do not belong together (it is missing, or was replaced): export again"
            )
    kept = fields.data.get("layers_in_float")
    return Artefact(
        card=_card(folder, str(source)),
        folder=folder,
        engine=engine,
        precision=precision,
        front_end=fields.flag("front_end"),
        model=str(fields.data.get("model")),
        files=dict(digests),
        kept=tuple(map(str, kept)) if isinstance(kept, list) else (),
    )


def open_model(source: str | os.PathLike[str]) -> Bundle | Ensemble | Artefact:
    """Open any model that can tag: one that :func:`spectag.load` loads, or an exported one.

    >>> type(open_model("esc10")).__name__
    'Bundle'
    """
    return read_artefact(source) if is_artefact(source) else loading.load(source)


def make_graph_engine(
    engine: Target, card: Card, graph: Path | bytes, precision: ExportPrecision, waveforms: bool = False
) -> GraphEngine:
    """Make the engine that runs a graph.

    Args:
        engine: the library.
        card: of the model.
        graph: a file, or the bytes of an ONNX graph.
        precision: of the arithmetic.
        waveforms: see :meth:`Artefact.make_engine`.

    Raises:
        InputError: a precision that the engine lacks.
        MissingExtra: the library is not installed.

    Warns:
        SpectagWarning: bf16 on a processor that has no instructions for it.

    >>> card = spectag.load("esc10").card
    >>> make_graph_engine("onnx", card, b"", "bf16")
    Traceback (most recent call last):
    spectag.errors.InputError: precision must be fp32 or int8 for onnx; got 'bf16': use openvino
    """
    require_precision(engine, precision)
    if engine == "onnx":
        from spectag.engines.onnx import OnnxEngine

        return OnnxEngine(card, graph, precision, waveforms)
    from spectag.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(card, graph, precision, waveforms)


def require_precision(engine: Target, precision: ExportPrecision) -> None:
    """Raise InputError if an engine lacks a precision.

    >>> require_precision("openvino", "bf16")
    """
    if precision not in PRECISIONS[engine]:
        names = " or ".join(PRECISIONS[engine])
        other = ": use openvino" if engine == "onnx" and precision == "bf16" else ""
        raise InputError(f"precision must be {names} for {engine}; got {precision!r}{other}")


def _card(folder: Path, source: str) -> Card:
    return replace(read_card(folder), source=source, format=f"spectag export, format {FORMAT}")
