"""Ctrl+C and SIGTERM, held until the loop is between two steps."""

import signal
import threading
from typing import Any


class Stop:
    """Hold Ctrl+C and SIGTERM until the loop is between two steps.

    A step that is interrupted leaves some weights new and some old. So the
    first signal is only noted; a second one raises KeyboardInterrupt.

    Attributes:
        signal: number of the signal that came, or 0.

    Example:
        >>> with Stop() as stop:
        ...     signal.raise_signal(signal.SIGINT)
        >>> stop.signal == signal.SIGINT
        True
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        # only the main thread may; in others Ctrl+C does not arrive
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # None: it was not set from Python, and cannot be set again
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def _note(self, number: int, frame: object) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
