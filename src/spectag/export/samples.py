"""Real clips: what an int8 graph is calibrated with, and what every graph is compared with its model on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectag.audio.front_end import FRAME, HOP, FrontEnd
from spectag.audio.segments import read_group
from spectag.audio.source import Source
from spectag.errors import AudioError, FileError, InputError
from spectag.tag.stream import Inputs, read_windows
from spectag.tag.windows import default_hop, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

MOST_CLIPS = 200  # that are used of many; taken evenly
MOST_WINDOWS = 8  # of one clip
EXAMPLES = Path(__file__).parents[3] / "examples"  # in a checkout of the repository


@dataclass(frozen=True, eq=False)
class Sample:
    """The beginning of a clip, as far as it is used.

    Args:
        name: of its file.
        waveforms: ``[N]`` of each window; one that is shorter than a window is that of a shorter clip.
        inputs: ``[T, F]`` of each window.
        sound: how much of each window is sound, ``[W]``.

    >>> [sample], _ = read_samples([np.zeros(16_000, np.float32)], spectag.FrontEnd(frames=64))
    >>> [len(waveform) for waveform in sample.waveforms], len(sample.inputs)
    ([10480, 10480, 10480], 3)
    """

    name: str
    waveforms: tuple[NDArray[np.float32], ...]
    inputs: tuple[Tensor, ...]
    sound: NDArray[np.float32]

    def mean(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The scores ``[C]`` of the clip, of those of its windows, as the tagger averages them."""
        return weighted_mean(np.stack(rows), self.sound)


def read_samples(
    sources: Iterable[Source], front_end: FrontEnd, most: int = MOST_CLIPS
) -> tuple[list[Sample | FileError], int]:
    """Read clips.

    Args:
        sources: files, segments of files, or arrays.
        front_end: of the model.
        most: clips to read; of more, as many are taken evenly.

    Returns:
        a sample for each clip that is taken, or why it cannot be used; and how many clips there are.

    >>> samples, clips = read_samples([np.ones(400, np.float32)] * 6, spectag.FrontEnd(), most=2)
    >>> len(samples), clips
    (2, 6)
    """
    everything = list(sources)
    taken = [everything[place] for place in choose_evenly(len(everything), most)]
    return [_read(source, front_end) for source in taken], len(everything)


def choose_evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below ``count``, evenly.

    >>> choose_evenly(6, 3), choose_evenly(2, 3)
    ([0, 2, 4], [0, 1])
    """
    return list(range(count)) if count <= most else [place * count // most for place in range(most)]


def _read(source: Source, front_end: FrontEnd) -> Sample | FileError:
    window = (front_end.frames - 1) * HOP + FRAME
    wanted = window + (MOST_WINDOWS - 1) * default_hop(front_end.frames) * HOP
    try:
        [(recording, blocks)] = read_group([source])
        pieces: list[NDArray[np.float32]] = []
        for piece in blocks:
            pieces.append(piece)
            if sum(map(len, pieces)) >= wanted:
                break
        if not pieces:
            return FileError(recording.path, "expected sound, found none")
        waveform = np.concatenate(pieces)[:wanted]
        windows = [item for item in read_windows(recording, [waveform], front_end) if isinstance(item, Inputs)]
    except AudioError as error:
        return FileError(error.source, error.reason)
    return Sample(
        recording.name,
        tuple(waveform[(start := item.window.start * HOP) : start + window] for item in windows),
        tuple(item.inputs for item in windows),
        np.array([item.window.sound for item in windows], np.float32),
    )


def find_examples() -> list[str]:
    """Find the recordings that come with the repository.

    Raises:
        InputError: they are not there, since spectag was installed as a package.

    >>> len(find_examples())
    10
    """
    if not EXAMPLES.is_dir():
        raise InputError("expected recordings to compare the graph with the model on: give --calibrate FOLDER")
    return [str(path) for path in sorted(EXAMPLES.glob("*.ogg"))]
