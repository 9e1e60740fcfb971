"""Kernel process of the local page: what it imports, what it leaves out, and when it ends."""

import subprocess
import sys

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


def test_the_first_page_needs_neither_pandas_nor_torch() -> None:
    code = """
import sys
import site_lens as sl
from tests.fakes import fake_fits
assert sl.explore(fake_fits(["a"])).map.figure.data
print({"pandas", "torch"} & set(sys.modules))
"""
    assert said_by(code) == "set()"
