"""What a job says at its end."""

import pytest

from spectag.jobs.summary import kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            "expected finite samples, got NaN, infinity or more than 1e12 at 3.125 s: export it again",
            "expected finite samples, got NaN, infinity or more than N at N s",
        ),
        ("the decoder crashed (SIGSEGV): convert the file", "the decoder crashed"),
        ("expected MP3 at 44.1 kHz, got 8", "expected MP3 at N kHz, got N"),
        ("got 'text 12'; more", "got '...'"),
    ],
)
def test_kinds_of_failures(error: str, kind: str) -> None:
    """Numbers of one file are left out; names that have digits are not."""
    assert kind_of(error) == kind
