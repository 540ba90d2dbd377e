"""The names of what goes into a graph and comes out of it."""

from __future__ import annotations

INPUTS, WAVEFORM = "inputs", "waveform"  # [B, T, F] or, with the front end, [B, N]
SCORES, EMBEDDING, FRAME_SCORES = "scores", "embedding", "frame_scores"  # [B, C], [B, D], [B, n, C]
FRONT_END = "front_end."  # what the names of the front end's layers begin with
