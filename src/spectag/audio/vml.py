"""The functions of MKL's vector library (VML), which PyTorch computes with on x86 processors."""

from __future__ import annotations

import torch

FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "erf", "erfc", "erfinv", "exp", "log", "log10", "log2"),
    *("sin", "sqrt", "tan", "tanh", "trunc"),
)
"""All that PyTorch takes from the library, by their names in PyTorch."""


def call_each_once() -> None:
    """Call each function once, before any threads use it. This takes 2 ms, and needs no library to be there.

    The library chooses the code of a function when it is called first. A thread that calls it meanwhile may get code
    with errors of up to some thousand units in the last place (https://github.com/pytorch/pytorch/issues/188792).
    Without these calls, one of 200 processes that computed its first spectrograms in two threads got others, with a
    window function that stays wrong as long as the process lives.

    >>> call_each_once()
    """
    for dtype in (torch.float32, torch.float64):  # each has code of its own
        one = torch.ones(1, dtype=dtype, device="cpu")
        for name in FUNCTIONS:
            getattr(torch, name)(one)
