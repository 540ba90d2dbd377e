"""Read, write and rename tensors. Files are not trusted: everything in them is checked.

Files are safetensors, or pickles that contain only tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spectag.errors import KeyMismatch, NonFiniteWeights, SaveError, UnreadableModel
from spectag.model.adapt import State
from spectag.model.keys import TensorRow
from spectag.model.pickles import read_pickle
from spectag.model.shapes import unreadable


def read_safetensors(path: Path) -> State:
    """Read all tensors of a safetensors file, as copies in memory. Floating point becomes float32.

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
            state = {key: _copied(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error
    require_finite(state, str(path))
    return state


def read_weights(path: Path) -> State:
    """Read tensors by name from a safetensors file or a ``.pth``; the content decides which it is.

    Floating point becomes float32. Names stay as they are, see :func:`spectag.model.naming.rename`.

    Raises:
        UnreadableModel: the file is truncated, damaged, or a pickle that holds more than tensors and plain values (it
            is not executed).
        NotAModel: it is readable, but an optimiser state or something else.
        NonFiniteWeights: there are NaN or infinite values.

    >>> torch.save({"bias": torch.zeros(2)}, "a.pth")
    >>> read_weights(Path("a.pth"))
    {'bias': tensor([0., 0.])}
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise unreadable(path, error) from error
    if start[8:] == b"{":  # eight bytes of length, then JSON
        return read_safetensors(path)
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, or a bare pickle of an old torch
        what = "it is empty" if not start else "it is neither safetensors nor a torch checkpoint"
        raise UnreadableModel(f"{path}: cannot read weights: {what}")
    state = read_pickle(path)
    require_finite(state, str(path))
    return state


def read_all(files: list[Path]) -> State:
    """Read the tensors of a model that is kept in one or more files.

    Raises:
        KeyMismatch: two files have a tensor of the same name. Otherwise as :func:`read_weights`.

    >>> write_safetensors({"bias": torch.ones(1)}, Path("1.safetensors"))
    >>> torch.save({"weight": torch.zeros(1)}, "2.bin")
    >>> read_all([Path("1.safetensors"), Path("2.bin")])
    {'bias': tensor([1.]), 'weight': tensor([0.])}
    """
    state: State = {}
    for file in files:
        # A name that promises safetensors must not lead to a pickle.
        part = (read_safetensors if file.suffix == ".safetensors" else read_weights)(file)
        if twice := state.keys() & part.keys():
            raise KeyMismatch(f"{file}: {min(twice)} is in another file of the same model, too: restore the files")
        state |= part
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
        if value.is_floating_point() and not all_finite(value):
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


def _copied(value: Tensor) -> Tensor:
    return value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
