"""The panel in a window of its own, as a process: `python -m vla_entropy_ros.panel.window`."""

from __future__ import annotations

import signal
import socket
import sys

from pyqtgraph.Qt import QtCore, QtWidgets

from .session import Session

SIZE = 1280, 800  # pixels
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wake:
    """Has Python's handlers of signals run at once, though Qt waits for events in C++."""

    def __init__(self) -> None:
        self._heard, self._told = socket.socketpair()
        for end in (self._heard, self._told):
            end.setblocking(False)
        signal.set_wakeup_fd(self._told.fileno())
        self._notifier = QtCore.QSocketNotifier(self._heard.fileno(), QtCore.QSocketNotifier.Type.Read)
        self._notifier.activated.connect(lambda *_: self._heard.recv(64))


def main() -> int:
    """Show the panel until its window is closed, or a signal comes; returns the exit status."""
    app = QtWidgets.QApplication(sys.argv[:1])
    app.setApplicationName("VLA policy")
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        app.quit()

    for number in ENDING:
        signal.signal(number, end)
    wake = Wake()
    session = Session()
    memory = QtCore.QSettings("vla_entropy_ros", "panel")
    session.panel.restore(None, list(memory.value("history", [], type=list)))
    session.panel.resize(*SIZE)
    session.panel.show()
    QtCore.QTimer.singleShot(0, lambda: app.quit() if ended else None)  # what came before the loop ends nothing
    try:
        return int(app.exec())
    finally:
        memory.setValue("history", session.panel.history)
        memory.sync()
        session.close()
        del wake


if __name__ == "__main__":
    sys.exit(main())
