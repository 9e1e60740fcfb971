"""Kernels of the local page: the first takes the process that waits, and all end with the server."""

import asyncio
import json
import os
import subprocess
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError

from site_lens.explorer.page_kernel import COMMAND

PROVISIONER = "site-lens"
"""Name under which Jupyter knows the class that starts kernels of the local page."""


class Provisioner(LocalProvisioner):
    """Starts a kernel in the process that waits for one, if there is one, else in a new process."""

    waiting: ClassVar["subprocess.Popen[bytes] | None"] = None

    @classmethod
    def offer(cls, waiting: "subprocess.Popen[bytes]") -> None:
        """Make Jupyter know this class, and let the first kernel be started in the process."""
        entry = EntryPoint(PROVISIONER, f"{cls.__module__}:{cls.__name__}", KernelProvisionerFactory.GROUP_NAME)
        KernelProvisionerFactory.instance().provisioners[PROVISIONER] = entry
        cls.waiting = waiting

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> Any:
        """Start a kernel and return how to connect to it."""
        process, Provisioner.waiting = self.waiting, None
        if process is None or process.stdin is None or process.poll() is not None:
            return await super().launch_kernel(cmd, **settings)
        process.stdin.write(json.dumps(cmd[len(COMMAND) :]).encode() + b"\n")
        process.stdin.close()
        self.process, self.pid = process, process.pid
        self.pgid = os.getpgid(process.pid) if hasattr(os, "getpgid") else None
        return self.connection_info


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
