"""Tests as root that need an ordinary user."""

import os
import traceback

#: Whether this is the superuser, whom permissions do not stop; Windows has none.
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def as_user(function):
    """What a call raises, as text, in a process of an ordinary user; None when it succeeds."""
    if not ROOT:
        function()
        return None
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setgroups([])
            os.setgid(4321)
            os.setuid(4321)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return None if os.waitpid(pid, 0)[1] == 0 else "it failed; see the output"
