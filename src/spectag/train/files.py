"""Files of a run that are whole or not there: a full disk leaves what was written before in place."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from spectag.errors import SaveError


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the last good one before they replace it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then rename.

        Raises:
            SaveError: the file could not be written.
        """
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            partial.unlink(missing_ok=True)
            raise SaveError(
                f"{target}: the checkpoint could not be written ({error}); the one before it is intact: "
                "free some space and go on with --resume"
            ) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file by a text.

    Raises:
        SaveError: the file could not be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SaveError(f"{path}: could not be written ({error.strerror}); free some space and try again") from error


def write_table(path: Path, rows: list[dict[str, float]]) -> None:
    """Replace a CSV file; its columns are the rows' keys in the order in which they first appear.

    Raises:
        SaveError: the file could not be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
