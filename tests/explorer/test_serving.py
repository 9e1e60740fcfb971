"""Local page: it runs no planted file, answers to its own name alone, and leaves nothing behind."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from site_lens.explorer.page import PageSource, first_view
from site_lens.explorer.serving import IDLE_SECONDS
from site_lens.runs.run import Run
from site_lens.site.head_path import HeadPaths
from tests.documents import ROOT
from tests.explorer.looking import fake_run
from tests.fakes import fake_fits
from tests.site.test_head_path import fake_path

MODULES = (
    "voila", "torch", "typer", "ipywidgets", "IPython", "ipykernel", "traitlets", "jinja2", "sitecustomize", "startup",
    "jupyter_config", "voila_config", "ipython_config", ".jupyter/jupyter_config",
    ".ipython/profile_default/ipython_config", ".ipython/profile_default/startup/00-first",
)  # fmt: skip
DATA = ("", "share/jupyter", ".local/share/jupyter", ".ipython")
"""Folders in which Jupyter looks for kernels and templates."""


def plant(folder: Path, hit: Path) -> None:
    """Put files into a folder that would leave a trace if anything ran them."""
    planted = {f"{name}.py": f"open({str(hit)!r}, 'a').write(__file__ + chr(10))\n" for name in MODULES}
    planted["planted.pth"] = f"import os; open({str(hit)!r}, 'a').write('pth')\n"
    planted[".jupyter/voila.json"] = planted["voila.json"] = '{"Voila": {"ip": "0.0.0.0"}}'
    for data in DATA:
        spec = {"argv": ["touch", str(hit)], "language": "python", "display_name": "planted"}
        planted[f"{data}/kernels/python3/kernel.json"] = json.dumps(spec)
        planted[f"{data}/voila/templates/lab/index.html.j2"] = "planted"
    for name, content in planted.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def ask(address: str, host: str | None = None) -> tuple[int, str]:
    """Get a page, calling the machine by a name; status and content."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Host": host or parts.netloc})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A working folder and a run in it, both with files that want to be run."""
    folder = tmp_path / "planted"
    fake_run().save(folder / "run")
    for place in (folder, folder / "run"):
        plant(place, tmp_path / "hit")
    return folder


@pytest.fixture
def served(planted: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, started in the folder; the process, and the address that it says."""
    (tmp_path / "browser.sh").write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat "${{1#file://}}" > {tmp_path}/opened\n'
    )
    (tmp_path / "browser.sh").chmod(0o755)
    (tmp_path / "private").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONSTARTUP": str(planted / "startup.py"),
        "JUPYTER_PATH": str(planted / "share" / "jupyter"),
        "HOME": str(planted),
        "BROWSER": f"{tmp_path}/browser.sh %s",
        "TMPDIR": str(tmp_path / "private"),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "site_lens.cli", "explore", "run"], cwd=planted, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a background job of a script has it
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            said = ""
            while not (found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", said)):
                line = process.stdout.readline()
                assert line, said
                said += line
            yield process, found[0]
        finally:
            process.kill()


def test_the_page_runs_no_file_of_the_folder_or_the_run_and_answers_to_its_own_name_alone(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = served
    opened = tmp_path / "opened"
    while not (opened.exists() and address in opened.read_text()):  # what the browser was led to, once it can be asked
        assert process.poll() is None
        time.sleep(0.05)
    status, page = ask(address)
    assert status == 200
    assert "application/vnd.jupyter.widget-view" in page  # the kernel has shown the explorer
    assert not re.search(r'class=\\?"complaint', page) and "planted" not in page
    assert "Loading the run and its figures" in page.split("cell-index")[0]  # before the kernel was asked
    for host in ("pages.example", f"pages.example:{urlsplit(address).port}", "127.0.0.1.pages.example"):
        assert ask(address, host)[0] == 403, host
    assert ask(address.split("?")[0])[0] == 302  # without the token, to a page that asks for it
    assert ask(address.split("?")[0], f"localhost:{urlsplit(address).port}")[0] == 302

    token = address.split("=")[1]
    assert token not in (tmp_path / "called").read_text()  # what every user sees in the list of processes
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # which does not break off the ending of the kernel
    assert process.wait(60) == 0
    assert process.stdout is not None
    refusals = re.compile("403 |Blocking request")
    said = [line for line in process.stdout.read().splitlines() if not refusals.match(line)]
    assert said == ["Ctrl-C ends it."]  # no warnings of Jupyter's
    assert list((tmp_path / "private").iterdir()) == []
    assert not (tmp_path / "hit").exists(), (tmp_path / "hit").read_text()


def test_an_unwatched_kernel_ends_and_the_first_view_cannot_break_out_of_its_script(tmp_path: Path) -> None:
    pytest.importorskip("voila")
    from site_lens.explorer.serving import _server

    hostile = first_view(Run(fake_fits(["</script>{{ 1 }}{% x %}"])))
    (tmp_path / "work").mkdir()
    app = _server(PageSource(run="run"), tmp_path, 1, "token", hostile)
    app.connection_dir = str(tmp_path)
    manager = app.init_settings()["kernel_manager"]
    assert (manager.cull_idle_timeout, manager.cull_connected, manager.cull_busy) == (IDLE_SECONDS, False, False)
    assert 0 < manager.cull_interval < IDLE_SECONDS
    page = (tmp_path / "JUPYTER_PATH/voila/templates/site_lens/index.html.j2").read_text(encoding="utf-8")
    script = page.split("insertAdjacentHTML(")[1].split(");\n")[0]
    assert "<" not in script and "{" not in script and "FIRST_VIEW" not in page
    assert json.loads(script.partition(", ")[2]) == hostile


def test_the_first_view_shows_the_map_and_names_the_chosen_heads_where_there_are_any() -> None:
    path = fake_path(((4,), (2,)), ((0.5,), (0.5,)), prices=(0.0, 0.01))
    drawn = first_view(Run(fake_fits(["antonym"], model=path.model), paths=HeadPaths([path])))
    assert drawn.count("<rect") == len(path.model.grid) and drawn.count("<circle") == 2
    assert path.sentence in drawn
    without_map = first_view(Run(fake_fits(["antonym"], status="no_improvement", kept_step=0)))
    assert "<svg" not in without_map and "no map" in without_map
