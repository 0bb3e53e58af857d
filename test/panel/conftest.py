"""Qt without a screen, and a panel that looks at stand-ins."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
try:
    from pyqtgraph.Qt import QtCore, QtWidgets
except ImportError as error:  # a machine where set-up might not install what Qt needs
    pytest.skip(f"no Qt here: {error}", allow_module_level=True)

from vla_entropy_ros.panel.widget import Panel

from .standins import ALIVE, Orders, Source


@pytest.fixture(scope="session")
def app() -> Any:
    """Qt's application, once for all tests."""
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


class Shown:
    """A panel on no screen, what it looks at, and what it asks for."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.source, self.orders = Source(), Orders()
        self.panel = Panel(self.source, self.orders)
        self.panel.resize(1280, 800)
        self.panel.show()
        self.let(0.0)

    def let(self, seconds: float) -> None:
        """Let Qt work for a while."""
        end = time.monotonic() + seconds
        while True:
            self._app.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def until(self, condition: Callable[[], Any], patience: float = 5.0) -> None:
        """Let Qt work until `condition` holds."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "it never came to be"
            self.let(0.01)

    def tell(self, **parts: Any) -> None:
        """Let the source know something new, and the panel draw it."""
        self.source.tell(**parts)
        self.let(0.15)


@pytest.fixture
def shown(app: Any) -> Iterator[Shown]:
    """A panel that is looked at, of a policy that speaks."""
    one = Shown(app)
    one.tell(**ALIVE)
    yield one
    one.panel.end()
    one.panel.close()
    one.panel.deleteLater()
    del one.panel


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """What is left of widgets goes on this thread: collected on one of ROS's, it would end the process."""
    yield
    if (app := QtWidgets.QApplication.instance()) is not None:
        app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        gc.collect()
