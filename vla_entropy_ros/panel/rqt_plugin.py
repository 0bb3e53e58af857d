"""The panel as a plugin of rqt; nothing else here knows of rqt."""

from __future__ import annotations

import json
from typing import Any

from rqt_gui_py.plugin import Plugin

from .session import Session

NAMESPACE, HISTORY = "namespace", "history"


class VlaPolicy(Plugin):
    """A dock with the panel; rqt may open several, each with a robot of its own."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.setObjectName("VlaPolicy")
        self._session = Session()
        if context.serial_number() > 1:
            self._session.panel.setWindowTitle(f"VLA policy ({context.serial_number()})")
        context.add_widget(self._session.panel)

    def save_settings(self, plugin_settings: Any, instance_settings: Any) -> None:  # noqa: ARG002  (rqt's signature)
        """Keep namespace and instructions in the perspective."""
        panel = self._session.panel
        instance_settings.set_value(NAMESPACE, panel.namespace or "")
        instance_settings.set_value(HISTORY, json.dumps(panel.history))

    def restore_settings(self, plugin_settings: Any, instance_settings: Any) -> None:  # noqa: ARG002  (as above)
        """Take them from there."""
        kept = json.loads(instance_settings.value(HISTORY, "[]"))
        self._session.panel.restore(instance_settings.value(NAMESPACE, ""), [str(line) for line in kept])

    def shutdown_plugin(self) -> None:
        """End threads and nodes."""
        self._session.close()
