"""The network as an ONNX graph: inputs of any number and length -> scores, embedding and frame scores.

The graph is written down node by node and not recorded while PyTorch runs, so that batch and length are free, and the
positional embedding is fitted to the length inside of the graph, as :func:`spectag.model.adapt.adapt_positions` does.
OpenVINO reads the same graph.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spectag.audio.front_end import FRAME, HOP
from spectag.audio.read import SAMPLE_RATE
from spectag.engines.names import EMBEDDING, FRAME_SCORES, INPUTS, SCORES, WAVEFORM
from spectag.engines.nodes import Nodes
from spectag.engines.waveform import add_front_end
from spectag.errors import InputError
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.ensemble import Ensemble
from spectag.model.network import AST, Block, Head

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST = 2**31 - 1  # bytes of a file in the format of ONNX
AXIS = np.array([0])


def build_graph(model: Bundle | Ensemble, front_end: bool = False) -> ModelProto:
    """Write a model down as an ONNX graph.

    Args:
        model: a bundle, or an ensemble, whose scores are averaged and whose features are concatenated.
        front_end: let the graph take waveforms ``[B, N]`` (float32, 16 kHz, full scale 1.0, at least one sample)
            instead of inputs ``[B, T, F]``. Waveforms shorter than the model's window are padded to it.

    Returns:
        a graph with the outputs ``scores`` ``[B, C]``, ``embedding`` ``[B, D]`` and, where the model has a frame head,
        ``frame_scores`` ``[B, n, C]``. Its metadata has the labels and the length of the window.

    Raises:
        MissingExtra: `onnx` is not installed.

    >>> graph = build_graph(spectag.load("esc10")).graph
    >>> [value.name for value in graph.input], [value.name for value in graph.output]
    (['inputs'], ['scores', 'embedding'])
    """
    nodes = Nodes()
    members = model.members if isinstance(model, Ensemble) else (model,)
    card = model.card
    taken: dict[str, list[str | int]] = {INPUTS: ["batch", "frames", card.front_end.mel_bins]}
    if front_end:
        taken = {WAVEFORM: ["batch", "samples"]}
        add_front_end(nodes, WAVEFORM, INPUTS, card.front_end)
    parts = [
        _add_network(nodes, member, f"member-{number}." if len(members) > 1 else "", card.config.frame_head)
        for number, member in enumerate(members)
    ]
    scores, embeddings, frames = (list(values) for values in zip(*parts, strict=True))
    nodes("Mean", *scores, name=SCORES)
    nodes("Concat", *embeddings, name=EMBEDDING, axis=1)
    width = sum(member.card.config.width for member in members)
    given: dict[str, list[str | int]] = {SCORES: ["batch", len(card.labels)], EMBEDDING: ["batch", width]}
    if card.config.frame_head:
        nodes("Mean", *frames, name=FRAME_SCORES)
        given[FRAME_SCORES] = ["batch", "columns", len(card.labels)]
    return nodes.model(taken, given, describe(card))


def to_bytes(graph: ModelProto) -> bytes:
    """The bytes of an ONNX file.

    Raises:
        InputError: there are too many: an ONNX file has less than 2 GiB.

    >>> len(to_bytes(build_graph(spectag.load("esc10")))) > 1_000_000
    True
    """
    size = graph.ByteSize()
    if not 0 <= size <= LARGEST:
        raise InputError("the model has more than 2 GiB, which is more than an ONNX file holds: export its members")
    content: bytes = graph.SerializeToString()
    return content


def describe(card: Card) -> dict[str, str]:
    """What programs without spectag need to know, as texts for the metadata of the graph.

    >>> describe(spectag.load("esc10").card)["window_samples"]
    '41200'
    """
    facts: dict[str, Any] = {
        "labels": json.dumps(card.labels.names, ensure_ascii=False),
        "activation": card.activation,
        "sample_rate": SAMPLE_RATE,
        "window_frames": card.front_end.frames,
        "window_samples": (card.front_end.frames - 1) * HOP + FRAME,
        "hop_samples": max(1, card.front_end.frames // 2) * HOP,  # from one window of a long recording to the next
    }
    return {name: str(value) for name, value in facts.items()}


def _add_network(nodes: Nodes, member: Bundle, prefix: str, frames: bool) -> tuple[str, str, str]:
    """The names of scores, embedding and frame scores (empty without ``frames``) of one network."""
    network, config = member.network, member.card.config
    x = _add_patches(nodes, network, prefix)
    last = len(network.blocks) - 1
    for layer, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        first = config.tokens if layer == last and not frames else None
        x = _add_block(nodes, block, x, f"{prefix}blocks.{layer}", first)
    x = _add_norm(nodes, network.norm, x, f"{prefix}norm")
    tokens, columns = x, ""
    if frames:
        tokens = nodes("Slice", x, AXIS, np.array([config.tokens]), np.array([1]))
        patches = nodes("Slice", x, np.array([config.tokens]), np.array([2**31 - 1]), np.array([1]))
        columns = nodes("Reshape", patches, np.array([0, config.grid[0], -1, config.width]))  # [B, f, t, D]
        columns = nodes("ReduceMean", columns, np.array([1]), keepdims=0)
        assert network.frame_head is not None
        columns = nodes("Sigmoid", _add_head(nodes, network.frame_head, columns, f"{prefix}frame_head"))
    embedding = nodes("ReduceMean", tokens, np.array([1]), keepdims=0)
    logits = _add_head(nodes, network.head, embedding, f"{prefix}head")
    one = member.activation == "sigmoid"
    return nodes("Sigmoid", logits) if one else nodes("Softmax", logits, axis=-1), embedding, columns


def _add_patches(nodes: Nodes, network: AST, prefix: str) -> str:
    """Inputs ``[B, T, F]`` -> tokens and patches with their positions, ``[B, tokens + f * t, D]``."""
    config, projection = network.config, network.patch_embed.proj
    f, t = config.grid
    x = nodes("Unsqueeze", INPUTS, np.array([1]))  # [B, 1, T, F]: the kernel is turned, not the inputs
    kernel = _array(projection.weight).transpose(0, 1, 3, 2)
    assert projection.bias is not None
    x = nodes(
        "Conv", x, kernel, _array(projection.bias), name=f"{prefix}patch_embed", strides=list(config.stride[::-1])
    )
    x = nodes("Transpose", x, perm=[0, 3, 2, 1])  # [B, f, t, D]
    columns = nodes("Shape", x, start=2, end=3)
    positions = _array(network.pos_embed)[0]
    n = config.tokens
    x = nodes("Add", x, _add_positions(nodes, positions[n:].reshape(f, t, -1), columns))
    x = nodes("Reshape", x, np.array([0, -1, config.width]))
    tokens = (_array(network.tokens)[0] + positions[:n])[None]
    shape = nodes("Concat", nodes("Shape", INPUTS, start=0, end=1), np.array([n, config.width]), axis=0)
    return nodes("Concat", nodes("Expand", tokens, shape), x, axis=1)


def _add_positions(nodes: Nodes, positions: NDArray[np.float32], columns: str) -> str:
    """Positions ``[f, t, D]`` -> those of another number of columns k, ``[f, k, D]``.

    Fewer columns are cut from the centre. More are interpolated: column i lies at ``(2 i + 1) t / 2 k - 1 / 2``. This
    is computed in whole numbers, since bf16 has none above 256.
    """
    t = positions.shape[1]
    one = nodes("Squeeze", columns, AXIS)  # a scalar, for Range
    index = nodes("Range", np.int64(0), one, np.int64(1))
    odd = nodes("Add", nodes("Mul", index, np.int64(2)), np.int64(1))
    below = nodes("Mul", columns, np.int64(2))
    above = nodes("Max", nodes("Sub", nodes("Mul", odd, np.int64(t)), columns), np.int64(0))
    left = nodes("Div", above, below)
    rest = nodes("Sub", above, nodes("Mul", left, below))
    start = nodes("Sub", np.int64(t // 2), nodes("Div", columns, np.int64(2)))
    longer = nodes("Greater", columns, np.int64(t))
    left = nodes("Where", longer, left, nodes("Add", index, start))
    rest = nodes("Where", longer, rest, np.int64(0))
    right = nodes("Min", nodes("Add", left, np.int64(1)), np.int64(t - 1))
    share = nodes("Div", nodes("Cast", rest, to=1), nodes("Cast", below, to=1))  # [k] of the right neighbour
    share = nodes("Unsqueeze", share, np.array([1]))
    table = nodes.constant(positions)
    near, far = nodes("Gather", table, left, axis=1), nodes("Gather", table, right, axis=1)
    return nodes("Add", near, nodes("Mul", nodes("Sub", far, near), share))


def _add_block(nodes: Nodes, block: Block, x: str, name: str, first: int | None) -> str:
    """One encoder layer, for all tokens or for the first ones."""
    normal = _add_norm(nodes, block.norm1, x, f"{name}.norm1")
    y = _add_attention(nodes, block, normal, f"{name}.attn", first)
    x = x if first is None else nodes("Slice", x, AXIS, np.array([first]), np.array([1]))
    x = nodes("Add", x, y)
    y = _add_linear(nodes, block.mlp.fc1, _add_norm(nodes, block.norm2, x, f"{name}.norm2"), f"{name}.mlp.fc1")
    return nodes("Add", x, _add_linear(nodes, block.mlp.fc2, nodes("Gelu", y), f"{name}.mlp.fc2"))


def _add_attention(nodes: Nodes, block: Block, x: str, name: str, first: int | None) -> str:
    attention = block.attn
    heads = attention.heads
    weight, bias = _array(attention.qkv.weight).copy(), _array(attention.qkv.bias).copy()
    width = weight.shape[1]
    scale = (width // heads) ** -0.5  # of queries times keys
    weight[:width] *= scale
    bias[:width] *= scale
    if first is None:
        q, k, v = nodes.split(_add_product(nodes, x, weight, bias, f"{name}.qkv"), [width] * 3, axis=2)
    else:
        few = nodes("Slice", x, AXIS, np.array([first]), np.array([1]))
        q = _add_product(nodes, few, weight[:width], bias[:width], f"{name}.qkv.first")
        k, v = nodes.split(
            _add_product(nodes, x, weight[width:], bias[width:], f"{name}.qkv.rest"), [width] * 2, axis=2
        )
    shape = nodes.constant(np.array([0, 0, heads, width // heads]))
    q, v = (nodes("Transpose", nodes("Reshape", part, shape), perm=[0, 2, 1, 3]) for part in (q, v))
    k = nodes("Transpose", nodes("Reshape", k, shape), perm=[0, 2, 3, 1])
    weights = nodes("Softmax", nodes("MatMul", q, k, name=f"{name}.similarity"), axis=-1)
    y = nodes("MatMul", weights, v, name=f"{name}.average")
    y = nodes("Reshape", nodes("Transpose", y, perm=[0, 2, 1, 3]), np.array([0, 0, width]))
    return _add_linear(nodes, attention.proj, y, f"{name}.proj")


def _add_head(nodes: Nodes, head: Head, x: str, name: str) -> str:
    return _add_linear(nodes, head.linear, _add_norm(nodes, head.norm, x, f"{name}.norm"), f"{name}.linear")


def _add_norm(nodes: Nodes, norm: nn.LayerNorm, x: str, name: str) -> str:
    weight, bias = _array(norm.weight), _array(norm.bias)
    return nodes("LayerNormalization", x, weight, bias, name=name, axis=-1, epsilon=norm.eps)


def _add_linear(nodes: Nodes, linear: nn.Linear, x: str, name: str) -> str:
    return _add_product(nodes, x, _array(linear.weight), _array(linear.bias), name)


def _add_product(nodes: Nodes, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], name: str) -> str:
    return nodes("Add", nodes("MatMul", x, weight.T, name=name), bias)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
