"""One folder with every fault that can live in one, and what ``dspyreload check`` prints for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dspyreload.commands.excerpt import Excerpts
from dspyreload.commands.reporting import as_text
from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import check_directory
from tests.messages.case import PLAIN, Case
from tests.messages.cases import GROUPS
from tests.messages.document import slug, written

__all__ = ["together"]


def together() -> str:
    """Return what is printed: the files of each case lie in a folder of their own, named for its title."""
    with tempfile.TemporaryDirectory(prefix="messages") as temporary:
        root = Path(temporary) / "modules"
        root.mkdir()
        for group in GROUPS:
            for case in group.cases:
                if isinstance(case, Case) and case.how is PLAIN and "manifest.json" not in case.files:
                    written(root / slug(group.title) / slug(case.title), case.files)
        config = HotReloadConfig()
        lines = as_text(check_directory(root, config), Excerpts(str(root), config.max_file_size))
    return "\n".join(lines) + "\n"
