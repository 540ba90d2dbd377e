"""Read, write and rename tensors. Files are not trusted: everything in them is checked.

Files are safetensors, or pickles that contain only tensors.
"""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spectag.errors import NonFiniteWeights, NotAModel, SaveError, ShapeMismatch, UnreadableModel
from spectag.model.adapt import State
from spectag.model.keys import TensorRow
from spectag.model.shapes import read_shapes, unreadable

NESTED = ("model", "state_dict")  # where training programs put the weights inside of a checkpoint: DeiT, many others
OPTIMISER = frozenset({"state", "param_groups"})  # the keys of every torch optimiser's state
PARALLEL = "module."  # what torch.nn.DataParallel puts before every key


def read_safetensors(path: Path) -> State:
    """Read all tensors of a safetensors file as float32, as copies in memory.

    Raises:
        UnreadableModel: the file is truncated or not safetensors at all.
        NonFiniteWeights: there are NaN or infinite values.

    >>> write_safetensors({"bias": torch.tensor([1.0, 2.0]).half()}, Path("a.safetensors"))
    >>> read_safetensors(Path("a.safetensors"))
    {'bias': tensor([1., 2.])}
    """
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: the file is mapped, and must stay replaceable (Windows) and free to be truncated.
            state = {key: file.get_tensor(key).to(torch.float32, copy=True) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error
    require_finite(state, str(path))
    return state


def read_weights(path: Path) -> State:
    """Read a state dict as float32, from a safetensors file or a ``.pth``; the content decides which it is.

    The prefix ``module.``, which ``torch.nn.DataParallel`` puts before every key, is taken off.

    Raises:
        UnreadableModel: the file is truncated, damaged, or a pickle that holds more than tensors (it is not executed).
        NotAModel: it is readable, but an optimiser state or something else.
        NonFiniteWeights: there are NaN or infinite values.

    >>> torch.save({"module.bias": torch.zeros(2)}, "a.pth")
    >>> read_weights(Path("a.pth"))
    {'bias': tensor([0., 0.])}
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise unreadable(path, error) from error
    if start[8:] == b"{":  # eight bytes of length, then JSON
        read_shapes(path)
        return strip_parallel(read_safetensors(path))
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, or a bare pickle of an old torch
        what = "it is empty" if not start else "it is neither safetensors nor a torch checkpoint"
        raise UnreadableModel(f"{path}: cannot read weights: {what}")
    if start.startswith(b"PK"):
        _refuse_deflated(path)
    state = _tensors_only(_unpickle(path), path)
    require_finite(state, str(path))
    return strip_parallel(state)


def strip_parallel(state: State) -> State:
    """Remove the prefix ``module.`` if every key has it.

    >>> strip_parallel({"module.bias": torch.zeros(1)}).keys()
    dict_keys(['bias'])
    """
    if state and all(key.startswith(PARALLEL) for key in state):
        return {key[len(PARALLEL) :]: value for key, value in state.items()}
    return state


def to_ours(state: State, rows: Iterable[TensorRow]) -> State:
    """Rename checked tensors of a file to this package's names, and join those that are one tensor here.

    >>> to_ours({"q": torch.zeros(2), "k": torch.ones(1)}, [TensorRow("qk", ("q", "k"), axis=0)])
    {'qk': tensor([0., 0., 1.])}
    """
    ours: State = {}
    for row in rows:
        parts = [state[key] for key in row.theirs]
        ours[row.ours] = torch.cat(parts, row.axis) if len(parts) > 1 else parts[0]
    return ours


def from_ours(state: State, rows: Iterable[TensorRow]) -> State:
    """Rename this package's tensors to the names of a file. This is the inverse of :func:`to_ours`.

    >>> from_ours({"qk": torch.zeros(2)}, [TensorRow("qk", ("q", "k"), axis=0)])
    {'q': tensor([0.]), 'k': tensor([0.])}
    """
    theirs: State = {}
    for row in rows:
        parts = state[row.ours].chunk(len(row.theirs), row.axis)
        theirs |= {key: part.contiguous() for key, part in zip(row.theirs, parts, strict=True)}
    return theirs


def all_finite(value: Tensor) -> bool:
    """Whether there is no NaN and no infinity. Only the extremes are checked, which is 30 times as fast.

    NaN passes through minimum and maximum, so the extremes show it, too.

    >>> all_finite(torch.tensor([1.0, float("nan")]))
    False
    """
    return not value.numel() or all(math.isfinite(extreme) for extreme in torch.stack(value.aminmax()).tolist())


def require_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Check that all tensors are finite.

    Raises:
        NonFiniteWeights: the message names the first tensor with NaN or infinite values.

    >>> require_finite({"bias": torch.zeros(3)}, "a.pth")
    """
    for key, value in state.items():
        if not all_finite(value):
            bad = int((~torch.isfinite(value)).sum())
            raise NonFiniteWeights(f"{source}: {key}: {bad} of {value.numel()} values are NaN or infinite")


def write_safetensors(state: State, path: Path) -> None:
    """Write a safetensors file that ``transformers`` reads as well.

    Raises:
        SaveError: it could not be written; the disk is full, for example.

    >>> write_safetensors({"bias": torch.zeros(2)}, Path("a.safetensors"))
    """
    try:
        path.touch()
        mode = path.stat().st_mode  # what the umask allows; safetensors would let only the owner read the file
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
        raise unreadable(path, error) from error
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
        raise unreadable(path, error) from error


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
