"""Local page of the explorer: voila over a notebook of one cell.

The page is bound to the loopback address, asks for a token, since other users of the machine reach that address, too,
answers to no other name of it, and tells the browser to load nothing from elsewhere.

Voila, Jupyter and IPython take settings and code from the working folder and from folders of the user; the server and
its kernels work in an empty folder of their own, with settings and an import path that hold nothing of the working
folder or of the run.
"""

import json
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from site_lens.explorer.opening import need_notebook
from site_lens.explorer.page import PageSource
from site_lens.explorer.page_kernel import skip_iri_grammar
from site_lens.records.assets import asset
from site_lens.records.errors import InputError

LOOPBACK = "127.0.0.1"

POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    f"connect-src 'self' ws://{LOOPBACK}:* data: blob:; frame-ancestors 'none'"
)
"""Voila's template names style sheets of a CDN; under this policy no browser asks for them. Widgets come as blobs."""

EXTENSIONS = ("@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget")
"""What the widgets need; other extensions of JupyterLab that are installed may not fit voila's version of it."""

TEMPLATE = "site_lens"
"""Template of the page: voila's own, which says what is loaded and loads its scripts at once."""

IDLE_SECONDS = 60
"""Time after which a kernel ends that no page is connected to."""

OWN_FOLDERS = ("JUPYTER_PATH", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
"""Variables that name folders to take settings, kernels and templates from."""
RUNS_CODE = ("JUPYTER_CONFIG_PATH", "PYTHONSTARTUP")
"""More such variables, and one that names a file to run."""

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end the server: Ctrl-C, and the usual one of other programs."""

QUIET = "--IPKernelApp.log_level=40"
"""Errors of a kernel alone: it warns at each start that its sockets, on the loopback address, are not encrypted."""

PACKAGE_ROOT = Path(__file__).parent.parent.parent


def serve_page(
    source: PageSource,
    *,
    announce: Callable[[str], None],
    first_view: str = "",
    port: int | None = None,
    browser: bool = True,
) -> None:
    """Serve the explorer until it is interrupted.

    Args:
        source: What to show.
        announce: Told the address as soon as the page can be opened there.
        first_view: HTML to be seen until the explorer is there.
        port: Port of the loopback address; a free one when None.
        browser: Open the page in a browser.

    Raises:
        InputError: The packages of the extra `notebook` are not installed, or the port is taken.
    """
    need_notebook()
    if find_spec("voila") is None:
        raise InputError('a local page needs voila; install it with: pip install "site_lens[notebook]"')
    chosen, token = free_port(port), secrets.token_hex(24)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _isolate(folder, strange=[Path.cwd(), Path(source.run)])
        with chdir(folder / "work"):
            app = _server(source, folder, chosen, token, first_view)
            from tornado.ioloop import IOLoop

            address, loop = f"http://{LOOPBACK}:{chosen}/?token={token}", IOLoop.current()
            _end_on_signals(loop)

            def begin() -> None:
                announce(address)
                if browser:
                    # In a file, as every user can read what programs are called with.
                    page = folder / "open.html"
                    page.write_text(f'<meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
                    # Some browsers are waited for until they are closed; neither an answer nor Ctrl-C is to wait.
                    threading.Thread(target=webbrowser.open, args=[page.as_uri()], daemon=True).start()

            loop.add_callback(begin)
            app.start()


def _end_on_signals(loop: Any) -> None:
    """Stop the event loop at the first signal that ends the server, and let no further one disturb the end.

    The exception that Python raises on Ctrl-C would come up inside of whatever the loop does, such as starting a
    kernel, which is then not known to anybody who could end it. It is never raised where Ctrl-C was ignored when this
    process started, as it is in a background job of a script.
    """

    def end(*_: Any) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        loop.asyncio_loop.call_soon_threadsafe(loop.stop)  # which wakes a loop that waits

    for number in ENDING:
        signal.signal(number, end)


def _isolate(folder: Path, *, strange: Sequence[Path]) -> None:
    """Give this process, which ends with the server, settings and an import path of its own.

    Args:
        folder: An empty folder, for settings and for the working folder `work`.
        strange: Folders whose files are not to be imported; the one that holds this package is never left out.
    """
    refused = {path.resolve() for path in strange} - {PACKAGE_ROOT.resolve()}
    sys.path[:] = [name for name in sys.path if Path(name).is_absolute() and Path(name).resolve() not in refused]
    for name in OWN_FOLDERS:
        (folder / name).mkdir()
        os.environ[name] = str(folder / name)
    for name in RUNS_CODE:
        os.environ.pop(name, None)
    # For kernels, which import this package from wherever it was imported here.
    os.environ["PYTHONPATH"], os.environ["PYTHONSAFEPATH"] = os.pathsep.join(sys.path), "1"
    (folder / "work").mkdir()


def _server(source: PageSource, folder: Path, port: int, token: str, first_view: str) -> Any:
    """Set up voila over a notebook that shows a page, with a kernel of this Python."""
    skip_iri_grammar()
    import nbformat
    from nbformat.sign import NotebookNotary
    from tornado.ioloop import IOLoop
    from voila.app import Voila  # type: ignore[import-untyped]

    from site_lens.explorer.kernels import Kernels

    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    launch = [sys.executable, "-P", "-m", "site_lens.explorer.page_kernel", "-f", "{connection_file}", QUIET]
    kernel = folder / "JUPYTER_PATH" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(spec | {"argv": launch}), encoding="utf-8")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.code())])
    notebook.metadata.kernelspec = spec
    path = folder / "work" / "explorer.ipynb"
    nbformat.write(notebook, path)
    notary = NotebookNotary(data_dir=str(folder))
    notary.sign(notebook)  # else the server warns of it
    notary.store.close()
    template = folder / "JUPYTER_PATH" / "voila" / "templates" / TEMPLATE
    template.mkdir(parents=True)
    (template / "conf.json").write_text('{"base_template": "lab"}', encoding="utf-8")
    # No letter of it may end the script that holds it, or begin an expression of the template.
    shown = json.dumps(first_view).replace("<", r"\u003c").replace("{", r"\u007b")
    page = asset("explorer_page.html.j2").replace("FIRST_VIEW", shown)
    (template / "index.html.j2").write_text(page, encoding="utf-8")

    app = Voila(config_file_paths=[])
    app.initialize([f"--template={TEMPLATE}", str(path)])
    app.config.NotebookNotary.data_dir = str(folder)
    app.config.MappingKernelManager.cull_idle_timeout = IDLE_SECONDS
    app.config.MappingKernelManager.cull_interval = IDLE_SECONDS // 4
    app.ip, app.port, app.port_retries = LOOPBACK, port, 0
    app.token, app.open_browser, app.log_level = token, False, logging.WARNING
    app.connection_dir_root = str(folder)
    # A page of elsewhere whose name was made to lead here is refused by the name that it calls us.
    app.tornado_settings = {
        "headers": {"Content-Security-Policy": POLICY},
        "allow_remote_access": False,
        "ws_ping_interval": 0,  # the loopback needs none, and of Jupyter's own interval tornado warns
    }
    app.voila_configuration.show_tracebacks = True
    app.voila_configuration.multi_kernel_manager_class = Kernels
    # Voila's own first removes the folder in which a kernel that is starting has its files; ours goes afterwards.
    app.stop = lambda: IOLoop.current().run_sync(app.kernel_manager.shutdown_all)
    app.voila_configuration.extension_allowlist = list(EXTENSIONS)
    return app


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
        free: int = probe.getsockname()[1]
        return free
