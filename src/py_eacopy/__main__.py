"""``python -m py_eacopy``: says which version this is, and which backend copies."""

import platform
import sys

from . import EACopyError, __version__, backend_info


def main() -> int:
    """Prints it; returns the exit status."""
    print("py-eacopy     %s" % __version__)
    print("Python        %s on %s" % (platform.python_version(), platform.platform()))
    try:
        info = backend_info()
    except EACopyError as error:
        print("backend       none: %s" % error)
        return 1
    print("backend       %s" % info.name)
    print("capabilities  %s" % ", ".join(sorted(info.capabilities)))
    if info.reason:
        print("reason        the native backend is not there: %s" % info.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
