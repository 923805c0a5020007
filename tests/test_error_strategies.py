"""What a failure does to the rest: raising, trying again, ignoring. And each kind of error, provoked for real."""

import errno
import logging
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from conftest import why_not_native
from faults import harness, trees
from faults.harness import NOBODY, rule

import py_eacopy
from py_eacopy import Config, Control, EACopy, ErrorKind, ErrorStrategy

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, or faults by LD_PRELOAD")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    return str(tmp_path / "source")


@pytest.fixture
def flawed(tmp_path):
    """A tree in which two files of five cannot be copied when links are followed."""
    for name in ("a", "b/c"):
        (tmp_path / "flawed" / name).mkdir(parents=True)
    for name in ("a/1", "b/2", "b/c/3"):
        (tmp_path / "flawed" / name).write_bytes(b"content of " + name.encode())
    (tmp_path / "flawed" / "a" / "bad").symlink_to("nowhere")
    (tmp_path / "flawed" / "b" / "c" / "worse").symlink_to("nowhere either")
    return str(tmp_path / "flawed")


@pytest.fixture
def obstructed(tmp_path):
    """A destination for that tree in which a directory stands where a file is to be."""
    (tmp_path / "obstructed" / "b" / "c" / "3").mkdir(parents=True)
    return str(tmp_path / "obstructed")


BAD = ["a/bad", "b/c/worse"]


def names_below(path):
    return sorted(
        os.path.relpath(os.path.join(directory, name), path) for directory, _, names in os.walk(path) for name in names
    )


def log_of(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.name == "py_eacopy" and record.levelno == level]


# RAISE ----------------------------------------------------------------------------------------------------------------


def test_raise_is_the_default(backend, source, tmp_path):
    assert Config().error_strategy is ErrorStrategy.RAISE
    with pytest.raises(FileNotFoundError):
        py_eacopy.copy(source + "-missing", tmp_path / "copy")


def test_raise_collects_all_failures_of_a_tree_and_copies_the_rest(backend, flawed, tmp_path, caplog):
    target = str(tmp_path / "copy")
    with pytest.raises(shutil.Error) as raised:
        py_eacopy.copytree(flawed, target)
    error = raised.value
    assert isinstance(error, py_eacopy.TreeError)
    assert sorted(error.args[0]) == sorted(
        (os.path.join(flawed, name), os.path.join(target, name), str(inner))
        for name, inner in zip(sorted(BAD), sorted(error.errors, key=lambda inner: inner.filename))
    )
    assert {type(inner) for inner in error.errors} == {py_eacopy.SourceNotFoundError}
    assert error.kind is ErrorKind.FILE_NOT_FOUND
    assert names_below(target) == ["a/1", "b/2", "b/c/3"]
    assert log_of(caplog) == [], "what is raised is not logged as well"


# RETRY ----------------------------------------------------------------------------------------------------------------


PATIENT = {"error_strategy": "retry", "retry_count": 1000, "retry_delay": 0.02}


@pytest.mark.parametrize("name", ["copyfile", "copy", "copy2", "batch_copy", "batch_copy2"])
def test_retry_gets_over_what_passes(backend, source, tmp_path, name):
    """A source that is not there yet."""
    late, target = str(tmp_path / "late"), str(tmp_path / "copy")
    threading.Timer(0.15, os.rename, [source, late]).start()
    if name.startswith("batch"):
        report = getattr(py_eacopy, name)([(late, target)], config=Config(**PATIENT))
        assert report.retries >= 1 and report.ok and report.files_copied == 1
    else:
        assert getattr(py_eacopy, name)(late, target, config=Config(**PATIENT)) is target
    assert trees.read(target) == b"content"


@pytest.mark.parametrize("name", ["copytree", "batch_copytree"])
def test_retry_gets_over_what_passes_inside_of_a_tree(backend, flawed, obstructed, name):
    """A directory at the place of a file, which goes away."""
    threading.Timer(0.5, os.rmdir, [obstructed + "/b/c/3"]).start()
    config = Config(dirs_exist_ok=True, **PATIENT)
    if name == "copytree":
        py_eacopy.copytree(flawed, obstructed, ignore_dangling_symlinks=True, config=config)
    else:
        assert py_eacopy.batch_copytree([(flawed, obstructed)], False, True, config=config).retries >= 1
    assert names_below(obstructed) == ["a/1", "b/2", "b/c/3"]


def test_retry_tries_as_often_as_asked_and_as_far_apart(backend, source, tmp_path):
    config = Config(error_strategy="retry", retry_count=3, retry_delay=0.1)
    started = time.monotonic()
    with pytest.raises(FileNotFoundError) as raised:
        py_eacopy.copy(source + "-missing", tmp_path / "copy", config=config)
    assert 0.3 <= time.monotonic() - started < 10
    assert type(raised.value) is py_eacopy.SourceNotFoundError


def test_retry_tries_a_function_of_the_callers_as_often(backend, tmp_path):
    tries = []

    def copy_function(a, b):
        tries.append(a)
        raise OSError(errno.EIO, "mine", a)

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    config = Config(error_strategy="retry", retry_count=4, retry_delay=0)
    with pytest.raises(shutil.Error):
        py_eacopy.copytree(tmp_path / "tree", tmp_path / "copy", copy_function=copy_function, config=config)
    assert len(tries) == 5


def test_no_further_tries_is_the_same_as_raise(backend, source, tmp_path):
    config = Config(error_strategy="retry", retry_count=0, retry_delay=60)
    with pytest.raises(FileNotFoundError):
        py_eacopy.copy(source + "-missing", tmp_path / "copy", config=config)


def test_retry_raises_all_that_failed_in_a_tree_in_the_end(backend, flawed, tmp_path):
    config = Config(error_strategy="retry", retry_count=2, retry_delay=0.01)
    with pytest.raises(shutil.Error) as raised:
        py_eacopy.copytree(flawed, tmp_path / "copy", config=config)
    assert len(raised.value.args[0]) == 2 and len(names_below(str(tmp_path / "copy"))) == 3


def test_waiting_for_one_file_does_not_keep_the_others_from_being_copied(backend, flawed, obstructed):
    control = Control()

    def cancel_when_the_others_are_there():
        while control.snapshot().files_copied < 2:
            time.sleep(0.005)
        control.cancel()

    threading.Thread(target=cancel_when_the_others_are_there).start()
    config = Config(error_strategy="retry", retry_count=1, retry_delay=60, dirs_exist_ok=True)
    started = time.monotonic()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.copytree(flawed, obstructed, ignore_dangling_symlinks=True, config=config, control=control)
    assert time.monotonic() - started < 10
    assert names_below(obstructed) == ["a/1", "b/2"]


@pytest.mark.parametrize("name", ["copy", "copytree", "batch_copy"])
def test_a_wait_can_be_cancelled(backend, source, flawed, obstructed, tmp_path, name, capsys):
    control = Control()
    told = []

    def cancel():
        told.append(time.monotonic())
        control.cancel()

    threading.Timer(0.2, cancel).start()
    config = Config(error_strategy="retry", retry_count=1, retry_delay=60, dirs_exist_ok=True)
    arguments = {
        "copy": (source + "-missing", tmp_path / "copy"),
        "copytree": (flawed, obstructed, False, None, py_eacopy.copy2, True),
        "batch_copy": ([(source + "-missing", tmp_path / "copy")],),
    }[name]
    with pytest.raises(py_eacopy.CopyInterruptedError):
        getattr(py_eacopy, name)(*arguments, config=config, control=control)
    with capsys.disabled():
        print(" [%.1f ms]" % ((time.monotonic() - told[0]) * 1000), end="")
    assert time.monotonic() - told[0] < 5


def test_what_no_further_try_can_mend_is_not_tried_again(backend, source, tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    config = Config(error_strategy="retry", retry_count=3, retry_delay=60)
    started = time.monotonic()
    with pytest.raises(shutil.SameFileError):
        py_eacopy.copy(source, source, config=config)
    with pytest.raises(shutil.SpecialFileError):
        py_eacopy.copy(tmp_path / "pipe", tmp_path / "copy", config=config)
    with pytest.raises(ValueError):
        py_eacopy.copy(source + "\0", tmp_path / "copy", config=config)
    with pytest.raises(TypeError):
        py_eacopy.copy(7, tmp_path / "copy", config=config)
    assert time.monotonic() - started < 10


# IGNORE ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["copyfile", "copy", "copy2", "copytree"])
def test_ignore_logs_a_warning_and_returns_as_if_all_were_well(backend, source, tmp_path, name, caplog):
    target = str(tmp_path / "copy")
    missing = source + "-missing"
    config = Config(error_strategy="ignore")
    assert getattr(py_eacopy, name)(missing, target, config=config) is target
    (message,) = log_of(caplog)
    assert repr(missing) in message and os.strerror(errno.ENOENT) in message
    assert not os.path.exists(target)


@pytest.mark.parametrize("own", [False, True], ids=["engine", "own function"])
def test_ignore_goes_on_in_a_tree_and_logs_each_failure(backend, flawed, tmp_path, own, caplog):
    target = str(tmp_path / "copy")
    keywords = {"copy_function": lambda *paths: shutil.copy2(*paths)} if own else {}
    assert py_eacopy.copytree(flawed, target, config=Config(error_strategy="ignore"), **keywords) is target
    assert names_below(target) == ["a/1", "b/2", "b/c/3"]
    messages = log_of(caplog)
    assert len(messages) == 2 and all(any(name in message for message in messages) for name in BAD)


def test_ignored_failures_are_in_the_report_and_the_control(backend, source, flawed, tmp_path):
    control = Control()
    config = Config(error_strategy="ignore", log_level="critical")
    report = py_eacopy.batch_copytree([(flawed, tmp_path / "1"), (flawed, tmp_path / "2")], False, config=config)
    assert len(report.errors) == 4 and not report.ok and report.files_copied == 6
    assert {error.kind for error in report.errors} == {ErrorKind.FILE_NOT_FOUND}
    pairs = [(source + "-missing", tmp_path / "3"), (source, tmp_path / "4")]
    report = py_eacopy.batch_copy(pairs, config=config, control=control)
    assert report.errors == tuple(control.errors) and len(report.errors) == 1
    assert (tmp_path / "4").exists()


def test_ignore_does_not_ignore_bad_arguments_callbacks_and_cancelling(backend, source, tmp_path):
    eac = EACopy(error_strategy="ignore")
    with pytest.raises(TypeError):
        eac.copy(7, tmp_path / "copy")
    with pytest.raises(ValueError):
        eac.copy(source, "\0")
    control = Control()
    control.cancel()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        eac.copy(source, tmp_path / "copy", control=control)
    assert not (tmp_path / "copy").exists()


def test_the_log_of_ignored_failures_follows_the_level(backend, source, tmp_path, caplog):
    for level, count in (("error", 0), ("warning", 1), ("debug", 1)):
        caplog.clear()
        EACopy(error_strategy="ignore", log_level=level).copy(source + "-missing", tmp_path / "copy")
        assert len(log_of(caplog)) == count
    caplog.clear()
    with pytest.raises(FileNotFoundError):
        EACopy(log_level="debug").copy(source + "-missing", tmp_path / "copy", control=Control())
    assert len(log_of(caplog, logging.DEBUG)) == 2 and log_of(caplog) == []


# Each kind ------------------------------------------------------------------------------------------------------------


def raised_by(function, *arguments, **keywords):
    with pytest.raises(py_eacopy.EACopyError) as raised:
        function(*arguments, **keywords)
    return raised.value


def io(source, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(tmp_path / "socket"))
        return raised_by(py_eacopy.copyfile, tmp_path / "socket", tmp_path / "copy")
    finally:
        listener.close()


def path(source, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for bad, number in ((tmp_path / ("x" * 300), errno.ENAMETOOLONG), (tmp_path / "a", errno.ELOOP)):
        assert raised_by(py_eacopy.copyfile, bad, tmp_path / "copy").errno == number
    return raised_by(py_eacopy.copyfile, source + "/below", tmp_path / "copy")


def interrupted(source, tmp_path):
    control = Control()
    control.cancel()
    return raised_by(py_eacopy.copyfile, source, tmp_path / "copy", control=control)


def destination_exists(source, tmp_path):
    (tmp_path / "directory").mkdir()
    for existing in ("directory", "source"):
        error = raised_by(py_eacopy.copytree, tmp_path / "directory", tmp_path / existing)
        assert isinstance(error, FileExistsError)
    return raised_by(py_eacopy.copyfile, source, tmp_path / "directory")


def python(source, tmp_path):
    def callback(*event):
        py_eacopy.copyfile(source, tmp_path / "copy")

    return raised_by(py_eacopy.copyfile, source, tmp_path / "other", config=Config(progress_callback=callback))


def server(source, tmp_path):
    with py_eacopy.create_server(port=0) as running:
        return raised_by(running.start)


def client(source, tmp_path):
    """A server that says Hello, and then what no server says."""
    version = struct.pack("<IB3xII", 20, 0, 20, 1 << 16) + b"\0" * 4

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(version)
            connection.recv(1000)
            connection.sendall(struct.pack("<IB3x", 8, 99))
            connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = "eacopy://127.0.0.1:%d/share/copy" % listener.getsockname()[1]
        error = raised_by(py_eacopy.copy_with_server, source, url)
        thread.join()
        return error


def delta_copy(source, tmp_path):
    if "zstd" not in py_eacopy.backend_info().capabilities:
        pytest.skip("no zstd")
    return raised_by(py_eacopy.apply_delta, source, source, tmp_path / "copy")


#: How to provoke each, its class, the builtin, and what else is in the message.
PROVOKED = {
    "IO": (io, py_eacopy.CopyIOError, OSError, os.strerror(errno.ENXIO)),
    "PATH": (path, py_eacopy.PathError, NotADirectoryError, "source/below"),
    "FILE_NOT_FOUND": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source + "-missing", tmp_path / "copy"),
        py_eacopy.SourceNotFoundError,
        FileNotFoundError,
        "source-missing",
    ),
    "DIRECTORY_NOT_FOUND": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source, tmp_path / "missing" / "copy"),
        py_eacopy.DirectoryNotFoundError,
        FileNotFoundError,
        "a parent of a file is not created",
    ),
    "DESTINATION_EXISTS": (
        destination_exists,
        py_eacopy.DestinationIsDirectoryError,
        IsADirectoryError,
        "directory",
    ),
    "INVALID_ARGUMENT": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source, str(tmp_path) + "/\0"),
        py_eacopy.InvalidArgumentError,
        ValueError,
        "dst contains a NUL",
    ),
    "ENCODING": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source, str(tmp_path) + "/\ud800"),
        py_eacopy.EncodingError,
        UnicodeError,
        "dst cannot be encoded",
    ),
    "PYTHON": (python, py_eacopy.CallbackError, RuntimeError, "a progress callback cannot copy"),
    "DISK_FULL": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source, "/dev/full"),
        py_eacopy.DiskFullError,
        OSError,
        "free space at the destination",
    ),
    "READ_ERROR": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, "/proc/self/mem", tmp_path / "copy"),
        py_eacopy.ReadError,
        OSError,
        "/proc/self/mem",
    ),
    "WRITE_ERROR": (
        lambda source, tmp_path: raised_by(py_eacopy.copyfile, source, "/proc/self/oom_score_adj"),
        py_eacopy.WriteError,
        OSError,
        "/proc/self/oom_score_adj",
    ),
    "INTERRUPTED": (interrupted, py_eacopy.CopyInterruptedError, InterruptedError, "cancelled"),
    "UNSUPPORTED": (
        # Memory cannot share blocks, neither its own nor those of another file system.
        lambda source, tmp_path: raised_by(
            py_eacopy.copyfile, source, "/dev/shm/eacopy-never-there", config=Config(reflink="always")
        ),
        py_eacopy.UnsupportedError,
        NotImplementedError,
        "while cloning",
    ),
    "SERVER": (server, py_eacopy.ServerError, ConnectionError, "running already"),
    "CLIENT": (client, py_eacopy.ClientError, ConnectionError, "protocol"),
    "DELTA_COPY": (delta_copy, py_eacopy.DeltaCopyError, OSError, "the patch is damaged"),
    "CONFIGURATION": (
        lambda source, tmp_path: raised_by(Config, thread_count=-1),
        py_eacopy.ConfigurationError,
        ValueError,
        "thread_count=-1",
    ),
}
#: Those that the system must be made to give: the call that fails, its errno, the class, the builtin.
INJECTED = {
    "NETWORK": ("open_read", "ENETUNREACH", "NetworkError", "ConnectionError"),
    "TIMEOUT": ("read|copy_file_range|sendfile|clone", "ETIMEDOUT", "TransferTimeoutError", "TimeoutError"),
}
#: What users and limits of the child provoke.
LIMITED = ("PERMISSION_DENIED", "FILE_TOO_LARGE")
#: What has a test of its own: the engine runs out of memory when it is asked for a job; a server of a later version
#: says what this one has no word for.
APART = ("FFI", "UNKNOWN")


def test_each_kind_is_provoked():
    assert sorted([*PROVOKED, *INJECTED, *LIMITED, *APART]) == sorted(kind.name for kind in ErrorKind)


@on_linux
@pytest.mark.parametrize("kind", sorted(PROVOKED))
def test_kind(backend, source, tmp_path, kind):
    provoke, cls, builtin, text = PROVOKED[kind]
    error = provoke(source, tmp_path)
    assert error.kind is ErrorKind[kind]
    assert isinstance(error, cls) and isinstance(error, builtin)
    assert text in str(error)
    assert not (tmp_path / "copy").exists()
    if isinstance(error, py_eacopy.DiskFullError):
        assert (error.path, error.needed) == ("/dev/full", 7)
    if isinstance(error, (py_eacopy.ReadError, py_eacopy.WriteError)):
        assert (error.path, error.offset) == (
            "/proc/self/mem" if kind == "READ_ERROR" else "/proc/self/oom_score_adj",
            0,
        )


#: Takes the place of the engine's own allocation, and fails when `refuse_memory` is set.
ALLOCATION = """
#include <cstdlib>
#include <new>
extern "C" { int refuse_memory = 0; }
void* operator new(std::size_t size) {
  void* memory = refuse_memory ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
"""
OUT_OF_MEMORY = """
import ctypes, sys
import py_eacopy
refuse = ctypes.c_int.in_dll(ctypes.CDLL(None), "refuse_memory")
pairs, config = [tuple(sys.argv[1:])], py_eacopy.Config(backend="native")
py_eacopy.batch_copy2(pairs, config=config)
refuse.value = 1
try:
    py_eacopy.batch_copy2(pairs, config=config)
except RuntimeError as error:
    refuse.value = 0
    print(type(error).__name__, error.kind.name, error)
"""


@on_linux
def test_engine_without_memory_for_a_job_is_an_ffi_error(source, tmp_path):
    if why_not_native() is not None:
        pytest.skip("the native backend is not there: %s" % why_not_native())
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        pytest.skip("no C++ compiler to build the test's allocation with")
    (tmp_path / "allocation.cpp").write_text(ALLOCATION)
    library = str(tmp_path / "allocation.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, str(tmp_path / "allocation.cpp")], check=True)
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, source, str(tmp_path / "copy")],
        env=dict(os.environ, LD_PRELOAD=library, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[:2] == ["FFIError", "FFI"], done.stderr
    assert "out of memory" in done.stdout


@on_linux
@pytest.mark.parametrize("kind", sorted(INJECTED))
def test_kind_of_a_failing_call(backend, tmp_path, kind):
    families, name, cls, builtin = INJECTED[kind]
    harness.shim()
    place = harness.Workplace(backend, tmp_path)
    outcome = place.copy(rule(families, errno=getattr(errno, name), path="source.bin"))
    error = place.assert_failed(outcome)
    assert outcome.injected() and error.kind == kind and error.is_a(cls, builtin)


@on_linux
@pytest.mark.parametrize("kind", LIMITED)
def test_kind_of_a_limit(backend, tmp_path, kind):
    harness.shim()
    if kind == "PERMISSION_DENIED":
        if os.geteuid() != 0:
            pytest.skip("becoming an ordinary user needs root")
        code = "py_eacopy.copyfile('/etc/shadow', '/tmp/eacopy-never-there', config=config)"
        outcome = harness.session().execute(code, backend=backend, watch=tmp_path, user=NOBODY)
    else:
        source = trees.write(str(tmp_path / "source"), trees.make_bytes(3_000_000))
        outcome = harness.session().execute(
            "py_eacopy.copyfile(source, target, config=config)",
            backend=backend,
            watch=tmp_path,
            limits={"RLIMIT_FSIZE": 1_000_000},
            source=source,
            target=str(tmp_path / "copy"),
        )
        assert os.listdir(str(tmp_path)) == ["source"]
    classes = {
        "PERMISSION_DENIED": ("PermissionDeniedError", "PermissionError"),
        "FILE_TOO_LARGE": ("FileTooLargeError", "OSError"),
    }
    assert outcome.error is not None and outcome.error.kind == kind, outcome
    assert outcome.error.is_a(*classes[kind])
    if kind == "FILE_TOO_LARGE":
        assert (outcome.error.path, outcome.error.size) == (str(tmp_path / "copy"), 3_000_000)
