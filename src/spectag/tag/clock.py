"""Times as people read them."""

from __future__ import annotations


def clock(seconds: float, decimals: int = 0) -> str:
    """A time as ``m:ss``, or ``h:mm:ss`` from an hour on.

    Args:
        seconds: at least 0.
        decimals: digits behind the seconds.

    >>> clock(83.25, 1), clock(36_000)
    ('1:23.2', '10:00:00')
    """
    units = round(seconds * 10**decimals)
    whole, part = divmod(units, 10**decimals)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f".{part:0{decimals}}" if decimals else ""
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest:02}{tail}"
