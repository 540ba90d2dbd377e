"""Pickles of torch: tensors and plain values are read from them, and nothing in them is ever run.

Training programs put other things beside the weights: figures as NumPy scalars, arguments as a Namespace, paths. None
of it is of use here. An inert stand-in takes the place of each, so that not even NumPy's own unpickling runs.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from spectag.errors import NotAModel, ShapeMismatch, UnreadableModel
from spectag.model.adapt import State
from spectag.model.shapes import unreadable

# Where training programs put the weights inside of a checkpoint, in the order in which they are looked for.
NESTED = ("model", "state_dict", "model_state_dict", "model_state", "network", "net", "module", "weights")
DEEPEST = 4  # levels of nesting; a pickle can hold itself
OPTIMISER = frozenset({"state", "param_groups"})  # the keys of every torch optimiser's state


class _Inert:
    """Stands for a value beside the weights. It takes whatever it is built from, and does nothing with it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


NUMPY = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
BESIDE = (
    *(f"numpy.{core}.{name}" for core in ("core", "_core") for name in NUMPY),
    "numpy.dtype",
    "numpy.ndarray",
    "argparse.Namespace",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
)
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    type(name, (_Inert,), {"__module__": module}) for module, _, name in (path.rpartition(".") for path in BESIDE)
]


def read_pickle(path: Path) -> State:
    """Read the tensors of a pickle by name, wherever a training program put them. Floating point becomes float32.

    Raises:
        UnreadableModel: the file is truncated, damaged, or holds more than tensors and plain values (it is not run).
        NotAModel: there are no tensors by name, or it is an optimiser's state.
        ShapeMismatch: no tensor is floating point.

    >>> torch.save({"epoch": np.int64(3), "model_state_dict": {"bias": torch.zeros(2)}}, "a.pth")
    >>> read_pickle(Path("a.pth"))
    {'bias': tensor([0., 0.])}
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        _refuse_deflated(path)
    loaded = _unpickle(path)
    found = _find_state(loaded, DEEPEST)
    if found is None:
        raise NotAModel(f"{path}: {_describe(loaded)}")
    state = {key: _checked(path, key, value) for key, value in found.items() if isinstance(value, Tensor)}
    if not any(value.is_floating_point() for value in state.values()):
        key, value = next(iter(state.items()))
        raise ShapeMismatch(f"{path}: {key}: expected floating point, got {value.dtype}")
    return state


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
        with warnings.catch_warnings(), safe_globals(STAND_INS):
            warnings.simplefilter("ignore")  # torch's remarks on how the pickle was written help nobody here
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnreadableModel(
            f"{path}: a pickle that holds more than tensors and plain values, or is damaged; it was not executed: "
            "save the state dict alone, or convert it to safetensors where it comes from"
        ) from error
    # Whatever a damaged archive makes the reader trip over.
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise unreadable(path, error) from error


def _find_state(loaded: Any, depth: int) -> Mapping[str, Any] | None:
    """The mapping of names to tensors: within the others, or else the whole."""
    if not isinstance(loaded, Mapping) or depth == 0:
        return None
    for key in NESTED:
        if (found := _find_state(loaded.get(key), depth - 1)) is not None:
            return found
    named = {key: value for key, value in loaded.items() if isinstance(key, str)}
    return named if any(isinstance(value, Tensor) for value in named.values()) else None


def _describe(loaded: Any) -> str:
    """What was read where no state dict was."""
    if isinstance(loaded, Mapping) and loaded.keys() >= OPTIMISER:
        return "the state of an optimiser, not of a model: give the file of the weights"
    got = type(loaded).__name__
    if isinstance(loaded, Mapping) and loaded:
        key, value = next(iter(loaded.items()))
        got = f"{key!r}: {type(value).__name__}"
    return f"expected a state dict (names to tensors), got {got}"


def _checked(path: Path, key: str, value: Tensor) -> Tensor:
    if value.layout != torch.strided or value.device.type != "cpu":
        kind = value.layout if value.layout != torch.strided else value.device
        raise NotAModel(f"{path}: {key}: expected a dense tensor with its values, got {kind}: save the weights again")
    # A stride of 0 lets a small file claim any size; nothing that was saved needs it.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise UnreadableModel(f"{path}: {key}: claims more values than the file holds")
    return value.to(torch.float32) if value.is_floating_point() else value
