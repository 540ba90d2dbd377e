"""A group of commands, which suggests one only where a finger slipped."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

from typer.core import TyperGroup

_ALIKE = 0.78  # 0..1: a letter too many, too few or wrong, but not another word, which may become a command one day


def suggest(name: str, commands: list[str]) -> str:
    """The end of the message that a command does not exist.

    >>> suggest("trian", ["train", "ensemble"]), suggest("embed", ["train", "ensemble"])
    (". Did you mean 'train'?", '.')
    """
    alike = [
        repr(command)
        for command in commands
        if sorted(command) == sorted(name) or SequenceMatcher(None, name, command).ratio() >= _ALIKE
    ]
    return f". Did you mean {', '.join(alike)}?" if alike else "."


class Commands(TyperGroup):
    """Typer's group, but for its suggestions: it takes ``serve`` for ``sweep`` or ``score``.

    >>> Commands(name="spectag", commands={}).list_commands(None)
    []
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names; an error of usage if there is none."""
        self.suggest_commands = False
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            if hasattr(error, "message"):
                error.message = error.message.rstrip(".") + suggest(args[0], list(self.commands))
            raise
