"""Records the conversation of the README: ``python -m docs.talk.record``, then ``svg-term`` (npm: svg-term-cli).

A real ``dspyreload talk`` on a pseudo-terminal; the file is saved while it runs.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import tempfile
from pathlib import Path

from dspyreload.__main__ import main
from tests.end_to_end.terminal import Terminal

HERE = Path(__file__).parent
_KEY = 0.06  # seconds between two keys


def _type(terminal: Terminal, text: str) -> None:
    for key in text:
        terminal.keys(key)
        terminal.pause(_KEY)
    terminal.pause(0.4)
    terminal.keys("\r")


def _save(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def record() -> str:
    """Return the recording in asciinema's format."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with contextlib.chdir(home), contextlib.redirect_stdout(io.StringIO()):
            main(["init", "modules"])
        smith = home / "modules" / "npc" / "smith.json"
        env = {"HOME": directory, "XDG_STATE_HOME": directory, "PS1": "$ "}
        with Terminal("sh", "-i", columns=92, rows=24, env=env, cwd=home) as talk:
            talk.until("$")
            _type(talk, "dspyreload talk modules npc.smith")
            talk.until("npc.smith>")
            talk.pause(1.5)
            _type(talk, "Good day!")
            talk.until("Mind the sparks.")
            talk.pause(1.5)
            _save(smith, "Is it? Mind the sparks.", "A fine day! Come in, come in.")
            talk.until("npc.smith is live")
            talk.pause(1.5)
            _type(talk, "/again")
            talk.until("smith: A fine day!")
            talk.pause(1.5)
            _type(talk, "/both")
            talk.until("before")
            talk.pause(2.0)
            _save(smith, '"response": "Close', '"respons": "Close')
            talk.until("still speaks")
            talk.pause(2.5)
            _save(smith, '"respons": "Close', '"response": "Close')
            talk.until("whole again")
            talk.pause(1.5)
            _type(talk, "/quit")
            talk.pause(1.0)
            return talk.cast()


if __name__ == "__main__":
    cast = HERE / "talk.cast"
    cast.write_text(record(), encoding="utf-8")
    subprocess.run(["svg-term", "--in", str(cast), "--out", str(HERE / "talk.svg"), "--window"], check=True)
