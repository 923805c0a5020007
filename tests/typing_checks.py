"""What a type checker must make of the public functions: test_typing.py runs mypy on this file. It is never run.

A line that ends in ``type: ignore`` is one that must be refused, for the reason in brackets: mypy objects to such a
comment where there is nothing to ignore.
"""

import pathlib
from typing import Dict, List, Optional, Union

from typing_extensions import assert_type

import py_eacopy
from py_eacopy import BackendInfo, Config, Control, CopyReport, EACopy, ProgressCallback, ProgressEvent, Snapshot

path = pathlib.Path()


class Mine(EACopy):
    """Of a subclass, with_config and the context managers make the subclass."""


def files() -> None:
    assert_type(py_eacopy.copyfile("a", "b"), str)
    assert_type(py_eacopy.copyfile(path, path), pathlib.Path)
    assert_type(py_eacopy.copyfile(b"a", b"b"), bytes)
    assert_type(py_eacopy.copy("a", "b"), str)
    assert_type(py_eacopy.copy("a", path), Union[pathlib.Path, str])
    assert_type(py_eacopy.copy(b"a", b"b"), bytes)
    assert_type(py_eacopy.copy2(path, "b", follow_symlinks=False), str)
    assert_type(py_eacopy.copy2(b"a", b"b"), bytes)
    py_eacopy.copy("a", b"b")  # type: ignore[call-overload]
    py_eacopy.copyfile(1, "b")  # type: ignore[arg-type]
    py_eacopy.copyfile("a")  # type: ignore[call-arg]
    py_eacopy.copy("a", "b", control="c")  # type: ignore[call-overload]
    py_eacopy.copy2("a", 1)  # type: ignore[call-overload]
    py_eacopy.copystat("a", None)  # type: ignore[arg-type]


def trees() -> None:
    assert_type(py_eacopy.copytree("a", path), pathlib.Path)
    assert_type(py_eacopy.copytree("a", "b", False, py_eacopy.ignore_patterns("*"), py_eacopy.copy), str)
    py_eacopy.copytree("a", "b", ignore=lambda directory, names: [], copy_function=py_eacopy.copyfile)
    assert_type(py_eacopy.move("a", path), Union[pathlib.Path, str, bytes, None])
    py_eacopy.copytree("a", "b", False, True)  # type: ignore[arg-type]
    py_eacopy.copytree("a", "b", copy_function="copy2")  # type: ignore[arg-type]
    py_eacopy.copytree("a", "b", dirs_exist_ok=None)  # type: ignore[arg-type]


def batches() -> None:
    pairs = [("a", "b")]
    mixed = [(path, "b"), (path, "c")]
    mapping: Dict[str, pathlib.Path] = {}
    assert_type(py_eacopy.batch_copy(pairs), CopyReport)
    assert_type(py_eacopy.batch_copy2(mixed, config=Config(), control=Control()), CopyReport)
    assert_type(py_eacopy.batch_copytree(mapping.items(), symlinks=True), CopyReport)
    assert_type(py_eacopy.batch_copy((name, name + ".bak") for name in "abc"), CopyReport)
    py_eacopy.batch_copy([("a", 1)])  # type: ignore[list-item]
    py_eacopy.batch_copy([("a", "b", "c")])  # type: ignore[list-item]
    py_eacopy.batch_copy2("ab")  # type: ignore[arg-type]


async def awaited() -> None:
    assert_type(await py_eacopy.async_copyfile("a", path), pathlib.Path)
    assert_type(await py_eacopy.async_copy("a", "b"), str)
    assert_type(await py_eacopy.async_copy("a", path), Union[pathlib.Path, str])
    assert_type(await py_eacopy.async_copy2(b"a", b"b", control=Control()), bytes)
    assert_type(await py_eacopy.async_copytree("a", path, dirs_exist_ok=True), pathlib.Path)
    assert_type(await py_eacopy.async_batch_copy([("a", "b")]), CopyReport)
    assert_type(await py_eacopy.async_batch_copytree([(path, path)]), CopyReport)
    assert_type(await py_eacopy.async_batch_copy2({"a": path}.items(), config=Config()), CopyReport)
    await py_eacopy.async_copy("a", b"b")  # type: ignore[call-overload]
    await py_eacopy.async_copytree("a", "b", config={"atomic": True})  # type: ignore[arg-type]
    await py_eacopy.copy("a", "b")  # type: ignore[misc]
    py_eacopy.async_copyfile("a", "b")  # type: ignore[unused-coroutine]


async def of_the_class() -> None:
    eac = EACopy(8, "auto", dirs_exist_ok=True, error_strategy="ignore", log_level=py_eacopy.LogLevel.DEBUG)
    assert_type(eac.copy("a", "b"), str)
    assert_type(eac.copy2("a", path), Union[pathlib.Path, str])
    assert_type(eac.copy2(b"a", b"b"), bytes)
    assert_type(eac.copyfile("a", path), pathlib.Path)
    assert_type(eac.copytree("a", path), pathlib.Path)
    assert_type(eac.batch_copy2([("a", "b")]), CopyReport)
    assert_type(await eac.async_copy(path, "b"), str)
    assert_type(await eac.async_copy2(b"a", b"b"), bytes)
    assert_type(await eac.async_copytree("a", "b"), str)
    assert_type(await eac.async_copyfile("a", path), pathlib.Path)
    assert_type(await eac.async_batch_copy([("a", path)]), CopyReport)
    assert_type(await eac.async_batch_copy2([("a", path)]), CopyReport)
    assert_type(await eac.async_batch_copytree([("a", path)], symlinks=True), CopyReport)
    assert_type(eac.get_config(), Config)
    assert_type(Mine.with_config(eac.get_config()), Mine)
    with Mine() as mine:
        assert_type(mine, Mine)
    async with Mine() as mine:
        assert_type(mine, Mine)
    eac.copy("a", b"b")  # type: ignore[call-overload]
    eac.copy("a", "b", config=Config())  # type: ignore[call-overload]
    eac.set_config({"atomic": True})  # type: ignore[arg-type]
    EACopy(threads=4)  # type: ignore[call-arg]
    EACopy(thread_count="4")  # type: ignore[arg-type]


async def watched() -> None:
    watch = EACopy().watch_copytree("a", path)
    assert_type(watch.snapshot(), Snapshot)
    async for event in watch:
        assert_type(event, ProgressEvent)
        assert_type(event.copied_bytes, int)
        assert_type(event.finished, bool)
    async with EACopy().watch_copytree("a", "b") as events:
        assert_type([event async for event in events], List[ProgressEvent])
    list(watch)  # type: ignore[call-overload]


def callbacks() -> None:
    def plain(copied: int, total: int, filename: str) -> None: ...

    async def awaited(copied: int, total: int, filename: str) -> None: ...

    def wrong(copied: int) -> None: ...

    callback: ProgressCallback = plain
    EACopy(progress_callback=awaited).set_progress_callback(None)
    Control(callback)
    Config(progress_callback=lambda *event: print(event))
    assert_type(Control().snapshot(), Snapshot)
    assert_type(Control().cancelled, bool)
    Control(wrong)  # type: ignore[arg-type]
    Config(progress_callback=wrong)  # type: ignore[arg-type]
    EACopy(progress_callback="print")  # type: ignore[arg-type]


def settings() -> None:
    assert_type(py_eacopy.config, Config)
    py_eacopy.config.thread_count = 8
    py_eacopy.config = Config(atomic=True, error_strategy="retry")
    with py_eacopy.temporary_config(verify=True) as temporary:
        assert_type(temporary, Config)
    assert_type(py_eacopy.backend_info(), BackendInfo)
    assert_type(py_eacopy.backend_info().reason, Optional[str])
    py_eacopy.config = {"atomic": True}  # type: ignore[assignment]
    Config(atomics=True)  # type: ignore[call-arg]


def errors() -> None:
    try:
        report = py_eacopy.batch_copytree([("a", "b")])
        assert_type(report.ok, bool)
        assert_type(report.bytes_copied, int)
        for failure in report.errors:
            assert_type(failure, py_eacopy.EACopyError)
        report.ok = True  # type: ignore[misc]
        print(report.files)  # type: ignore[attr-defined]
    except py_eacopy.TreeError as error:
        for inner in error.errors:
            assert_type(inner, py_eacopy.EACopyError)
            assert_type(inner.kind, py_eacopy.ErrorKind)
            assert_type(inner.filename, Union[str, bytes, None])
