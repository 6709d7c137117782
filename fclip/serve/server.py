"""The server: uvicorn with bounds on connections, and on the time until a request is complete."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fclip.errors import UserError
from fclip.serve.app import create_app
from fclip.serve.settings import Settings

logger = logging.getLogger(__name__)
SHUTDOWN_SECONDS = 10
MAX_HEADER_BYTES = 32 * 2**10


def serve(workspace: Path, settings: Settings) -> None:
    """Serve what is published in a workspace until the process is stopped.

    Raises:
        UserError: the address cannot be used.
    """
    config = uvicorn.Config(
        create_app(workspace, settings),
        host=settings.host,
        port=settings.port,
        http=protocol(settings.header_seconds),
        ws="none",
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=int(settings.header_seconds),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        access_log=False,  # it would contain queries and addresses
        server_header=False,
        proxy_headers=False,
        log_config=None,
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit as error:  # uvicorn exits if it cannot bind
        if error.code:
            raise UserError(
                f"the address {settings.host}:{settings.port} cannot be used; choose another --port"
            ) from error
        raise


def protocol(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol with a limit: a connection whose request header is incomplete after `seconds` ends."""

    class Impatient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:  # a header is complete; uvicorn limits the time until the next one begins
                self._stop_timer()

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Impatient
