"""Annotations of ELAN (.eaf). Source: the EAF 3.0 schema, http://www.mpi.nl/tools/elan/EAFv3.0.xsd.

A tier per label, since the annotations of a tier may not overlap; a label whose own events overlap gets more tiers.
Times are whole milliseconds. The format has no place for scores.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from spectag.errors import FileError
from spectag.tag.results import Event, Result
from spectag.tag.writers.writer import events_of

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


class ELAN:
    """The annotations of one recording.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> writer = ELAN(sys.stdout)
    >>> writer.write(ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    <?xml version="1.0" encoding="UTF-8"?>
    <ANNOTATION_DOCUMENT ...
      <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="Rain">
    ...
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.begun = False

    def write(self, result: Result) -> None:
        if not isinstance(result, FileError):
            self._document(result.path, events_of(result, "elan"))

    def close(self) -> None:
        if not self.begun:
            self._document(None, ())

    def _document(self, path: str | None, events: tuple[Event, ...]) -> None:
        root = Element(
            "ANNOTATION_DOCUMENT",
            AUTHOR="spectag",
            DATE="1970-01-01T00:00:00Z",  # required; the same results make the same file
            FORMAT="3.0",
            VERSION="3.0",
        )
        root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
        root.set("xsi:noNamespaceSchemaLocation", SCHEMA)
        header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
        if path not in (None, "", "-"):
            url = Path(os.path.abspath(str(path))).as_uri()
            SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=url, MIME_TYPE="audio/x-wav")
        SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(len(events))
        tiers = _tiers(events)
        times = SubElement(root, "TIME_ORDER")
        slots: dict[int, str] = {}
        for moment in sorted(
            {moment for spans in tiers.values() for start, end, _ in spans for moment in (start, end)}
        ):
            slots[moment] = f"ts{len(slots) + 1}"
            SubElement(times, "TIME_SLOT", TIME_SLOT_ID=slots[moment], TIME_VALUE=str(moment))
        number = 0
        for tier, spans in (tiers or {"events": []}).items():
            element = SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=tier)
            for start, end, label in spans:
                number += 1
                annotation = SubElement(
                    SubElement(element, "ANNOTATION"),
                    "ALIGNABLE_ANNOTATION",
                    ANNOTATION_ID=f"a{number}",
                    TIME_SLOT_REF1=slots[start],
                    TIME_SLOT_REF2=slots[end],
                )
                SubElement(annotation, "ANNOTATION_VALUE").text = label
        kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
        SubElement(root, "LINGUISTIC_TYPE", kind)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        self.file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
        self.file.flush()
        self.begun = True


def _tiers(events: tuple[Event, ...]) -> dict[str, list[tuple[int, int, str]]]:
    """Tier -> its annotations: start and end in ms, and the label."""
    tiers: dict[str, list[tuple[int, int, str]]] = {}
    for event in sorted(events, key=lambda event: event.onset):
        label = FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", event.label)
        start = round(1000 * event.onset)
        end = max(start + 1, round(1000 * event.offset))
        tier, number = label, 1
        while tiers.get(tier) and tiers[tier][-1][1] > start:
            number += 1
            tier = f"{label} ({number})"
        tiers.setdefault(tier, []).append((start, end, label))
    return tiers
