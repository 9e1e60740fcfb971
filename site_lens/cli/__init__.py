"""The command line: parse, call, save, print."""

import sys
import warnings
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line, an interruption with 130."""
    try:
        from site_lens.cli.commands import app  # only here: whoever interrupts the start gets one line, too
        from site_lens.cli.showing import show_line
        from site_lens.core.errors import SiteLensError
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: show_line(f"warning: {message}", aside=True)
            app(arguments, prog_name="site-lens")  # also as python -m site_lens.cli; completion goes by this name
    except SiteLensError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; what was saved before that can be loaded", file=sys.stderr)
        raise
    except KeyboardInterrupt:  # before a command was there to be interrupted
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def __getattr__(name: str) -> Any:
    """Load the commands when somebody asks for them (PEP 562)."""
    if name != "app":
        raise AttributeError(f"module 'site_lens.cli' has no attribute {name!r}")
    from site_lens.cli.commands import app

    return app
