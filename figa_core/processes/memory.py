"""The memory of this process."""

import resource
import sys


def peak_rss_bytes() -> int:
    """The most resident memory that it has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
