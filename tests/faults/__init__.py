"""Tools to let the operating system fail on demand: see :mod:`faults.harness` and ``fault.c``."""
