"""A tagger with drawn weights, and recordings to tag."""

from pathlib import Path

import pytest
import soundfile
import torch
from sounds import FRAMES, noise

from spectag.audio.front_end import FrontEnd
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.network import AST
from spectag.tag.tagger import Tagger


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    torch.manual_seed(0)
    network = AST(ASTConfig(width=32, depth=1, heads=2, frames=FRAMES, labels=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    labels = LabelSet(("dog", "rain", "sea", "saw"))
    return Bundle(Card(network.config, FrontEnd(frames=FRAMES), labels, "softmax"), network)


@pytest.fixture(scope="session")
def tagger(bundle: Bundle) -> Tagger:
    return Tagger(bundle, batch_size=4)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings at 16 kHz from shorter than a frame to many windows."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for n, samples in enumerate((160, 8_000, 20_000, 8_160, 33_333, 400)):
        paths.append(folder / f"{n}.wav")
        soundfile.write(paths[-1], noise(samples, seed=n), 16_000, subtype="FLOAT")
    return paths
