"""The devices that networks run on, and whether they compute in bf16."""

from __future__ import annotations

import torch

from spectag.errors import InputError


def find_device(name: str) -> torch.device:
    """Return the device of that name, if this machine has it.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        InputError: the name is unknown, or this machine has no such device; the message says what it has.

    >>> find_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device must be cpu, cuda, cuda:N or mps; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not available: PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices (0 with a CPU build of PyTorch): use cpu, or install a CUDA build"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            f"device {name!r} is not available: this machine has no Metal GPU that PyTorch can use: use cpu"
        )
    return device


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16. Without them, bf16 is emulated and several times slower than fp32.

    Only CPUs are checked. A GPU without these instructions is rare, and torch reports it itself. The result is True if
    an older torch cannot tell.

    >>> computes_bf16(torch.device("cpu")) in (True, False)
    True
    """
    if device.type != "cpu":
        return True
    abilities = _cpu_abilities()
    return abilities is None or bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def computes_int8() -> bool:
    """Whether this processor multiplies int8 as it should.

    x86 processors without VNNI or AMX add products of int8 in int16, which overflows: scores become wrong without a
    sign of it (microsoft/onnxruntime#6004). The result is True for other processors, and if an older torch cannot tell.

    >>> computes_int8() in (True, False)
    True
    """
    abilities = _cpu_abilities()
    if abilities is None or abilities.get("architecture", "x86_64") not in ("x86_64", "AMD64", "x86"):
        return True
    return any(abilities.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def trains_faster_in_bf16(device: torch.device) -> bool:
    """Whether training in bf16 is faster than in fp32: on GPUs that compute it, and on CPUs with AMX.

    AVX-512 alone is not enough on a CPU: it computes bf16, but gradients are no faster. The result is False if an
    older torch cannot tell.

    >>> trains_faster_in_bf16(torch.device("mps"))
    False
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool((_cpu_abilities() or {}).get("amx_bf16"))


def _cpu_abilities() -> dict[str, object] | None:
    """The processor's instruction sets by name; None if torch is too old to know."""
    abilities: dict[str, object] | None = getattr(torch.cpu, "get_capabilities", lambda: None)()
    return abilities
