"""A server's service that starts and stops under load: ``python -m tests.faults.restarted MODULES TIMES``.

All that is printed goes to standard error, and all of it is watchdog's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner

from dspyreload.tap import Options, makeService
from tests.faults.game import text

reactor: Any = installed


def work(modules: Path, over: threading.Event) -> None:
    """Make repositories and modules, and delete them."""
    number = 0
    while not over.is_set():
        number += 1
        subprocess.run(("git", "init", "--quiet", str(modules / "world")), check=True)
        for file in range(50):
            (modules / "world" / f"m{file}.json").write_text(text(f"Number {number}."))
        shutil.rmtree(modules / "world")


async def restart(modules: str, times: int) -> None:
    """Start and stop so many times."""
    for _ in range(times):
        options = Options()
        options.parseOptions(["--modules", modules, "--debounce", "0.02", "--state", "none"])
        service: Any = makeService(options)
        service.startService()
        await deferLater(reactor, 0.3, lambda: None)
        await service.stopService()


def main(modules: str, times: str) -> None:
    """Do it, with two threads at work."""
    globalLogBeginner.beginLoggingTo((), redirectStandardIO=False)
    over = threading.Event()
    threads = [threading.Thread(target=work, args=(Path(modules) / name, over)) for name in ("east", "west")]
    for thread in threads:
        thread.start()

    def done(result: object) -> object:
        over.set()
        reactor.stop()
        return result

    def begin() -> None:
        Deferred.fromCoroutine(restart(modules, int(times))).addBoth(done)

    reactor.callWhenRunning(begin)
    reactor.run()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
