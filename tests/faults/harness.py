"""Runs py_eacopy in a subprocess whose system calls fail as a test wants it, and tells what came of it.

:func:`session` gives the subprocess (one for the whole test run, with the shim ``fault.c`` preloaded); every
:meth:`Session.execute` forks a child of it, so that nothing is carried from one test to the next: no probe of the
engine, no limit, no user. The shim is compiled with the system's C compiler; without one, tests skip and say so.
"""

import atexit
import errno
import functools
import os
import pickle
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import pytest

from . import trees

HERE = os.path.dirname(os.path.abspath(__file__))
#: Calls that move data into a destination, whatever the method.
DATA = "clone|copy_file_range|sendfile|splice|write"
#: The same, and what reads it.
MOVES = "read|" + DATA
#: An ordinary user; only root becomes it, others stay what they are.
NOBODY = 65534


def rule(
    families: str, action: str = "", *, skip: int = 0, count: Optional[int] = None, path: str = "", **fields: Any
) -> str:
    """One rule of the shim.

    Args:
        families: such as "read|write".
        action: "zero", "corrupt" or nothing.
        skip, count, path: which calls: after the first ``skip``, at most ``count``, on a path with ``path`` in it.
        fields: ``errno``, ``short``, ``delay``, ``run``, ``signal``, ``release``, ``type``: see ``fault.c``.
    """
    parts = [families]
    parts += [f"skip={skip}"] if skip else []
    parts += [f"count={count}"] if count is not None else []
    parts += ["path=" + path] if path else []
    parts += [action] if action else []
    parts += [
        "{}={}".format(name, int(value) if name in ("errno", "signal") else value) for name, value in fields.items()
    ]
    assert not any("\t" in part or "\n" in part for part in parts)
    return "\t".join(parts)


#: A file system that an engine cannot know to have nothing better than read and write.
REMOTE = rule("statfs", type=0x6969)  # NFS
#: A file system that cannot clone.
NO_CLONE = rule("clone", errno=errno.EOPNOTSUPP)


def without(*families: str) -> str:
    """The rule of a machine that has none of these calls."""
    return rule("|".join(families), errno=errno.ENOSYS)


#: For each method, what takes away those before it, so that it has its turn.
METHODS = {
    "copy_file_range": [REMOTE, NO_CLONE],
    "sendfile": [REMOTE, NO_CLONE, without("copy_file_range")],
    "write": [NO_CLONE, without("copy_file_range", "sendfile")],
}


class Call(NamedTuple):
    """A line of the shim's log. ``path2`` is that of the destination where a call has two."""

    family: str
    path: str
    path2: str
    argument: int
    result: int
    errno: int
    injected: bool
    thread: int

    @property
    def target(self) -> str:
        return self.path2 or self.path


class Error:
    """What a child's exception was; the attributes are those of the exception, ``kind`` and ``operation`` by name."""

    def __init__(self, plain: Dict[str, Any]) -> None:
        self.__dict__.update(plain)
        self.errors = [Error(inner) for inner in plain["errors"]]

    def __getattr__(self, name: str) -> Any:  # only for attributes that are not there
        raise AttributeError(f"{name} of {self!r}")

    def is_a(self, *names: str) -> bool:
        """True when the exception inherits all of these classes."""
        return all(name in self.classes for name in names)

    def __repr__(self) -> str:
        return f"<{self.classes[0]}: {self.text}>"


class Outcome:
    """What came of a request.

    Attributes:
        error: the exception, or None.
        result: what the source text left in ``result``.
        calls: the shim's log.
        signal: the number of the signal that ended the child; SIGALRM says that it hung.
    """

    def __init__(self, answer: Dict[str, Any], calls: List[Call]) -> None:
        outcome = answer["outcome"]
        self.error = Error(outcome["error"]) if "error" in outcome else None
        self.traceback = outcome.get("traceback", "")
        self.result = outcome.get("result")
        self.signal = answer["signal"]
        self.exit = answer["exit"]
        self.calls = calls

    def of(self, families: str) -> List[Call]:
        """The calls of these families, in order."""
        wanted = families.split("|")
        return [call for call in self.calls if call.family in wanted]

    def injected(self, families: str = "") -> List[Call]:
        """The calls that did not do what was asked; a test of an error is one only when there are some."""
        return [call for call in (self.of(families) if families else self.calls) if call.injected]

    def __repr__(self) -> str:
        return (
            f"<error {self.error!r}, result {self.result!r}, signal {self.signal}, {len(self.calls)} calls>\n"
            f"{self.traceback}"
        )


class Session:
    """The subprocess that forks a child for every request."""

    def __init__(self, shim: str, directory: str) -> None:
        self.directory = directory
        environment = dict(os.environ, LD_PRELOAD=shim, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
        for name in ("FAULT_WATCH", "FAULT_LOG", "FAULT_RULES"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._logs = 0

    def execute(
        self,
        code: str,
        *,
        backend: str,
        watch: Any,
        rules: Sequence[str] = (),
        config: Optional[Dict[str, Any]] = None,
        timeout: int = 20,
        umask: int = 0o022,
        user: Optional[int] = None,
        limits: Optional[Dict[str, int]] = None,
        directory: Optional[Any] = None,
        **names: Any,
    ) -> Outcome:
        """Executes Python text in a child.

        Args:
            code: sees ``py_eacopy``, ``config``, ``os``, ``errno``, ``signal``, ``threads()`` (their number) and
                ``names``; what it puts into ``result`` comes back.
            watch: only calls on paths that contain this are logged and may fail; normally the test's directory. None
                switches the shim off, which costs much time where paths are long.
            rules: see :func:`rule`.
            config: arguments of Config beside the backend.
            timeout: seconds until SIGALRM ends a child that hangs.
            user: the uid to become, when we are root.
            limits: such as ``{"RLIMIT_NOFILE": 64}``.
            directory: to change to before.
        """
        self._logs += 1
        log = os.path.join(self.directory, f"calls-{self._logs}.log")
        with open(log, "wb"):
            os.chmod(log, 0o666)
        request = {
            "source": code,
            "rules": "\n".join(rules),
            "log": log,
            "watch": os.fspath(watch) if watch is not None else None,
            "config": dict(config or {}, backend=backend),
            "timeout": timeout,
            "umask": umask,
            "user": user,
            "limits": limits or {},
            "directory": os.fspath(directory) if directory is not None else None,
            "names": names,
        }
        data = pickle.dumps(request)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(struct.pack("<Q", len(data)) + data)
        self._process.stdin.flush()
        size = self._process.stdout.read(8)
        assert len(size) == 8, "the fault server ended; its standard error says why"
        answer = pickle.loads(self._process.stdout.read(struct.unpack("<Q", size)[0]))
        with open(log, encoding="ascii") as stream:
            calls = [_parse(line) for line in stream]
        os.unlink(log)
        assert answer["exit"] != 99, "the child could not set its stage; the test's standard error says why"
        return Outcome(answer, calls)

    def call(
        self,
        function: str,
        *arguments: Any,
        backend: str,
        watch: Any,
        keywords: Optional[Dict[str, Any]] = None,
        **more: Any,
    ) -> Outcome:
        """Calls one function of py_eacopy, whose value comes back; the other arguments are those of :meth:`execute`."""
        return self.execute(
            "result = getattr(py_eacopy, function)(*arguments, config=config, **keywords)",
            backend=backend,
            watch=watch,
            function=function,
            arguments=arguments,
            keywords=keywords or {},
            **more,
        )

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self.directory)


class Workplace:
    """A source, a place for its copy, and a backend: what a test of a single file needs.

    Attributes:
        directory: watched by the shim; holds nothing but the source and the destination.
        data: the contents of the source.
    """

    def __init__(self, backend: str, directory: Any, size: int = 4 * 1024 * 1024 + 123) -> None:
        self.backend = backend
        self.directory = os.fspath(directory)
        self.source = os.path.join(self.directory, "source.bin")
        self.destination = os.path.join(self.directory, "target", "destination.bin")
        self.data = trees.make_bytes(size)
        self.old = trees.make_bytes(size // 2, 9)
        os.mkdir(os.path.dirname(self.destination))
        trees.write(self.source, self.data)

    def call(self, function: str, *arguments: Any, **more: Any) -> Outcome:
        """As :meth:`Session.call`, watching the directory."""
        return session().call(function, *arguments, backend=self.backend, watch=self.directory, **more)

    def execute(self, code: str, **more: Any) -> Outcome:
        """As :meth:`Session.execute`, watching the directory; the code also sees ``source`` and ``destination``."""
        names = dict({"source": self.source, "destination": self.destination}, **more)
        return session().execute(code, backend=self.backend, watch=self.directory, **names)

    def copy(
        self,
        *rules: str,
        function: str = "copyfile",
        existing: bool = False,
        config: Optional[Dict[str, Any]] = None,
        **more: Any,
    ) -> Outcome:
        """Copies the source to the destination, which is there with other contents when it is to be `existing`."""
        if os.path.lexists(self.destination):
            os.unlink(self.destination)  # it may have become a link to the source
        if existing:
            trees.write(self.destination, self.old)
        return self.call(function, self.source, self.destination, rules=rules, config=config, **more)

    @property
    def state(self) -> str:
        """What is at the destination: "absent", "old", "new" or "partial"."""
        if not os.path.lexists(self.destination):
            return "absent"
        return {self.data: "new", self.old: "old"}.get(trees.read(self.destination), "partial")

    def written(self, outcome: Outcome) -> int:
        """How many bytes went into the destination, or into a temporary sibling of it."""
        calls = [call for call in outcome.of(DATA) if os.path.dirname(call.target) == os.path.dirname(self.destination)]
        return sum(len(self.data) if call.family == "clone" else call.result for call in calls if call.result >= 0)

    def assert_copied(self, outcome: Outcome) -> None:
        """It went well, and nothing but the copy is there."""
        assert not outcome.signal and outcome.error is None, outcome
        assert self.state == "new"
        self.assert_tidy()

    def assert_failed(self, outcome: Outcome, number: int = 0) -> Error:
        """It failed with this errno (0: any), told the truth about the destination, and left nothing else behind."""
        assert not outcome.signal and outcome.error is not None, outcome
        assert outcome.error.is_a("EACopyError"), outcome
        assert not number or outcome.error.errno == number, outcome
        # An overwritten destination counts as partial until the whole copy went well, even when all bytes are there.
        told = outcome.error.destination
        assert told == self.state or (told == "partial" and self.state == "new"), (told, self.state, outcome)
        self.assert_tidy()
        return outcome.error

    def assert_right_or_reported(self, outcome: Outcome) -> None:
        """It may have gone well or failed, but not pretended."""
        if outcome.error is None:
            self.assert_copied(outcome)
        else:
            self.assert_failed(outcome)

    def assert_tidy(self) -> None:
        assert trees.read(self.source) == self.data, "the source was changed"
        beside = os.listdir(os.path.dirname(self.destination))
        assert beside in ([], [os.path.basename(self.destination)]), beside


def _parse(line: str) -> Call:
    family, path, path2, argument, result, number, injected, thread = line.rstrip("\n").split("\t")
    return Call(
        family, _plain(path), _plain(path2), int(argument), int(result), int(number), injected == "1", int(thread)
    )


def _plain(text: str) -> str:
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match.group(1), 16)]), text.encode("ascii"))
    return os.fsdecode(raw)


@functools.lru_cache(maxsize=None)
def _compiled() -> str:
    """The shim's path, or the reason why there is none after an exclamation mark."""
    if not sys.platform.startswith("linux"):
        return f"!faults are injected by LD_PRELOAD, and this is {sys.platform}"
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if not shutil.which(compiler[0]):
        return f"!no C compiler ({compiler[0]}) to build tests/faults/fault.c with"
    # Not below /tmp/pytest-of-...: that is closed to the ordinary user that some children become.
    directory = tempfile.mkdtemp(prefix="eacopy-faults-")
    os.chmod(directory, 0o755)
    atexit.register(shutil.rmtree, directory, True)
    shim = os.path.join(directory, "fault.so")
    command = compiler + [
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        shim,
        os.path.join(HERE, "fault.c"),
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return shim


def shim() -> str:
    """The compiled shim's path; skips the test where it cannot be built."""
    path = _compiled()
    if path.startswith("!"):
        pytest.skip(path[1:])
    return path


@functools.lru_cache(maxsize=None)
def _session() -> Session:
    session = Session(_compiled(), tempfile.mkdtemp(prefix="eacopy-faults-"))
    os.chmod(session.directory, 0o755)
    atexit.register(session.close)
    return session


def session() -> Session:
    """The one session of this test run."""
    shim()
    return _session()
