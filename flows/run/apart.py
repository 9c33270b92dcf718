"""Calls that take a while and use no CPU of their own, such as transfers, beside the event loop of a run.

In the loop's thread they would stop everything else that the run awaits, such as its other trainings.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from figa_core.errors import InterruptedRunError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_one = threading.Lock()
"""Two at once would send the same files, and write the same file of fingerprints."""


async def apart(call: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """The result of a call in a thread, one call after another.

    If the awaiting task is cancelled, it waits for the call, which should look whether it is to end
    (`interruption`), so that nothing of the run goes on behind its end.
    """

    def run() -> tuple[_T, None] | tuple[None, InterruptedRunError]:
        with _one:
            try:
                return call(*arguments, **named), None
            except InterruptedRunError as error:  # as an exception of a task it would end the event loop
                return None, error

    work = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        found, stopped = await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        work.exception()  # seen, and of no interest any more
        raise
    if stopped is not None:
        raise stopped
    return found  # pyright: ignore[reportReturnType] - None only if it was stopped
