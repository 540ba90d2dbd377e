"""Reading and writing tensor files, suspicious of every byte: safetensors, and pickles that hold tensors only."""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spectag.errors import NonFiniteWeights, NotAModel, SaveError, ShapeMismatch, UnreadableModel
from spectag.model.adapt import State
from spectag.model.shapes import Shapes

# Where training programs put the weights inside of a checkpoint: DeiT's "model", many others' "state_dict".
NESTED = ("model", "state_dict")
OPTIMISER = frozenset({"state", "param_groups"})  # the keys of every torch optimiser's state


def header(path: Path) -> Shapes:
    """The shapes in a safetensors file, without reading the tensors.

    Raises:
        UnreadableModel: truncated or not safetensors at all.
        ShapeMismatch: a tensor that is not floating point.
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            for key, piece in slices.items():
                if piece.get_dtype() not in ("F16", "BF16", "F32", "F64"):
                    raise ShapeMismatch(f"{path}: {key}: expected floating point, got {piece.get_dtype()}")
            return {key: tuple(piece.get_shape()) for key, piece in slices.items()}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def read_safetensors(path: Path) -> State:
    """All tensors of a safetensors file as float32, in memory of their own.

    Raises:
        UnreadableModel: truncated or not safetensors at all.
        NonFiniteWeights: NaN or infinite values.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: the file is mapped, and must stay replaceable (Windows) and free to be truncated.
            state = {key: file.get_tensor(key).to(torch.float32, copy=True) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    require_finite(state, str(path))
    return state


def read_weights(path: Path) -> State:
    """A state dict from a safetensors file or a ``.pth``, told apart by content, as float32.

    Raises:
        UnreadableModel: truncated, damaged, or a pickle that holds more than tensors (it is not executed).
        NotAModel: readable, but an optimiser state or something else.
        NonFiniteWeights: NaN or infinite values.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise _unreadable(path, error) from error
    if start[8:] == b"{":  # eight bytes of length, then JSON
        header(path)
        return read_safetensors(path)
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, or a bare pickle of old
        what = "it is empty" if not start else "it is neither safetensors nor a torch checkpoint"
        raise UnreadableModel(f"{path}: cannot read weights: {what}")
    if start.startswith(b"PK"):
        _refuse_deflated(path)
    state = _tensors_only(_unpickle(path), path)
    require_finite(state, str(path))
    return state


def all_finite(value: Tensor) -> bool:
    """No NaN and no infinity, by the extremes (which NaN passes through): 30 times as fast as asking every value."""
    return not value.numel() or all(math.isfinite(extreme) for extreme in torch.stack(value.aminmax()).tolist())


def require_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Raises NonFiniteWeights, naming the first tensor with NaN or infinite values."""
    for key, value in state.items():
        if not all_finite(value):
            bad = int((~torch.isfinite(value)).sum())
            raise NonFiniteWeights(f"{source}: {key}: {bad} of {value.numel()} values are NaN or infinite")


def write_safetensors(state: State, path: Path) -> None:
    """Write a file that ``transformers`` reads as well.

    Raises:
        SaveError: the disk is full, say.
    """
    try:
        path.touch()
        mode = path.stat().st_mode  # what the umask allows; safetensors would let the owner alone read the file
        save_file(state, path, metadata={"format": "pt"})
        path.chmod(mode)
    except (SafetensorError, OSError) as error:
        raise SaveError(f"{path}: cannot write the weights: {error}") from error


def _refuse_deflated(path: Path) -> None:
    """torch stores the members of its archives as they are: one that unpacks to more was made to fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        size = path.stat().st_size
    # What zipfile makes of damaged archives, NotImplementedError of versions that it does not know.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    if unpacked > size:
        raise UnreadableModel(
            f"{path}: {size} bytes that unpack to {unpacked}: torch writes archives without compression; "
            "save the weights again with torch.save"
        )


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():  # torch's remarks on how the pickle was written help nobody here
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnreadableModel(
            f"{path}: a pickle that holds more than tensors, or is damaged; it was not executed: "
            "save the state dict alone, or convert it to safetensors where it comes from"
        ) from error
    # Whatever a damaged archive makes the reader trip over.
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from error


def _tensors_only(loaded: Any, path: Path) -> State:
    for key in NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if isinstance(loaded, Mapping) and loaded.keys() >= OPTIMISER:
        raise NotAModel(f"{path}: the state of an optimiser, not of a model: give the file of the weights")
    if not isinstance(loaded, Mapping) or not loaded:
        raise NotAModel(f"{path}: expected a state dict (names to tensors), got {type(loaded).__name__}")
    state: State = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise NotAModel(f"{path}: expected a state dict (names to tensors), got {key!r}: {type(value).__name__}")
        if not value.is_floating_point():
            raise ShapeMismatch(f"{path}: {key}: expected floating point, got {value.dtype}")
        # A stride of 0 lets a small file claim any size; nothing that was saved needs it.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UnreadableModel(f"{path}: {key}: claims more values than the file holds")
        state[key] = value.to(torch.float32)
    return state


def _unreadable(path: Path, error: Exception) -> UnreadableModel:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return UnreadableModel(f"{path}: cannot read the weights, the file is truncated or damaged: {reason[0][:200]}")
