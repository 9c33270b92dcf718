"""How a signal stops a run that a worker started: as on the command line, and Prefect still names its state.

What Prefect does at a SIGTERM is to raise an exception wherever the main thread is. While an event loop waits
there, that ends the loop at once, and answers under way that are paid for are lost. Ours
(`figa_core.processes.interruption`) cancels the run's task in that case, so that it can still take them in.
"""

import signal

import prefect.utilities.engine as prefect_signals
from prefect.exceptions import TerminationSignal

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption


class TerminatedRunError(InterruptedRunError, TerminationSignal):
    """What ends a run here: known to the stages, and to Prefect, which tells a crash from a cancellation."""


def stop_gently() -> None:
    """Have SIGTERM (a cancellation, the end of a worker) and SIGINT handled by `interruption`."""
    interruption.raise_as(TerminatedRunError)
    # Prefect installs what it finds under this name for the time of a flow, and asks whether it is in place.
    prefect_signals._prefect_sigterm_handler = interruption.on_signal  # pyright: ignore[reportAttributeAccessIssue]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interruption.on_signal)
