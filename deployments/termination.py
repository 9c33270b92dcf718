"""Makes a signal stop a worker's run as on the command line, while Prefect still sets the run's state.

At a SIGTERM Prefect raises an exception wherever the main thread is. If an event loop is waiting there, the
loop ends at once, and paid answers that have not arrived yet are lost. Our handler
(`figa_core.processes.interruption`) cancels the run's task instead, so that it can still store them.
"""

import signal

import prefect.utilities.engine as prefect_signals
from prefect.exceptions import TerminationSignal

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption


class TerminatedRunError(InterruptedRunError, TerminationSignal):
    """Ends a run. Both our stages and Prefect, which tells a crash from a cancellation, handle it."""


def stop_gently() -> None:
    """Let `interruption` handle SIGTERM (a cancellation, the end of a worker) and SIGINT."""
    interruption.raise_as(TerminatedRunError)
    # Prefect installs the handler of this name during a flow, and checks that it is in place.
    prefect_signals._prefect_sigterm_handler = interruption.on_signal  # pyright: ignore[reportAttributeAccessIssue]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interruption.on_signal)
