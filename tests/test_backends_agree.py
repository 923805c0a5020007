"""The two backends side by side: what went wrong is told in the same words, what went well with the same numbers."""

import importlib
import os
import socket

import attr
import pytest

from py_eacopy._control import Control
from py_eacopy._job import CopyJob, CopyOptions
from py_eacopy.backends.portable import PortableBackend

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, sockets and devices")

OLD = 10**18  # a time in nanoseconds


@pytest.fixture(scope="module")
def backends():
    try:
        native = importlib.import_module("py_eacopy.backends.native")
    except ImportError as error:
        pytest.skip("there is only one: %s" % error)
    return native.NativeBackend(), PortableBackend()


def fill(path):
    """Makes one of each in a directory, and of each a time that a copy is known by."""
    for name, content in (("file", b"content"), ("other", b"x" * 100_000), ("large", b"y" * 3_000_000), ("empty", b"")):
        (path / name).write_bytes(content)
    os.makedirs("directory/inside")
    os.symlink("nowhere", "dangling")
    os.symlink("missing/nowhere", "dangling far")
    os.symlink("loop", "loop")
    os.symlink("file", "link")
    os.symlink("directory", "directory link")
    os.mkfifo("fifo")
    os.link("file", "again")
    os.makedirs("tree/sub/deeper")
    os.makedirs("tree/empty")
    for number in range(5):
        (path / "tree" / "sub" / ("file%d" % number)).write_bytes(b"z" * number * 1000)
    os.symlink("sub", "tree/link to sub")
    os.symlink("nowhere", "tree/dangling")
    os.makedirs("odd/sub")
    os.mkfifo("odd/fifo")
    os.mkfifo("odd/sub/fifo")
    os.symlink("..", "odd/up")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("odd/socket")
    os.symlink("/dev/zero", "odd/device")
    (path / "odd" / "fine").write_bytes(b"fine")
    os.makedirs("there/sub")
    os.makedirs("there/directory")
    (path / "there" / "empty").write_bytes(b"a file where a directory comes")
    os.makedirs("there/sub/file3")
    for where, directories, names in os.walk(".", topdown=False):
        for name in [*directories, *names]:
            os.utime(os.path.join(where, name), ns=(OLD, OLD + len(name)), follow_symlinks=False)


FILES = {
    "new": ("file", "copy"),
    "large": ("large", "copy"),
    "empty": ("empty", "copy"),
    "overwritten": ("file", "other"),
    "through a link": ("other", "link"),
    "through a dangling link": ("file", "dangling"),
    "through a link into nothing": ("file", "dangling far"),
    "through a loop": ("file", "loop"),
    "from a loop": ("loop", "copy"),
    "missing": ("missing", "copy"),
    "missing onto a file": ("missing", "other"),
    "from a dangling link": ("dangling", "copy"),
    "from a directory": ("directory", "copy"),
    "onto a directory": ("file", "directory"),
    "onto a directory by a link": ("file", "directory link"),
    "into a directory that has one of the name": ("directory/inside", "directory"),
    "into a missing directory": ("file", "no/copy"),
    "into a missing directory named by a slash": ("file", "no/"),
    "below a file": ("file", "other/copy"),
    "from below a file": ("file/below", "copy"),
    "itself": ("file", "file"),
    "itself by a link": ("file", "link"),
    "itself from a link": ("link", "file"),
    "itself by another name": ("file", "again"),
    "into its own directory": ("file", "."),
    "from a fifo": ("fifo", "copy"),
    "onto a fifo": ("file", "fifo"),
    "from a socket": ("odd/socket", "copy"),
    "from a device": ("/dev/null", "copy"),
    "onto a device": ("file", "/dev/null"),
    "from proc": ("/proc/version", "copy"),
    "too long a name": ("file", "n" * 300),
    "too long a path": ("file", "n/" * 3000 + "n"),
    "a link": ("link", "copy"),
    "a dangling link": ("dangling", "copy"),
    "a link onto a file": ("link", "other"),
    "a link onto a directory": ("link", "directory"),
}
FILE_OPTIONS = {
    "copyfile": {"metadata": "none"},
    "copy2": {"metadata": "stat", "into_directory": True},
    "atomic": {"metadata": "stat", "atomic": True, "into_directory": True},
    "atomic copyfile": {"metadata": "none", "atomic": True, "verify": True, "fsync": True},
    "links as links": {"metadata": "stat", "follow_symlinks": False},
    "links as links into": {"metadata": "mode", "follow_symlinks": False, "into_directory": True},
    "only by cloning": {"metadata": "none", "reflink": "always"},
    "again and again": {"metadata": "none", "error_strategy": "retry", "retry_count": 2, "retry_delay": 0.0},
}

TREES = {
    "new": ("tree", "copy"),
    "below missing directories": ("tree", "no/such/copy"),
    "from a link": ("directory link", "copy"),
    "missing": ("missing", "copy"),
    "a file": ("file", "copy"),
    "a dangling link": ("dangling", "copy"),
    "onto a file": ("tree", "file"),
    "onto a dangling link": ("tree", "dangling"),
    "onto a directory": ("tree", "there"),
    "onto a directory by a link": ("tree", "directory link"),
    "below a file": ("tree", "file/copy"),
    "itself": ("tree", "tree"),
    "into itself": ("tree", "tree/sub/copy"),
    "odd things": ("odd", "copy"),
}
TREE_OPTIONS = {
    "links followed": {},
    "links as links": {"follow_symlinks": False},
    "dangling ones left out": {"ignore_dangling_symlinks": True},
    "existing": {"dirs_exist_ok": True},
    "existing, links as links, atomic": {"dirs_exist_ok": True, "follow_symlinks": False, "atomic": True},
    "failures ignored": {"error_strategy": "ignore", "dirs_exist_ok": True, "metadata": "none"},
}


def described(error):
    names = ("kind", "errno", "operation", "filename", "filename2", "destination", "offset", "root", "args")
    return (type(error).__name__, *(getattr(error, name) for name in names))


def outcome(report):
    numbers = attr.asdict(report, filter=lambda field, _: field.name not in ("errors", "seconds", "backend", "methods"))
    return numbers, sorted(map(described, report.errors), key=repr)


def contents(root):
    found = {}
    for where, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = os.path.join(where, name)
            info = os.lstat(path)
            data = None
            if os.path.islink(path):
                data = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as stream:
                    data = stream.read()
            # What was made just now has a time of its own.
            time = info.st_mtime_ns if info.st_mtime_ns < OLD + 1000 else None
            found[os.path.relpath(path, root)] = (info.st_mode, data, time)
    return found


@pytest.fixture
def assert_agreement(backends, tmp_path, monkeypatch):
    """Runs a job in two equal directories, once with each backend. Paths are relative, and so the same for both."""

    def assert_agreement(trees, item, options):
        made = []
        for backend in backends:
            path = tmp_path / backend.name
            path.mkdir()
            monkeypatch.chdir(path)
            fill(path)
            item_as_bytes = tuple(map(os.fsencode, item))
            report = backend.run(CopyJob(trees=trees, items=[item_as_bytes], options=CopyOptions(**options)), Control())
            made.append((outcome(report), contents(".")))
        (native, native_contents), (portable, portable_contents) = made
        assert native == portable
        assert native_contents == portable_contents

    return assert_agreement


@pytest.mark.parametrize("options", FILE_OPTIONS)
@pytest.mark.parametrize("item", FILES)
def test_a_file(assert_agreement, item, options):
    assert_agreement(False, FILES[item], FILE_OPTIONS[options])


@pytest.mark.parametrize("options", TREE_OPTIONS)
@pytest.mark.parametrize("item", TREES)
def test_a_tree(assert_agreement, item, options):
    assert_agreement(True, TREES[item], TREE_OPTIONS[options])
