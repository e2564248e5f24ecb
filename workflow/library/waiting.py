"""Waiting for a run without keeping an event loop from other things."""

from __future__ import annotations

import asyncio
import threading

from workflow.library.results import Result
from workflow.library.running import Running


async def wait(running: Running) -> Result:
    """Return how a run ended; a cancellation brings it to an orderly end first, and then goes on.

    In a thread of its own: those of the loop are few, and a run may take days.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Result] = loop.create_future()

    def hear() -> None:
        try:
            result = running.hear()
        except BaseException as error:  # noqa: BLE001 handed on to whoever awaits
            _tell(loop, ended, error=error)
        else:
            _tell(loop, ended, result=result)

    threading.Thread(target=hear, name="workflow", daemon=True).start()
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        running.interrupt()
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError:  # asked again: insist
                running.interrupt()
        if not ended.cancelled():
            ended.exception()  # it is looked at: the cancellation says more
        raise


def _tell(
    loop: asyncio.AbstractEventLoop,
    ended: asyncio.Future[Result],
    *,
    result: Result | None = None,
    error: BaseException | None = None,
) -> None:
    def settle() -> None:
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        elif result is not None:
            ended.set_result(result)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop was closed meanwhile
        return
