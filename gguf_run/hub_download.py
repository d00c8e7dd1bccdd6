"""One file of the Hugging Face hub, fetched so that a run that was broken off is not in vain.

What has come of a file stays in the hub's cache, beside the whole ones, and the next run goes on
from there; the hub's own client begins anew (since its version 2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from gguf_run.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_SHA256_DIGITS = 64
_CHUNK = 1 << 24


def download(repo: str, name: str) -> Path:
    """Where the newest version of a repository's file lies, fetched as far as it is not there.

    A version that was fetched before does where the hub can't be reached. Raises `ModelError` where
    what came is damaged or another program is fetching it, else what the hub's client raises.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub import try_to_load_from_cache as cached
    from huggingface_hub.errors import HfHubHTTPError

    try:
        about = get_hf_file_metadata(hf_hub_url(repo, name))
    except HfHubHTTPError:
        raise
    except Exception:
        known = cached(repo, name)
        if not isinstance(known, str):
            raise
        return Path(known)
    known = cached(repo, name, revision=about.commit_hash)
    if isinstance(known, str):
        return Path(known)
    _fetch_blob(repo, name, about)
    return Path(hf_hub_download(repo, name))


def _fetch_blob(repo: str, name: str, about: HfFileMetadata) -> None:
    """Put the file's content where the hub's client looks for it before it fetches."""
    from filelock import FileLock, Timeout
    from huggingface_hub import constants
    from huggingface_hub.file_download import are_symlinks_supported, repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    by_http = about.etag and about.size and about.size <= constants.MAX_HTTP_DOWNLOAD_SIZE
    # Without links the client would keep the content twice.
    if not by_http or not are_symlinks_supported(folder.parent):
        return
    blob = folder / "blobs" / str(about.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{blob.name}.gguf-run.incomplete")
    try:
        with FileLock(f"{part}.lock", timeout=0.1):
            if not blob.exists():
                _fetch_rest(repo, name, about, part)
                part.replace(blob)
    except Timeout:
        raise ModelError(
            f"{repo} on the hub: another gguf-run is fetching {name}; wait for it to end"
        ) from None


def _fetch_rest(repo: str, name: str, about: HfFileMetadata, part: Path) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    headers = build_hf_headers()
    if urlsplit(about.location).netloc != urlsplit(hf_hub_url(repo, name)).netloc:
        # A token is for the hub alone, not for where it keeps its files.
        headers.pop("authorization", None)
    with part.open("ab") as file:
        n_there = file.tell()
        if about.size is not None and n_there > about.size:
            n_there = file.truncate(0)
        _go_on(
            lambda n: http_get(
                about.location,
                file,
                resume_size=n,
                headers=headers,
                expected_size=about.size,
                displayed_filename=name,
            ),
            file,
        )
    if n_there and not _is_whole(part, str(about.etag)):
        part.unlink()
        raise ModelError(
            f"{repo} on the hub: {name} came in pieces that do not fit together; fetch it again"
        )


def _go_on(get: Callable[[int], None], file: IO[bytes]) -> None:
    """Get the rest behind what is there, again and again as long as more comes of it."""
    from huggingface_hub.errors import HfHubHTTPError

    while True:
        n_there = file.tell()
        try:
            return get(n_there)
        except HfHubHTTPError:
            raise
        except Exception:
            if file.tell() <= n_there:
                raise


def _is_whole(path: Path, etag: str) -> bool:
    """Whether a file has the SHA256 that the hub names; True where it names none."""
    if len(etag) != _SHA256_DIGITS:
        return True
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest() == etag
