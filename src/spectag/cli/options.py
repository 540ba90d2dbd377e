"""Options that several commands share, with the checks that are possible without torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import Length


def device(value: str) -> str:
    """Check the form of a device's name. Whether this machine has it is checked when torch is loaded.

    >>> device("cuda:1")
    'cuda:1'
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(f"expected cpu, cuda, cuda:N or mps; got {value!r}")
    return value


def pair(value: str) -> tuple[int, int]:
    """Read two positive whole numbers.

    >>> pair("10,12")
    (10, 12)
    """
    match = re.fullmatch(r"([1-9]\d*),([1-9]\d*)", value)
    if match is None:
        raise typer.BadParameter(f"expected two whole numbers F,T (mel bins, frames) such as 10,10; got {value!r}")
    return int(match[1]), int(match[2])


def folds(value: str | None) -> str | None:
    """Check the form of a list of folds.

    >>> folds("1,2")
    '1,2'
    """
    if value is not None and not re.fullmatch(r"all|\d+(,\d+)*", value):
        raise typer.BadParameter(f"expected all, or numbers such as 1,2,3; got {value!r}")
    return value


def find_model(name: str) -> None:
    """Raise an error if the name of a model cannot be used, before torch is imported.

    >>> find_model("a-file-that-does-not-exist.pth")
    Traceback (most recent call last):
    spectag.errors.ModelNotFound: 'a-file-that-does-not-exist.pth': no such file or directory, ...
    """
    from spectag.model.source import resolve

    resolve(name)


MODEL = (
    "A model by name (esc10, audioset, speech-commands), a bundle or ensemble directory, the folder of a run, a .pth "
    "file, or a Hub id such as MIT/ast-finetuned-audioset-10-10-0.4593."
)
Device = Annotated[
    str,
    typer.Option(
        callback=device, help="Device to run the network on: cpu, cuda (the first NVIDIA GPU), cuda:N, or mps (Apple)."
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="Show at most this many tags.")]
TagThreshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Show only tags with at least this score; 0 shows all.",
        show_default="the model's own thresholds, otherwise 0",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1, help="Number of windows to compute at once. Lower it if memory runs out, raise it to keep a GPU busy."
    ),
]
LengthOf = Annotated[
    Length,
    typer.Option(
        "--length",
        help="What becomes of recordings shorter than the model's window: pad fills it up, as in training; exact "
        "computes only what is there, which is faster.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="PATH",
        help="The data set: a folder in any known layout (AudioSet, ESC-50, Speech Commands, Hugging Face audiofolder, "
        "packed, a folder per class), or a table (.csv, .tsv, .jsonl, AST .json).",
    ),
]

Negatives = Annotated[
    list[Path] | None,
    typer.Option(
        "--negatives",
        metavar="FOLDER",
        help="Add the recordings in this folder as clips in which none of the classes is heard. Can be repeated.",
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="What separates several labels in a cell of the data set's tables.",
        show_default="| and ;, and a comma in columns called labels or tags",
    ),
]

# Of train and sweep
RECIPE = "A recipe: a name that `spectag recipes` lists, or a YAML file of your own."
Fold = Annotated[
    int | None, typer.Option(metavar="N", help="Hold out this fold: train on the other folds and report on this one.")
]
Folds = Annotated[
    str | None,
    typer.Option(
        "--folds",
        callback=folds,
        metavar="all|1,2,..",
        help="Cross-validation: train one run for each of these folds, with this fold held out.",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of runs, with consecutive seeds. Their mean and standard deviation are reported.",
    ),
]
Init = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Weights to start from: a bundle, a .pth file, a known name or a Hub id."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe, for example --set lr=5e-6. Can be repeated."
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        "--devices",
        metavar="N",
        min=1,
        help="Number of processes that share each batch. On GPUs, each process uses its own GPU.",
    ),
]
