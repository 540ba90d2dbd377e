"""Write the files of a bundle. No file is replaced before all of them are written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from spectag.errors import SaveError
from spectag.files import replacing
from spectag.model import tensors
from spectag.model.adapt import State
from spectag.model.card import Card
from spectag.model.directory import DIGEST, digest_of, documents
from spectag.model.fields import EXTRA, NOVEL, UNKNOWN, WEIGHTS, to_json
from spectag.model.huggingface import TRANSFORMERS
from spectag.model.unknown import write_unknown


def write_bundle(folder: Path, card: Card, state: State, dtype: torch.dtype) -> None:
    """Write a bundle into a directory. Other files in the directory stay.

    The files cannot be renamed in one step. ``spectag.json`` is renamed first, and the weights, whose digest it
    has, last. If the machine stops in between, the two do not fit each other, and loading raises an error
    (:func:`spectag.model.directory.check_digest`).

    Args:
        folder: the directory; created where it does not exist.
        card: the facts.
        state: the weights under this package's names.
        dtype: of the weights in the file.

    Raises:
        NonFiniteWeights: there are NaN or infinite weights.
        SaveError: a fact is not a plain value, dtype cannot hold the weights, or writing failed. The message says
            whether files were replaced.

    >>> checkpoint = spectag.read_checkpoint("esc10")
    >>> write_bundle(Path("copy"), checkpoint.card, checkpoint.state, torch.float16)
    >>> spectag.load("copy").labels == checkpoint.card.labels
    True
    """
    config = card.config
    table = TRANSFORMERS.with_frame_head(config.frame_head)
    theirs = tensors.from_ours(_converted(folder, state, dtype), table.rows(config.depth, config.tokens))
    about = documents(card)
    _require_plain(folder, about)
    existed = folder.exists()
    replaced: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # The file that is entered last takes its name first.
            others = [name for name in about if name != EXTRA]
            order = [EXTRA, *others, *([UNKNOWN] if card.unknown else []), WEIGHTS]
            partial = {name: stack.enter_context(_recorded(folder / name, replaced)) for name in reversed(order)}
            tensors.write_safetensors(theirs, partial[WEIGHTS])
            about[EXTRA] |= {DIGEST: digest_of(partial[WEIGHTS])}
            if card.unknown is not None:
                write_unknown(card.unknown, partial[UNKNOWN])
                about[EXTRA] |= {NOVEL: {"rate": card.unknown.rate, "sha256": digest_of(partial[UNKNOWN])}}
            for name, document in about.items():
                partial[name].write_text(to_json(document), encoding="utf-8")
    except (OSError, SaveError) as error:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or str(cause)
        kept = "what was there before is intact" if existed else "nothing was written"
        if existed and replaced:
            kept = (
                f"{len(replaced)} of {len(order)} files were replaced already, they do not fit the others: save again"
            )
        raise SaveError(f"{folder}: cannot save the bundle: {reason}; {kept}") from error


@contextmanager
def _recorded(path: Path, replaced: list[str]) -> Iterator[Path]:
    """As :func:`spectag.files.replacing`, and keep a record of what was replaced."""
    with replacing(path) as partial:
        yield partial
    replaced.append(path.name)


def _converted(folder: Path, state: State, dtype: torch.dtype) -> State:
    state = {key: value.detach().to("cpu") for key, value in state.items()}
    tensors.require_finite(state, str(folder))
    state = {key: value.to(dtype) for key, value in state.items()}
    if not all(tensors.all_finite(value) for value in state.values()):
        raise SaveError(f"{folder}: the weights do not fit {dtype}: save as float32")
    return state


def _require_plain(folder: Path, about: dict[str, dict[str, object]]) -> None:
    for document in about.values():
        for name, value in document.items():
            try:
                to_json({name: value})
            except (TypeError, ValueError, RecursionError) as error:
                raise SaveError(f"{folder}: {name} holds more than plain values: {error}") from error
