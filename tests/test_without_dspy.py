"""What works where DSPy is not installed, and what an import loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Save, module_text

NO_DSPY = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dspy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

IN_REACTOR = """
import json, sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred

def run(main):
    def start():
        Deferred.fromCoroutine(main()).addBoth(end)
    def end(result):
        found.append(result)
        reactor.stop()
    found = []
    reactor.callWhenRunning(start)
    limit = reactor.callLater(20, end, TimeoutError("the test took too long"))
    reactor.run()
    print(json.dumps(found[0], default=repr))
"""


def python(code: str, *arguments: str, **environment: str) -> Any:
    """Run code in a fresh interpreter; returns the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def program(body: str) -> str:
    """Return the code of a game whose ``main`` is this body, without DSPy."""
    main = "async def main():\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return f"{NO_DSPY}\n{IN_REACTOR}\nfrom dspyreload import *\nfrom dspyreload.errors import *\n{main}\nrun(main)\n"


class TestImporting:
    @pytest.mark.parametrize("module", ["dspyreload", "dspyreload.testing", "dspyreload.engine"])
    def test_it_loads_neither_dspy_nor_a_reactor(self, module: str) -> None:
        """An import chooses no reactor for the host, and does not wait for DSPy."""
        loaded = python(f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))")
        assert "dspyreload.engine" in loaded
        assert not {"dspy", "twisted.internet.reactor"} & set(loaded)

    def test_it_does_not_load_watchdog(self) -> None:
        """The watcher's library is loaded when a service starts."""
        loaded = python("import json, sys, dspyreload; print(json.dumps(sorted(sys.modules)))")
        assert not [name for name in loaded if name.split(".")[0] == "watchdog"]

    def test_an_engine_that_is_only_read_loads_neither(self, save: Save, modules: Path) -> None:
        """Making an engine and reading its modules needs no DSPy, no reactor and no thread."""
        save("smith.json", module_text())
        found = python(
            "import json, sys, threading, dspyreload\n"
            "engine = dspyreload.DSPyEngine(sys.argv[1], lm='demos')\n"
            "instruction = engine['npc.smith'].instruction\n"
            "print(json.dumps([instruction, threading.active_count(), 'dspy' in sys.modules,"
            " 'twisted.internet.reactor' in sys.modules]))",
            str(modules),
        )
        assert found == ["You are a smith.", 1, False, False]


class TestWithoutDSPy:
    def test_a_server_reloads(self, save: Save, modules: Path) -> None:
        """Modules are read, watched and reloaded, and events are told."""
        save("smith.json", module_text())
        found = python(
            program(
                """
                import pathlib
                assert "dspy" not in sys.modules
                engine = DSPyEngine(sys.argv[1], lm="demos")
                handle = await engine.enable_hot_reload(HotReloadConfig(debounce=0.01))
                file = pathlib.Path(sys.argv[1], "smith.json")
                changed = handle.service.next_event(ModuleChanged)
                file.write_text(file.read_text().replace("You are a smith.", "You are a tired smith."))
                event = await changed
                await handle.stop()
                await engine.close()
                return [event.module_id, event.generation, engine["npc.smith"].instruction]
                """
            ),
            str(modules),
        )
        assert found == ["npc.smith", 2, "You are a tired smith."]

    @pytest.mark.parametrize("lm", ["demos", "openai/some-model"])
    def test_invoke_names_the_extra(self, save: Save, modules: Path, lm: str) -> None:
        """``invoke`` and ``warm`` fail with the command that installs DSPy, and the engine closes clean."""
        save("smith.json", module_text())
        found = python(
            program(
                """
                import threading
                engine = DSPyEngine(sys.argv[1], lm=sys.argv[2])
                texts = []
                for call in (engine.invoke("npc.smith", player_message="Hello"), engine.warm()):
                    try:
                        await call
                    except DSPyNotInstalled as error:
                        texts.append(str(error))
                await engine.close()
                return [texts, threading.active_count()]
                """
            ),
            str(modules),
            lm,
        )
        assert found == [["invoke needs DSPy: python -m pip install 'dspyreload[dspy]'"] * 2, 1]

    def test_a_mistake_of_the_game_is_still_named(self, save: Save, modules: Path) -> None:
        """An unknown id is an unknown id, with or without DSPy."""
        save("smith.json", module_text())
        found = python(
            program(
                """
                engine = DSPyEngine(sys.argv[1])
                try:
                    await engine.invoke("npc.bard", player_message="Hello")
                except UnknownModule as error:
                    return error.module_id
                """
            ),
            str(modules),
        )
        assert found == "npc.bard"

    def test_only_signature_classes_are_registered(self, modules: Path) -> None:
        """What is no signature is refused there as well."""
        found = python(
            program(
                """
                engine = DSPyEngine(sys.argv[1])
                try:
                    engine.signatures.register("npc.dialogue", dict)
                except SignatureRefused as error:
                    return str(error)
                """
            ),
            str(modules),
        )
        assert "dspy.Signature" in found

    @pytest.mark.parametrize(("text", "status"), [(module_text(), 0), ("{", 1)])
    def test_files_are_checked(self, save: Save, modules: Path, text: str, status: int) -> None:
        """The offline check needs no DSPy."""
        save("smith.json", text)
        code = f"{NO_DSPY}\nimport json\nfrom dspyreload.__main__ import main\n"
        found = python(
            f"{code}print('\\n' + json.dumps([main(sys.argv[1:]), 'dspy' in sys.modules]))", "check", str(modules)
        )
        assert found == [status, False]


class TestWithDSPy:
    def test_nothing_is_written_to_the_home_directory(self, save: Save, modules: Path, tmp_path: Path) -> None:
        """DSPy's cache would keep there what players say; an LM that we make has none."""
        save("smith.json", module_text())
        home = tmp_path / "home"
        home.mkdir()
        code = IN_REACTOR + textwrap.dedent(
            """
            import os
            from dspyreload import *

            async def main():
                os.environ.pop("DSPY_CACHEDIR", None)
                engine = DSPyEngine(sys.argv[1], lm="demos")
                for _ in range(2):
                    reply = await engine.invoke("npc.smith", player_message="Hello")
                await engine.close()
                return reply.lm

            run(main)
            """
        )
        assert python(code, str(modules), HOME=str(home), XDG_CACHE_HOME=str(home / "cache")) == "demos"
        assert not list(home.rglob("*"))
