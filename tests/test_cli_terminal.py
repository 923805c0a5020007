"""Every command in a terminal: what people see, and Ctrl-C."""

import os
import re
import sys
import time

import pytest

import py_eacopy

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed, so terminals were NOT tested")
pytest.importorskip("click", reason="click is not installed, so the command was NOT tested")
pytest.importorskip("rich", reason="rich is not installed, so the command was NOT tested")
if os.name != "posix":
    pytest.skip("there are no pseudo-terminals, so terminals were NOT tested", allow_module_level=True)

from cli_runs import contents, need_sync  # noqa: E402

MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from py_eacopy.cli import main; sys.exit(main())"
)
MIB = 1 << 20


def spawn(*arguments, **more):
    env = dict(
        os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), TERM="xterm", EACOPY_TOKEN="secret", **more
    )
    return pexpect.spawn(
        sys.executable, ["-c", MAIN, *map(str, arguments)], env=env, encoding="utf-8", dimensions=(30, 80), timeout=30,
    )  # fmt: skip


def seen(child):
    """All that was shown until the end, without the terminal's commands, and the exit status."""
    child.expect(pexpect.EOF)
    child.close()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before), child.exitstatus


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "from" / "below").mkdir(parents=True)
    (tmp_path / "from" / "one").write_bytes(b"1" * 1000)
    (tmp_path / "from" / "below" / "two").write_bytes(b"2" * 2000)
    return tmp_path / "from"


@pytest.mark.parametrize(
    "command, done",
    [
        ("cp from/one to", "Files +1 +1 "),
        ("cptree from to", "Files +2 +2 "),
        ("cptree --dry-run from to", "copy +from/one -> to/one"),
        ("sync from to", "Files +2 +2 "),
        ("sync -v from to", "copy +from/below/two -> to/below/two"),
        ("robo from to /E", "Files +2 +2 "),
        ("robo from to /E /LOGMIN", "Files +2 +2 "),
        ("delta from/one to --reference from/below/two", "Files +1 +1 "),
        ("info", "backend +"),
    ],
)
def test_command_succeeds(backend, tree, tmp_path, monkeypatch, command, done):
    if command.startswith(("sync", "robo")):
        need_sync()
    monkeypatch.chdir(tmp_path)
    text, status = seen(spawn(*command.split()))
    assert status == 0, text
    assert re.search(done, text), text
    assert "Traceback" not in text


def test_patches(backend, tree, tmp_path, monkeypatch):
    if "zstd" not in py_eacopy.backend_info().capabilities:
        pytest.skip("there is no zstd module, so patches were NOT tested")
    monkeypatch.chdir(tmp_path)
    assert seen(spawn("patch", "create", "from/one", "from/below/two", "patch"))[1] == 0
    assert seen(spawn("patch", "apply", "from/below/two", "patch", "made"))[1] == 0
    assert (tmp_path / "made").read_bytes() == (tree / "one").read_bytes()


def test_server_and_its_clients(backend, tree, tmp_path):
    (tmp_path / "share").mkdir()
    server = spawn("serve", "--port", "0", "--share", "s=%s" % (tmp_path / "share"))
    server.expect(r"listening at .*port (\d+)")
    place = "eacopy://127.0.0.1:%s/s/there" % server.match.group(1)
    pushed, status = seen(spawn("push", tree, place))
    assert status == 0 and re.search("Files +2 +2 ", pushed), pushed
    assert seen(spawn("pull", place, tmp_path / "back"))[1] == 0
    assert contents(tmp_path / "back") == contents(tree)
    told, status = seen(spawn("stats", "127.0.0.1:%s" % server.match.group(1)))
    assert status == 0 and re.search(r"\d", told)
    server.sendintr()
    text, status = seen(server)
    assert status == 0 and "stopped" in text and "Traceback" not in text


def test_completion():
    text, status = seen(spawn("completion", "bash"))
    assert status == 0 and "_EACOPY_COMPLETE" in text


@pytest.mark.parametrize("command", ["cp", "cptree", "sync", "robo"])
def test_control_c_stops_it_and_tells_what_was_done(backend, tmp_path, command):
    """The rate is limited, so that it takes long on every machine."""
    if command in ("sync", "robo"):
        need_sync()
    source = tmp_path / "from"
    source.mkdir()
    (source / "a-name-that-says-little").write_bytes(os.urandom(4 * MIB))
    target = tmp_path / "to"
    where = (source / "a-name-that-says-little", target) if command == "cp" else (source, target)
    more = ("/LOGMIN", "--bwlimit", "256K") if command == "robo" else ("--bwlimit", "256K")
    child = spawn(command, *where, *more)
    child.expect("of 4.0 MiB, .*left")
    child.expect(r"a-name-that-says-little.* of 4\.0 MiB")
    sent = time.monotonic()
    child.sendintr()
    child.expect("Interrupted")
    print("Ctrl-C was answered after %.0f ms" % ((time.monotonic() - sent) * 1000))
    text, status = seen(child)
    assert status == 130 and "Traceback" not in text
    assert not target.is_file() and not list(tmp_path.rglob("*.tmp"))
    assert not [path for path in target.rglob("*") if path.is_file()]


def test_bars_are_ended_before_the_summary(backend, tmp_path):
    """Nothing of them is left, and the cursor is there again."""
    (tmp_path / "from").write_bytes(os.urandom(MIB))
    child = spawn("cp", "--bwlimit", "2M", tmp_path / "from", tmp_path / "to")
    child.expect("left")
    child.expect(r"Total +Copied")
    assert child.before.rfind("\x1b[?25h") > child.before.rfind("\x1b[?25l")
    assert seen(child)[1] == 0
