"""The class EACopy: the same functions, with settings that belong to the instance alone."""

import inspect
import logging
import os
import threading

import attr
import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, Control, EACopy, ErrorStrategy, LogLevel

METHODS = [
    "copyfile",
    "copy",
    "copy2",
    "copytree",
    "copy_with_server",
    "create_server",
    "sync",
    "delta_copy",
    "create_delta",
    "apply_delta",
    "batch_copy",
    "batch_copy2",
    "batch_copytree",
    "async_copyfile",
    "async_copy",
    "async_copy2",
    "async_copytree",
    "async_batch_copy",
    "async_batch_copy2",
    "async_batch_copytree",
    "async_copy_with_server",
    "async_sync",
    "async_delta_copy",
    "async_create_delta",
    "async_apply_delta",
]
OTHERS = ["with_config", "get_config", "set_config", "set_progress_callback", "watch_copytree", "close"]
POSITIONAL = [
    "thread_count",
    "compression_level",
    "buffer_size",
    "preserve_metadata",
    "follow_symlinks",
    "dirs_exist_ok",
    "progress_callback",
]


@pytest.fixture
def tree(tmp_path):
    trees.make_tree(str(tmp_path / "tree"))
    return str(tmp_path / "tree")


# Its shape ------------------------------------------------------------------------------------------------------------


def test_it_has_the_methods_that_were_promised_and_no_more():
    assert {name for name in vars(EACopy) if not name.startswith("_")} == set(METHODS + OTHERS)


def test_its_arguments_are_the_fields_of_config_with_their_defaults():
    parameters = inspect.signature(EACopy).parameters
    fields = {field.name: field for field in attr.fields(Config) if field.init}
    assert set(parameters) == set(fields)
    assert [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == POSITIONAL
    assert EACopy().get_config() == Config()


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_the_arguments_of_its_function(name):
    of_method = inspect.signature(getattr(EACopy, name)).parameters
    of_function = inspect.signature(getattr(py_eacopy, name)).parameters
    if name == "sync":  # whose many keywords are passed on
        of_function = inspect.signature(py_eacopy.async_sync).parameters
    assert [p for p in of_method if p not in ("self", "options")] == [
        p for p in of_function if p not in ("config", "options")
    ]
    for parameter in set(of_method) - {"self", "options"}:
        assert of_method[parameter].default == of_function[parameter].default
        assert of_method[parameter].kind == of_function[parameter].kind


def test_bad_settings_are_refused_by_name():
    for keywords in ({"thread_count": 0}, {"compression_level": 23}, {"buffer_size": -1}, {"retry_count": -1}):
        with pytest.raises(py_eacopy.ConfigurationError, match=next(iter(keywords))):
            EACopy(**keywords)
    with pytest.raises(TypeError, match="thread_cuont"):
        EACopy(thread_cuont=3)
    with pytest.raises(TypeError, match="config must be a py_eacopy.Config, not dict"):
        EACopy.with_config({})
    with pytest.raises(py_eacopy.ConfigurationError, match="progress_callback"):
        EACopy().set_progress_callback("loud")


def test_settings_are_shown():
    assert repr(EACopy()) == "EACopy()"
    eac = EACopy(8, atomic=True, path_map={"/a": "/b"})
    assert repr(eac) == "EACopy(thread_count=8, atomic=True, path_map={'/a': '/b'})"


# Its settings ---------------------------------------------------------------------------------------------------------


def test_the_global_config_does_not_leak_in(backend, tree, tmp_path):
    py_eacopy.config = Config(dirs_exist_ok=True, preserve_metadata=False, error_strategy="ignore")
    eac = EACopy()
    (tmp_path / "copy").mkdir()
    with pytest.raises(FileExistsError):
        eac.copytree(tree, tmp_path / "copy")
    with py_eacopy.temporary_config(dirs_exist_ok=True), pytest.raises(FileExistsError):
        eac.copytree(tree, tmp_path / "copy")
    eac.copytree(tree + "/sub", tmp_path / "other", True)
    assert os.stat(tree + "/sub/large").st_mtime_ns == os.stat(str(tmp_path / "other" / "large")).st_mtime_ns
    with pytest.raises(FileNotFoundError):
        eac.copy(tree + "/missing", tmp_path / "copy")


def test_it_does_not_leak_out(backend, tree, tmp_path):
    before = py_eacopy.config.evolve()
    eac = EACopy(thread_count=1, dirs_exist_ok=True, log_level="debug", error_strategy="ignore")
    eac.copytree(tree, tmp_path / "copy", True)
    assert py_eacopy.config == before
    with pytest.raises(FileExistsError):
        py_eacopy.copytree(tree, tmp_path / "copy", True)


def test_configs_go_in_and_out_as_copies():
    config = Config(thread_count=7, path_map={"/a": "/b"})
    eac = EACopy.with_config(config)
    config.thread_count = 9
    assert eac.get_config().thread_count == 7
    taken = eac.get_config()
    taken.thread_count = 11
    assert eac.get_config() == Config(thread_count=7, path_map={"/a": "/b"})
    eac.set_config(taken)
    taken.thread_count = 13
    assert eac.get_config().thread_count == 11
    with pytest.raises(TypeError):
        eac.set_config(None)
    assert eac.get_config().thread_count == 11


def test_with_config_makes_an_instance_of_the_subclass():
    class Mine(EACopy):
        pass

    assert type(Mine.with_config(Config())) is Mine


def test_a_call_takes_what_the_instance_has_unless_told_otherwise(backend, tree, tmp_path):
    eac = EACopy(dirs_exist_ok=True, preserve_metadata=False, follow_symlinks=True)
    for _ in range(2):
        eac.copytree(tree + "/sub", tmp_path / "copy")
    with pytest.raises(FileExistsError):
        eac.copytree(tree + "/sub", tmp_path / "copy", dirs_exist_ok=False)
    assert os.stat(tree + "/sub/large").st_mtime_ns != os.stat(str(tmp_path / "copy" / "large")).st_mtime_ns
    eac.batch_copytree([(tree, tmp_path / "batch")], ignore_dangling_symlinks=True)
    assert not os.path.islink(str(tmp_path / "batch" / "link to one"))
    eac.batch_copytree([(tree, tmp_path / "linked")], symlinks=True)
    assert os.path.islink(str(tmp_path / "linked" / "link to one")) or trees.WINE


def test_the_progress_callback_can_be_changed(backend, tree, tmp_path):
    first, second = [], []
    eac = EACopy(progress_callback=lambda *event: first.append(event))
    eac.copy(tree + "/one", tmp_path / "1")
    eac.set_progress_callback(lambda *event: second.append(event))
    eac.copy(tree + "/one", tmp_path / "2")
    eac.set_progress_callback(None)
    eac.copy(tree + "/one", tmp_path / "3")
    assert first == second == [(0, 1, tree + "/one"), (1, 1, tree + "/one")]
    assert eac.get_config().progress_callback is None


def test_changing_settings_does_not_change_what_runs(backend, tmp_path):
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "file").write_bytes(b"content")
    eac = EACopy(preserve_metadata=True)

    def ignore(directory, names):
        eac.set_config(Config(preserve_metadata=False))
        return []

    os.utime(tmp_path / "tree" / "a" / "file", (1_000_000_000, 1_000_000_000))
    eac.copytree(tmp_path / "tree", tmp_path / "copy", ignore=ignore)
    assert (tmp_path / "copy" / "a" / "file").stat().st_mtime == 1_000_000_000


def test_two_instances_in_two_threads_do_not_disturb_each_other(backend, tmp_path):
    (tmp_path / "source").mkdir()
    for number in range(50):
        (tmp_path / "source" / str(number)).write_bytes(b"content")
        os.utime(str(tmp_path / "source" / str(number)), (1_000_000_000, 1_000_000_000))
    events = {True: [], False: []}
    callers = {True: set(), False: set()}
    failures = []

    def work(keep):
        def callback(*event):
            events[keep].append(event)
            callers[keep].add(threading.current_thread())

        eac = EACopy(thread_count=2, preserve_metadata=keep, dirs_exist_ok=keep, progress_callback=callback)
        target = tmp_path / ("copy-%s" % keep)
        for round_ in range(20):
            try:
                eac.copytree(tmp_path / "source", target)
                assert keep or round_ == 0
            except FileExistsError:
                if keep or round_ == 0:
                    failures.append("%s refused in round %d" % (keep, round_))
            for name in os.listdir(str(target)):
                if ((target / name).stat().st_mtime == 1_000_000_000) != keep:
                    failures.append("%s has the other's metadata" % name)

    threads = [threading.Thread(target=work, args=(keep,)) for keep in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (len(events[True]), len(events[False])) == (20 * 100, 100)
    assert callers == {True: {threads[0]}, False: {threads[1]}}


def test_one_instance_may_serve_several_threads_at_once(backend, tree, tmp_path):
    eac = EACopy(thread_count=2)
    threads = [
        threading.Thread(target=eac.copytree, args=(tree, str(tmp_path / str(number)), True)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = trees.snapshot(tree)
    assert all(trees.snapshot(str(tmp_path / str(number))) == expected for number in range(8))


# Closing --------------------------------------------------------------------------------------------------------------


def test_after_the_with_block_a_call_is_an_error(backend, tree, tmp_path):
    with EACopy() as eac:
        assert isinstance(eac, EACopy)
        eac.copy(tree + "/one", tmp_path / "copy")
    calls = [
        lambda: eac.copyfile(tree + "/one", tmp_path / "x"),
        lambda: eac.copy(tree + "/one", tmp_path / "x"),
        lambda: eac.copy2(tree + "/one", tmp_path / "x"),
        lambda: eac.copytree(tree, tmp_path / "x"),
        lambda: eac.batch_copy([(tree + "/one", tmp_path / "x")]),
        lambda: eac.batch_copy2([(tree + "/one", tmp_path / "x")]),
        lambda: eac.batch_copytree([(tree, tmp_path / "x")]),
        lambda: eac.watch_copytree(tree, tmp_path / "x"),
        lambda: eac.copy_with_server(tree, tmp_path / "x", "server"),
        lambda: eac.create_server(),
        lambda: eac.delta_copy(tree + "/one", tmp_path / "x", tree + "/page"),
        lambda: eac.__enter__(),
    ]
    for call in calls:
        with pytest.raises(py_eacopy.InvalidArgumentError, match="this EACopy is closed; make a new one"):
            call()
    assert not (tmp_path / "x").exists()
    assert eac.get_config() == Config()
    eac.close()


@pytest.mark.anyio
async def test_as_an_asynchronous_context_manager(backend, tree, tmp_path):
    async with EACopy(atomic=True) as eac:
        await eac.async_copy(tree + "/one", tmp_path / "copy")
    pairs = [(tree, tmp_path / "x")]
    calls = [
        lambda: eac.async_copyfile(tree + "/one", tmp_path / "x"),
        lambda: eac.async_copy(tree + "/one", tmp_path / "x"),
        lambda: eac.async_copy2(tree + "/one", tmp_path / "x"),
        lambda: eac.async_copytree(tree, tmp_path / "x"),
        lambda: eac.async_batch_copy(pairs),
        lambda: eac.async_batch_copy2(pairs),
        lambda: eac.async_batch_copytree(pairs),
        lambda: eac.async_copy_with_server(tree, tmp_path / "x", "server"),
        lambda: eac.async_delta_copy(tree + "/one", tmp_path / "x", tree + "/page"),
        lambda: eac.__aenter__(),
    ]
    for call in calls:
        with pytest.raises(py_eacopy.InvalidArgumentError, match="this EACopy is closed"):
            await call()
    assert not (tmp_path / "x").exists()


@pytest.mark.anyio
async def test_closing_lets_what_runs_go_on(backend, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"content")
    async with EACopy() as eac:

        def ignore(directory, names):
            eac.close()
            return []

        await eac.async_copytree(tmp_path / "source", tmp_path / "copy", ignore=ignore)
    assert (tmp_path / "copy" / "file").exists()


def test_an_exception_goes_through_the_with_block():
    with pytest.raises(LookupError), EACopy():
        raise LookupError


# The log --------------------------------------------------------------------------------------------------------------


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.levelname, record.getMessage()))

    @property
    def levels(self):
        return [level for level, _ in self.seen]


@pytest.fixture
def records():
    """What comes to a handler of the root logger."""
    handler, root = Records(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_the_log_says_what_each_call_did(backend, tree, tmp_path, records):
    EACopy(log_level=LogLevel.INFO).copytree(tree + "/sub", tmp_path / "copy")
    ((level, message),) = records.seen
    files = sum(len(names) for _, _, names in os.walk(tree + "/sub"))
    assert level == "INFO" and message.startswith("copied %d files, " % files)
    assert "with the %s backend" % backend in message and message.endswith("0 further tries, 0 errors")
    EACopy(log_level="debug").copytree(tree + "/sub", tmp_path / "other")
    assert records.levels == ["INFO", "DEBUG", "INFO"]
    assert records.seen[1][1].startswith("copying with the %s backend: CopyOptions(" % backend)


def test_by_default_only_warnings_are_logged_and_only_of_what_is_ignored(backend, tree, tmp_path, records):
    EACopy().copytree(tree + "/sub", tmp_path / "copy")
    with pytest.raises(FileNotFoundError):
        EACopy().copy(tree + "/missing", tmp_path / "copy")
    assert records.seen == []
    EACopy(error_strategy="ignore").copy(tree + "/missing", tmp_path / "copy")
    ((level, message),) = records.seen
    assert level == "WARNING" and repr(tree + "/missing") in message
    EACopy(error_strategy="ignore", log_level="critical").copy(tree + "/missing", tmp_path / "copy")
    assert len(records.seen) == 1


def test_the_level_of_an_instance_is_its_own(backend, tree, tmp_path, records):
    quiet, loud = EACopy(log_level="critical"), EACopy(log_level="info")
    for _ in range(2):
        quiet.batch_copy([(tree + "/one", tmp_path / "1")])
        loud.batch_copy([(tree + "/one", tmp_path / "2")])
        py_eacopy.batch_copy([(tree + "/one", tmp_path / "3")])
    assert records.levels == ["INFO", "INFO"]
    with py_eacopy.temporary_config(log_level="info"):
        py_eacopy.batch_copy([(tree + "/one", tmp_path / "3")])
        quiet.batch_copy([(tree + "/one", tmp_path / "3")])
    assert records.levels == ["INFO", "INFO", "INFO"]
    logging.disable(logging.CRITICAL)
    try:
        loud.batch_copy([(tree + "/one", tmp_path / "2")])
    finally:
        logging.disable(logging.NOTSET)
    assert records.levels == ["INFO", "INFO", "INFO"]


def test_the_log_says_why_a_copy_was_stopped(backend, tree, tmp_path, records):
    def refuse(*event):
        raise LookupError("mine")

    with pytest.raises(LookupError):
        EACopy(log_level="info", progress_callback=refuse).copytree(tree, tmp_path / "copy", True)
    control = Control()
    control.cancel()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        EACopy(log_level="info").copy(tree + "/one", tmp_path / "other", control=control)
    assert records.levels == ["INFO", "INFO"]
    assert "stopped: LookupError('mine')" in records.seen[0][1] and "cancelled" in records.seen[1][1]


def test_log_records_come_in_the_calling_thread(backend, tree, tmp_path, monkeypatch):
    callers = set()
    handler = Records()
    handler.emit = lambda record: callers.add(record.thread)
    logging.getLogger("py_eacopy").addHandler(handler)
    try:
        eac = EACopy(log_level="debug", error_strategy=ErrorStrategy.IGNORE)
        eac.copytree(tree, tmp_path / "copy")
    finally:
        logging.getLogger("py_eacopy").removeHandler(handler)
    assert callers == {threading.get_ident()}
