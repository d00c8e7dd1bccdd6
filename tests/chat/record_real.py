"""Records what transformers makes of real templates, as hashes: they are their authors', not ours.

    python -m venv env && env/bin/pip install transformers jinja2
    env/bin/pip download --no-deps -d wheels trl==1.16.0 axolotl==0.19.0
    env/bin/python record_real.py wheels/*.whl

Templates may also be files (`*.jinja`). `test_real_templates.py` compares what it finds of them.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from conversations import CONVERSATIONS
from real_templates import RECORD, digest
from record import NOW, _Clock, _rendered
from transformers import __version__
from transformers.utils import chat_template_utils


def _templates(paths: list[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path.suffix == ".jinja":
            yield path.stem, path.read_text("utf-8")
            continue
        with zipfile.ZipFile(path) as wheel:
            for name in sorted(wheel.namelist()):
                if name.endswith(".jinja"):
                    package = path.name.partition("-")[0]
                    yield f"{package}: {Path(name).stem}", wheel.read(name).decode("utf-8")


def main() -> None:
    chat_template_utils.datetime = _Clock
    templates = {}
    for name, source in _templates([Path(arg) for arg in sys.argv[1:]]):
        texts = {each: _rendered(source, each) for each in CONVERSATIONS}
        if "Hi there" not in (texts["one question"] or ""):
            continue  # Reads nothing but content in parts.
        templates[digest(source)] = {
            "name": name,
            "texts": " ".join("-" if text is None else digest(text) for text in texts.values()),
        }
    record = {
        "transformers": __version__,
        "now": NOW.isoformat(),
        "conversations": list(CONVERSATIONS),
        "templates": dict(sorted(templates.items(), key=lambda item: item[1]["name"])),
    }
    lines = json.dumps(record, indent=1, ensure_ascii=False)
    RECORD.write_text(lines + "\n", "utf-8")


if __name__ == "__main__":
    main()
