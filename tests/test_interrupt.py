"""Ctrl-C, cancelling and being killed: how soon a copy stops, and what it leaves behind at whichever moment."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from faults import harness, trees
from faults.harness import rule

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="faults are injected by LD_PRELOAD")

SIZE = 2 << 30
#: Seconds. The promise is 100 ms on a quiet machine; this bound is for a busy one. The figure itself is printed.
BOUND = 5.0
#: Where a whole file of 2 GB must be removed, most of the time goes into that.
BOUND_WITH_REMOVAL = 15.0
MEMORY = "/dev/shm"

CHILD = """
import os, signal, sys, threading, time
import py_eacopy
from py_eacopy import _control, _job, _strategy

source, destination, backend, settings, function, more = sys.argv[1:]
config = py_eacopy.Config(backend=backend, **eval(settings))
exec(more)
print("ready", flush=True)
try:
    getattr(py_eacopy, function)(source, destination, config=config)
except BaseException as error:
    now = time.monotonic()
    for attempt in range(1000):  # a thread that has been joined may need a moment until the kernel takes it away
        left = len(os.listdir("/proc/self/task"))
        if left == 1:
            break
        time.sleep(0.01)
    print(now, type(error).__name__, threading.active_count(), left, flush=True)
else:
    print(time.monotonic(), "finished", 0, 0, flush=True)
"""


@pytest.fixture(scope="module")
def memory():
    """A directory in memory with room for a file of 2 GB and most of its copy."""
    if not os.path.isdir(MEMORY) or shutil.disk_usage(MEMORY).free < 5 << 30:
        pytest.skip(f"{MEMORY} has no 5 GB left")
    path = tempfile.mkdtemp(prefix="eacopy-interrupt-", dir=MEMORY)
    yield path
    trees.remove(path)


@pytest.fixture(scope="module")
def large(memory):
    """A file of 2 GB without holes."""
    path = os.path.join(memory, "large")
    block = trees.make_bytes(1 << 20)
    with open(path, "wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(block)
    return path


@pytest.fixture
def target(memory):
    path = os.path.join(memory, "target")
    os.mkdir(path)
    yield path
    trees.remove(path)


class Copying:
    """A copy that runs in a process of its own, to send signals to."""

    def __init__(self, source, destination, backend, *, function="copyfile", more="", **settings):
        self.destination = destination
        command = [sys.executable, "-c", CHILD, source, destination, backend, repr(settings), function, more]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
        # A process that was started in the background ignores Ctrl-C, and hands that on; the copy must not.
        heedful = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        command[2] = heedful + command[2]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, encoding="utf-8")
        assert self.process.stdout.readline() == "ready\n"

    def wait_until_it_has_written(self, size):
        """Returns when this many bytes are below the destination's directory, or in it."""
        directory = os.path.dirname(self.destination)
        end = time.monotonic() + 20
        while allocated(directory) < size:
            assert self.process.poll() is None, f"it ended too early: {self.process.stdout.read()}"
            assert time.monotonic() < end, "it does not get on"
            time.sleep(0.002)

    def interrupt(self):
        """Sends Ctrl-C; returns the exception's name, after how many seconds it came, and the numbers of threads."""
        sent = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=20)
        came, name, python_threads, threads = output.split()
        return name, float(came) - sent, (int(python_threads), int(threads))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def allocated(path):
    total = 0
    for root, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


# Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reflink", ["auto", "never"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("threads", [1, 4])
def test_ctrl_c_stops_a_copy_in_the_middle_of_2_gigabytes(backend, large, target, reflink, atomic, threads, capsys):
    destination = os.path.join(target, "copy")
    copying = Copying(large, destination, backend, reflink=reflink, atomic=atomic, thread_count=threads)
    copying.wait_until_it_has_written(SIZE // 10)
    name, seconds, left = copying.interrupt()
    with capsys.disabled():
        print(f" [{seconds * 1000:.1f} ms]", end="")
    assert name == "KeyboardInterrupt", "it must stop, and not finish first"
    assert seconds < BOUND and left == (1, 1)
    assert os.listdir(target) == [], "a partial file stays"


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_ctrl_c_while_overwriting_keeps_the_file_and_with_atomic_its_content(backend, large, target, atomic):
    destination = trees.write(os.path.join(target, "copy"), b"old content")
    copying = Copying(large, destination, backend, atomic=atomic)
    copying.wait_until_it_has_written(SIZE // 10)
    assert copying.interrupt()[0] == "KeyboardInterrupt"
    assert os.listdir(target) == ["copy"]
    if atomic:
        assert trees.read(destination) == b"old content"


@pytest.mark.parametrize("what", ["verify", "progress"])
def test_ctrl_c_stops_a_copy_that_verifies_or_reports_progress(backend, large, target, what, capsys):
    more = "config = config.evolve(progress_callback=lambda *event: None)" if what == "progress" else ""
    settings = {"verify": True} if what == "verify" else {}
    copying = Copying(large, os.path.join(target, "copy"), backend, more=more, **settings)
    copying.wait_until_it_has_written(SIZE if what == "verify" else SIZE // 10)
    name, seconds, left = copying.interrupt()
    with capsys.disabled():
        print(f" [{seconds * 1000:.1f} ms]", end="")
    assert (name, left) == ("KeyboardInterrupt", (1, 1))
    assert seconds < (BOUND_WITH_REMOVAL if what == "verify" else BOUND)
    assert os.listdir(target) == []


def test_ctrl_c_twice_leaves_no_partial_file_either(backend, large, target):
    copying = Copying(large, os.path.join(target, "copy"), backend)
    copying.wait_until_it_has_written(SIZE // 10)
    copying.process.send_signal(signal.SIGINT)
    time.sleep(0.001)
    copying.process.send_signal(signal.SIGINT)
    output, _ = copying.process.communicate(timeout=20)
    assert "finished" not in output
    assert os.listdir(target) == []


def test_ctrl_c_in_a_tree_leaves_only_complete_files(backend, memory, large, target, capsys):
    tree = os.path.join(memory, "tree")
    os.mkdir(tree)
    os.link(large, os.path.join(tree, "large"))
    for number in range(300):
        os.makedirs(os.path.join(tree, str(number)))
        trees.write(os.path.join(tree, str(number), "file"), b"content %d" % number)
    try:
        destination = os.path.join(target, "copy")
        copying = Copying(tree, destination, backend, function="copytree")
        copying.wait_until_it_has_written(SIZE // 10)
        name, seconds, left = copying.interrupt()
        with capsys.disabled():
            print(f" [{seconds * 1000:.1f} ms]", end="")
        assert (name, left) == ("KeyboardInterrupt", (1, 1)) and seconds < BOUND
        for root, _, names in os.walk(destination):
            for file in names:
                assert file == "file" and trees.read(os.path.join(root, file)).startswith(b"content "), (root, file)
    finally:
        trees.remove(tree)


@pytest.mark.parametrize("raises", [True, False], ids=["raises", "returns"])
def test_a_signal_handler_of_the_caller_decides_whether_the_copy_stops(backend, large, target, raises):
    more = (
        "seen = []\n"
        "def handler(number, frame):\n"
        "    seen.append(number)\n"
        f"    if {raises}: raise LookupError('from the handler')\n"
        "signal.signal(signal.SIGINT, handler)"
    )
    copying = Copying(large, os.path.join(target, "copy"), backend, more=more)
    copying.wait_until_it_has_written(SIZE // 10)
    name, _, _ = copying.interrupt()
    assert name == ("LookupError" if raises else "finished")
    assert os.listdir(target) == ([] if raises else ["copy"])
    assert raises or os.path.getsize(os.path.join(target, "copy")) == SIZE


@on_linux
def test_ctrl_c_ends_the_wait_between_two_tries(backend, tmp_path, capsys):
    harness.shim()
    place = harness.Workplace(backend, tmp_path)
    outcome = place.execute(
        "import threading, time\n"
        "def interrupt():\n"
        "    global sent\n"
        "    sent = time.monotonic()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(0.3, interrupt).start()\n"
        "try: py_eacopy.copyfile(source, destination, config=config)\n"
        "except KeyboardInterrupt: result = time.monotonic() - sent",
        rules=[rule("open_write", errno=5, path="destination.bin")],
        config={"error_strategy": "retry", "retry_count": 1, "retry_delay": 60.0},
        timeout=30,
    )
    assert not outcome.signal and outcome.error is None and outcome.result is not None, outcome
    with capsys.disabled():
        print(f" [{outcome.result * 1000:.1f} ms]", end="")
    assert outcome.injected() and outcome.result < BOUND
    assert place.state == "absent"


# Cancelling ------------------------------------------------------------------------------------------------------

CANCEL = """
import threading, time
from py_eacopy import _control, _job, _strategy
options = _job.CopyOptions(metadata="none", atomic=atomic, error_strategy=strategy, retry_delay=60.0)
items = iter([(os.fsencode(source), os.fsencode(destination))])
control = _control.Control()
called = copied = None
def cancel():
    global called, copied
    copied, called = control.snapshot().bytes_copied, time.monotonic()
    control.cancel()
def when_under_way():
    while control.snapshot().bytes_copied < least: time.sleep(0.001)
    cancel()
if least is None: cancel()
else: threading.Thread(target=when_under_way).start()
try: _strategy.run(_job.CopyJob(trees=trees, items=items, options=options), config, control)
finally:
    ended = time.monotonic()
    result = ended - called, copied, threads()
"""


@pytest.fixture
def cancel(backend):
    def cancel(source, destination, least, trees=False, atomic=False, strategy="raise", **more):
        names = {"source": source, "destination": destination, "least": least, "trees": trees, "atomic": atomic}
        more.setdefault("watch", None)
        return harness.session().execute(CANCEL, backend=backend, strategy=strategy, **names, **more)

    harness.shim()
    return cancel


@on_linux
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_cancelling_from_another_thread_stops_a_copy_in_its_middle(cancel, large, target, atomic, capsys):
    outcome = cancel(large, os.path.join(target, "copy"), SIZE // 10, atomic=atomic)
    assert outcome.error is not None and outcome.error.is_a("CopyInterruptedError", "InterruptedError"), outcome
    seconds, copied, threads = outcome.result
    with capsys.disabled():
        print(f" [{seconds * 1000:.1f} ms]", end="")
    assert seconds < BOUND and SIZE // 10 <= copied < SIZE and threads == 1
    assert outcome.error.kind == "INTERRUPTED" and outcome.error.destination in (None, "absent")
    assert os.listdir(target) == []


@on_linux
def test_cancelling_a_tree_stops_it_in_its_middle(cancel, memory, large, target):
    tree = os.path.join(memory, "tree")
    os.mkdir(tree)
    os.link(large, os.path.join(tree, "large"))
    try:
        outcome = cancel(tree, os.path.join(target, "copy"), SIZE // 10, trees=True)
        assert outcome.error is not None and outcome.error.is_a("CopyInterruptedError"), outcome
        assert outcome.result[0] < BOUND
        assert [names for _, _, names in os.walk(target) if names] == []
    finally:
        trees.remove(tree)


@on_linux
@pytest.mark.parametrize("which", ["file", "tree"])
def test_what_was_cancelled_before_it_began_writes_nothing(cancel, large, target, tmp_path, which):
    source = large
    if which == "tree":
        source = str(tmp_path / "tree")
        trees.make_tree(source)
    outcome = cancel(source, os.path.join(target, "copy"), None, trees=which == "tree")
    assert outcome.error is not None and outcome.error.is_a("CopyInterruptedError"), outcome
    assert [names for _, _, names in os.walk(target) if names] == []


@on_linux
def test_cancelling_ends_the_wait_between_two_tries(cancel, tmp_path):
    source, destination = trees.write(str(tmp_path / "source"), b"content"), str(tmp_path / "copy")
    rules = [rule("open_write", errno=5, path=destination)]
    outcome = cancel(source, destination, 0, strategy="retry", rules=rules, watch=tmp_path, timeout=30)
    assert not outcome.signal and outcome.error is not None, outcome
    assert outcome.error.is_a("CopyInterruptedError") and outcome.result[0] < BOUND
    assert os.listdir(str(tmp_path)) == ["source"]


# Being killed ----------------------------------------------------------------------------------------------------

TEMPORARY = re.compile(r"\.eacopy-[0-9a-f]{16}\.tmp$")


@on_linux
@pytest.mark.parametrize("function", ["copyfile", "copy2"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_an_atomic_copy_killed_before_any_of_its_calls_leaves_the_old_or_the_new_file(
    backend, tmp_path, existing, function
):
    harness.shim()
    place = harness.Workplace(backend, tmp_path, 300_000)
    config = {"atomic": True, "fsync": True, "buffer_size": 65536}
    total = len(place.copy(existing=existing, config=config, function=function).calls)
    assert total >= 6
    states = set()
    for index in range(total):
        fault = rule("*", signal=signal.SIGKILL, skip=index, count=1, path=place.directory)
        outcome = place.copy(fault, existing=existing, config=config, function=function)
        assert outcome.signal == signal.SIGKILL, outcome
        states.add(place.state)
        assert trees.read(place.source) == place.data
        beside = set(os.listdir(os.path.dirname(place.destination))) - {"destination.bin"}
        assert all(TEMPORARY.match(name) for name in beside) and len(beside) <= 1, beside
        for name in beside:
            os.unlink(os.path.join(os.path.dirname(place.destination), name))
    assert states == {"old" if existing else "absent", "new"}


@on_linux
def test_an_atomic_tree_killed_at_any_moment_has_only_whole_files_under_their_names(backend, tmp_path):
    harness.shim()
    tree, copy = str(tmp_path / "tree"), str(tmp_path / "copy")
    os.makedirs(tree + "/sub")
    for name in ("one", "sub/two", "sub/three"):
        trees.write(os.path.join(tree, name), trees.make_bytes(200_000, len(name)))
    expected = trees.snapshot(tree, metadata=False)

    def run(*rules):
        trees.remove(copy)
        return harness.session().call(
            "copytree", tree, copy, backend=backend, watch=tmp_path, rules=rules, config={"atomic": True}
        )

    total = len([call for call in run().calls if call.path])
    killed = 0
    for index in range(total):
        outcome = run(rule("*", signal=signal.SIGKILL, skip=index, count=1, path=str(tmp_path)))
        killed += outcome.signal == signal.SIGKILL
        for path, found in trees.snapshot(copy, metadata=False).items() if os.path.isdir(copy) else ():
            assert expected.get(path) == found or TEMPORARY.match(os.fsdecode(os.path.basename(path))), (index, path)
    assert killed >= total - 5


def test_an_atomic_copy_killed_in_the_middle_of_2_gigabytes_leaves_the_old_file(backend, large, target):
    destination = trees.write(os.path.join(target, "copy"), b"old content")
    copying = Copying(large, destination, backend, atomic=True)
    copying.wait_until_it_has_written(SIZE // 10)
    copying.kill()
    assert trees.read(destination) == b"old content"
    (temporary,) = set(os.listdir(target)) - {"copy"}
    assert TEMPORARY.match(temporary)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_copy_in_place_killed_in_its_middle_does_not_look_complete(backend, large, target, threads):
    """A tool that compares sizes must see that it is not: nothing is preallocated."""
    destination = os.path.join(target, "copy")
    copying = Copying(large, destination, backend, thread_count=threads)
    copying.wait_until_it_has_written(SIZE // 10)
    copying.kill()
    assert os.path.getsize(destination) < SIZE
