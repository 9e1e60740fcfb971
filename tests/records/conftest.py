"""Fixtures of the tests of records."""

from tests.samples import record as record
