"""copyfile, copy, copy2, copymode, copystat, move and patched_shutil, beside shutil itself."""

import builtins
import errno
import logging
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import threading
import time

import pytest
from faults.trees import WINE

import py_eacopy
from py_eacopy import Config, ErrorStrategy, temporary_config

FUNCTIONS = ("copyfile", "copy", "copy2")
#: shutil's own, whatever is patched later.
SHUTIL = {name: getattr(shutil, name) for name in (*FUNCTIONS, "copymode", "copystat", "copytree", "move")}
LARGE = 9 * 1024 * 1024 + 13

functions = pytest.mark.parametrize("name", FUNCTIONS)
posix = pytest.mark.skipif(os.name != "posix", reason="the file system of POSIX")
#: Nanoseconds: Windows keeps time in steps of 100.
TICK = 1 if os.name == "posix" else 100


class FakePath:
    """A path of some other library."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


KINDS = {"str": os.fspath, "bytes": os.fsencode, "Path": pathlib.Path, "FakePath": lambda p: FakePath(str(p))}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(b"contents " * 500)
    path.chmod(0o640)
    os.utime(str(path), ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target.bin"


def outcome(function, *arguments, **keywords):
    """What a call returns or raises."""
    try:
        return function(*arguments, **keywords), None
    except Exception as error:
        return None, error


def same_error(ours, theirs):
    """Whether code that catches the one catches the other."""
    return isinstance(ours, type(theirs)) and getattr(ours, "errno", None) == getattr(theirs, "errno", None)


# Results --------------------------------------------------------------------------------------------------------------


@functions
@pytest.mark.parametrize("size", [0, 1, 4096, 70000, LARGE])
def test_contents_are_copied(backend, name, size, source, target):
    source.write_bytes(os.urandom(size))
    getattr(py_eacopy, name)(source, target)
    assert target.read_bytes() == source.read_bytes()


@functions
@kinds
def test_returns_what_shutil_returns(backend, name, kind, source, target):
    dst = kind(target)
    assert getattr(py_eacopy, name)(kind(source), dst) is dst


@pytest.mark.parametrize("name", ["copy", "copy2"])
@kinds
def test_copy_into_a_directory_returns_the_path_of_the_copy(backend, name, kind, source, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = SHUTIL[name](kind(source), kind(tmp_path / "theirs"))
    ours = getattr(py_eacopy, name)(kind(source), kind(tmp_path / "ours"))
    assert type(ours) is type(theirs)
    assert os.fsencode(ours) == os.fsencode(theirs).replace(b"theirs", b"ours")
    assert (tmp_path / "ours" / "source.bin").read_bytes() == source.read_bytes()


def test_only_copy2_keeps_times_and_only_copyfile_drops_the_mode(backend, source, tmp_path):
    mask = os.umask(0o022)
    try:
        copied = {name: os.stat(getattr(py_eacopy, name)(source, tmp_path / name)) for name in FUNCTIONS}
    finally:
        os.umask(mask)
    if os.name == "posix":
        assert stat.S_IMODE(copied["copyfile"].st_mode) == 0o644
        assert stat.S_IMODE(copied["copy"].st_mode) == stat.S_IMODE(copied["copy2"].st_mode) == 0o640
    assert copied["copy2"].st_mtime_ns // TICK == 1_500_000_000_987_654_321 // TICK
    if not WINE:  # where looking at a file is reading it
        assert copied["copy2"].st_atime_ns // TICK == 1_600_000_000_123_456_789 // TICK
    assert copied["copy"].st_mtime > 1_600_000_000 and copied["copyfile"].st_mtime > 1_600_000_000


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_only_copy2_keeps_extended_attributes(backend, source, tmp_path):
    try:
        os.setxattr(str(source), "user.colour", b"green")
    except OSError as error:
        pytest.skip("no user attributes on this file system: %s" % error)
    lists = {name: os.listxattr(str(getattr(py_eacopy, name)(source, tmp_path / name))) for name in FUNCTIONS}
    assert lists == {"copyfile": [], "copy": [], "copy2": ["user.colour"]}


@posix
@functions
def test_a_link_to_a_missing_directory_finds_nothing(backend, name, source, tmp_path):
    (tmp_path / "link").symlink_to("missing/")
    with pytest.raises(FileNotFoundError):  # as shutil of Python 3.10 and later
        getattr(py_eacopy, name)(source, tmp_path / "link")
    assert os.listdir(str(tmp_path)).count("missing") == 0


@posix
@functions
def test_overwriting_keeps_the_file_and_follows_links(backend, name, source, target, tmp_path):
    target.write_bytes(b"something longer than nothing" * 1000)
    link = tmp_path / "link"
    link.symlink_to(target)
    before = os.stat(str(target)).st_ino
    getattr(py_eacopy, name)(source, link)
    assert link.is_symlink()
    assert os.stat(str(target)).st_ino == before
    assert target.read_bytes() == source.read_bytes()


@posix
@functions
def test_atomic_replaces_the_file(backend, name, source, target):
    target.write_bytes(b"old")
    with open(str(target), "rb") as reader:
        getattr(py_eacopy, name)(source, target, config=Config(atomic=True))
        assert reader.read() == b"old"
    assert target.read_bytes() == source.read_bytes()
    assert sorted(os.listdir(str(target.parent))) == ["source.bin", "target.bin"]


@posix
@functions
def test_links_are_followed_unless_told_otherwise(backend, name, source, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("source.bin")
    function = getattr(py_eacopy, name)
    assert not os.path.islink(function(link, tmp_path / "followed"))
    copy = function(link, tmp_path / "copied", follow_symlinks=False)
    assert os.readlink(str(copy)) == "source.bin"
    dangling = tmp_path / "dangling"
    dangling.symlink_to("nowhere")
    assert os.readlink(str(function(dangling, tmp_path / "still dangling", follow_symlinks=False))) == "nowhere"
    plain = function(source, tmp_path / "plain", follow_symlinks=False)
    assert plain.read_bytes() == source.read_bytes()


@posix
@functions
@pytest.mark.parametrize("file_name", [b"caf\xe9 \xff", b"new\nline", b"-rf", b" ", b"x" * 255, b"\xf0\x9f\x98\x80"])
def test_any_name_can_be_copied(backend, name, file_name, source, tmp_path):
    path = os.path.join(os.fsencode(str(tmp_path)), file_name)
    other = path[:-1] + b"2"
    shutil.copyfile(str(source), path)
    function = getattr(py_eacopy, name)
    assert function(path, other) == other
    os.unlink(other)
    assert function(os.fsdecode(path), os.fsdecode(other)) == os.fsdecode(other)
    assert pathlib.Path(os.fsdecode(other)).read_bytes() == source.read_bytes()


def test_copyfile_takes_str_and_bytes_together(backend, source, target):
    assert py_eacopy.copyfile(str(source), os.fsencode(target)) == os.fsencode(target)
    assert target.read_bytes() == source.read_bytes()


@posix
def test_device_is_a_file_to_copyfile(backend, source, target):
    py_eacopy.copyfile(os.devnull, target)
    assert target.read_bytes() == b""
    assert py_eacopy.copyfile(source, os.devnull) == os.devnull
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# Errors, beside shutil's ----------------------------------------------------------------------------------------------


def situations():
    """Names of what can be wrong, and what leads to it: (directory) -> (src, dst)."""

    def same(d):
        return d / "source.bin", d / "source.bin"

    def hard_link(d):
        os.link(str(d / "source.bin"), str(d / "hard"))
        return d / "source.bin", d / "hard"

    def link_to_itself(d):
        (d / "link").symlink_to("source.bin")
        return d / "source.bin", d / "link"

    def missing_source(d):
        return d / "missing", d / "target.bin"

    def missing_directory(d):
        return d / "source.bin", d / "missing" / "target.bin"

    def missing_both(d):
        return d / "missing", d / "nowhere" / "target.bin"

    def source_is_directory(d):
        return d, d.parent / (d.name + ".copy")

    def source_below_a_file(d):
        return d / "source.bin" / "x", d / "target.bin"

    def target_below_a_file(d):
        return d / "source.bin", d / "source.bin" / "x"

    def loop_of_links(d):
        (d / "loop").symlink_to("loop")
        return d / "loop", d / "target.bin"

    def dangling_link(d):
        (d / "dangling").symlink_to("nowhere")
        return d / "dangling", d / "target.bin"

    def name_too_long(d):
        return d / "source.bin", d / ("x" * 256)

    def fifo(d):
        os.mkfifo(str(d / "fifo"))
        return d / "fifo", d / "target.bin"

    def onto_a_fifo(d):
        os.mkfifo(str(d / "fifo"))
        return d / "source.bin", d / "fifo"

    def link_onto_a_file(d):
        return d / "source.bin", d / "occupied" / "x"

    made = dict(locals())
    return {name.replace("_", " "): make for name, make in made.items()}


SITUATIONS = situations()


@posix
@functions
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=list(SITUATIONS))
@pytest.mark.parametrize("kind", [os.fspath, os.fsencode], ids=["str", "bytes"])
def test_fails_as_shutil_does(backend, name, situation, kind, source):
    src, dst = map(kind, map(str, situation(source.parent)))
    before = listing(source.parent)
    _, theirs = outcome(SHUTIL[name], src, dst)
    assert listing(source.parent) == before
    _, ours = outcome(getattr(py_eacopy, name), src, dst)
    assert listing(source.parent) == before
    assert isinstance(ours, py_eacopy.EACopyError), ours
    assert same_error(ours, theirs), (ours, theirs)
    assert (ours.filename, ours.filename2) == (src, dst)
    assert source.read_bytes() == b"contents " * 500


def listing(directory):
    return sorted(os.listdir(str(directory)))


@posix
def test_says_in_which_directory_the_copy_cannot_be(backend, source, tmp_path):
    """Where shutil in 3.8 complains about a directory."""
    with pytest.raises(FileNotFoundError):
        py_eacopy.copyfile(source, str(tmp_path / "missing") + "/")
    with pytest.raises(IsADirectoryError) as raised:
        py_eacopy.copyfile(tmp_path, str(tmp_path / "missing") + "/")
    assert raised.value.kind is py_eacopy.ErrorKind.INVALID_ARGUMENT
    with pytest.raises(IsADirectoryError) as raised:
        py_eacopy.copyfile(source, tmp_path)
    assert raised.value.kind is py_eacopy.ErrorKind.DESTINATION_EXISTS


@functions
@pytest.mark.parametrize("bad", [None, 1, 1.5, ["a"], object()], ids=repr)
def test_what_is_no_path_is_named(name, bad, source, target):
    function = getattr(py_eacopy, name)
    with pytest.raises(TypeError, match="src must be str, bytes or os.PathLike, not %s" % type(bad).__name__):
        py_eacopy.copyfile(bad, target)
    if name == "copyfile":
        with pytest.raises(TypeError, match="dst must be str, bytes or os.PathLike, not %s" % type(bad).__name__):
            function(source, bad)
    else:
        with pytest.raises(TypeError):
            function(source, bad)
    assert listing(source.parent) == ["source.bin"]


@functions
def test_nul_in_a_path_is_refused(backend, name, source, target):
    target.write_bytes(b"old")
    for src, dst in (("a\0b", str(target)), (str(source), str(target) + "\0"), (b"\0", os.fsencode(target))):
        with pytest.raises(ValueError, match="NUL") as raised:
            getattr(py_eacopy, name)(src, dst)
        assert isinstance(raised.value, py_eacopy.InvalidArgumentError)
        assert (raised.value.filename, raised.value.filename2) == (src, dst)
    assert target.read_bytes() == b"old"
    assert listing(source.parent) == ["source.bin", "target.bin"]


@functions
def test_empty_path_is_not_found(backend, name, source, target, monkeypatch):
    monkeypatch.chdir(source.parent)
    for src, dst in (("", str(target)), (str(source), ""), (b"", b""), ("", "")):
        with pytest.raises(FileNotFoundError) as raised:
            getattr(py_eacopy, name)(src, dst)
        assert raised.value.errno == errno.ENOENT
    assert listing(source.parent) == ["source.bin"]


@posix
@functions
def test_name_that_cannot_be_encoded_is_refused(backend, name, source):
    with pytest.raises(UnicodeError) as raised:
        getattr(py_eacopy, name)(source, str(source.parent / "\ud800"))
    if name == "copyfile":
        assert isinstance(raised.value, py_eacopy.EncodingError)
        assert "dst cannot be encoded" in str(raised.value)
    assert listing(source.parent) == ["source.bin"]


@pytest.mark.parametrize("name", ["copy", "copy2"])
def test_str_and_bytes_cannot_be_joined(backend, name, source, tmp_path):
    (tmp_path / "directory").mkdir()
    with pytest.raises(TypeError):
        getattr(py_eacopy, name)(os.fsencode(source), str(tmp_path / "directory"))
    assert listing(tmp_path / "directory") == []


@pytest.mark.parametrize("name", [*FUNCTIONS, "copymode", "copystat", "copytree", "move"])
@pytest.mark.parametrize("bad", [{}, "native", 4, Config])
def test_what_is_no_config_is_refused(name, bad, source, target):
    with pytest.raises(TypeError, match=r"config must be a py_eacopy\.Config"):
        getattr(py_eacopy, name)(source, target, config=bad)
    assert listing(source.parent) == ["source.bin"]


# The direct path and the job's ----------------------------------------------------------------------------------------


@posix
@functions
@pytest.mark.parametrize("follow_symlinks", [True, False])
@pytest.mark.parametrize("situation", [None, *SITUATIONS.values()], ids=["all is well", *SITUATIONS])
def test_direct_path_and_job_come_to_the_same(backend, name, situation, follow_symlinks, source, target, monkeypatch):
    src, dst = map(str, situation(source.parent) if situation else (source, target))
    jobs = spy_on_jobs(backend, monkeypatch)
    function = getattr(py_eacopy, name)

    result, error = outcome(function, src, dst, follow_symlinks=follow_symlinks)
    assert not jobs
    direct = (result, described(error), described_file(dst))
    if result is not None:
        os.unlink(dst)
    result, error = outcome(
        function, src, dst, follow_symlinks=follow_symlinks, config=Config(progress_callback=lambda *_: None)
    )
    assert jobs
    assert (result, described(error), described_file(dst)) == direct


def described(error):
    names = ("kind", "operation", "errno", "filename", "filename2", "destination", "offset", "root")
    return error and (type(error), str(error), {name: getattr(error, name) for name in names})


def described_file(path):
    """What a copy decides about a file; a time of now is no part of it."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    old = status.st_mtime_ns if status.st_mtime < 1_600_000_000 else None
    return status.st_mode, status.st_size, old


def spy_on_jobs(backend, monkeypatch):
    """A list that takes in each job which the backend runs."""
    cls = type(py_eacopy._strategy.backend_for(py_eacopy.config))
    jobs, run = [], cls.run
    monkeypatch.setattr(cls, "run", lambda self, job, control: (jobs.append(job), run(self, job, control))[1])
    return jobs


# Audit events ---------------------------------------------------------------------------------------------------------

AUDIT = """
import os, sys, shutil, py_eacopy
os.chdir(sys.argv[1])
events = []
veto = []
def hook(event, arguments):
    if event.startswith("shutil.") and event != "shutil.rmtree":
        events.append((event, arguments))
        if veto:
            raise RuntimeError("vetoed")
sys.addaudithook(hook)

def events_of(function, *arguments):
    del events[:]
    function(*arguments)
    return list(events)

for name in ("copyfile", "copy", "copy2"):
    function, original = getattr(py_eacopy, name), getattr(shutil, name)
    assert events_of(function, "file", "copy") == events_of(original, "file", "copy"), (name, events)
    if name != "copyfile":
        assert events_of(function, "file", "directory") == events_of(original, "file", "directory"), (name, events)
for name in ("copymode", "copystat"):
    assert events_of(getattr(py_eacopy, name), "file", "copy") == events_of(getattr(shutil, name), "file", "copy"), name
assert events_of(py_eacopy.copytree, "directory", "tree") == [("shutil.copytree", ("directory", "tree"))], events
assert events_of(py_eacopy.move, "copy", "moved") == [("shutil.move", ("copy", "moved"))], events

veto.append(True)
before = sorted(os.listdir("."))
for call in (
    lambda: py_eacopy.copyfile("file", "vetoed"), lambda: py_eacopy.copy("file", "vetoed"),
    lambda: py_eacopy.copy2("file", "vetoed"), lambda: py_eacopy.copytree("directory", "vetoed"),
    lambda: py_eacopy.move("file", "vetoed"),
):
    try:
        call()
    except RuntimeError as error:
        assert str(error) == "vetoed"
    else:
        raise AssertionError("not vetoed")
assert sorted(os.listdir(".")) == before
"""


def test_audit_events_are_shutils_and_can_veto(backend, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "directory").mkdir()
    done = run_python(AUDIT, str(tmp_path))
    assert done.returncode == 0, done.stderr


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), **environment),
        capture_output=True,
        encoding="utf-8",
    )


# Backends -------------------------------------------------------------------------------------------------------------


def test_backend_info_names_the_backend(backend):
    info = py_eacopy.backend_info()
    assert info == py_eacopy.BackendInfo(backend, info.capabilities, None)
    assert isinstance(info.capabilities, frozenset) and info.capabilities
    assert info == py_eacopy.backend_info(config=Config(backend=backend))


def test_config_goes_before_the_environment(backend, monkeypatch):
    monkeypatch.setenv("PY_EACOPY_BACKEND", "nonsense")
    assert py_eacopy.backend_info(config=Config(backend=backend)).name == backend


def test_changes_of_environment_and_config_are_followed(backend, source, target, monkeypatch):
    config = Config()
    py_eacopy.copyfile(source, target, config=config)
    monkeypatch.setenv("PY_EACOPY_BACKEND", "nonsense")
    with pytest.raises(py_eacopy.ConfigurationError, match="PY_EACOPY_BACKEND='nonsense'.*auto, native, portable"):
        py_eacopy.copyfile(source, target, config=config)
    with pytest.raises(py_eacopy.ConfigurationError, match="nonsense"):
        py_eacopy.backend_info(config=config)
    config.backend = "portable"
    py_eacopy.copyfile(source, target, config=config)
    config.backend = None
    with pytest.raises(py_eacopy.ConfigurationError):
        py_eacopy.copyfile(source, target, config=config)
    for legal in (backend, "auto", "portable", ""):
        monkeypatch.setenv("PY_EACOPY_BACKEND", legal)
        py_eacopy.copyfile(source, target, config=config)
    monkeypatch.delenv("PY_EACOPY_BACKEND")
    py_eacopy.copyfile(source, target, config=config)
    assert py_eacopy.backend_info(config=config).name == py_eacopy.backend_info(config=Config(backend="auto")).name


NATIVE_IS_MISSING = """
import sys
sys.modules["py_eacopy._native"] = None
import py_eacopy
info = py_eacopy.backend_info()
assert info.name == "portable" and "_native" in info.reason, info
assert py_eacopy.backend_info(config=py_eacopy.Config(backend="portable")).reason is None
py_eacopy.copyfile(sys.argv[1], sys.argv[2])
try:
    py_eacopy.copyfile(sys.argv[1], sys.argv[2], config=py_eacopy.Config(backend="native"))
except py_eacopy.UnsupportedError as error:
    assert info.reason in str(error) and error.kind is py_eacopy.ErrorKind.UNSUPPORTED, error
else:
    raise AssertionError("it fell back by itself")
"""


def test_auto_falls_back_and_says_why_but_native_does_not(source, target):
    done = run_python(NATIVE_IS_MISSING, str(source), str(target), PY_EACOPY_BACKEND="auto")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == source.read_bytes()


def test_every_thread_may_be_the_first(backend, source, tmp_path):
    code = (
        "import sys, threading, py_eacopy\n"
        "barrier = threading.Barrier(8)\n"
        "def work(n): barrier.wait(); py_eacopy.copyfile(sys.argv[1], '%s.%d' % (sys.argv[2], n))\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    done = run_python(code, str(source), str(tmp_path / "copy"))
    assert done.stderr == ""
    assert {(tmp_path / ("copy.%d" % n)).read_bytes() for n in range(8)} == {source.read_bytes()}


@pytest.mark.skipif(os.name != "nt", reason="files are opened for oneself alone on Windows")
@pytest.mark.parametrize("atomic", [False, True])
def test_what_another_program_has_open_is_denied(backend, source, target, atomic):
    import ctypes

    create = ctypes.WinDLL("kernel32").CreateFileW
    create.restype = ctypes.c_void_p
    target.write_bytes(b"old")
    read, shared_with_nobody, open_existing = 0x80000000, 0, 3
    handle = ctypes.c_void_p(create(str(target), read, shared_with_nobody, None, open_existing, 0, None))
    try:
        with pytest.raises(PermissionError, match="another program has it open"):
            py_eacopy.copyfile(source, target, config=Config(atomic=atomic))
        with pytest.raises(PermissionError):
            py_eacopy.copyfile(target, str(target) + "-copy")
    finally:
        ctypes.WinDLL("kernel32").CloseHandle(handle)
    assert target.read_bytes() == b"old"


# Settings that change what happens ------------------------------------------------------------------------------------


def test_global_temporary_and_given_config(backend, source, target):
    target.write_bytes(b"old")
    py_eacopy.config.atomic = True
    assert replaces(source, target, {})
    with temporary_config(atomic=False):
        assert not replaces(source, target, {})
        assert replaces(source, target, {"config": Config(atomic=True)})
    assert not replaces(source, target, {"config": Config()})


def replaces(source, target, keywords):
    """Whether the copy is another file than what was there."""
    if os.name == "nt":  # what Python has open cannot be replaced there, and a number may be used again at once
        other = str(target) + ".other"
        if os.path.exists(other):
            os.unlink(other)
        os.link(str(target), other)
        py_eacopy.copyfile(source, target, **keywords)
        return not os.path.samefile(str(target), other)
    with open(str(target), "rb") as before:
        py_eacopy.copyfile(source, target, **keywords)
        with open(str(target), "rb") as after:
            return not os.path.sameopenfile(before.fileno(), after.fileno())


@functions
def test_ignored_errors_are_logged_and_the_destination_returned(backend, name, source, target, caplog):
    config = Config(error_strategy=ErrorStrategy.IGNORE)
    with caplog.at_level(logging.WARNING, "py_eacopy"):
        assert getattr(py_eacopy, name)(str(source) + ".missing", target, config=config) is target
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "source.bin.missing" in caplog.text
    assert not target.exists()


def test_bad_arguments_are_never_ignored(backend, source, target):
    config = Config(error_strategy=ErrorStrategy.IGNORE)
    with pytest.raises(TypeError):
        py_eacopy.copyfile(None, target, config=config)
    with pytest.raises(ValueError):
        py_eacopy.copyfile("a\0", target, config=config)


def test_a_failing_file_is_tried_again(backend, source, target):
    late = source.parent / "late.bin"
    timer = threading.Timer(0.2, lambda: os.rename(str(source), str(late)))
    timer.start()
    config = Config(error_strategy="retry", retry_count=1000, retry_delay=0.02)
    try:
        py_eacopy.copyfile(late, target, config=config)
    finally:
        timer.join()
    assert target.read_bytes() == late.read_bytes()


def test_tries_come_to_an_end(backend, source, target):
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError):
        config = Config(error_strategy="retry", retry_count=3, retry_delay=0.1)
        py_eacopy.copyfile(str(source) + ".missing", target, config=config)
    assert 0.3 <= time.monotonic() - begun < 5


@functions
@kinds
@pytest.mark.parametrize("size", [4500, LARGE])
def test_progress_begins_at_nothing_and_ends_with_all(backend, name, kind, size, source, target):
    source.write_bytes(os.urandom(size))
    calls = []
    getattr(py_eacopy, name)(
        kind(source), kind(target), config=Config(progress_callback=lambda *call: calls.append(call))
    )
    assert calls[0] == (0, size, str(source))
    assert calls[-1] == (size, size, str(source))
    assert calls == sorted(calls)
    assert target.read_bytes() == source.read_bytes()


def test_progress_of_an_empty_file(backend, source, target):
    source.write_bytes(b"")
    calls = []
    py_eacopy.copyfile(source, target, config=Config(progress_callback=lambda *call: calls.append(call)))
    assert calls == [(0, 0, str(source))] * 2


@pytest.mark.parametrize("error", [OSError("mine"), KeyError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_exception_out_of_the_callback_comes_out_unchanged(backend, error, source, target):
    def callback(*_):
        raise error

    source.write_bytes(os.urandom(LARGE))
    with pytest.raises(type(error)) as raised:
        py_eacopy.copyfile(source, target, config=Config(progress_callback=callback))
    assert raised.value is error
    # Nobody waits for the callback: the copy may have been complete by then.
    assert not target.exists() or target.read_bytes() == source.read_bytes()


# copymode and copystat ------------------------------------------------------------------------------------------------


def test_copymode_and_copystat(source, target):
    target.write_bytes(b"")
    target.chmod(0o600)
    py_eacopy.copymode(source, os.fsencode(target))
    assert stat.S_IMODE(target.stat().st_mode) == (0o640 if os.name == "posix" else 0o666)
    assert target.stat().st_mtime > 1_600_000_000
    py_eacopy.copystat(str(source), target)
    assert target.stat().st_mtime_ns // TICK == 1_500_000_000_987_654_321 // TICK


@pytest.mark.parametrize("name", ["copymode", "copystat"])
def test_copymode_and_copystat_fail_as_shutil_does(name, source, target):
    function = getattr(py_eacopy, name)
    for src, dst in ((source, target), (target, source)):
        with pytest.raises(FileNotFoundError) as raised:
            function(str(src), str(dst))
        assert isinstance(raised.value, py_eacopy.SourceNotFoundError)
        assert (raised.value.filename, raised.value.filename2) == (str(src), str(dst))
    with pytest.raises(TypeError, match="src must be"):
        function(3.5, target)
    with pytest.raises(ValueError):
        function(source, "a\0b")


# move -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def across_file_systems(monkeypatch):
    """Makes each rename fail as between two file systems."""

    def rename(src, dst, **_):
        raise OSError(errno.EXDEV, "Invalid cross-device link", src, None, dst)

    monkeypatch.setattr(os, "rename", rename)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "below").mkdir(parents=True)
    (root / "file").write_bytes(b"file")
    (root / "below" / "other").write_bytes(b"other")
    if os.name == "posix":
        (root / "link").symlink_to("file")
    os.utime(str(root / "file"), ns=(1, 1_500_000_000_000_000_001))
    return root


@kinds
def test_move_renames(backend, kind, source, target):
    inode = source.stat().st_ino
    dst = kind(target)
    assert py_eacopy.move(kind(source), dst) is dst
    assert target.stat().st_ino == inode and not source.exists()


def test_move_copies_a_file_across_file_systems(backend, across_file_systems, source, target, monkeypatch):
    jobs = spy_on_jobs(backend, monkeypatch)
    contents, status = source.read_bytes(), source.stat()
    config = Config(preserve_metadata=False, progress_callback=lambda *_: None)
    assert py_eacopy.move(source, target, config=config) is target
    assert jobs and not source.exists()
    assert target.read_bytes() == contents
    assert (target.stat().st_mode, target.stat().st_mtime_ns) == (status.st_mode, status.st_mtime_ns)


@posix
def test_move_copies_a_tree_across_file_systems(backend, across_file_systems, tree, tmp_path, monkeypatch):
    jobs = spy_on_jobs(backend, monkeypatch)
    (tmp_path / "shelf").mkdir()
    moved = py_eacopy.move(tree, tmp_path / "shelf", config=Config(preserve_metadata=False))
    assert os.fspath(moved) == str(tmp_path / "shelf" / "tree")
    assert len(jobs) == 1 and jobs[0].trees
    assert not tree.exists()
    moved = pathlib.Path(moved)
    assert os.readlink(str(moved / "link")) == "file"
    assert (moved / "below" / "other").read_bytes() == b"other"
    assert (moved / "file").stat().st_mtime_ns == 1_500_000_000_000_000_001


@posix
@pytest.mark.parametrize("strategy", list(ErrorStrategy), ids=lambda strategy: strategy.name)
def test_move_keeps_the_source_when_something_could_not_be_copied(
    backend, across_file_systems, strategy, tree, tmp_path
):
    os.mkfifo(str(tree / "below" / "fifo"))
    config = Config(error_strategy=strategy, retry_count=1, retry_delay=0)
    with pytest.raises(shutil.Error, match="is a named pipe"):
        py_eacopy.move(tree, tmp_path / "moved", config=config)
    assert (tree / "file").read_bytes() == b"file" and (tree / "below" / "other").exists()


@pytest.mark.parametrize("strategy", list(ErrorStrategy), ids=lambda strategy: strategy.name)
def test_move_keeps_a_file_that_could_not_be_copied(backend, across_file_systems, strategy, source, tmp_path):
    config = Config(error_strategy=strategy, retry_count=1, retry_delay=0)
    with pytest.raises(FileNotFoundError):
        py_eacopy.move(source, tmp_path / "missing" / "moved", config=config)
    assert source.exists()


def test_move_refuses_what_is_taken_or_inside(backend, source, tree, tmp_path):
    (tree / "source.bin").write_bytes(b"taken")
    for src, dst in ((source, tree), (tree, tree / "below")):
        with pytest.raises(shutil.Error) as raised:
            py_eacopy.move(src, dst)
        assert isinstance(raised.value, py_eacopy.MoveError)
        assert src.exists()
    assert (tree / "source.bin").read_bytes() == b"taken"


def test_move_calls_a_copy_function_and_leaves_its_errors_alone(backend, across_file_systems, tree, source, tmp_path):
    called = []

    def copy_function(src, dst):
        called.append((os.fspath(src), os.fspath(dst)))
        return SHUTIL["copy2"](src, dst)

    py_eacopy.move(tree, tmp_path / "moved", copy_function)
    assert (str(tree / "file"), str(tmp_path / "moved" / "file")) in called
    assert not tree.exists()

    mine = OSError(errno.EIO, "mine")

    def fail(src, dst):
        raise mine

    with pytest.raises(OSError) as raised:
        py_eacopy.move(source, tmp_path / "elsewhere", copy_function=fail)
    assert raised.value is mine and source.exists()


@pytest.mark.parametrize("name, kept", [("copyfile", False), ("copy", False), ("copy2", True)])
@pytest.mark.parametrize("module", [py_eacopy, shutil], ids=["ours", "shutil's"])
def test_move_with_a_known_copy_function_copies_with_the_engine(
    backend, across_file_systems, module, name, kept, tree, tmp_path, monkeypatch
):
    jobs = spy_on_jobs(backend, monkeypatch)
    py_eacopy.move(str(tree), str(tmp_path / "moved"), copy_function=getattr(module, name))
    assert len(jobs) == 1
    assert ((tmp_path / "moved" / "file").stat().st_mtime_ns // TICK == 1_500_000_000_000_000_001 // TICK) == kept


def test_move_between_real_file_systems(backend, tree, tmp_path):
    other = "/dev/shm" if os.name == "posix" and os.path.isdir("/dev/shm") else ""
    if not other or os.stat(other).st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    elsewhere = os.path.join(other, "py-eacopy-%d" % os.getpid())
    try:
        assert py_eacopy.move(str(tree), elsewhere) == elsewhere
        assert not tree.exists()
        assert py_eacopy.move(elsewhere, str(tree)) == str(tree)
        assert (tree / "below" / "other").read_bytes() == b"other"
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


# patched_shutil -------------------------------------------------------------------------------------------------------


def patched():
    return {name for name in SHUTIL if getattr(shutil, name) is getattr(py_eacopy, name)}


def unpatched():
    return all(getattr(shutil, name) is SHUTIL[name] for name in SHUTIL)


def test_shutil_is_patched_for_the_length_of_a_block():
    assert unpatched()
    with py_eacopy.patched_shutil():
        assert patched() == set(SHUTIL)
        with py_eacopy.patched_shutil():
            assert patched() == set(SHUTIL)
        assert patched() == set(SHUTIL)
    assert unpatched()


def test_shutil_is_restored_when_the_block_raises():
    with pytest.raises(KeyError), py_eacopy.patched_shutil():
        raise KeyError
    assert unpatched()


def test_patches_of_threads_overlap():
    entered, leave = threading.Event(), threading.Event()

    def work():
        with py_eacopy.patched_shutil():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=work)
    with py_eacopy.patched_shutil():
        thread.start()
        entered.wait()
    assert patched() == set(SHUTIL)
    leave.set()
    thread.join()
    assert unpatched()


def test_what_was_patched_before_is_restored(monkeypatch):
    def somebody_elses(*_):
        raise AssertionError

    monkeypatch.setattr(shutil, "copy2", somebody_elses)
    with py_eacopy.patched_shutil():
        assert shutil.copy2 is py_eacopy.copy2
    assert shutil.copy2 is somebody_elses


def test_nothing_recurses_while_shutil_is_patched(backend, tree, source, target, tmp_path, across_file_systems):
    copied = []

    def copy_function(src, dst):
        copied.append(os.path.basename(src))
        return shutil.copy2(src, dst)

    with py_eacopy.patched_shutil():
        shutil.copyfile(str(source), str(target))
        shutil.copytree(str(tree), str(tmp_path / "with ours"), copy_function=shutil.copy2)
        shutil.copytree(str(tree), str(tmp_path / "with any"), copy_function=copy_function)
        shutil.copymode(str(source), str(target))
        shutil.copystat(str(source), str(target))
        shutil.move(str(tmp_path / "with any"), str(tmp_path / "moved"))
    assert sorted(copied) == sorted(["file", "other"] + ["link"] * (os.name == "posix"))
    assert (tmp_path / "with ours" / "below" / "other").exists()
    assert (tmp_path / "moved" / "below" / "other").exists() and not (tmp_path / "with any").exists()


def test_patched_functions_copy_with_the_active_config(backend, source, target, monkeypatch):
    jobs = spy_on_jobs(backend, monkeypatch)
    calls = []
    with temporary_config(progress_callback=lambda *call: calls.append(call)), py_eacopy.patched_shutil():
        shutil.copyfile(str(source), str(target))
    assert jobs and calls


def test_other_code_keeps_what_it_imported(monkeypatch):
    from shutil import copyfile

    with py_eacopy.patched_shutil():
        assert copyfile is not shutil.copyfile
        assert builtins.open is open
