"""Records what transformers makes of the templates and conversations here.

    python -m venv env && env/bin/pip install transformers jinja2 && env/bin/python record.py

The texts are compared by `test_templates.py`; failures are recorded as null.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from conversations import CONVERSATIONS, SPECIAL
from transformers import __version__
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent
NOW = datetime(2026, 3, 4, 5, 6, 7)


class _Clock:
    @staticmethod
    def now() -> datetime:
        return NOW


def _rendered(template: str, name: str) -> str | None:
    messages, values = CONVERSATIONS[name]
    values = {"add_generation_prompt": True, **SPECIAL, **values}
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            [messages], chat_template=template, **values
        )
    except Exception:
        return None
    return texts[0]


def main() -> None:
    chat_template_utils.datetime = _Clock
    texts = {
        path.stem: {name: _rendered(path.read_text("utf-8"), name) for name in CONVERSATIONS}
        for path in sorted((HERE / "templates").glob("*.jinja"))
    }
    record = {"transformers": __version__, "now": NOW.isoformat(), "texts": texts}
    out = HERE / "data" / "transformers.json"
    out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
