"""Kernel process of the local page: what it imports, what it leaves out, and when it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from site_lens.explorer.page_kernel import warm_kernel
from tests.documents import ROOT

pytest.importorskip("jupyter_client")


def said_by(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_process_that_no_page_took_ends_with_the_block() -> None:
    with warm_kernel() as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_a_process_that_waits_ends_when_the_server_is_gone() -> None:
    with warm_kernel() as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_the_first_kernel_takes_the_process_that_waits_and_the_next_one_gets_its_own(tmp_path: Path) -> None:
    pytest.importorskip("voila")
    code = f"""
import asyncio, json, os
from pathlib import Path
folder = Path({str(tmp_path)!r})
os.environ["JUPYTER_PATH"] = str(folder)
from site_lens.explorer.page import PageSource
from site_lens.explorer.page_kernel import warm_kernel
from site_lens.explorer.serving import _server
from site_lens.explorer.kernels import Provisioner
(folder / "work").mkdir()
(folder / "JUPYTER_PATH").mkdir()
os.environ["JUPYTER_PATH"] = str(folder / "JUPYTER_PATH")
with warm_kernel() as waiting:
    app = _server(PageSource(run="run", folder="."), folder, 1, "token", "")
    app.connection_dir = str(folder)
    manager = app.init_settings()["kernel_manager"]
    Provisioner.offer(waiting)

    async def processes():
        ids = [await manager.start_kernel(kernel_name="python3") for _ in range(2)]
        kernels = [manager.get_kernel(name) for name in ids]
        for kernel in kernels:
            client = kernel.client()
            client.start_channels()
            await client.wait_for_ready(timeout=60)
            client.stop_channels()
        print(*(kernel.provisioner.pid == waiting.pid for kernel in kernels))
        await manager.shutdown_all(now=True)

    asyncio.run(processes())
print(waiting.wait(60) is not None)
"""
    assert said_by(code).split() == ["True", "False", "True"]


def test_the_first_page_needs_neither_pandas_nor_torch() -> None:
    code = """
import sys
import site_lens as sl
from tests.fakes import fake_fits
assert sl.explore(fake_fits(["a"])).map.figure.data
print({"pandas", "torch"} & set(sys.modules))
"""
    assert said_by(code) == "set()"
