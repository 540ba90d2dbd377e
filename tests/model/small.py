"""Small models with weights far from the initial ones."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from spectag.audio.front_end import FrontEnd
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.keys import KeyTable
from spectag.model.network import AST
from spectag.model.tensors import from_ours

TINY = ASTConfig(width=32, depth=2, heads=2, mlp_ratio=2.0, frames=100, labels=5)


def make_bundle(seed: int = 0, **fields) -> Bundle:
    config = replace(TINY, **fields)
    torch.manual_seed(seed)
    network = AST(config)
    with torch.no_grad():  # far from the initial zeros and ones, so that nothing cancels
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    labels = LabelSet(tuple(f"class {n}" for n in range(config.labels)), tuple(f"/m/{n}" for n in range(config.labels)))
    front_end = FrontEnd(window="hanning", mel_bins=config.mel_bins, mean=-6.0, std=5.0, frames=config.frames)
    return Bundle(Card(config, front_end, labels, "softmax", {"source": "a test"}), network)


def with_facts(bundle: Bundle, **facts) -> Bundle:
    """The same network with other facts on its card."""
    return replace(bundle, card=replace(bundle.card, **facts))


def renamed(bundle: Bundle, table: KeyTable) -> dict[str, torch.Tensor]:
    """The bundle's weights under the names of another kind of file."""
    config = bundle.network.config
    return from_ours(bundle.network.state_dict(), table.rows(config.depth, config.tokens))


def edit(path: Path, **fields) -> None:
    """Change fields of a JSON file; a field set to ... is removed."""
    data = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))
