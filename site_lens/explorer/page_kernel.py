"""Kernel process of the local page."""

import sys


def skip_iri_grammar() -> None:
    """Let `jsonschema` be imported without its check of IRIs, in this process.

    Jupyter and plotly import jsonschema to validate notebooks. Where `rfc3987_syntax` is installed, jsonschema imports
    it, and it builds a grammar for seconds at each start; no schema of Jupyter's holds an IRI. An import of a module
    that is None here ends in an ImportError, at which jsonschema goes on without this check.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


if __name__ == "__main__":
    skip_iri_grammar()
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
