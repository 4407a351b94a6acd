"""The version of the installed distribution."""

from __future__ import annotations

from importlib import metadata

try:
    VERSION = metadata.version("smc-decode")
except metadata.PackageNotFoundError:  # a source tree that was not installed
    VERSION = "0+unknown"
