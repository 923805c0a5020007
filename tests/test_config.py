"""Config: what its fields may be, and which Config is in force where."""

import asyncio
import copy
import logging
import pathlib
import pickle
import subprocess
import sys
import threading

import attr
import pytest

import py_eacopy
from py_eacopy import Config, ConfigurationError, ErrorStrategy, LogLevel, temporary_config
from py_eacopy._config import options_for

DEFAULTS = {
    "thread_count": 4,
    "compression_level": 0,
    "buffer_size": 8 * 1024 * 1024,
    "error_strategy": ErrorStrategy.RAISE,
    "retry_count": 3,
    "retry_delay": 1.0,
    "log_level": LogLevel.WARNING,
    "preserve_metadata": True,
    "follow_symlinks": False,
    "dirs_exist_ok": False,
    "progress_callback": None,
    "backend": None,
    "reflink": "auto",
    "atomic": False,
    "fsync": False,
    "verify": False,
    "bandwidth_limit": None,
    "path_map": {},
}

LEGAL = {
    "thread_count": [1, 8, 1024],
    "compression_level": [0, 9, 22, "auto"],
    "buffer_size": [4096, 2**30],
    "error_strategy": list(ErrorStrategy),
    "retry_count": [0, 1, 1000000],
    "retry_delay": [0, 0.5, 86400],
    "log_level": list(LogLevel),
    "preserve_metadata": [True, False],
    "follow_symlinks": [True, False],
    "dirs_exist_ok": [True, False],
    "progress_callback": [None, print],
    "backend": [None, "auto", "native", "portable"],
    "reflink": ["auto", "always", "never"],
    "atomic": [True, False],
    "fsync": [True, False],
    "verify": [True, False],
    "bandwidth_limit": [None, 1024, 2**40],
    "path_map": [{}, {"/mnt/a": "/srv/a"}],
}

NO_BOOLEAN = [None, 0, 1, "", "yes"]
ILLEGAL = {
    "thread_count": [0, -1, 1025, True, 4.0, "4", None],
    "compression_level": [-1, 23, True, 1.0, "9", "AUTO", None],
    "buffer_size": [0, 4095, 2**30 + 1, -4096, True, 1e6, "1M", None],
    "error_strategy": ["stop", "", 0, None, LogLevel.DEBUG],
    "retry_count": [-1, 1000001, True, 1.0, "3", None],
    "retry_delay": [-0.1, 86401, float("nan"), float("inf"), True, "1", None],
    "log_level": ["LOUD", 31, 30, None, True],
    "preserve_metadata": NO_BOOLEAN,
    "follow_symlinks": NO_BOOLEAN,
    "dirs_exist_ok": NO_BOOLEAN,
    "progress_callback": [0, "print", True],
    "backend": ["", "fast", "Native", 0, True, ["native"]],
    "reflink": ["", "yes", None, True, ["auto"]],
    "atomic": NO_BOOLEAN,
    "fsync": NO_BOOLEAN,
    "verify": NO_BOOLEAN,
    "bandwidth_limit": [0, 1023, -1, 2**40 + 1, True, 1e6, "1M"],
    "path_map": [None, 1, "a", [("a", "b")], {"": "b"}, {"a": ""}, {"a": 1}, {b"a": b"b"}, {"a\0": "b"}],
}


def cases(values):
    return [pytest.param(field, value, id="%s=%r" % (field, value)) for field in values for value in values[field]]


@pytest.fixture(autouse=True)
def restored():
    """Undoes what a test does to the global Config and to the logger."""
    before, level = py_eacopy.config, logging.getLogger("py_eacopy").level
    py_eacopy.config = Config()
    yield
    py_eacopy.config = before
    logging.getLogger("py_eacopy").setLevel(level)


# The fields -----------------------------------------------------------------------------------------------------------


def test_fields_and_their_defaults():
    config = Config()
    assert {field.name: getattr(config, field.name) for field in attr.fields(Config) if field.init} == DEFAULTS
    assert set(LEGAL) == set(ILLEGAL) == set(DEFAULTS)


@pytest.mark.parametrize("field, value", cases(LEGAL))
def test_legal_values_are_taken_everywhere(field, value):
    assigned = Config()
    setattr(assigned, field, value)
    built = getattr(Config(), "with_" + field)(value)
    for config in (Config(**{field: value}), Config().evolve(**{field: value}), built, assigned):
        assert getattr(config, field) == value


@pytest.mark.parametrize("field, value", cases(ILLEGAL))
def test_illegal_values_are_refused_everywhere_by_name(field, value):
    config = Config()
    for attempt in (
        lambda: Config(**{field: value}),
        lambda: config.evolve(**{field: value}),
        lambda: getattr(config, "with_" + field)(value),
        lambda: setattr(config, field, value),
        lambda: temporary_config(**{field: value}).__enter__(),
    ):
        with pytest.raises(ConfigurationError) as raised:
            attempt()
        assert isinstance(raised.value, ValueError)
        assert field in str(raised.value) and repr(value) in str(raised.value) and "must be" in str(raised.value)
    assert config == Config()


@pytest.mark.parametrize(
    "field, value, legal",
    [
        ("thread_count", 0, "from 1 to 1024"),
        ("compression_level", 23, 'from 0 (none) to 22, or "auto"'),
        ("buffer_size", 1, "from 4096 to 1073741824"),
        ("error_strategy", "x", "RAISE, RETRY, IGNORE"),
        ("retry_delay", -1, "a number of seconds from 0 to 86400"),
        ("log_level", "x", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("atomic", 1, "True or False"),
        ("bandwidth_limit", 0, "None (no limit), or an int of bytes a second from 1024"),
        ("backend", "x", "'auto', 'native', 'portable', None"),
        ("reflink", "x", "'auto', 'always', 'never'"),
    ],
)
def test_refusal_says_what_is_legal(field, value, legal):
    with pytest.raises(ConfigurationError) as raised:
        Config(**{field: value})
    assert legal in str(raised.value)


@pytest.mark.parametrize("name", ["retry", "RETRY", "Retry"])
def test_strategy_may_be_given_by_name(name):
    config = Config(error_strategy=name)
    assert config.error_strategy is ErrorStrategy.RETRY
    config.error_strategy = "ignore"
    assert config.error_strategy is ErrorStrategy.IGNORE


def test_log_level_may_be_given_by_name():
    assert Config(log_level="debug").log_level is LogLevel.DEBUG


def test_path_map_takes_path_objects_and_is_a_copy():
    given = {pathlib.PurePosixPath("/mnt/a"): "/srv/a"}
    config = Config(path_map=given)
    given.clear()
    assert config.path_map == {"/mnt/a": "/srv/a"}


def test_there_are_no_other_fields():
    with pytest.raises(TypeError, match="threads"):
        Config(threads=4)
    with pytest.raises(TypeError, match="threads"):
        Config().evolve(threads=4)
    with pytest.raises(TypeError, match="threads"), temporary_config(threads=4):
        pass
    with pytest.raises(AttributeError, match="thread_cuont"):
        Config().thread_cuont = 4


def test_evolve_and_builders_leave_the_first_one_alone():
    config = Config(thread_count=2)
    assert config.evolve(thread_count=3, atomic=True) == Config(thread_count=3, atomic=True)
    assert config.with_verify(True).with_fsync(True) == Config(thread_count=2, verify=True, fsync=True)
    assert config == Config(thread_count=2)


def test_configs_can_be_compared_copied_and_pickled():
    config = Config(thread_count=2, error_strategy="retry", path_map={"a": "b"})
    options_for(config, "stat", True)
    for other in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
        other.thread_count = 3
        assert options_for(other, "stat", True).thread_count == 3
        assert options_for(config, "stat", True).thread_count == 2
    assert config != Config()


# What jobs are told ---------------------------------------------------------------------------------------------------


def test_options_are_kept_until_a_field_is_assigned():
    config = Config()
    options = options_for(config, "none", True)
    assert options_for(config, "none", True) is options
    config.buffer_size = 65536
    assert options_for(config, "none", True).buffer_size == 65536
    assert options.buffer_size == 8 * 1024 * 1024


@pytest.mark.parametrize(
    "field", ["thread_count", "buffer_size", "reflink", "retry_count", "retry_delay", "bandwidth_limit"]
)
def test_options_follow_each_field(field):
    config = Config()
    options_for(config, "none", True)
    for value in LEGAL[field]:
        setattr(config, field, value)
        assert getattr(options_for(config, "none", True), field) == value


@pytest.mark.parametrize("field", ["atomic", "fsync", "verify"])
def test_options_follow_each_flag(field):
    config = Config()
    assert not getattr(options_for(config, "none", True), field)
    setattr(config, field, True)
    assert getattr(options_for(config, "none", True), field)


def test_options_hold_what_the_call_decides():
    options = options_for(Config(error_strategy="ignore"), "mode", False, True, True)
    assert (options.metadata, options.follow_symlinks) == ("mode", False)
    assert options.ignore_dangling_symlinks and options.dirs_exist_ok
    assert options.error_strategy == "ignore"


def test_assignment_while_another_thread_derives_options_is_never_lost():
    config = Config()
    stop = threading.Event()

    def derive():
        while not stop.is_set():
            options_for(config, "none", True)

    thread = threading.Thread(target=derive)
    thread.start()
    try:
        for count in list(range(1, 1025)) * 2:
            config.thread_count = count
            assert options_for(config, "none", True).thread_count == count
    finally:
        stop.set()
        thread.join()


# The global one -------------------------------------------------------------------------------------------------------


def test_fields_of_the_global_config_can_be_assigned():
    py_eacopy.config.thread_count = 7
    assert py_eacopy.config.thread_count == 7
    with pytest.raises(ConfigurationError):
        py_eacopy.config.thread_count = 0
    assert py_eacopy.config.thread_count == 7


def test_global_config_can_be_replaced():
    new = Config(thread_count=9)
    py_eacopy.config = new
    assert py_eacopy.config is new


@pytest.mark.parametrize("value", [None, {}, 4, Config])
def test_global_config_must_be_a_config(value):
    before = py_eacopy.config
    with pytest.raises(TypeError, match=r"must be a py_eacopy\.Config"):
        py_eacopy.config = value
    assert py_eacopy.config is before


def test_replaced_config_is_seen_by_other_threads():
    py_eacopy.config = Config(thread_count=9)
    assert in_thread(lambda: py_eacopy.config.thread_count) == 9


# Temporary ones -------------------------------------------------------------------------------------------------------


def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def test_temporary_config_ends_with_its_block():
    py_eacopy.config.atomic = True
    with temporary_config(thread_count=2) as config:
        assert py_eacopy.config is config
        assert config == Config(thread_count=2, atomic=True)
        with temporary_config(verify=True) as inner:
            assert inner == Config(thread_count=2, atomic=True, verify=True)
        assert py_eacopy.config is config
    assert py_eacopy.config == Config(atomic=True)


def test_temporary_config_ends_when_the_block_raises():
    with pytest.raises(KeyError), temporary_config(thread_count=2):
        raise KeyError
    assert py_eacopy.config.thread_count == 4


def test_temporary_config_may_be_a_given_one():
    given = Config(thread_count=2)
    with temporary_config(given) as config:
        assert config is given
    with temporary_config(given, atomic=True) as config:
        assert config == Config(thread_count=2, atomic=True)
    assert given == Config(thread_count=2)
    with pytest.raises(TypeError, match=r"must be a py_eacopy\.Config"), temporary_config({"thread_count": 2}):
        pass


def test_fields_of_a_temporary_config_can_be_assigned():
    with temporary_config():
        py_eacopy.config.thread_count = 2
        assert py_eacopy.config.thread_count == 2
    assert py_eacopy.config.thread_count == 4


def test_config_that_is_replaced_inside_a_block_takes_effect_and_ends_with_it():
    with temporary_config(thread_count=2):
        py_eacopy.config = Config(thread_count=3)
        assert py_eacopy.config.thread_count == 3
    assert py_eacopy.config.thread_count == 4


def test_temporary_config_is_not_seen_by_other_threads():
    with temporary_config(thread_count=2):
        assert in_thread(lambda: py_eacopy.config.thread_count) == 4


def test_temporary_configs_of_threads_do_not_meet():
    barrier = threading.Barrier(8)
    seen = {}

    def work(count):
        with temporary_config(thread_count=count):
            barrier.wait()
            seen[count] = py_eacopy.config.thread_count
            barrier.wait()

    threads = [threading.Thread(target=work, args=(count,)) for count in range(10, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {count: count for count in range(10, 18)}
    assert py_eacopy.config.thread_count == 4


def test_temporary_configs_of_tasks_do_not_meet():
    async def work(count):
        with temporary_config(thread_count=count):
            for _ in range(5):
                await asyncio.sleep(0)
                assert py_eacopy.config.thread_count == count
            return await asyncio.gather(inherited())

    async def inherited():
        return py_eacopy.config.thread_count

    async def main():
        return await asyncio.gather(*(work(count) for count in range(10, 18)))

    assert asyncio.run(main()) == [[count] for count in range(10, 18)]


# The log level --------------------------------------------------------------------------------------------------------


def level():
    return logging.getLogger("py_eacopy").level


def test_log_level_of_the_active_config_is_the_loggers():
    assert level() == logging.WARNING
    py_eacopy.config.log_level = LogLevel.DEBUG
    assert level() == logging.DEBUG
    py_eacopy.config = Config(log_level="error")
    assert level() == logging.ERROR
    with temporary_config(log_level=LogLevel.INFO):
        assert level() == logging.INFO
        py_eacopy.config.log_level = "critical"
        assert level() == logging.CRITICAL
    assert level() == logging.ERROR


def test_log_level_of_another_config_is_not():
    other = Config()
    other.log_level = LogLevel.DEBUG
    other.evolve(log_level="info")
    assert level() == logging.WARNING


def test_temporary_config_leaves_the_applications_level_alone():
    logging.getLogger("py_eacopy").setLevel(logging.ERROR)
    with temporary_config(thread_count=2):
        assert level() == logging.ERROR
    assert level() == logging.ERROR


def test_importing_leaves_the_applications_level_alone():
    code = "import logging; l = logging.getLogger('py_eacopy'); l.setLevel(%s); import py_eacopy; print(l.level)"
    for given, expected in (("'ERROR'", b"40"), (0, b"30")):
        command = [sys.executable, "-c", code % given]
        assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split() == [expected]
