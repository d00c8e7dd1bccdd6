"""Model files from the Hugging Face hub, kept in its cache.

`huggingface_hub` does the fetching: it shows a bar, and reads its own environment (`HF_ENDPOINT`,
`HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE`).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf_run.errors import ModelError
from gguf_run.hub_download import download

PREFERRED = ("Q4_K_M", "Q8_0")
"""Taken where no quantisation is named, in this order, as llama.cpp does; else the first file."""

_SPEC = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<quant>[\w.-]+))?")
_ADDRESS = re.compile(r"(?:https?:/+)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<rest>.+)")
_IN_REPO = re.compile(r"(?P<repo>[^/]+/[^/]+)(?:/(?:blob|resolve|raw)/[^/]+/(?P<file>[^?]+).*|/?)")
_NO_PLACE = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR}
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class HubModel:
    """What to fetch: of a repository ("user/name") the files of a quantisation, or one file."""

    repo: str
    quant: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, spec: str, file: str | None = None) -> HubModel:
        """From "user/repo" or "user/repo:quant"; `ModelError` where it is neither.

        The repository's address, and that of one of its files, are understood as well.
        """
        address = _ADDRESS.fullmatch(spec)
        if address is not None:
            spec = address["rest"]
            place = _IN_REPO.fullmatch(spec)
            if place is not None:
                spec, file = place["repo"], file or place["file"]
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ModelError(
                f"-hf: expected user/repo or user/repo:quant, found {spec!r}; "
                "for example Qwen/Qwen3-0.6B-GGUF:Q8_0"
            )
        return cls(found["repo"], found["quant"], file)

    def choose(self, names: Sequence[str]) -> list[str]:
        """The files to fetch among a repository's, the shards of a model in order.

        Raises `ModelError` that names what there is.
        """
        models = sorted(n for n in names if n.endswith(".gguf") and not _is_addition(n))
        if not models:
            raise ModelError(
                f"{self.repo} on the hub: expected GGUF files, found none among its {len(names)} "
                "files; take a repository whose name ends in -GGUF"
            )
        if self.file is not None:
            chosen = [n for n in models if n == self.file]
        elif self.quant is not None:
            chosen = _of_quant(models, self.quant)
        else:
            chosen = next((f for q in PREFERRED if (f := _of_quant(models, q))), models)
        if not chosen:
            wanted = self.file or self.quant
            raise ModelError(
                f"{self.repo} on the hub: expected a file of {wanted}, found {_listed(models)}"
            )
        return self._shards(models, chosen[0])

    def _shards(self, names: Sequence[str], first: str) -> list[str]:
        """All shards of the model that `first` belongs to."""
        shard = _SHARD.search(first)
        if shard is None:
            return [first]
        stem, n = first[: shard.start()], int(shard[2])
        wanted = [f"{stem}-{i:05}-of-{n:05}.gguf" for i in range(1, n + 1)]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ModelError(
                f"{self.repo} on the hub: expected {n} files of {stem}, found no {missing[0]}; "
                "take another quantisation, or tell the repository's owner"
            )
        return wanted


def fetch(model: HubModel, offline: bool = False) -> Path:
    """Fetch a model, as far as it is not in the cache -> its (first) file.

    Args:
        offline: take what is in the cache; so it is where the hub can't be reached, too.

    Raises:
        ModelError: there is no such repository or file, or it can't be fetched.
    """
    from huggingface_hub import constants, hf_hub_download

    offline = offline or bool(constants.HF_HUB_OFFLINE)
    # The client asks for more than files, and looks here before it does.
    constants.HF_HUB_OFFLINE = offline
    try:
        names = _cached(model.repo) if offline else _listing(model.repo)
        if offline and not names:
            raise ModelError(f"{model.repo}: not fetched before; fetch it once without --offline")
        files = model.choose(names)
        paths = [
            Path(hf_hub_download(model.repo, name, local_files_only=True))
            if offline
            else download(model.repo, name)
            for name in files
        ]
    except ModelError:
        raise
    except Exception as error:  # the client's own, its HTTP library's, the file system's
        raise ModelError(_explained(model.repo, offline, error)) from error
    return paths[0]


def _listing(repo: str) -> list[str]:
    """The names of a repository's files; of those in the cache where the hub can't be reached."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        about = HfApi().model_info(repo, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        return [file.rfilename for file in about.siblings or ()]
    except HfHubHTTPError:
        raise
    except Exception:
        names = _cached(repo)
        if not names:
            raise
        return names


def _cached(repo: str) -> list[str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = [r for r in repos if r.repo_id == repo and r.repo_type == "model"]
    revisions = [v for r in found for v in r.revisions if "main" in v.refs]
    return [f.file_path.relative_to(v.snapshot_path).as_posix() for v in revisions for f in v.files]


def _explained(repo: str, offline: bool, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    where = f"{repo} on the hub"
    if isinstance(error, GatedRepoError):
        return (
            f"{where}: its licence must be accepted first: open https://huggingface.co/{repo}, "
            "then log in with hf auth login, or set HF_TOKEN"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{where}: no such repository, or a private one; look for its name on "
            "https://huggingface.co/models?library=gguf, or set HF_TOKEN"
        )
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return (
            f"{where}: can't be kept ({error.strerror}: {error.filename or 'the cache'}); "
            "HF_HOME names another folder"
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"{where}: not allowed ({status}); log in with hf auth login, or set HF_TOKEN"
    first = str(error).strip().split("\n", 1)[0]
    found = f"{type(error).__name__}: {first}" if first else type(error).__name__
    hint = "" if offline else "; look at the network, or set HF_ENDPOINT to a mirror"
    return f"{where}: can't be fetched ({found}){hint}"


def _is_addition(name: str) -> bool:
    """Whether a file is no model of its own: a vision tower, an importance matrix."""
    base = name.rsplit("/", 1)[-1].lower()
    return "mmproj" in base or "imatrix" in base


def _of_quant(names: Sequence[str], quant: str) -> list[str]:
    mark = re.compile(rf"(?<![A-Za-z0-9]){re.escape(quant)}(?![A-Za-z0-9_])", re.IGNORECASE)
    return [name for name in names if mark.search(name)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
