"""The fixture `record`: a small record of each kind in turn."""

from tests.samples import record as record
