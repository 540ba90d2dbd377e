"""The run in lightning_run/: its recipe and clips.

Its checkpoint was written by the last version that left its loop to Lightning's Trainer (0.1.0, commit af9741f), which
was killed in the second of three epochs; ``expected.safetensors`` holds the weights that the same version arrived at
without being killed, those of the last epoch and their mean.
"""

from pathlib import Path

import numpy as np
import soundfile

RECIPE = {
    "name": "old",
    "epochs": 3,
    "batch_size": 6,
    "accumulate": 2,
    "lr": 1e-3,
    "optimizer": "muon",
    "weight_decay": 0.1,
    "loss": "ce",
    "clip_norm": 1.0,
    "ema": 0.9,
    "average": [1, 3],
    "select": "averaged",
    "precision": "fp32",
    "model": {"width": 8, "depth": 1, "heads": 2, "patch": [16, 4], "stride": [16, 4], "drop_path": 0.1},
    "front_end": {"mel_bins": 16, "frames": 16},
    "augment": {"excerpt": True, "mix_rate": 0.5, "time_mask": 4, "patch_drop": 0.3},
    "schedule": {"kind": "cosine", "warmup_steps": 2},
}


def write_clips(folder: Path) -> Path:
    """Sixteen clips of noise in ESC-10's layout, the same on every machine."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("001 - Loud", "002 - Quiet")):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            samples = rng.integers(-8000, 8000, 4000) // (1 + 3 * label)
            soundfile.write(folder / name / f"{i % 4 + 1}-{label}{i:02}-A.wav", samples.astype(np.int16), 16000)
    return folder
