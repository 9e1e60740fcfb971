"""Kernels of the local page, which all end with the server."""

import asyncio
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError


class Kernels(AsyncMappingKernelManager):
    """Kernels of which none starts any more once all have been shut down."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]
        self.starts: set[asyncio.Future[str]] = set()
        self.ended = False

    async def start_kernel(self, **settings: Any) -> str:  # type: ignore[override]
        """Start a kernel and return its id.

        Raises:
            HTTPError: All have been shut down.
        """
        if self.ended:
            raise HTTPError(503, "the explorer is ending")
        start = asyncio.ensure_future(super().start_kernel(**settings))
        self.starts.add(start)
        start.add_done_callback(self.starts.discard)
        return await start

    async def shutdown_all(self, now: bool = False) -> None:  # type: ignore[override]
        """Shut down all kernels."""
        self.ended = True
        # Jupyter does not know a kernel by its id before it has started, and fails to shut it down.
        if self.starts:
            await asyncio.wait(self.starts)
        await super().shutdown_all(now=now)
