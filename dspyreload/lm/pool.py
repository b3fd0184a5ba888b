"""Threads for programs that are not async: daemons, so that one that hangs keeps no process alive."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ThreadPool"]

T = TypeVar("T")


class ThreadPool:
    """Runs functions in threads, ``limit`` at a time; more wait, first come first served.

    A thread is started for each: that costs a tenth of a millisecond beside a call of a language model. One whose call
    was cancelled goes on until its function returns, and holds its place until then.
    """

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread, with the context variables of this task; what it raises is raised here."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def ended(result: Any, error: BaseException | None) -> None:
            self._places.release()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except StopIteration as stop:  # a future takes none
                error = RuntimeError(f"the program raised {stop!r}")
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(ended, result, error)
            except RuntimeError:  # the loop has ended: nobody waits
                return

        try:
            threading.Thread(target=work, name="dspyreload-program", daemon=True).start()
        except RuntimeError:
            self._places.release()
            raise
        return await future
