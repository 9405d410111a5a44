"""A server that runs takes a bot's new version, and drops no reply for it."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.replier import Replier
from elman.model.folder import current_id
from elman.serve.service import Service

WATCH_SECONDS = 1.0
"""Between two looks at which version each bot is."""

RETIRED_SECONDS = 60.0
"""For which a bot that was renewed can still be asked by whoever was about to."""

Load = Callable[[Path], tuple[Bot, Replier | None]]
"""Loads the bot of a folder, and what chooses its replies."""


class VersionWatcher:
    """Looks which version each bot is, and has a new one served.

    Args:
        service: what serves them.
        load: how they are loaded.
        clock: seconds.
    """

    def __init__(
        self, service: Service, load: Load, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._service, self._load, self._clock = service, load, clock
        self._homes = {name: model.bot.home for name, model in service.models.items()}
        self._known: dict[str, str | None] = {}
        self._known = self._ids()
        self._renewed: float | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elman versions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Have what is new served. A version that cannot be loaded is told of, and not served."""
        found = self._ids()
        for name, version in found.items():
            if version == self._known[name]:
                continue
            try:
                bot, replier = self._load(self._homes[name])
            except ElmanError as error:
                logging.getLogger("elman").error("%s stays as it was served: %s", name, error)
                continue
            self._service.renew(name, bot, replier)
            self._renewed = self._clock()
        self._known = found
        if self._renewed is not None and self._clock() - self._renewed > RETIRED_SECONDS:
            self._service.let_go()

    def _ids(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name, home in self._homes.items():
            try:
                found[name] = current_id(home)
            except ElmanError:  # damaged: what is loaded is still whole
                found[name] = self._known.get(name)
        return found

    def _run(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            self.look()
