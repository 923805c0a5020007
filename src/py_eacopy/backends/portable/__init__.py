"""The engine in Python, for where the native one is not built: the same results and the same errors, more slowly."""

from .engine import PortableBackend

__all__ = ["PortableBackend"]
