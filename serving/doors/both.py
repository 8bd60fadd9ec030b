"""The doors of a server, opened and closed together."""

import asyncio
from collections.abc import Sequence

from serving.api.frame import Frame, Method
from serving.doors import grpc as grpc_door
from serving.doors.http import door as http_door
from serving.doors.secrets import Secrets
from serving.doors.standard_services import Health
from serving.host.background import Background
from serving.metrics.registry import Metrics
from serving.settings import Settings

_CLOSE_S = 3.0
"""Seconds for the last answers to leave once nothing is in progress."""


class Doors:
    """gRPC, and HTTP beside it. Belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        frame: Frame,
        methods: Sequence[Method],
        health: Health,
        background: Background,
        metrics: Metrics,
        *,
        connections: int,
    ) -> None:
        """``connections`` is how many each may have."""
        self._settings = settings
        self._frame = frame
        self._grpc = grpc_door.new_server(settings, connections, frame, methods, health)
        self._http = http_door.new_listener(settings, connections, frame, methods, background, metrics)

    async def open(self, secrets: Secrets) -> tuple[str, str]:
        """The addresses of gRPC and of HTTP, with the ports that are really bound. Raises StartupError."""
        self._frame.require(secrets.token)
        grpc_address = grpc_door.bind(self._grpc, self._settings, secrets)
        http_address = await http_door.bind(self._http, self._settings, secrets)
        try:
            await self._grpc.start()
        except BaseException:
            await self._http.stop(0)
            raise
        return grpc_address, http_address

    def renew(self, secrets: Secrets) -> None:
        """Tokens and certificates have changed; gRPC asks for those of each connection itself."""
        self._frame.require(secrets.token)
        http_door.use(self._http, secrets)

    async def close(self) -> None:
        """Finish what was accepted, refuse what comes, close the sockets."""
        await self._frame.drain(self._settings.grace_s)
        closing = asyncio.gather(self._grpc.stop(_CLOSE_S), self._http.stop(_CLOSE_S))
        await asyncio.sleep(0)  # it has begun
        self._frame.release()
        await closing
