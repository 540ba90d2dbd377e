"""Find the local path of a model: a path, a bundled model, an alias, or a Hugging Face Hub id."""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from spectag.errors import InputError, ModelNotFetched, ModelNotFound, NotAModel
from spectag.labels import nearest
from spectag.model.fields import (
    CONFIG,
    ENSEMBLE,
    EXTRA,
    NOVEL,
    PREPROCESSOR,
    PROCESSOR,
    UNKNOWN,
    WEIGHTS,
    Fields,
    is_marked,
)

ALIASES = {
    "audioset": "MIT/ast-finetuned-audioset-10-10-0.4593",
    "speech-commands": "MIT/ast-finetuned-speech-commands-v2",
}
# Initial weights that recipes and presets start from, by the names under which they are published.
DOWNLOADS = {
    name: f"{site}/{name}"
    for site, names in {
        "https://dl.fbaipublicfiles.com/deit": (
            "deit_base_distilled_patch16_384-d0272ac0.pth",
            "deit_base_patch16_384-8de9b5d1.pth",
        ),
        "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-vitjx": (
            "jx_vit_base_p16_384-83fb41ba.pth",
            "jx_vit_large_p16_384-b3be5167.pth",
        ),
    }.items()
    for name in names
}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
RECIPE, BUNDLE, CHECKPOINTS = "recipe.yaml", "bundle", "checkpoints"  # in the folder of a run, see spectag.runs.run
_CONNECT = 4  # s within which the Hub must accept a connection
FILE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".json", ".onnx")


def find_bundled() -> dict[str, Path]:
    """Find the models that come with the package, by name.

    >>> list(find_bundled())
    ['esc10']
    """
    root = Path(str(resources.files("spectag"))) / "models"
    found = root.iterdir() if root.is_dir() else ()
    return {path.name: path for path in sorted(found) if (path / CONFIG).is_file()}


@dataclass(frozen=True)
class Located:
    """A local file or directory, and its name: a file name, or ``owner/name@revision``.

    >>> resolve("esc10").name
    'esc10'
    """

    path: Path
    name: str


def resolve(source: str | os.PathLike[str]) -> Located:
    """Find the local file or directory that a source means. Files of the Hub are fetched into its cache.

    The order is: an existing path, a bundled model, an alias, a Hub id. A local folder that shares its name with a
    bundled model or an alias (a data set ``esc10``, for example) does not hide it unless it holds a model. The folder
    of a run and its checkpoint stand for the run's bundle.

    Args:
        source: a path, a known name or a Hub id.

    Raises:
        ModelNotFound: it is none of these, or cannot be fetched.
        NotAModel: a Hub repository lacks the files of an AST, or a run has no bundle yet.
        InputError: it is neither text nor a path.

    >>> resolve("esc10").path.is_dir()
    True
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"source: expected a path or a name, got {type(source).__name__}")
    text = os.fspath(source)
    models = find_bundled()
    path = Path(text).expanduser()
    if text and path.exists():
        known = text in models or text in ALIASES
        path = _find_bundle(path, quiet=known)
        if not (known and path.is_dir() and not (path / CONFIG).is_file()):
            return Located(path, path.resolve().name)
    if text in models:
        return Located(models[text], text)
    if not isinstance(source, str) or not (text in ALIASES or _may_be_hub_id(text)):
        names = [*models, *ALIASES]
        if path.name in DOWNLOADS:
            raise ModelNotFound(f"{text!r}: no such file: download it from {DOWNLOADS[path.name]}, and give its path")
        raise ModelNotFound(
            f"{text!r}: no such file or directory, nor one of the known models "
            f"({', '.join(names)}) or a Hub id owner/name{nearest(text, names)}"
        )
    repository = ALIASES.get(text, text)
    directory = fetch(repository)
    return Located(directory, f"{repository}@{directory.name}")


def _find_bundle(path: Path, quiet: bool) -> Path:
    """The bundle of a run, where a path is that of a run or of its checkpoint; otherwise the path.

    Args:
        path: exists.
        quiet: a run without a bundle is no error.
    """
    run = path.parents[1] if path.is_file() and path.suffix == ".ckpt" and path.parent.name == CHECKPOINTS else path
    if not run.is_dir() or (run / CONFIG).is_file() or (run / ENSEMBLE).is_file():
        return path
    if (run / BUNDLE / CONFIG).is_file():
        return run / BUNDLE
    if quiet:
        return path
    if (run / RECIPE).is_file():
        raise NotAModel(
            f"{path}: the run in {run} has no {BUNDLE} yet, since it is not finished: continue it with --resume, or "
            f"write the model so far: spectag train --finish {shlex.quote(str(run))}"
        )
    if runs := sorted(run.glob(f"*/{BUNDLE}/{CONFIG}")):
        names = ", ".join(config.parents[1].name for config in runs[:3])
        raise NotAModel(f"{path}: holds runs, not a model: name one of them ({names}{', ...' * (len(runs) > 3)})")
    return path


def fetch(repository: str) -> Path:
    """Fetch the files of a Hub repository that are needed, all of one revision, into the Hugging Face cache.

    Args:
        repository: ``owner/name``.

    Returns:
        The directory in the cache.

    Raises:
        ModelNotFetched: there is no connection, and not all of the files are in the cache.
        ModelNotFound: there is no such repository, or no access.
        NotAModel: a needed file does not exist there.
    """
    config = _fetch_one(repository, CONFIG, None)
    if config is None:
        raise NotAModel(f"{repository}: the Hub repository has no {CONFIG}")
    revision = config.parent.name  # .../snapshots/REVISION/config.json
    if not any(_fetch_one(repository, name, revision) for name in (PREPROCESSOR, PROCESSOR)):
        raise NotAModel(f"{repository}: the Hub repository has no {PREPROCESSOR}")
    if _fetch_one(repository, WEIGHTS, revision) is None:
        raise NotAModel(
            f"{repository}: the Hub repository has no {WEIGHTS} (pickles are not fetched): download it yourself "
            f"(hf download {repository} --local-dir DIR) and give DIR"
        )
    try:
        extra = _fetch_one(repository, EXTRA, revision)
        if extra is not None and Fields.read(extra).data.get(NOVEL) is not None:
            _fetch_one(repository, UNKNOWN, revision)
    except ModelNotFound:
        # The Hub is out of reach, and another program cached the other files. Only bundles of ours have this one.
        if is_marked(Fields.read(config)):
            raise
    return config.parent


def _fetch_one(repository: str, name: str, revision: str | None) -> Path | None:
    """Fetch a file into the cache unless it is there; None where the repository has no such file."""
    # Imported here because the import takes half a second, and only this function needs it.
    import huggingface_hub
    from huggingface_hub import constants, errors

    known = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision) if revision else None
    if isinstance(known, str):
        return Path(known)
    if known is not None:  # known to be absent from this revision
        return None
    url = huggingface_hub.hf_hub_url(repository, name, revision=revision)
    cached = isinstance(huggingface_hub.try_to_load_from_cache(repository, name, revision=revision), str)
    local = not cached and not _is_reachable(url)
    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision, local_files_only=local))
    except errors.LocalEntryNotFoundError as error:
        offline = "offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        raise ModelNotFetched(
            f"{repository}: no such path, and as a Hub id {name} is not in the cache and {offline}: "
            "connect once to fetch it, or give a local directory"
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError as error:
        raise ModelNotFound(f"{repository}: the Hub asks for a login and consent: hf auth login") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(f"{repository}: no such path, and no (public) repository on the Hub") from error
    except Exception as error:  # which errors the client raises depends on the network library below it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelNotFetched(f"{repository}: cannot fetch {name} from the Hub: {reason[:200]}") from error


def _is_reachable(url: str) -> bool:
    """Whether the Hub can be connected to: its client tries for half a minute before it says that it cannot.

    What the Hub answers, and how slowly, does not matter here. Downloads are tried as often as the client wants.
    """
    import huggingface_hub

    for pause in (1, 0):  # s
        try:
            huggingface_hub.get_hf_file_metadata(url, timeout=_CONNECT)
        except Exception as error:  # the network library below the client depends on its version; so do their classes
            if "Connect" not in type(error).__name__:  # ConnectError, ConnectTimeout, ConnectionError
                return True
            time.sleep(pause)
        else:
            return True
    return False


def is_file_name(text: str) -> bool:
    """Whether this names a weight file, and not the folder that it is in.

    >>> is_file_name("deit.pth"), is_file_name("weights/deit.pth"), is_file_name("audioset")
    (True, False, False)
    """
    return Path(text).name == text and text.lower().endswith(FILE_SUFFIXES)


def _may_be_hub_id(text: str) -> bool:
    return HUB_ID.fullmatch(text) is not None and not text.lower().endswith(FILE_SUFFIXES)
