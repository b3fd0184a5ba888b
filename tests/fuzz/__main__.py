"""``python -m tests.fuzz READER --seconds N``: fuzz a reader, or all of them one after the other.

What the fuzzer finds on the way stays in a temporary folder; an input that breaks a rule is kept, and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz import results

WORKER = ("-m", "tests.fuzz.worker")
READERS = ("module", "state", "manifest", "kept")
_SEEDS = Path(__file__).parent
_MOST_BYTES = 8192
_STUCK = 60  # seconds of one input, after which libFuzzer ends the process
_GRACE = 120  # seconds that a run may take beyond its time, to read its seeds and to end
_LINES = 60  # of the fuzzer's words that are shown where it found something


def main() -> int:
    """Run what the command line asks for; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of files.")
    parser.add_argument("reader", nargs="?", choices=(*READERS, "all"), help="which reader")
    parser.add_argument("--seconds", type=int, default=60, help="how long, for each reader (default: 60)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write the figures of each reader into this folder")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="copy what was found, and the corpus, into this folder"
    )
    parser.add_argument("--write", action="store_true", help="put the figures of --results into docs/reliability.md")
    options = parser.parse_args()
    if options.reader is None and not options.write:
        parser.error("name a reader, or --write")
    if options.reader is not None and importlib.util.find_spec("atheris") is None:
        sys.exit("atheris is not installed: pip install -e '.[fuzz]'")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what stands in temporary folders is deleted
    found = 0
    for reader in READERS if options.reader == "all" else filter(None, [options.reader]):
        figures = fuzz(reader, options.seconds, options.keep)
        print(results.line(reader, figures), flush=True)
        found += figures["found"]
        if options.results is not None:
            options.results.mkdir(parents=True, exist_ok=True)
            (options.results / f"{reader}.json").write_text(json.dumps(figures, indent=1) + "\n")
    if options.write:
        results.write(options.results or parser.error("--write needs --results"), READERS)
    if options.reader is not None:
        print("nothing was found" if not found else f"{found} found", flush=True)
    return 1 if found else 0


def fuzz(reader: str, seconds: int, keep: Path | None) -> dict[str, Any]:
    """Fuzz one reader for so many seconds; return the figures of the run."""
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{reader}-") as name:
        work = Path(name)
        for folder in ("corpus", "found"):
            (work / folder).mkdir()
        log = work / "log"
        with log.open("wb") as words:
            status = _run(reader, seconds, work, words)
        figures: dict[str, Any] = {"seconds": 0.0, "executions": 0, "longest": 0.0}
        if (work / "figures.json").exists():
            figures = json.loads((work / "figures.json").read_text())
        figures["corpus"] = len(_seeds(reader)) + len(list((work / "corpus").iterdir()))
        figures["found"] = int(status != 0)
        if keep is not None:
            shutil.copytree(work, keep / reader, dirs_exist_ok=True)
        if status != 0:
            _tell(reader, status, log, work / "found")
        return figures


def _seeds(reader: str) -> list[Path]:
    return [path for folder in ("corpus", "regressions") for path in (_SEEDS / folder / reader).glob("*")]


def _run(reader: str, seconds: int, work: Path, words: Any) -> int:
    folders = [folder for kind in ("corpus", "regressions") if (folder := _SEEDS / kind / reader).is_dir()]
    command = [
        sys.executable, *WORKER, reader, str(work / "figures.json"), str(os.getpid()),
        f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", f"-timeout={_STUCK}",
        f"-artifact_prefix={work}/found/",
        "-print_final_stats=1", str(work / "corpus"), *map(str, folders),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT)
    try:
        return process.wait(seconds + _GRACE)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        process.kill()
        process.wait()


def _tell(reader: str, status: int, log: Path, found: Path) -> None:
    """Show what the fuzzer said, and put the input where it outlives the run."""
    said = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("#")]
    print("\n".join(said[-_LINES:]))
    print(f"the {reader} reader: the fuzzer ended with status {status}")
    for path in found.iterdir():
        kept = Path(tempfile.gettempdir()) / f"fuzz-{reader}-{path.name}"
        shutil.copy(path, kept)
        print(f"the input is kept in {kept}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
