"""Runs requests, each in a forked child of its own, so that a test costs milliseconds and not an interpreter.

The harness starts it with ``fault.c`` preloaded. A request is a dict (see ``Session.execute``), pickled and preceded by
its size; so is the answer. A child ends as the request lets it end: by itself, by a signal, or by the alarm that guards
against hanging.
"""

import ctypes
import errno
import os
import pickle
import resource
import signal
import struct
import sys
import time
import traceback

import py_eacopy
from py_eacopy import _control, _job, _strategy  # noqa: F401 - imported once, before the forks

# An ordinary user may not be able to read the installation any more, so what is imported late is imported now.
for _name in ("native", "portable"):
    try:
        __import__("py_eacopy.backends." + _name)
    except ImportError as error:
        print(f"the {_name} backend is not there: {error}", file=sys.stderr)


def main():
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        size = requests.read(8)
        if len(size) < 8:
            return
        request = pickle.loads(requests.read(struct.unpack("<Q", size)[0]))
        answer = pickle.dumps(serve(request))
        answers.write(struct.pack("<Q", len(answer)) + answer)
        answers.flush()


def serve(request):
    """Runs a request in a child; returns its outcome and how it ended."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receiving)
            outcome = run(request)
            with os.fdopen(sending, "wb") as stream:
                stream.write(pickle.dumps(outcome))
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        data = stream.read()
    status = os.waitpid(child, 0)[1]
    return {
        "outcome": pickle.loads(data) if data else {},
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
    }


def run(request):
    """In the child: sets the stage, executes the source text, and describes what came of it."""
    signal.alarm(request["timeout"])
    os.umask(request["umask"])
    if request["directory"]:
        os.chdir(request["directory"])
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    if request["user"] is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    names = {"py_eacopy": py_eacopy, "os": os, "errno": errno, "signal": signal, "threads": threads, "result": None}
    names.update(request["names"])
    names["config"] = py_eacopy.Config(**request["config"])
    code = compile(request["source"], "<request>", "exec")
    shim = ctypes.CDLL(None)
    switched_on = request["watch"] is not None
    if switched_on and shim.fault_configure(*[os.fsencode(request[key]) for key in ("rules", "log", "watch")]):
        raise OSError(errno.EIO, "the shim cannot write its log", request["log"])
    outcome = {}
    try:
        exec(code, names)
    except BaseException as error:
        outcome["error"] = describe(error)
        outcome["traceback"] = traceback.format_exc()
    shim.fault_configure(None, None, None)
    signal.alarm(0)
    outcome["result"] = names["result"]
    return outcome


def threads():
    """How many threads the process has. One that has been joined may need a moment until the kernel takes it away."""
    for _ in range(1000):
        if len(os.listdir("/proc/self/task")) == 1:
            break
        time.sleep(0.01)
    return len(os.listdir("/proc/self/task"))


def describe(error):
    """An exception as plain data, because not every exception survives pickling."""
    plain = {"classes": [cls.__name__ for cls in type(error).__mro__], "text": str(error), "arguments": len(error.args)}
    for name in (
        "errno",
        "filename",
        "filename2",
        "offset",
        "destination",
        "root",
        "path",
        "needed",
        "available",
        "size",
    ):
        plain[name] = getattr(error, name, None)
    for name in ("kind", "operation"):
        plain[name] = getattr(getattr(error, name, None), "name", None)
    if "Error" in plain["classes"] and error.args and isinstance(error.args[0], list):
        plain["triples"] = error.args[0]
    plain["errors"] = [describe(inner) for inner in getattr(error, "errors", ())]
    return plain


if __name__ == "__main__":
    sys.path.pop(0)
    main()
