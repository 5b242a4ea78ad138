"""Ctrl-C as a wish: what runs is asked to end, and keeps what it has."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def wish_to_stop(*signals: signal.Signals) -> Iterator[threading.Event]:
    """An event that the first of the signals (Ctrl-C, if none is given) sets, instead of what it does otherwise.

    The second Ctrl-C is a KeyboardInterrupt again. Somebody else's handler stays, as does everything outside the
    main thread, where signals do not arrive.
    """
    wish = threading.Event()

    def wished(number: int, frame: FrameType | None) -> None:
        if wish.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        wish.set()

    ours = (signal.default_int_handler, signal.SIG_DFL)
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [one for one in signals or (signal.SIGINT,) if signal.getsignal(one) in ours]
    before = {one: signal.signal(one, wished) for one in taken}
    try:
        yield wish
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
