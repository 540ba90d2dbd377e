"""Compare pieces of a training step on the CPU with their counterparts in torch.

    python benchmarks/pieces.py [--threads 1] [--repeats 20]

For the first two pieces the script times a forward and a backward pass, for Muon one update:

- Patches: our matrix product, compared with the convolution that holds the same weights.
- Attention: ours, which may compute in fp32 within bf16, compared with ``scaled_dot_product_attention``.
- Muon: ours, which updates all matrices of one shape together, compared with ``torch.optim.Muon``, which is always in
  bf16.

The two take turns. The figures are medians, and each ratio is torch's time divided by ours (above 1: ours is faster).
bf16 is faster only on processors with bf16 instructions (AMX or AVX512-BF16).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectag.model.config import ASTConfig
from spectag.model.network import AST, PatchEmbed, attend
from spectag.train.muon import Muon

SMALL = ASTConfig(width=192, depth=6, heads=6, patch=(128, 8), stride=(128, 8), frames=256, labels=50)  # esc50-scratch
BASE = ASTConfig()
DTYPES = (torch.float32, torch.bfloat16)


def patches(config: ASTConfig, batch: int, dtype: torch.dtype) -> tuple[Callable[[], object], Callable[[], object]]:
    embed = PatchEmbed(config)
    inputs = torch.randn(batch, config.frames, config.mel_bins)

    def gradient(project: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = project(inputs)
        out.float().sum().backward()

    return lambda: gradient(lambda x: embed.proj(x.mT[:, None])), lambda: gradient(embed)


def attention(tokens: int, batch: int, dtype: torch.dtype) -> tuple[Callable[[], object], Callable[[], object]]:
    q, k, v = (torch.randn(batch, 6, tokens, 32, dtype=dtype, requires_grad=True) for _ in range(3))

    def gradient(of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        of(q, k, v).float().sum().backward()

    return lambda: gradient(functional.scaled_dot_product_attention), lambda: gradient(attend)


def muon(config: ASTConfig, dtype: torch.dtype) -> tuple[Callable[[], object], Callable[[], object]]:
    named = {name: p for name, p in AST(config).blocks.named_parameters() if p.ndim == 2}
    matrices, stacked = list(named.values()), [3 if "qkv" in name else 1 for name in named]
    twins = [nn.Parameter(p.detach().clone()) for p in matrices]
    peer = torch.optim.Muon(twins, lr=1e-3)
    ours = Muon([{"params": matrices, "muon": True, "stacked": stacked}], lr=1e-3, precision=dtype)

    def update(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        for p in parameters:
            p.grad = torch.ones_like(p)
        optimizer.step()

    return lambda: update(peer, twins), lambda: update(ours, matrices)


def medians(pair: tuple[Callable[[], object], Callable[[], object]], repeats: int) -> list[float]:
    """Time both in turns and return their median milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 2):
        for work, seconds in zip(pair, times, strict=True):
            start = time.perf_counter()
            work()
            if turn >= 2:  # the first two turns are warm-up
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) * 1e3 for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    parser.add_argument("--repeats", type=int, default=20, help="number of timed turns")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"processor {torch.backends.cpu.get_cpu_capability()}, threads {options.threads}, torch {torch.__version__}")
    print(f"{'ms':40}  {'torch':>8}  {'spectag':>8}  {'ratio':>6}")
    for dtype in DTYPES:
        name = str(dtype).removeprefix("torch.")
        rows = {
            "patches 128x8, 64 small": patches(SMALL, 64, dtype),
            "patches 16x16, 2 base": patches(BASE, 2, dtype),
            "attention of 21 tokens, 64 small": attention(21, 64, dtype),
            "attention of 600 tokens, 4 small": attention(600, 4, dtype),
            "attention of 1214 tokens, 2 small": attention(1214, 2, dtype),
            "Muon, small": muon(SMALL, dtype),
        }
        for row, pair in rows.items():
            theirs, ours = medians(pair, options.repeats)
            print(f"{row + ', ' + name:40}  {theirs:8.2f}  {ours:8.2f}  {theirs / ours:6.2f}", flush=True)


if __name__ == "__main__":
    main()
