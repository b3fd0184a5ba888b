"""The tavern, over a socket, edited under an open connection; and the composition that the README shows."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import LIMIT, ROOT, Process, free_port, running, twistd

Say = Callable[[str], str]


@contextlib.contextmanager
def guest(port: int) -> Iterator[Say]:
    """Sit down in the tavern: ``say(line)`` returns the next line that is heard."""
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT) as connection,
        connection.makefile("rw", newline="") as file,
    ):

        def say(line: str) -> str:
            file.write(line + "\r\n")
            file.flush()
            return file.readline().strip()

        assert file.readline().startswith("You are in the tavern.")
        file.readline()
        yield say


@contextlib.contextmanager
def tavern(directory: Path, reactor: str) -> Iterator[tuple[Process, int]]:
    """Run a copy of the example."""
    shutil.copytree(ROOT / "examples" / "tavern", directory / "tavern", ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    command = twistd(f"--reactor={reactor}", "--pidfile=", "-ny", "tavern/tavern.tac")
    with running(*command, cwd=directory, TAVERN_PORT=f"tcp:{port}:interface=127.0.0.1", TAVERN_LM="demos") as server:
        server.wait_for("watching .*; 3 modules live")
        yield server, port


@pytest.mark.parametrize("reactor", ["default", "asyncio"])
def test_an_edit_is_heard_in_the_same_connection(tmp_path: Path, reactor: str) -> None:
    """The next sentence after a save is the new one; after a broken save it is still that."""
    with tavern(tmp_path, reactor) as (server, port), guest(port) as say:
        assert say("smith: Hello, good evening!").startswith("The smith: Is it? My arms say otherwise.")
        assert say("Can you make me a sword?").startswith("The smith: Three days, ten silver")
        assert say("keeper: What is there to drink?").startswith("The keeper: Ale, dark ale")
        assert say("bard: Sing something").startswith("The bard: A king there was")
        file = tmp_path / "tavern" / "modules" / "tavern" / "smith.json"
        file.write_text(file.read_text().replace("Is it? My arms say otherwise.", "Well met, stranger."))
        version = server.wait_for(r"tavern\.smith is live: version ([0-9a-f]{4})")[1]
        assert say("smith: Hello, good evening!") == f"The smith: Well met, stranger.  [{version}, demos]"
        file.write_text(file.read_text().replace("Well met", 'Well "met'))
        server.wait_for(
            rf"tavern/smith\.json:\d+:\d+: .*; version {version}[0-9a-f]+ of tavern\.smith is still serving"
        )
        assert say("smith: Hello, good evening!") == f"The smith: Well met, stranger.  [{version}, demos]"
        server.end()
    assert "Traceback" not in server.text


def test_the_keeper_looks_before_he_answers(tmp_path: Path) -> None:
    """His tool runs in the server, for the guest who asks; the next sentence is of what was saved meanwhile."""
    with tavern(tmp_path, "default") as (server, port), guest(port) as say:
        heard = say("keeper: What is there on the shelf?")
        assert heard.startswith("The keeper: Ale, dark ale")
        assert heard.endswith(", demos, look_at_shelf]")
        server.wait_for(r"the keeper looks at the drinks for the guest from IPv4Address\(type='TCP', host='127.0.0.1'")
        file = tmp_path / "tavern" / "modules" / "tavern" / "keeper.json"
        file.write_text(file.read_text().replace("Ale, dark ale, and", "Ale, and"))
        server.wait_for(r"tavern\.keeper is live")
        assert say("What is there on the shelf?").startswith("The keeper: Ale, and something green")
        server.end()
    assert "Traceback" not in server.text


def test_a_shared_text_file_changes_who_includes_it(tmp_path: Path) -> None:
    """The bard includes the house rules: saving them makes a new version of the bard, and of nobody else."""
    with tavern(tmp_path, "default") as (server, port), guest(port) as say:
        before = say("bard: Sing something")
        rules = tmp_path / "tavern" / "modules" / "house_rules.md"
        rules.write_text(rules.read_text() + "\nNobody sings after midnight.\n")
        server.wait_for(r"tavern\.bard is live: version [0-9a-f]{12}, generation 2")
        assert say("bard: Sing something") != before
        server.end()


def test_five_lines_in_a_tac_make_a_server_live(tmp_path: Path) -> None:
    """The composition of the README, word for word, under ``twistd -ny``."""
    readme = (ROOT / "README.md").read_text()
    block = next(part for part in readme.split("```python\n")[1:] if "setServiceParent(application)" in part)
    (tmp_path / "game.tac").write_text(block.split("```")[0])
    shutil.copytree(ROOT / "examples" / "tavern" / "modules", tmp_path / "modules")
    port = free_port()
    text = (tmp_path / "game.tac").read_text()
    assert "tcp:4000" in text
    (tmp_path / "game.tac").write_text(text.replace("tcp:4000", f"tcp:{port}"))
    with running(*twistd("-ny", "game.tac"), cwd=tmp_path) as server:
        server.wait_for("watching .*; 3 modules live")
        with socket.create_connection(("127.0.0.1", port), LIMIT) as connection, connection.makefile("rw") as file:
            file.write("Hello, good evening!\r\n")
            file.flush()
            assert file.readline().strip() == "Is it? My arms say otherwise."
        server.end()
    assert "Traceback" not in server.text


PROGRAM = """
import dspy


class QuestWriter(dspy.Module):
    def __init__(self):
        super().__init__()
        self.plan = dspy.Predict("topic -> plan")
        self.write = dspy.Predict("topic, plan -> text")

    async def aforward(self, topic):
        plan = (await self.plan.acall(topic=topic)).plan
        return await self.write.acall(topic=topic, plan=plan)
"""


def test_two_lines_serve_a_dspy_program(tmp_path: Path) -> None:
    """The composition of the README for who has one, word for word but for the model; what is saved is live."""
    readme = (ROOT / "README.md").read_text()
    block = next(part for part in readme.split("```python\n")[1:] if "engine.programs.register" in part).split("```")[0]
    assert len(block.splitlines()) < 20
    (tmp_path / "game.tac").write_text(block.replace("openai/gpt-4o-mini", "demos"))
    (tmp_path / "quests.py").write_text(PROGRAM)
    (tmp_path / "programs" / "quest").mkdir(parents=True)
    with running(*twistd("-ny", "game.tac"), cwd=tmp_path, PYTHONPATH=str(tmp_path)) as server:
        server.wait_for("watching .*; 0 modules live")
        save = "from quests import QuestWriter; QuestWriter().save('programs/quest/writer.json')"
        subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True, timeout=LIMIT)
        server.wait_for(r"quest\.writer is live: version [0-9a-f]{12}, generation 2")
        server.end()
    assert "Traceback" not in server.text
