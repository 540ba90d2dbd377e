"""Pages of HTML from the templates in pages/: each one file without scripts that needs no other file and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from spectag.files import write_text
from spectag.score.plots import printable


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill in a template. What is filled in is escaped, and control characters are replaced.

    Args:
        path: the HTML file.
        template: the name of a file in ``pages/``.
        content: the values of its variables, all of them.

    Raises:
        SaveError: the file could not be written.

    >>> write_page(Path("sweep.html"), "sweep.html", title="<lr>", columns=["setting"], rows=[], plot=None)
    >>> "<h1>&lt;lr&gt;</h1>" in Path("sweep.html").read_text("utf-8")
    True
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spectag", "pages"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else _printable(value),
    )
    write_text(path, environment.get_template(template).render(content))


def _printable(value: Any) -> str:
    return "\n".join(printable(line) for line in str(value).split("\n"))
