"""Bad input: a clear error of a documented type that names what is wrong, from every function, with nothing written."""

import functools
import os
import pathlib
import shutil
import threading

import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, EACopy, InvalidArgumentError


@pytest.fixture
def place(tmp_path):
    """A file, a directory with a file in it, and nothing else."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "inner").write_bytes(b"inner")
    return str(tmp_path)


def files(functions):
    """The functions that copy one file; those of a batch are given one pair."""
    return {
        "copyfile": functions.copyfile,
        "copy": functions.copy,
        "copy2": functions.copy2,
        "batch_copy": lambda src, dst, **keywords: functions.batch_copy([(src, dst)], **keywords),
        "batch_copy2": lambda src, dst, **keywords: functions.batch_copy2([(src, dst)], **keywords),
    }


def tree_functions(functions):
    return {
        "copytree": functions.copytree,
        "batch_copytree": lambda src, dst, **keywords: functions.batch_copytree([(src, dst)], **keywords),
    }


def all_functions():
    found = {}
    for prefix, functions in (("", py_eacopy), ("EACopy.", EACopy())):
        for name, function in {**files(functions), **tree_functions(functions)}.items():
            found[prefix + name] = function
    return found


NAMES = sorted(all_functions())


def refuse(place, error, message, function, *arguments, **keywords):
    """The call fails with this error, and changes nothing."""
    before = trees.snapshot(place)
    with pytest.raises(error, match=message) as raised:
        function(*arguments, **keywords)
    assert trees.snapshot(place) == before, "something was written"
    return raised.value


# Paths ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [None, 3, 3.5, ["file"], object(), True], ids=repr)
def test_what_is_no_path_is_a_type_error_that_names_the_argument(backend, place, name, bad):
    function = all_functions()[name]
    good = place + ("/directory" if "tree" in name else "/file")
    refuse(
        place, TypeError, "(src|source of pair 0) must be str, bytes or os.PathLike, not", function, bad, place + "/x"
    )
    refuse(place, TypeError, "(dst|destination of pair 0) must be str, bytes or os.PathLike, not", function, good, bad)
    if "tree" not in name and not name.endswith("copyfile"):
        refuse(place, TypeError, "(src|source of pair 0) must be", function, bad, place + "/directory")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_nul_is_a_value_error_that_names_the_argument(backend, place, name, kind):
    function = all_functions()[name]
    good = kind(place + ("/directory" if "tree" in name else "/file"))
    for arguments, named in (
        ((kind(place + "/a\0b"), kind(place + "/x")), "src"),
        ((good, kind(place + "/a\0b")), "dst"),
    ):
        error = refuse(place, ValueError, named + " contains a NUL character", function, *arguments)
        assert isinstance(error, InvalidArgumentError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_path_is_a_file_that_is_not_there(backend, place, name, empty):
    function = all_functions()[name]
    good = place + ("/directory" if "tree" in name else "/file")
    other = place + "/x"
    if isinstance(empty, bytes):
        good, other = os.fsencode(good), os.fsencode(other)
    refuse(place, FileNotFoundError, None, function, empty, other)
    refuse(place, FileNotFoundError, None, function, good, empty)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_at_a_server_is_no_path(backend, place, name):
    function = all_functions()[name]
    good = place + ("/directory" if "tree" in name else "/file")
    for pair in ((good, "eacopy://host/share/x"), ("eacopy://host/share/x", place + "/x")):
        refuse(place, py_eacopy.InvalidArgumentError, "copy_with_server", function, *pair)
        refuse(place, py_eacopy.InvalidArgumentError, "copy_with_server", function, *map(os.fsencode, pair))


@pytest.mark.skipif(os.name != "posix", reason="any sequence of code units is a name on Windows")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_encoded_is_a_unicode_error(backend, place, name):
    function = all_functions()[name]
    good = place + ("/directory" if "tree" in name else "/file")
    refuse(place, UnicodeError, "cannot be encoded", function, place + "/\ud800", place + "/x")
    error = refuse(place, UnicodeError, "cannot be encoded", function, good, place + "/\ud800")
    assert isinstance(error, py_eacopy.EncodingError)


@pytest.mark.parametrize("name", sorted(files(py_eacopy)))
def test_a_directory_where_a_file_is_needed(backend, place, name):
    function = files(py_eacopy)[name]
    error = refuse(place, IsADirectoryError, "directory", function, place + "/directory", place + "/x")
    assert error.kind is py_eacopy.ErrorKind.INVALID_ARGUMENT and error.destination in (None, "absent")


def test_a_directory_is_no_place_for_copyfile(backend, place):
    error = refuse(place, IsADirectoryError, None, py_eacopy.copyfile, place + "/file", place + "/directory")
    assert error.kind is py_eacopy.ErrorKind.DESTINATION_EXISTS


@pytest.mark.parametrize("name", sorted(tree_functions(py_eacopy)))
def test_a_file_where_a_directory_is_needed(backend, place, name):
    function = tree_functions(py_eacopy)[name]
    refuse(place, NotADirectoryError, "file", function, place + "/file", place + "/x")
    refuse(place, FileExistsError, "file", function, place + "/directory", place + "/file")
    refuse(place, OSError, "file", function, place + "/directory", place + "/file/below")


@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_is_not_there(backend, place, name):
    error = refuse(place, FileNotFoundError, "missing", all_functions()[name], place + "/missing", place + "/x")
    assert (error.filename, error.errno) == (place + "/missing", 2)


@pytest.mark.parametrize("name", sorted(files(py_eacopy)))
def test_a_directory_that_is_not_there_is_not_made_for_a_file(backend, place, name):
    function = files(py_eacopy)[name]
    error = refuse(place, FileNotFoundError, "missing", function, place + "/file", place + "/missing/x")
    assert error.kind is py_eacopy.ErrorKind.DIRECTORY_NOT_FOUND


@pytest.mark.parametrize("name", sorted(files(py_eacopy)))
def test_a_file_onto_itself(backend, place, name):
    function = files(py_eacopy)[name]
    os.link(place + "/file", place + "/link")
    os.symlink("file", place + "/symlink")
    for same in ("file", "link", "symlink", "directory/../file"):
        refuse(place, shutil.SameFileError, "are the same file", function, place + "/file", place + "/" + same)


def test_str_and_bytes_mixed(backend, place):
    for name in ("copy", "copy2"):
        refuse(place, TypeError, None, getattr(py_eacopy, name), place + "/file", os.fsencode(place + "/directory"))
    message = "src and dst must be of one kind"
    refuse(place, TypeError, message, py_eacopy.copytree, place + "/directory", os.fsencode(place + "/x"))


def test_a_tree_into_its_own_subfolder_works_as_in_shutil(backend, place):
    py_eacopy.copytree(place + "/directory", place + "/directory/copy")
    assert sorted(os.listdir(place + "/directory")) == ["copy", "inner"]
    assert os.listdir(place + "/directory/copy") == ["inner"]


# Other arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if "." not in name])
@pytest.mark.parametrize("bad", [{}, "config", Config, 7])
def test_what_is_no_config(backend, place, name, bad):
    good = place + ("/directory" if "tree" in name else "/file")
    message = "config must be a py_eacopy.Config, not "
    refuse(place, TypeError, message, all_functions()[name], good, place + "/x", config=bad)


@pytest.mark.parametrize("name", [name for name in NAMES if "tree" in name])
def test_keywords_that_are_not_there(backend, place, name):
    refuse(place, TypeError, None, all_functions()[name], place + "/directory", place + "/x", symlink=True)


@pytest.mark.parametrize(
    "keyword, bad",
    [
        ("thread_count", -1),
        ("thread_count", 0),
        ("thread_count", "4"),
        ("thread_count", True),
        ("compression_level", -1),
        ("compression_level", 23),
        ("compression_level", "fast"),
        ("buffer_size", -1),
        ("buffer_size", 0),
        ("buffer_size", 1 << 40),
        ("buffer_size", 8.5),
        ("retry_count", -1),
        ("retry_delay", -0.1),
        ("retry_delay", float("nan")),
        ("retry_delay", float("inf")),
        ("error_strategy", "give up"),
        ("log_level", "LOUD"),
        ("backend", "fast"),
        ("reflink", "sometimes"),
        ("atomic", 1),
        ("progress_callback", "print"),
        ("path_map", {"": "x"}),
    ],
)
def test_settings_out_of_range(keyword, bad):
    eac, config = EACopy(), Config()
    for call in (
        functools.partial(Config, **{keyword: bad}),
        functools.partial(EACopy, **{keyword: bad}),
        functools.partial(config.evolve, **{keyword: bad}),
        functools.partial(setattr, config, keyword, bad),
        functools.partial(setattr, py_eacopy.config, keyword, bad),
        py_eacopy.temporary_config(**{keyword: bad}).__enter__,
    ):
        with pytest.raises(py_eacopy.ConfigurationError, match="%s=.* is not legal: it must be" % keyword):
            call()
    assert (eac.get_config(), config) == (Config(), Config())


def test_the_environment_names_no_backend(place, monkeypatch):
    monkeypatch.setenv("PY_EACOPY_BACKEND", "fast")
    message = "PY_EACOPY_BACKEND='fast', which is not known; legal values are: auto, native, portable"
    for function, source in ((py_eacopy.copy, "/file"), (py_eacopy.copytree, "/directory")):
        refuse(place, py_eacopy.ConfigurationError, message, function, place + source, place + "/x")


# Calls that cannot be made there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["copyfile", "copytree", "copytree with a function", "batch_copy"])
@pytest.mark.parametrize("inner", NAMES)
def test_a_progress_callback_cannot_copy(backend, place, outer, inner):
    function = all_functions()[inner]
    errors = []

    def callback(copied, total, filename):
        try:
            function(place + ("/directory" if "tree" in inner else "/file"), place + "/inner")
        except py_eacopy.CallbackError as error:
            errors.append(error)

    config = Config(progress_callback=callback)
    if outer == "copyfile":
        py_eacopy.copyfile(place + "/file", place + "/outer", config=config)
    elif outer == "batch_copy":
        py_eacopy.batch_copy([(place + "/file", place + "/outer")], config=config)
    else:
        keywords = {"copy_function": lambda *paths: shutil.copy2(*paths)} if "function" in outer else {}
        py_eacopy.copytree(place + "/directory", place + "/outer", config=config, **keywords)
    assert len(errors) == 2 and not os.path.exists(place + "/inner")
    assert "a progress callback cannot copy" in str(errors[0]) and "in another thread" in str(errors[0])
    assert isinstance(errors[0], RuntimeError) and errors[0].kind is py_eacopy.ErrorKind.PYTHON
    function(place + ("/directory" if "tree" in inner else "/file"), place + "/inner")  # afterwards it may


def test_another_thread_may_copy_while_a_callback_runs(backend, place):
    def callback(*event):
        thread = threading.Thread(target=py_eacopy.copyfile, args=(place + "/file", place + "/other"))
        thread.start()
        thread.join()

    py_eacopy.copytree(place + "/directory", place + "/copy", config=Config(progress_callback=callback))
    assert trees.read(place + "/other") == b"content"


def test_ignore_and_a_copy_function_may_copy(backend, place):
    def ignore(directory, names):
        py_eacopy.copy(place + "/file", place + "/by ignore")
        return []

    def copy_function(source, destination):
        py_eacopy.copytree(place + "/directory", place + "/by function")
        return py_eacopy.copy2(source, destination)

    py_eacopy.copytree(place + "/directory", place + "/copy", ignore=ignore, copy_function=copy_function)
    assert {"by ignore", "by function", "copy"} <= set(os.listdir(place))


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.startswith("EACopy.")))
def test_use_after_close(backend, place, name):
    eac = EACopy()
    functions = {**files(eac), **tree_functions(eac)}
    eac.close()
    good = place + ("/directory" if "tree" in name else "/file")
    message = "this EACopy is closed; make a new one"
    refuse(place, InvalidArgumentError, message, functions[name[len("EACopy.") :]], good, place + "/x")


# Awaited --------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["copyfile", "copy", "copy2", "copytree", "batch_copy", "batch_copytree"])
async def test_the_awaited_functions_refuse_the_same(backend, place, name):
    async def awaited(src, dst):
        function = getattr(py_eacopy, "async_" + name)
        await (function([(src, dst)]) if name.startswith("batch") else function(src, dst))

    def blocking(src, dst):
        function = getattr(py_eacopy, name)
        function([(src, dst)]) if name.startswith("batch") else function(src, dst)

    before = trees.snapshot(place)
    for src, dst in ((7, place + "/x"), ("a\0", place + "/x"), ("", place + "/x"), (place + "/missing", place + "/x")):
        with pytest.raises((TypeError, ValueError, OSError)) as expected:
            blocking(src, dst)
        with pytest.raises((TypeError, ValueError, OSError)) as raised:
            await awaited(src, dst)
        assert type(raised.value) is type(expected.value) and str(raised.value) == str(expected.value)
    assert trees.snapshot(place) == before


@pytest.mark.anyio
async def test_an_awaited_callback_may_copy_in_every_way(backend, place):
    """It runs in the loop, so it holds up nobody."""
    done = []

    async def callback(copied, total, filename):
        await py_eacopy.async_copyfile(place + "/file", place + "/awaited")
        py_eacopy.copyfile(place + "/file", place + "/blocking")
        done.append(filename)

    await py_eacopy.async_copytree(place + "/directory", place + "/copy", config=Config(progress_callback=callback))
    assert len(done) == 2 and trees.read(place + "/awaited") == trees.read(place + "/blocking") == b"content"
