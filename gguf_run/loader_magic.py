"""The first eight bytes of a GGUF file, and what else a file may be that lacks them."""

from __future__ import annotations

from gguf_run.loader_cursor import Cursor

MAGIC = b"GGUF"
VERSIONS = (2, 3)

_LFS = "a git-lfs pointer, not the file itself: fetch it (git lfs pull)"
_HTML = "a web page: use the download link, not the page of the file"
_OLD = "a model file from before GGUF: convert the model again"
_MAX_SAFETENSORS_HEADER = 100_000_000
_OTHERS = {
    b"PK\x03\x04": "a zip archive, maybe a PyTorch checkpoint: convert it (convert_hf_to_gguf.py)",
    b"\x80\x02": "a Python pickle, maybe a PyTorch checkpoint: convert it (convert_hf_to_gguf.py)",
    b"version https://git-lfs": _LFS,
    b"<!doctype": _HTML,
    b"<html": _HTML,
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"lmgg": _OLD,
    b"fmgg": _OLD,
    b"tjgg": _OLD,
}


def check_magic(cursor: Cursor) -> None:
    """Read the magic; GGUFError with a hint at what the file is where it is no GGUF file."""
    if cursor.size == 0:
        cursor.fail("the magic 'GGUF'", "an empty file: download it again")
    if cursor.take(4) != MAGIC:
        cursor.fail("the magic 'GGUF'", _what_it_is(cursor), 0)


def check_version(cursor: Cursor) -> int:
    """Read the version; GGUFError for one that is not supported."""
    at = cursor.pos
    version = cursor.u32("version")
    if version and not version & 0xFFFF:
        cursor.fail("a little-endian file", f"a big-endian one (version {version:#010x})", at)
    if version not in VERSIONS:
        advice = "convert the model again" if version < 2 else "a newer gguf-run may read it"
        cursor.fail("version 2 or 3", f"{version}; {advice}", at)
    return version


def _what_it_is(cursor: Cursor) -> str:
    head = cursor.buffer[:64]
    for start, kind in _OTHERS.items():
        if head.lstrip().lower().startswith(start.lower()):
            return kind
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_SAFETENSORS_HEADER:
        return "a safetensors file: convert the model (convert_hf_to_gguf.py)"
    return f"the bytes {head[:4]!r}"
