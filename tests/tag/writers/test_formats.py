import io
import json
import os
import sys
from pathlib import Path

import pytest
from writing import DOG

from spectag.tag.results import ClipTags, Tag
from spectag.tag.writers.formats import make_writer


def test_each_result_is_complete_at_once() -> None:
    class Counting(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    for format in ("jsonl", "csv", "text"):
        file = Counting()
        out = make_writer(format, file)
        out.write(DOG)
        assert file.flushed == file.getvalue() != "", format
        assert file.flushed.endswith("\n")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
@pytest.mark.parametrize("format", ["text", "json", "jsonl", "csv"])
def test_names_that_are_not_utf8(tmp_path: Path, format: str) -> None:
    raw = b"caf\xe9 \xc3\xa9.wav"
    target = tmp_path / "out"
    with target.open("w", encoding="utf-8", errors="backslashreplace") as file:  # as the command line opens it
        out = make_writer(format, file)
        out.write(ClipTags(os.fsdecode(raw), 1.0, (Tag("x", 0.5),)))
        out.close()
    text = target.read_text("utf-8")
    assert "é.wav" in text
    if format == "jsonl":
        assert os.fsencode(json.loads(text)["path"]) == raw
