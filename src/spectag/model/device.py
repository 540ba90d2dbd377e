"""Where networks run."""

from __future__ import annotations

import torch

from spectag.errors import InputError


def find_device(name: str) -> torch.device:
    """The device of that name, if this machine has it.

    Raises:
        InputError: unknown, or not there; the message says what is.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device must be cpu, cuda, cuda:N or mps; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not there: PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices "
            "(0 with a CPU build of PyTorch): use cpu, or install a CUDA build"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r} is not there: this machine has no Metal GPU that PyTorch can use: use cpu")
    return device
