"""What is wrong with an option or argument, in the words of this package."""

from __future__ import annotations

from typing import Any

import typer

from spectag.validation import explain


def explain_usage(error: Any) -> str:
    """Turn a usage error of Typer (or, in older versions, of Click) into one sentence.

    It names the option, what was expected and what came.

    >>> explain_usage(typer.BadParameter("expected cpu, cuda, cuda:N or mps; got 'gpu'", param_hint="--device"))
    "--device: expected cpu, cuda, cuda:N or mps; got 'gpu'"
    """
    if type(error) is not typer.BadParameter:  # options that are missing or do not exist
        return str(error.format_message())
    details = getattr(error.__cause__, "errors", None)  # the library of the options validates with pydantic
    reason = "; ".join(explain(detail) for detail in details()) if details else error.message
    if error.param_hint or error.param is None:
        name = error.param_hint
    else:
        name = max((option for option in error.param.opts if option.startswith("-")), key=len, default=None)
        name = name or error.param.metavar or error.param.name
    return f"{name}: {reason}" if name else str(reason)
