"""Write a model as an artefact for another engine, and compare it with the model before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spectag.choices import ExportPrecision, Target
from spectag.data.manifest import Manifest
from spectag.engines.artefact import FORMAT, GRAPHS, Artefact, read_artefact, require_precision
from spectag.engines.factory import make_engine
from spectag.engines.graph import build_graph, to_bytes
from spectag.errors import DataError, InputError, MissingExtra, SaveError
from spectag.export.agreement import MAX_LOSS, Agreement, make_reference, measure_agreement
from spectag.export.int8 import quantise_onnx, quantise_openvino
from spectag.export.layers import name_layers, rank_layers
from spectag.export.samples import Sample
from spectag.files import new_folder, write_text
from spectag.jobs.run import digest_of_model
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.device import computes_bf16, computes_int8
from spectag.model.directory import digest_of, documents
from spectag.model.ensemble import Ensemble
from spectag.model.fields import ENGINE, EXTRA, NOVEL, UNKNOWN, to_json
from spectag.model.unknown import write_unknown
from spectag.version import __version__

AGREEMENT = "agreement.json"
NAMED = 5  # layers that a message names


@dataclass(frozen=True)
class Plan:
    """What is exported.

    Args:
        target: the library that is to run the graph.
        precision: of the graph.
        front_end: whether the graph takes waveforms.

    Raises:
        InputError: a precision that the target lacks, or that this processor cannot compute, or the front end in bf16.

    >>> Plan("onnx", "int8").front_end
    False
    """

    target: Target
    precision: ExportPrecision = "fp32"
    front_end: bool = False

    def __post_init__(self) -> None:
        require_precision(self.target, self.precision)
        if self.front_end and self.precision == "bf16":
            raise InputError("front end: a spectrogram in bf16 is too coarse: export in fp32 or int8, or without it")
        if self.precision == "bf16" and not computes_bf16(torch.device("cpu")):
            raise InputError(
                "precision bf16: this processor would compute in fp32, so nothing could be compared: export on one "
                "that has bf16 (AMX or AVX-512 BF16), or in fp32"
            )
        if self.precision == "int8" and not computes_int8():
            raise InputError(
                "precision int8: this processor has neither VNNI nor AMX and would compute wrong scores: export on one "
                "that has, or in fp32"
            )


def write_artefact(
    model: Bundle | Ensemble,
    folder: Path,
    target: Target,
    precision: ExportPrecision = "fp32",
    *,
    front_end: bool = False,
    samples: Sequence[Sample] = (),
    kept: Collection[str] = (),
) -> Artefact:
    """Write a model as an artefact, without comparing the two.

    Args:
        model: what :func:`spectag.load` returns.
        folder: must not exist, or be empty.
        target, precision, front_end: see :class:`Plan`.
        samples: real clips that int8 for OpenVINO is calibrated with.
        kept: layers of an int8 graph that stay in float.

    Raises:
        InputError: as :class:`Plan`; no samples where they are needed; or a model above 2 GiB.
        MissingExtra: a library is not installed.
        SaveError: the folder is not empty, or writing failed.

    >>> artefact = write_artefact(spectag.load("esc10"), Path("exported"), "onnx")
    >>> artefact.make_engine().scores(torch.zeros(1, 256, 128)).shape
    (1, 10)
    """
    plan = Plan(target, precision, front_end)
    with new_folder(folder) as partial:
        _write(partial, model, plan, samples, kept)
    return read_artefact(folder)


def export(
    model: Bundle | Ensemble,
    folder: Path,
    plan: Plan,
    samples: Sequence[Sample],
    calibration: Sequence[Sample] | None = None,
    manifest: Manifest | None = None,
    max_loss: float = MAX_LOSS,
    keep_float: bool = False,
    watch: Callable[[Agreement, Collection[str]], None] = lambda *_: None,
) -> tuple[Artefact, Agreement]:
    """Write a model as an artefact, if it agrees with the model on real clips.

    Args:
        model: what :func:`spectag.load` returns.
        folder: must not exist, or be empty.
        plan: what is exported.
        samples: real clips that the graph is compared on.
        calibration: real clips that int8 for OpenVINO is calibrated with; None for the same.
        manifest: of the samples, with their labels, if these are known.
        max_loss: largest :attr:`spectag.export.agreement.Agreement.loss` that is allowed.
        keep_float: let layers of an int8 graph stay in float, those that lose most first, until the loss is allowed.
        watch: called with each comparison, and the layers that stayed in float.

    Raises:
        SaveError: the loss is not allowed, and nothing was written; the message names the layers that lose most.
            Otherwise as :func:`write_artefact`.

    >>> from spectag.export.samples import read_samples
    >>> bundle = spectag.load("esc10")
    >>> samples, _ = read_samples([np.zeros(16_000, np.float32)], bundle.front_end)
    >>> artefact, agreement = export(bundle, Path("exported"), Plan("onnx"), samples)
    >>> agreement.loss < 1e-5
    True
    """
    if not samples:
        raise DataError("export: expected at least one recording to compare the graph with the model on, got none")
    reference = make_reference(model.card, make_engine(model), samples)
    ranked: list[tuple[str, float]] = []
    kept: list[str] = []
    with new_folder(folder) as partial:
        while True:
            _write(partial, model, plan, calibration or samples, kept)
            artefact = read_artefact(partial)
            agreement = measure_agreement(reference, artefact.make_engine(), artefact, manifest)
            watch(agreement, kept)
            if agreement.loss <= max_loss:
                break
            if plan.precision == "int8":
                ranked = ranked or rank_layers(model, reference, patches=plan.target == "openvino")
            if not keep_float or len(kept) == len(ranked):
                raise SaveError(_refusal(folder, agreement.loss, max_loss, ranked, keep_float))
            kept = [name for name, _ in ranked[: max(1, 2 * len(kept))]]
        write_text(partial / AGREEMENT, to_json(agreement.to_dict() | {"max_loss": max_loss}))
    return read_artefact(folder), agreement


def _refusal(folder: Path, loss: float, allowed: float, ranked: Sequence[tuple[str, float]], tried: bool) -> str:
    advice = "choose another precision, or raise --max-loss"
    if ranked and not tried:
        advice = f"most is lost in {name_layers(ranked, NAMED)}: leave such layers in float (--keep-float), or {advice}"
    return f"{folder}: not written: the loss of {loss:.2g} is above the allowed {allowed:g}: {advice}"


def _write(
    folder: Path, model: Bundle | Ensemble, plan: Plan, samples: Sequence[Sample], kept: Collection[str]
) -> None:
    graph = build_graph(model, plan.front_end)
    names = GRAPHS[plan.target]
    for name in names:  # of an attempt before; a library may still have that open
        (folder / name).unlink(missing_ok=True)
    if plan.target == "onnx":
        if plan.precision == "int8":
            quantise_onnx(graph, folder / names[0], kept)
        else:
            (folder / names[0]).write_bytes(to_bytes(graph))
    else:
        _write_openvino(folder / names[0], to_bytes(graph), plan, samples, kept)
    card = _write_card(folder, model.card)
    document = {
        "format": FORMAT,
        "written_by": f"spectag {__version__}",
        "engine": plan.target,
        "precision": plan.precision,
        "front_end": plan.front_end,
        "layers_in_float": list(kept),
        "model": digest_of_model(model),
        "files": {name: digest_of(folder / name) for name in sorted({*names, *card})},
    }
    write_text(folder / ENGINE, to_json(document))


def _write_openvino(path: Path, graph: bytes, plan: Plan, samples: Sequence[Sample], kept: Collection[str]) -> None:
    try:
        import openvino
    except ImportError:
        raise MissingExtra("openvino", "an export for openvino") from None
    from spectag.engines.openvino import read_graph

    model = read_graph(graph)
    if plan.precision == "int8":
        if not samples:
            raise InputError("int8 for openvino needs recordings to calibrate with: give some")
        waveforms = [waveform[None] for sample in samples for waveform in sample.waveforms]
        inputs = [window[None].numpy() for sample in samples for window in sample.inputs]
        model = quantise_openvino(model, waveforms if plan.front_end else inputs, kept)
    openvino.save_model(model, str(path), compress_to_fp16=plan.precision == "bf16")


def _write_card(folder: Path, card: Card) -> list[str]:
    """Write the files of a card, and return their names."""
    about = documents(card)
    if card.unknown is not None:
        write_unknown(card.unknown, folder / UNKNOWN)
        about[EXTRA] |= {NOVEL: {"rate": card.unknown.rate, "sha256": digest_of(folder / UNKNOWN)}}
    for name, document in about.items():
        write_text(folder / name, to_json(document))
    return [*about, *([UNKNOWN] if card.unknown is not None else [])]
