"""The command ``spectag data mix``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from spectag.choices import MixFormat
from spectag.cli.options import Separator, folds
from spectag.cli.output import say, watched
from spectag.cli.runs import read_data
from spectag.errors import InputError


def numbers(value: str) -> tuple[float, float]:
    """Read a lowest and a highest number, or one that is both.

    >>> numbers("6,30"), numbers("12")
    ((6.0, 30.0), (12.0, 12.0))
    """
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)(?:,(-?\d+(?:\.\d+)?))?", value)
    if match is None:
        raise typer.BadParameter(f"expected one number or two, lowest and highest, such as 6,30; got {value!r}")
    return float(match[1]), float(match[2] or match[1])


def mix(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Labelled clips: a directory in any known layout, or a table of clips."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to create (new or empty).")],
    count: Annotated[int, typer.Option(min=1, help="Number of soundscapes.")],
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of each soundscape.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed for everything that is random.")] = 0,
    events: Annotated[
        Any,
        typer.Option(parser=numbers, metavar="MIN,MAX", help="Number of clips in a soundscape.", show_default="1,4"),
    ] = "1,4",
    polyphony: Annotated[int, typer.Option(min=1, help="Most clips that are heard at the same time.")] = 2,
    snr: Annotated[
        Any,
        typer.Option(
            parser=numbers, metavar="MIN,MAX", help="Level of a clip above the background, in dB.", show_default="6,30"
        ),
    ] = "6,30",
    background: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Recordings that lie under the events, at most the first 10 minutes of each.",
            show_default="noise",
        ),
    ] = None,
    folds: Annotated[
        str | None, typer.Option(callback=folds, metavar="N,N", help="Use only the clips of these folds.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Use only the clips of this split, for example train.")] = None,
    ratio: Annotated[
        float, typer.Option(min=1, help="How many times as often the first class occurs as the last (Zipf's law).")
    ] = 1.0,
    format: Annotated[MixFormat, typer.Option("--format", "-f", help="Format of the audio files.")] = "flac",
    separator: Separator = None,
) -> None:
    """Mix soundscapes with known onsets from labelled clips.

    The silence at both ends of a clip is cut off, so that an onset is where the sound begins. DIR gets the soundscapes,
    events.tsv with their events (DCASE's strong labels), and mix.json, which says what each is made of. The same seed
    makes the same files. A clip that cannot be read is reported and not used, and the exit code is then 1.

    `spectag train --set labels.events=true` and `spectag evaluate --events` read DIR. Soundscapes in DIR/train and
    DIR/test are one data set with two splits.
    """
    from spectag.data.soundscapes import MixOptions, choose_clips, mix_data_set

    if any(value != int(value) for value in events):
        raise InputError(f"--events: expected whole numbers, got {events[0]:g},{events[1]:g}")
    whole = (int(events[0]), int(events[1]))
    options = MixOptions(seconds, count, seed, whole, polyphony, snr, ratio, format)
    chosen = None if folds in (None, "all") else [int(n) for n in str(folds).split(",")]
    manifest = choose_clips(read_data(data, separator=separator), chosen, split)
    done = mix_data_set(
        manifest, out, options, background, watch=lambda items, total: watched(items, total, quiet=False)
    )
    print(
        f"{out}: {done.soundscapes} soundscapes, {done.seconds / 3600:.2f} h, with {done.events} events of "
        f"{len(manifest)} clips ({manifest.layout})"
    )
    for failure in done.failed:
        say("error", failure)
    if done.failed:
        raise typer.Exit(1)
