"""AOEF, the Acoustic Objects Exchange Format: the JSON of `soundevent`, which writes it.

A prediction set with a clip per recording, its tags, and its events as intervals of time. Identifiers are made from the
paths, the times and the labels, so the same results make the same file. The whole document is held in memory.
"""

from __future__ import annotations

import os
from typing import IO, Any
from uuid import UUID, uuid5

from spectag.errors import FileError, MissingExtra
from spectag.tag.results import ClipTags, Result
from spectag.tag.writers.writer import events_of

SPACE = UUID("6f7c8a4e-0d1d-5c53-9a55-6b1f0f3f5c11")
RATE = 16_000  # Hz: of a recording whose own rate is not known, since the network hears this one


class AOEF:
    """A prediction set of all recordings. Samples in memory have no path, so they are left out.

    Raises:
        MissingExtra: `soundevent` is not installed.

    >>> import io
    >>> from spectag.tag.results import Event
    >>> file = io.StringIO()
    >>> writer = AOEF(file)
    >>> writer.write(ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    >>> writer.close()
    >>> import json
    >>> json.loads(file.getvalue())["data"]["sound_events"][0]["geometry"]["coordinates"]
    [0.5, 2.0]
    """

    def __init__(self, file: IO[str]) -> None:
        try:
            from soundevent import data
        except ImportError:
            raise MissingExtra("soundevent", "the format aoef") from None
        self.data = data
        self.file = file
        self.clips: list[Any] = []
        self.term = data.Term(name="label", label="label", definition="The name of a class of sounds.")

    def write(self, result: Result) -> None:
        if not isinstance(result, FileError) and result.path not in (None, "", "-"):
            self.clips.append(self._clip(result, os.path.abspath(str(result.path))))

    def close(self) -> None:
        from soundevent.io import aoef

        key = uuid5(SPACE, "".join(str(clip.uuid) for clip in self.clips))
        found = self.data.PredictionSet(uuid=key, name="spectag", clip_predictions=self.clips)
        left_out: Any = {"created_on": True, "data": {"created_on"}}
        self.file.write(aoef.to_aeof(found).model_dump_json(exclude_none=True, exclude=left_out) + "\n")
        self.file.flush()

    def _clip(self, result: ClipTags, path: str) -> Any:
        data = self.data
        name = path.encode("utf-8", "backslashreplace").decode("utf-8")
        recording = data.Recording(
            uuid=uuid5(SPACE, name),
            path=name,
            duration=result.duration,
            channels=result.channels or 1,
            samplerate=round(result.rate or RATE),
        )
        sounds = []
        for number, event in enumerate(events_of(result, "aoef")):
            key = f"{name}\n{number}\n{event.label}"
            sound = data.SoundEvent(
                uuid=uuid5(SPACE, f"sound {key}"),
                recording=recording,
                geometry=data.TimeInterval(coordinates=[event.onset, event.offset]),
            )
            tags = [data.PredictedTag(tag=data.Tag(term=self.term, value=event.label), score=event.score)]
            sounds.append(
                data.SoundEventPrediction(uuid=uuid5(SPACE, key), sound_event=sound, score=event.score, tags=tags)
            )
        clip = data.Clip(uuid=uuid5(SPACE, f"clip {name}"), recording=recording, start_time=0, end_time=result.duration)
        return data.ClipPrediction(
            uuid=uuid5(SPACE, f"prediction {name}"),
            clip=clip,
            sound_events=sounds,
            tags=[
                data.PredictedTag(tag=data.Tag(term=self.term, value=tag.label), score=tag.score) for tag in result.tags
            ],
        )
