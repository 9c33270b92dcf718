"""A signal stops a run that a worker started as it does on the command line, and Prefect sets its state.

At a SIGTERM Prefect raises an exception wherever the main thread is. If an event loop is waiting there, the
loop ends at once, and paid answers that are on their way are lost. Our handler
(`figa_core.processes.interruption`) cancels the run's task instead, so that it can still store them.
"""

import signal

import prefect.utilities.engine as prefect_signals
from prefect.exceptions import TerminationSignal

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption


class TerminatedRunError(InterruptedRunError, TerminationSignal):
    """Ends a run. The stages know it, and Prefect does too: it tells a crash from a cancellation."""


def stop_gently() -> None:
    """Have SIGTERM (a cancellation, the end of a worker) and SIGINT handled by `interruption`."""
    interruption.raise_as(TerminatedRunError)
    # Prefect installs the handler of this name during a flow, and checks that it is in place.
    prefect_signals._prefect_sigterm_handler = interruption.on_signal  # pyright: ignore[reportAttributeAccessIssue]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interruption.on_signal)
