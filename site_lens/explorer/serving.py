"""Serve the explorer as a page of this machine: voila over a notebook of one cell.

The page is bound to the loopback address, asks for a token, since other users of the machine reach that address, too,
and tells the browser to load nothing from elsewhere.
"""

import logging
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

from site_lens.core.errors import InputError
from site_lens.explorer.opening import need_notebook
from site_lens.explorer.page import PageSource

LOOPBACK = "127.0.0.1"

POLICY = "; ".join(
    (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
        f"connect-src 'self' ws://{LOOPBACK}:* data: blob:",
        "frame-ancestors 'none'",
    )
)
"""Voila's template names style sheets of a CDN; under this policy no browser asks for them. Widgets come as blobs."""


EXTENSIONS = ("@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget")
"""What the widgets need; other extensions of JupyterLab that are installed may not fit voila's version of it."""


def serve_page(
    source: PageSource, *, announce: Callable[[str], None], port: int | None = None, browser: bool = True
) -> None:
    """Serve the explorer until it is interrupted.

    Args:
        source: What to show.
        announce: Told the address just before the page can be opened there.
        port: Port of the loopback address; a free one when None.
        browser: Open the page in a browser.

    Raises:
        InputError: The packages of the extra `notebook` are not installed, or the port is taken.
    """
    need_notebook()
    try:
        from voila.app import Voila  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError('a local page needs voila; install it with: pip install "site_lens[notebook]"') from error
    import nbformat
    from tornado.ioloop import IOLoop

    chosen, token = free_port(port), secrets.token_hex(24)
    address = f"http://{LOOPBACK}:{chosen}/?token={token}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explorer.ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.code())])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, path)
        app = Voila()
        app.initialize([str(path)])
        # Set behind the configuration files, which may open other pages to the network.
        app.ip, app.port, app.port_retries = LOOPBACK, chosen, 0
        app.token, app.open_browser, app.log_level = token, False, logging.WARNING
        app.tornado_settings = {"headers": {"Content-Security-Policy": POLICY}}
        app.voila_configuration.show_tracebacks = True
        app.voila_configuration.extension_allowlist = list(EXTENSIONS)
        announce(address)
        if browser:
            IOLoop.current().add_callback(webbrowser.open, address)
        app.start()


def free_port(port: int | None) -> int:
    """Return the port if nobody listens on it, any free one when None.

    Raises:
        InputError: It is taken, or needs more rights.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port or 0))
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); choose another one") from error
        found: int = probe.getsockname()[1]
        return found
