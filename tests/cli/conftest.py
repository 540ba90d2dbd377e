"""A saved bundle with drawn weights, and recordings good and bad."""

from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from spectag.audio.front_end import FrontEnd
    from spectag.labels import LabelSet
    from spectag.model.bundle import Bundle
    from spectag.model.card import Card
    from spectag.model.config import ASTConfig
    from spectag.model.network import AST

    torch.manual_seed(0)
    network = AST(ASTConfig(width=32, depth=1, heads=2, frames=50, labels=3))
    labels = LabelSet(("dog", "rain", "sea"))
    bundle = Bundle(Card(network.config, FrontEnd(frames=50), labels, "softmax"), network)
    return bundle.save(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Path]:
    """Odd recordings that must work, with their durations in the names."""
    folder = tmp_path / "good"
    folder.mkdir()
    rng = np.random.default_rng(0)
    sounds = {
        "0.01.wav": (0.1 * rng.standard_normal(160), 16_000),
        "1.0.wav": (0.001 * rng.standard_normal(16_000), 16_000),
        "0.5.flac": (0.1 * rng.standard_normal(4_000), 8_000),
        "0.25.WAV": (0.1 * rng.standard_normal((48_000, 8)), 192_000),
    }
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate)
    return {name: folder / name for name in sounds}


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, Path]:
    """What cannot be tagged, by kind."""
    folder = tmp_path / "bad"
    (folder / "no audio").mkdir(parents=True)
    (folder / "no audio/readme.txt").touch()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is text\n" * 100)
    soundfile.write(folder / "no samples.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "nan.wav", np.full(1_000, np.nan), 16_000, subtype="FLOAT")
    names = ("no audio", "empty.wav", "text.wav", "no samples.wav", "nan.wav", "missing.wav")
    return {name: folder / name for name in names}
