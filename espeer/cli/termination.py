"""Ending in order when told to, for commands that run nodes as processes: these would outlive one that just dies."""

import signal


def heed_termination() -> None:
    """Have SIGTERM do what Ctrl-C does. A shell starts background jobs with that ignored; here it is heeded always."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
