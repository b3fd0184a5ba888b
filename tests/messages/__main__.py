"""``python -m tests.messages > docs/messages.md``; with ``check``: the text of ``tests/messages/check.txt``."""

from __future__ import annotations

import sys

from tests.messages.document import document
from tests.messages.together import together

sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
sys.stdout.write(together() if sys.argv[1:] == ["check"] else document())
