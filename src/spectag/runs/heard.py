"""Which training clips a run has heard, and why others could not be."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable
from typing import Any

import torch

from spectag.data.manifest import Manifest
from spectag.runs.processes import gathered
from spectag.train.examples import Unreadable


class Heard:
    """The training clips that were in the examples of this process so far, and those that could not be read.

    It is part of a checkpoint, in which it is that of all processes.

    Args:
        clips: number of training clips.
        strict: the first clip that cannot be read ends the run.

    >>> heard = Heard(3, strict=False)
    >>> heard.add([(2,), (2, 0)], [])
    >>> heard.flags
    tensor([ True, False,  True])
    """

    def __init__(self, clips: int, strict: bool) -> None:
        self._strict = strict
        self.flags = torch.zeros(clips, dtype=torch.bool)
        self.reasons: dict[str, str] = {}  # by clip id

    def add(self, heard: Iterable[Iterable[int]], unreadable: Iterable[Unreadable]) -> None:
        """Note the clips of some examples, by index, and those that could not be read.

        Raises:
            AudioError: one could not be read, under ``strict``; names the clip.
        """
        for clip in unreadable:
            if self._strict:
                raise clip.error
            self.reasons.setdefault(clip.clip, str(clip.error))
        self.flags[[index for clips in heard for index in clips]] = True

    def state_dict(self) -> dict[str, Any]:
        """What all processes have heard, as plain values for a checkpoint; all must call this."""
        flags, reasons = zip(*gathered((self.flags, self.reasons)), strict=True)
        return {"heard": torch.stack(flags).any(0), "skipped": dict(ChainMap(*reasons))}

    def load_state_dict(self, state: dict[str, Any], clips: Manifest) -> None:
        """Take over what :meth:`state_dict` returned; earlier versions did not note which clips were heard."""
        self.reasons |= state["skipped"]
        readable = torch.tensor([clip.id not in self.reasons for clip in clips.clips])
        self.flags |= state.get("heard", readable)


def count_heard(state: dict[str, Any], clips: Manifest) -> dict[str, Any]:
    """How much was heard, for the report.

    Args:
        state: of :meth:`Heard.state_dict`.
        clips: the training clips.

    Returns:
        ``clips``: how many were heard; ``labels``: how many of each class; ``without_label``: how many negatives.

    >>> from spectag.data.manifest import Clip
    >>> clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), labels) for n, labels in enumerate(((0,), (0,), ())))
    >>> count_heard({"heard": torch.tensor([True, False, True])}, Manifest(clips, spectag.LabelSet(("owl",)), "a test"))
    {'clips': 2, 'labels': {'owl': 1}, 'without_label': 1}
    """
    heard = [clip for clip, flag in zip(clips.clips, state["heard"].tolist(), strict=True) if flag]
    labels = dict.fromkeys(range(len(clips.labels)), 0)
    for clip in heard:
        for label in clip.labels:
            labels[label] += 1
    return {
        "clips": len(heard),
        "labels": {clips.labels.names[label]: count for label, count in labels.items()},
        "without_label": sum(not clip.labels for clip in heard),
    }
