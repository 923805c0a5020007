"""The command eacopy: in this process with click's runner, as a process of its own, and on a terminal."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import py_eacopy

pytest.importorskip("click.testing", reason="click is not installed, so the command was NOT tested")
pytest.importorskip("rich", reason="rich is not installed, so the command was NOT tested")

START = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
MAIN = START + "from py_eacopy.cli import main; sys.exit(main())"
DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")

posix = pytest.mark.skipif(os.name != "posix", reason="signals are sent")


def environment(**more):
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), COLUMNS="100", **more)


def command(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)], env=environment(**more), capture_output=True,
        encoding="utf-8", timeout=60,
    )  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "from" / "below").mkdir(parents=True)
    (tmp_path / "from" / "one").write_bytes(b"1" * 1000)
    (tmp_path / "from" / "below" / "two").write_bytes(b"2" * 2000)
    (tmp_path / "from" / "link").symlink_to("one")
    return tmp_path / "from"


def test_version_is_told():
    done = command("--version")
    assert done.returncode == 0 and py_eacopy.__version__ in done.stdout


def test_version_does_not_import_what_draws():
    done = command("--version", PYTHONPROFILEIMPORTTIME="1")
    assert "py_eacopy.cli.commands" in done.stderr
    assert not re.search(
        r"\| +(rich\.(console|live|table)|asyncio|anyio|py_eacopy\.backends\.(native|portable))", done.stderr
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "cp",
        "cptree",
        "sync",
        "robo",
        "delta",
        "patch",
        "patch create",
        "patch apply",
        "serve",
        "push",
        "pull",
        "stats",
        "info",
        "completion",
    ],
)
def test_every_help_shows_an_example(name):
    done = command(*name.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "Example:" in done.stdout
    assert "eacopy " + name in done.stdout.split("Example:")[1]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the click for it words and breaks its help otherwise")
def test_page_of_the_command_is_current():
    done = subprocess.run(
        [sys.executable, os.path.join(DOCS, "make_command.py"), "--check"], env=environment(), capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_extra_is_explained():
    for name in ("click", "rich"):
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.modules[%r] = None\n" % name + MAIN], env=environment(),
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 3
        assert "pip install 'py-eacopy[cli]'" in done.stderr and "Traceback" not in done.stderr


def test_files_are_copied_and_counted(backend, tree, tmp_path):
    target = tmp_path / "to"
    target.mkdir()
    done = command("cp", "--json", tree / "one", tree / "below" / "two", target)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["exit_status"] == 0
    assert (report["files_copied"], report["bytes_copied"], report["backend"]) == (2, 3000, backend)
    assert (target / "two").read_bytes() == b"2" * 2000


def test_one_failure_of_several_is_told(backend, tree, tmp_path):
    target = tmp_path / "to"
    target.mkdir()
    done = command("cp", tree / "missing", tree / "one", target)
    assert done.returncode == 1
    assert "missing" in done.stderr and "Traceback" not in done.stderr
    headings, _, files, _ = (line.split() for line in done.stdout.splitlines()[:4])
    assert headings == ["Total", "Copied", "Linked", "Skipped", "Mismatch", "FAILED", "Extras"]
    assert files == ["Files", "2", "1", "0", "0", "0", "1", "0"]
    assert (target / "one").exists()


@pytest.mark.parametrize("retries", [(), ("--retries", "1", "--retry-wait", "0.01")])
def test_nothing_done_is_told_apart(backend, tmp_path, retries):
    done = command("cptree", *retries, tmp_path / "missing", tmp_path / "to")
    assert done.returncode == 3
    assert "missing" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""  # a table of nothing


def test_several_files_need_a_directory(tree, tmp_path):
    done = command("cp", tree / "one", tree / "below" / "two", tmp_path / "new")
    assert done.returncode == 2 and "directory" in done.stderr


@pytest.mark.parametrize("option", [("--threads", "0"), ("--retry-wait", "-1", "--retries", "1"), ("--reflink", "x")])
def test_settings_that_are_not_legal_are_named(tree, tmp_path, option):
    done = command("cp", *option, tree / "one", tmp_path / "new")
    assert done.returncode == 2 and "not " in done.stderr and not (tmp_path / "new").exists()


def test_tree_keeps_links_when_told(backend, tree, tmp_path):
    assert command("cptree", "--symlinks", tree, tmp_path / "links").returncode == 0
    assert os.readlink(tmp_path / "links" / "link") == "one"
    assert command("cptree", tree, tmp_path / "files").returncode == 0
    assert not (tmp_path / "files" / "link").is_symlink()
    done = command("cptree", tree, tmp_path / "files")
    assert done.returncode == 3 and "--dirs-exist-ok" in done.stderr
    assert command("cptree", "--dirs-exist-ok", tree, tmp_path / "files").returncode == 0


def test_quiet_says_nothing(tree, tmp_path):
    done = command("cptree", "--quiet", tree, tmp_path / "to")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_log_is_written(tree, tmp_path):
    assert command("cptree", "--log", tmp_path / "log", tree, tmp_path / "to").returncode == 0
    assert "copied 3 files" in (tmp_path / "log").read_text()


def test_log_that_cannot_be_written_is_told_before_copying(tree, tmp_path):
    done = command("cptree", "--log", tmp_path / "no" / "log", tree, tmp_path / "to")
    assert done.returncode == 2 and "cannot write the log" in done.stderr
    assert not (tmp_path / "to").exists()


def test_names_do_not_reach_the_terminal_as_commands(tmp_path):
    done = command("cp", tmp_path / "bad\x1b[2Jname", tmp_path / "to")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr and "\\x1b[2J" in done.stderr


def test_delta_and_patch_give_the_new_version(backend, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(os.urandom(300_000))
    new.write_bytes(old.read_bytes()[:200_000] + os.urandom(1000) + old.read_bytes()[200_000:])
    assert command("delta", new, tmp_path / "copy", "--reference", old).returncode == 0
    assert (tmp_path / "copy").read_bytes() == new.read_bytes()
    if "zstd" not in py_eacopy.backend_info().capabilities:
        pytest.skip("there is no zstd module, so patches were NOT tested")
    assert command("patch", "create", new, old, tmp_path / "patch").returncode == 0
    assert (tmp_path / "patch").stat().st_size < 10_000
    assert command("patch", "apply", old, tmp_path / "patch", tmp_path / "made").returncode == 0
    assert (tmp_path / "made").read_bytes() == new.read_bytes()
    assert command("patch", "apply", new, tmp_path / "patch", tmp_path / "other").returncode == 3


def test_info_names_the_backend(backend):
    found = json.loads(command("info", "--json").stdout)
    assert (found["version"], found["backend"]) == (py_eacopy.__version__, backend)


# Through a server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    ready = tmp_path / "ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(ready))
        notified.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "serve", "--port", "0", "--share", "s=%s" % share],
            env=environment(EACOPY_TOKEN="secret", NOTIFY_SOCKET=str(ready)), stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        assert notified.recv(200).startswith(b"READY=1\n")
        process.eacopy_port = int(re.search(r"port (\d+)", process.stderr.readline()).group(1))
        process.share = share
        yield process
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


@posix
def test_push_pull_stats_and_a_clean_end(server, tree, tmp_path):
    place = "eacopy://127.0.0.1:%d/s/there" % server.eacopy_port
    done = command("push", "--json", "--compress", "0", tree, place, EACOPY_TOKEN="secret")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files_copied"] == 2
    assert (server.share / "there" / "below" / "two").read_bytes() == b"2" * 2000

    (tmp_path / "token").write_text("secret\n")
    done = command("pull", "--token-file", tmp_path / "token", place, tmp_path / "back")
    assert done.returncode == 0, done.stderr
    assert os.readlink(tmp_path / "back" / "link") == "one"

    done = command("stats", "127.0.0.1:%d" % server.eacopy_port, "--token", "secret")
    assert done.returncode == 0 and done.stdout.strip()

    done = command("push", tree, place, EACOPY_TOKEN="hidden-other")
    assert done.returncode == 3 and "hidden-other" not in done.stdout + done.stderr

    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=10) == 0
    assert "stopped" in server.stderr.read()


@posix
def test_no_server(tree, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = str(nobody.getsockname()[1])
        assert command("push", "--server", "127.0.0.1:" + port, tree, tmp_path / "to").returncode == 3
        done = command("stats", "127.0.0.1:" + port)
        assert done.returncode == 3 and "check that a server runs there" in done.stderr
        done = command("push", "--no-server-required", "--server", "127.0.0.1:" + port, tree, tmp_path / "to")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "one").exists()


def test_wrong_direction_is_refused(tmp_path):
    assert command("push", "eacopy://host/s/x", tmp_path / "x").returncode == 2
    assert command("pull", tmp_path, "eacopy://host/s/x").returncode == 2


@pytest.mark.parametrize("level", ["23", "-1", "fast"])
def test_levels_that_are_not_legal_are_named(tmp_path, level):
    done = command("push", "--compress", level, tmp_path, "eacopy://host/s/x")
    assert done.returncode == 2 and level in done.stderr


def test_server_needs_legal_options(tmp_path):
    done = command("serve", "--host", "0.0.0.0")
    assert done.returncode == 2 and "shares" in done.stderr
    assert command("serve", "--share", "x").returncode == 2


# Terminals and signals ------------------------------------------------------------------------------------------------


@pytest.fixture
def large():
    """A file of 3 GB in memory, without holes, and room for most of its copy."""
    if not os.path.isdir("/dev/shm") or shutil.disk_usage("/dev/shm").free < 7 << 30:
        pytest.skip("/dev/shm has no 7 GB left")
    directory = "/dev/shm/eacopy-cli-%d" % os.getpid()
    os.mkdir(directory)
    path = os.path.join(directory, "large")
    try:
        with open(path, "wb") as stream:
            for _ in range(3 << 10):
                stream.write(b"\x5a" * (1 << 20))
        yield path
    finally:
        shutil.rmtree(directory)


@posix
def test_bars_and_control_c_on_a_terminal(backend, large):
    pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed, so terminals were NOT tested")
    child = pexpect.spawn(
        sys.executable, ["-c", MAIN, "cp", large, large + "-copy"], env=environment(TERM="xterm"), encoding="utf-8",
        dimensions=(30, 100), timeout=30,
    )  # fmt: skip
    child.expect("of 3.0 GiB, .*left")
    sent = time.monotonic()
    child.sendintr()
    child.expect("Interrupted")
    took = time.monotonic() - sent
    child.expect(pexpect.EOF)
    child.close()
    print("Ctrl-C was answered after %.0f ms" % (took * 1000))
    assert child.exitstatus == 130 and "Traceback" not in child.before
    assert took < 5
    assert not os.path.exists(large + "-copy")


@posix
def test_sigterm_ends_a_copy_as_control_c_does(backend, large):
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "cp", "--json", large, large + "-copy"], env=environment(), encoding="utf-8",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    while not os.path.exists(large + "-copy"):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and json.loads(output)["exit_status"] == 130
    assert not os.path.exists(large + "-copy")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_cannot_be_written_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", MAIN, "info"], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(b"eacopy: ") and done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX are meant")
def test_an_output_that_nobody_reads_has_a_status_of_its_own():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as output:
        done = subprocess.run([sys.executable, "-c", MAIN, "info"], stdout=output, stderr=subprocess.PIPE, timeout=30)
    assert (done.returncode, done.stderr) == (141, b"")
