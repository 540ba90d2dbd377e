"""From what the user names to a path on this machine: paths, bundled models, aliases, the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from spectag.errors import InputError, ModelNotFound, NotAModel
from spectag.labels import nearest
from spectag.model.fields import CONFIG, EXTRA, PREPROCESSOR, PROCESSOR, WEIGHTS, is_marked

ALIASES = {
    "audioset": "MIT/ast-finetuned-audioset-10-10-0.4593",
    "speech-commands": "MIT/ast-finetuned-speech-commands-v2",
}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".json", ".onnx")


def bundled() -> dict[str, Path]:
    """The models in the wheel, by name."""
    root = Path(str(resources.files("spectag"))) / "models"
    found = root.iterdir() if root.is_dir() else ()
    return {path.name: path for path in sorted(found) if (path / CONFIG).is_file()}


@dataclass(frozen=True)
class Source:
    """A local file or directory, and the name to remember it by: a file name, or ``owner/name@revision``."""

    path: Path
    name: str


def resolve(source: str | os.PathLike[str]) -> Source:
    """A local file or directory for a source; the Hub's files are fetched into its cache.

    Order: an existing path, a bundled model, an alias, a Hub id. (A local folder that merely shares its name with a
    bundled model or alias, a data set ``esc10`` say, and holds no model does not hide it.)

    Raises:
        ModelNotFound: none of these, or it cannot be fetched.
        NotAModel: a Hub repository without the files of an AST.
        InputError: neither text nor a path.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"source: expected a path or a name, got {type(source).__name__}")
    text = os.fspath(source)
    models = bundled()
    path = Path(text).expanduser()
    known = text in models or text in ALIASES
    if text and path.exists() and not (known and path.is_dir() and not (path / CONFIG).is_file()):
        return Source(path, path.resolve().name)
    if text in models:
        return Source(models[text], text)
    if not isinstance(source, str) or not (text in ALIASES or _may_be_hub_id(text)):
        names = [*models, *ALIASES]
        raise ModelNotFound(
            f"{text!r}: no such file or directory, nor one of the known models "
            f"({', '.join(names)}) or a Hub id owner/name{nearest(text, names)}"
        )
    repository = ALIASES.get(text, text)
    directory = fetch(repository)
    return Source(directory, f"{repository}@{directory.name}")


def fetch(repository: str) -> Path:
    """The needed files of a Hub repository, all of one revision, as a directory in the Hugging Face cache.

    Raises:
        ModelNotFound: no such repository, no access, or offline and not in the cache.
        NotAModel: a needed file does not exist there.
    """
    config = _fetch_one(repository, CONFIG, None)
    if config is None:
        raise NotAModel(f"{repository}: the Hub repository has no {CONFIG}")
    revision = config.parent.name  # .../snapshots/REVISION/config.json
    if not any(_fetch_one(repository, name, revision) for name in (PREPROCESSOR, PROCESSOR)):
        raise NotAModel(f"{repository}: the Hub repository has no {PREPROCESSOR}")
    if _fetch_one(repository, WEIGHTS, revision) is None:
        raise NotAModel(f"{repository}: the Hub repository has no {WEIGHTS} (pickles are not fetched)")
    try:
        _fetch_one(repository, EXTRA, revision)
    except ModelNotFound:
        # Out of reach, and the others were cached by a program that did not ask for it. Only our bundles have one.
        if is_marked(config):
            raise
    return config.parent


def _fetch_one(repository: str, name: str, revision: str | None) -> Path | None:
    """A file in the cache, fetched where needed; None where the repository has no such file."""
    # Imported here: it costs half a second, and only this function needs it.
    import huggingface_hub
    from huggingface_hub import constants, errors

    known = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision) if revision else None
    if isinstance(known, str):
        return Path(known)
    if known is not None:  # known to be absent from this revision
        return None
    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        offline = "offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        raise ModelNotFound(
            f"{repository}: no such path, and as a Hub id {name} is not in the cache and {offline}: "
            "connect once to fetch it, or give a local directory"
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError as error:
        raise ModelNotFound(f"{repository}: the Hub asks for a login and consent: hf auth login") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(f"{repository}: no such path, and no (public) repository on the Hub") from error
    except Exception as error:  # the client's own tree changes with the network library below it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelNotFound(f"{repository}: cannot fetch {name} from the Hub: {reason[:200]}") from error


def _may_be_hub_id(text: str) -> bool:
    return HUB_ID.fullmatch(text) is not None and not text.lower().endswith(FILE_SUFFIXES)
