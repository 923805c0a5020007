"""The contract of progress callbacks, for every function: what is told, in which order, how often, and under which
name."""

import errno
import functools
import os
import shutil
import sys
import tempfile
import threading
import time

import anyio
import pytest
from faults import harness, trees
from faults.harness import rule

import py_eacopy
from py_eacopy import Config, Control, EACopy

LARGE = 12 << 20
SIZES = {"empty": 0, "byte": 1, "page": 4096, "piece": 300_000, "large": LARGE}


@pytest.fixture(scope="module")
def memory():
    """A directory in memory, where there is such a place."""
    path = tempfile.mkdtemp(prefix="eacopy-progress-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.mkdir(path + "/tree")
    os.mkdir(path + "/tree/sub")
    for name, size in SIZES.items():
        trees.write(path + "/tree/sub/" + name, trees.make_bytes(size))
    os.symlink("byte", path + "/tree/sub/link")
    yield path
    trees.remove(path)


@pytest.fixture
def target(memory):
    path = memory + "/target"
    os.mkdir(path)
    yield path
    trees.remove(path)


class Events:
    """A callback that keeps what it is told, by file."""

    def __init__(self):
        self.of = {}
        self.threads = set()

    def __call__(self, copied, total, filename):
        assert (type(copied), type(total), type(filename)) == (int, int, str)
        self.threads.add(threading.current_thread())
        self.of.setdefault(filename, []).append((copied, total))

    async def awaited(self, *event):
        await anyio.sleep(0)
        self(*event)


def copy_with_own_function(functions, source, target, **keywords):
    functions.copytree(source, target, copy_function=lambda *paths: shutil.copy2(*paths), **keywords)


def calls(tree, target):
    """Every copying function as a function of a Config. Those with "tree" in their name copy all of it."""
    one = tree + "/sub/large"
    return {
        "copyfile": lambda config: py_eacopy.copyfile(one, target + "/copy", config=config),
        "copy": lambda config: py_eacopy.copy(one, target, config=config),
        "copy2": lambda config: py_eacopy.copy2(one, target + "/copy", config=config),
        "copytree": lambda config: py_eacopy.copytree(tree, target + "/copy", True, config=config),
        "copytree with a function": lambda config: copy_with_own_function(
            py_eacopy, tree, target + "/copy", symlinks=True, config=config
        ),
        "batch_copy": lambda config: py_eacopy.batch_copy([(one, target + "/copy")], config=config),
        "batch_copy2": lambda config: py_eacopy.batch_copy2(iter([(one, target)]), config=config),
        "batch_copytree": lambda config: py_eacopy.batch_copytree([(tree, target + "/copy")], config=config),
        "EACopy.copyfile": lambda config: EACopy.with_config(config).copyfile(one, target + "/copy"),
        "EACopy.copy": lambda config: EACopy.with_config(config).copy(one, target + "/copy"),
        "EACopy.copy2": lambda config: EACopy.with_config(config).copy2(one, target + "/copy"),
        "EACopy.copytree": lambda config: EACopy.with_config(config).copytree(tree, target + "/copy", True),
        "EACopy.batch_copy": lambda config: EACopy.with_config(config).batch_copy([(one, target + "/copy")]),
        "EACopy.batch_copy2": lambda config: EACopy.with_config(config).batch_copy2([(one, target + "/copy")]),
        "EACopy.batch_copytree": lambda config: EACopy.with_config(config).batch_copytree([(tree, target + "/copy")]),
        "control": lambda config: py_eacopy.copytree(
            tree, target + "/copy", True, control=Control(config.progress_callback)
        ),
    }


def expected_of(name, tree):
    whole = "tree" in name or name == "control"
    return {tree + "/sub/" + file: size for file, size in SIZES.items() if whole or file == "large"}


def check(events, expected):
    """First (0, total), never less than before, last (total, total)."""
    assert set(events.of) == set(expected), "each regular file, and nothing else"
    for path, size in expected.items():
        told = events.of[path]
        assert told[0] == (0, size) and told[-1] == (size, size) and len(told) >= 2
        assert told == sorted(told) and {total for _, total in told} == {size}
        if size <= 4096:
            assert told == [(0, size), (size, size)]


# What is told ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(calls("", "")))
def test_each_file_is_told_from_first_to_last_in_the_calling_thread(backend, memory, target, name):
    events = Events()
    calls(memory + "/tree", target)[name](Config(progress_callback=events))
    check(events, expected_of(name, memory + "/tree"))
    assert events.threads == {threading.current_thread()}


@pytest.mark.parametrize("setting", ["atomic", "verify", "fsync", "never", "threads", "overwriting"])
def test_settings_do_not_change_what_is_told(backend, memory, target, setting):
    events = Events()
    config = Config(progress_callback=events, dirs_exist_ok=setting == "overwriting")
    if setting == "never":
        config.reflink = "never"
    elif setting == "threads":
        config.thread_count = 16
    elif setting != "overwriting":
        setattr(config, setting, True)
    for _ in range(2 if setting == "overwriting" else 1):
        events.of.clear()
        py_eacopy.copytree(memory + "/tree/sub", target + "/copy", config=config)  # follows the link
    expected = {memory + "/tree/sub/" + name: size for name, size in SIZES.items()}
    check(events, dict(expected, **{memory + "/tree/sub/link": 1}))


def test_a_link_that_is_copied_as_a_link_is_not_told_of(backend, memory, target):
    events = Events()
    config = Config(progress_callback=events)
    py_eacopy.copy(memory + "/tree/sub/link", target + "/copy", follow_symlinks=False, config=config)
    assert os.path.islink(target + "/copy") and events.of == {}


def test_what_fails_before_it_begins_is_not_told_as_done(backend, memory, target):
    events = Events()
    config = Config(progress_callback=events, error_strategy="ignore", log_level="critical")
    pairs = [(memory + "/missing", target + "/1"), (memory + "/tree/sub/large", target + "/no such directory/2")]
    assert len(py_eacopy.batch_copy(pairs, config=config).errors) == 2
    assert memory + "/missing" not in events.of
    assert events.of.get(memory + "/tree/sub/large", [(0, LARGE)]) == [(0, LARGE)]


def test_a_large_file_is_told_at_most_about_20_times_a_second(backend, memory, target):
    with open(target + "/source", "wb") as stream:
        block = trees.make_bytes(1 << 20)
        for _ in range(1 << 10):
            stream.write(block)
    times = []
    config = Config(progress_callback=lambda *event: times.append((time.monotonic(), event)), reflink="never")
    started = time.monotonic()
    py_eacopy.copyfile(target + "/source", target + "/copy", config=config)
    seconds = time.monotonic() - started
    middle = [when for when, (copied, total, _) in times if 0 < copied < total]
    assert len(middle) <= 20 * seconds + 1
    assert len(middle) >= 4 * seconds - 1, "it must be told of more often than that"


def test_the_total_follows_a_source_that_grows(backend, memory, target):
    source = trees.write(target + "/source", trees.make_bytes(LARGE))
    events = Events()

    def callback(copied, total, filename):
        if not events.of:
            with open(source, "ab") as stream:
                stream.write(trees.make_bytes(5_000_000, 2))
        events(copied, total, filename)

    py_eacopy.copyfile(source, target + "/copy", config=Config(progress_callback=callback, reflink="never"))
    size = os.path.getsize(target + "/copy")
    told = events.of[source]
    # It may end in the middle of what is being appended.
    assert LARGE <= size <= LARGE + 5_000_000 and trees.read(target + "/copy") == trees.read(source)[:size]
    assert told[0] == (0, LARGE) and told[-1] == (size, size)
    assert [copied for copied, _ in told] == sorted(copied for copied, _ in told)


def test_the_total_follows_a_source_that_shrinks(backend, memory, target):
    source = trees.write(target + "/source", trees.make_bytes(LARGE))
    events = Events()

    def callback(copied, total, filename):
        if not events.of:
            os.truncate(source, 5_000_000)
        events(copied, total, filename)

    config = Config(progress_callback=callback, reflink="never")
    try:
        py_eacopy.copyfile(source, target + "/copy", config=config)
    except OSError:
        assert not os.path.exists(target + "/copy") and events.of[source][-1][0] < LARGE
    else:
        size = os.path.getsize(target + "/copy")
        assert events.of[source][0] == (0, LARGE) and events.of[source][-1] == (size, size)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="faults are injected by LD_PRELOAD")
def test_a_further_try_begins_at_0_again(backend, tmp_path):
    harness.shim()
    place = harness.Workplace(backend, tmp_path, 3_000_000)
    outcome = place.execute(
        "result = []\n"
        "config = config.evolve(progress_callback=lambda *event: result.append(event[:2]))\n"
        "py_eacopy.copyfile(source, destination, config=config)",
        rules=[
            rule("clone|copy_file_range|sendfile", errno=errno.ENOSYS),
            rule("write", errno=errno.EIO, skip=2, count=1, path="destination.bin"),
        ],
        config={"error_strategy": "retry", "retry_delay": 0.0, "buffer_size": 65536},
    )
    assert outcome.error is None and outcome.injected("write"), outcome
    assert trees.read(place.destination) == trees.read(place.source)
    starts = [number for number, event in enumerate(outcome.result) if event == (0, 3_000_000)]
    assert starts[0] == 0 and len(starts) == 2, outcome.result
    for events in (outcome.result[: starts[1]], outcome.result[starts[1] :]):
        assert events == sorted(events)
    assert (3_000_000, 3_000_000) not in outcome.result[: starts[1]]
    assert outcome.result[-1] == (3_000_000, 3_000_000)


# Under which name -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write, name",
    [
        (str, "tree"),
        (os.fsencode, "tree"),
        (lambda name: __import__("pathlib").Path(name), "tree"),
        (str, "./tree"),
        (str, "sub/../tree"),
        (str, "tree/"),
    ],
    ids=["str", "bytes", "Path", "dot", "dots", "slash"],
)
def test_the_name_is_the_source_as_it_was_written(backend, tmp_path, monkeypatch, write, name):
    for directory in ("tree/inner", "sub"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    events = Events()
    config = Config(progress_callback=events)
    py_eacopy.copytree(write(name), write("copy"), config=config)
    py_eacopy.batch_copytree([(write(name), write("other"))], config=config)
    prefix = name if name.endswith("/") else name + "/"
    assert events.of == {prefix + "inner/file": [(0, 7), (7, 7)] * 2}
    events.of.clear()
    py_eacopy.copy(write(name.rstrip("/") + "/inner/file"), write("single"), config=config)
    assert set(events.of) == {name.rstrip("/") + "/inner/file"}


def test_names_that_are_no_text_come_with_surrogates(backend, tmp_path):
    root = os.fsencode(str(tmp_path / "tree"))
    os.mkdir(root)
    os.mkdir(root + b"/\xff")
    names = [b"/\xff/\x80\x81", "/grüße 文件".encode(), b"/new\nline", b"/tab\tand\x01control"]
    for name in names:
        trees.write(root + name, b"content")
    events = Events()
    py_eacopy.copytree(str(tmp_path / "tree"), str(tmp_path / "copy"), config=Config(progress_callback=events))
    assert set(events.of) == {os.fsdecode(root + name) for name in names}
    assert all(os.path.exists(name) for name in events.of)
    events.of.clear()
    py_eacopy.copyfile(root + names[0], root + b"/copy", config=Config(progress_callback=events))
    assert set(events.of) == {os.fsdecode(root + names[0])}


def test_two_copies_of_one_source_are_both_told(backend, memory, target):
    events = Events()
    source = memory + "/tree/sub/page"
    py_eacopy.batch_copy(
        [(source, target + "/%d" % number) for number in range(5)], config=Config(progress_callback=events)
    )
    assert sorted(events.of[source]) == [(0, 4096)] * 5 + [(4096, 4096)] * 5


# A callback that raises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(calls("", "")))
@pytest.mark.parametrize("when", ["first", "middle", "last"])
def test_its_exception_comes_out_unchanged_of_each_function(backend, memory, target, name, when):
    class Mine(Exception):
        pass

    mine = Mine("mine")
    reached = []

    def callback(copied, total, filename):
        first, last = copied == 0, copied == total and total
        if first if when == "first" else last if when == "last" else not first:
            reached.append(filename)
            raise mine

    with pytest.raises(Mine) as raised:
        calls(memory + "/tree", target)[name](Config(progress_callback=callback, reflink="never"))
    assert raised.value is mine and len(reached) == 1
    assert mine.__cause__ is None
    for directory, _, files in os.walk(target):
        for file in set(files) - {"link"}:
            source = "large" if file == "copy" else file
            assert trees.read(directory + "/" + file) == trees.read(memory + "/tree/sub/" + source), "a partial file"


@pytest.mark.parametrize(
    "exception",
    [OSError(errno.EIO, "mine"), shutil.Error([("a", "b", "mine")]), StopIteration("mine"), KeyboardInterrupt()]
    + [SystemExit(3), GeneratorExit(), StopAsyncIteration(), py_eacopy.CopyInterruptedError("mine")],
    ids=lambda exception: type(exception).__name__,
)
@pytest.mark.parametrize("name", ["copyfile", "copytree", "copytree with a function", "batch_copy2"])
def test_whatever_it_raises_is_what_comes_out(backend, memory, target, name, exception):
    def callback(*event):
        raise exception

    with pytest.raises(type(exception)) as raised:
        calls(memory + "/tree", target)[name](Config(progress_callback=callback))
    assert raised.value is exception


@pytest.mark.parametrize("strategy", ["raise", "retry", "ignore"])
def test_no_strategy_makes_little_of_it(backend, memory, target, strategy):
    def callback(*event):
        raise OSError(errno.ENOSPC, "mine")

    config = Config(progress_callback=callback, error_strategy=strategy, retry_count=2, retry_delay=0)
    for name in ("copyfile", "copytree", "copytree with a function", "batch_copy"):
        with pytest.raises(OSError, match="mine"):
            calls(memory + "/tree", target)[name](config)
        trees.remove(target + "/copy")


def test_after_an_exception_the_next_copy_works(backend, memory, target):
    def callback(*event):
        raise LookupError

    with pytest.raises(LookupError):
        py_eacopy.copytree(memory + "/tree", target + "/copy", True, config=Config(progress_callback=callback))
    events = Events()
    py_eacopy.copytree(memory + "/tree", target + "/copy", config=Config(progress_callback=events, dirs_exist_ok=True))
    assert len(events.of) == len(SIZES) + 1


# A callback that the function cannot call -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(calls("", "")))
def test_a_coroutine_function_is_refused_where_nobody_awaits(backend, memory, target, name):
    events = Events()
    for callback in (events.awaited, functools.partial(events.awaited)):
        with pytest.raises(TypeError, match="is a coroutine function, which nobody awaits here"):
            calls(memory + "/tree", target)[name](Config(progress_callback=callback))
    assert os.listdir(target) == []


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["copyfile", "copytree"])
async def test_the_awaited_functions_tell_the_same(backend, memory, target, name):
    plain, awaited = Events(), Events()
    tree = memory + "/tree"
    arguments = (tree + "/sub/large", target + "/1") if name == "copyfile" else (tree, target + "/1", True)
    function = getattr(py_eacopy, "async_" + name)
    await function(*arguments, config=Config(progress_callback=plain))
    arguments = (arguments[0], target + "/2", *arguments[2:])
    await function(*arguments, config=Config(progress_callback=awaited.awaited))
    for events in (plain, awaited):
        check(events, expected_of(name, tree))
        assert events.threads == {threading.current_thread()}
