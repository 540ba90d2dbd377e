"""The checkpoint of a run: it is written completely or not at all, and files of earlier versions can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spectag.errors import RunFailed, SaveError
from spectag.files import replacing

FORMAT = 1

State = dict[str, Any]
"""The content of a checkpoint, which has only plain values and tensors:

============== ======================================================================================================
``format``     int, 1
``epoch``      int, from 0: the epoch that was being trained
``batches``    int: number of its batches that were done
``network``    the network's state
``ema``        the state of the moving average, if the recipe has one
``optimizer``  the optimiser's state by parameter name
``precision``  the state of the gradient scaler, empty except in fp16
``history``    of :class:`spectag.runs.history.History`
``mean``       of :class:`spectag.runs.averaging.WeightMean`, if the recipe averages weights
``heard``      bool ``[clips]``: which training clips were in an example so far
``skipped``    by clip id, the error of each training clip that could not be read
============== ======================================================================================================
"""


def write_state(path: Path, state: State) -> None:
    """Write a checkpoint, replacing the previous one.

    Raises:
        SaveError: the file could not be written. The previous checkpoint is intact.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_state(Path(folder, "last.ckpt"), {"format": 1, "epoch": 2, "batches": 0})
    ...     read_state(Path(folder, "last.ckpt"), [])["epoch"]
    2
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            torch.save(state, partial)
    except (SaveError, OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise SaveError(
            f"{path}: the checkpoint could not be written ({reason}), but the previous one is intact: free some space "
            "and continue with --resume"
        ) from error


def read_state(path: Path, parameters: list[str]) -> State:
    """Read a checkpoint onto the CPU.

    Args:
        path: the file.
        parameters: the names of the optimiser's parameters, in its order. Files of earlier versions only number them.

    Raises:
        RunFailed: the file is damaged, or was written by a newer version.

    >>> _ = Path("last.ckpt").write_bytes(b"half a file")
    >>> read_state(Path("last.ckpt"), [])
    Traceback (most recent call last):
    spectag.errors.RunFailed: last.ckpt: cannot be read (...): delete it to train from the beginning
    """
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes can raise anything
        reason = " ".join(str(error).split())[:200]
        raise RunFailed(f"{path}: cannot be read ({reason}): delete it to train from the beginning") from error
    if "pytorch-lightning_version" in state:
        state = _from_lightning(state, parameters)
    if state["format"] > FORMAT:
        raise RunFailed(f"{path}: has format {state['format']}, which is newer than this spectag: update spectag")
    return state


def _from_lightning(old: dict[str, Any], parameters: list[str]) -> State:
    """Convert a checkpoint that Lightning's Trainer wrote for spectag 0.1."""
    weights = {part: _below(f"{part}.", old["state_dict"]) for part in ("network", "averaged")}
    callbacks = old["callbacks"]
    state = {
        "format": FORMAT,
        "epoch": old["epoch"],
        "batches": old["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"],
        "network": weights["network"],
        "ema": weights["averaged"] or None,
        "optimizer": {parameters[i]: values for i, values in old["optimizer_states"][0]["state"].items()},
        "precision": old.get("MixedPrecision", {}),
        "history": callbacks["History"],
        "mean": callbacks.get("Averaging"),
        "skipped": callbacks["Skipped"]["reasons"],
    }
    return {name: value for name, value in state.items() if value is not None}


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
