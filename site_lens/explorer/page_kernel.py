"""Kernel process of the local page, which imports what a page needs before the server can ask for a kernel.

The server imports voila for as long as the kernel imports plotly: the process is started first, and told only when a
page is opened on which sockets it is to listen.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = [sys.executable, "-P", "-m", "site_lens.explorer.page_kernel"]
"""Command of a kernel. Without further arguments it reads them, as JSON in one line, from its standard input."""


def skip_iri_grammar() -> None:
    """Let `jsonschema` be imported without its check of IRIs, in this process.

    Jupyter and plotly import jsonschema to validate notebooks. Where `rfc3987_syntax` is installed, jsonschema imports
    it, and it builds a grammar for seconds at each start; no schema of Jupyter's holds an IRI. An import of a module
    that is None here ends in an ImportError, at which jsonschema goes on without this check.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


@contextmanager
def warm_kernel() -> Iterator["subprocess.Popen[bytes]"]:
    """Start the process of a kernel that waits for its arguments; it ends with the block if it still does."""
    from jupyter_client.launcher import launch_kernel

    process = launch_kernel(COMMAND, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.stdin is not None and not process.stdin.closed:
            process.kill()
            process.wait()
            process.stdin.close()


if __name__ == "__main__":
    skip_iri_grammar()
    from ipykernel.kernelapp import launch_new_instance

    import site_lens.explorer.view  # noqa: F401

    arguments = sys.argv[1:] or json.loads(sys.stdin.readline() or "[]")
    if arguments:  # the server has not ended meanwhile
        launch_new_instance(argv=arguments)
