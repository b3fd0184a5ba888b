"""What is known of files that come and go: nothing, once they are gone."""

from __future__ import annotations

import attrs
import pytest

from tests.conftest import module_text
from tests.disk.conftest import Server


def sizes(server: Server) -> dict[str, int]:
    """Return how much is known of each kind."""
    known = {field.name: getattr(server.known, field.name) for field in attrs.fields(type(server.known))}
    return {name: len(value) for name, value in known.items() if hasattr(value, "__len__") and name != "root"}


@pytest.mark.usefixtures("settled")
def test_of_modules_that_are_gone_nothing_is_known_any_more(server: Server) -> None:
    """Ever new names, each with a text of its own: what is known is what there is."""
    server.save("stays.json", module_text("stays"))
    server.start()
    found = []
    for number in range(5):
        text = server.save(f"text{number}.md", "Be kind.")
        full = server.save(f"full{number}.json", module_text(f"npc{number}"))
        small = server.save(f"small{number}.json", f'{{"instruction": "Hello.", "include": ["text{number}.md"]}}')
        server.settle()
        assert len(server.snapshot) == 3
        for file in (text, full, small):
            file.unlink()
        server.settle()
        assert len(server.snapshot) == 1
        found.append(sizes(server))
    assert found == [found[0]] * 5
