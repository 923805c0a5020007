"""``eacopy robo``: EACopy's syntax, word by word, and what it copies, directly and through a server."""

import json
import os
import re
import socket

import pytest

import py_eacopy

click = pytest.importorskip("click", reason="click is not installed, so the command was NOT tested")
pytest.importorskip("rich", reason="rich is not installed, so the command was NOT tested")

from cli_runs import contents, eacopy, need_sync, table  # noqa: E402

from py_eacopy.cli import robo_switches  # noqa: E402

posix = pytest.mark.skipif(os.name != "posix", reason="paths of POSIX are meant")
pytestmark = posix


def parsed(*words):
    return robo_switches.parse(("from", "to") + words)


# The words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, options",
    [
        ("", {"subdirs": False, "empty_dirs": False, "dir_times": False}),
        ("/S", {"subdirs": True, "empty_dirs": False}),
        ("/e", {"subdirs": True, "empty_dirs": True}),
        ("/mIr", {"subdirs": True, "empty_dirs": True, "purge": True}),
        ("/PURGE", {"subdirs": False, "purge": True}),
        ("/LEV:1", {"subdirs": False, "max_depth": 1}),
        ("/LEV:3", {"subdirs": True, "max_depth": 3}),
        ("/KSY /F /XC", {"keep_dir_symlinks": True, "flatten": True, "exclude_changed": True}),
        ("*.dll bin\\x.exe", {"files": ("*.dll", "bin/x.exe")}),
        ("/I a.txt lists\\b.txt /IX c.txt", {"file_lists": ("a.txt", "lists/b.txt"), "exclude_lists": ("c.txt",)}),
        ("/I:a.txt /I:/E", {"file_lists": ("a.txt", "/E")}),
        ("/XF *.pdb *.tmp /XD .git", {"exclude_files": ("*.pdb", "*.tmp"), "exclude_dirs": (".git",)}),
        ("/I x.txt /OF *.map", {"file_lists": ("x.txt",), "optional_files": ("*.map",)}),
        ("/LINK old /data/older /LINKMIN:4096", {"link_dirs": ("old", "/data/older"), "link_min_size": 4096}),
        ("/LINKDB db.txt /LINKBYNAME", {"link_database": "db.txt", "link_by_name": True}),
        ("/DCOPY:DAT", {"dir_times": True}),
        ("/DCOPY:T /NODCOPY", {"dir_times": False}),
        ("/IA:rh /XA:H", {"include_attributes": "RH", "exclude_attributes": "H"}),
    ],
)
def test_switches_become_options(words, options):
    plan = parsed(*words.split())
    assert {name: plan.options[name] for name in options} == options


@pytest.mark.parametrize(
    "words, fields",
    [
        ("/MT", {"threads": 8}),
        ("/MT:128", {"threads": 128}),
        ("/C", {"level": "auto"}),
        ("/C:22", {"level": 22}),
        ("/R:0 /W:7", {"retries": 0, "retry_wait": 7.0}),
        ("/SERVER", {"server": "required", "server_port": 18099}),
        ("/NOSERVER", {"server": "never"}),
        ("/SERVERADDR build:99", {"server_address": "build:99", "server": "perhaps"}),
        ("/SERVERPORT:1339", {"server_port": 1339}),
        ("/LOG:logs\\x.log /LOGMIN", {"log": "logs/x.log", "minimal": True}),
        ("/VERBOSE /NJH /NJS", {"verbose": True, "header": False, "summary": False}),
        ("/NJ /NP /SYSTEMCOPY /OFFLOAD", {"notes": []}),
    ],
)
def test_switches_become_settings(words, fields):
    plan = parsed(*words.split())
    assert {name: getattr(plan, name) for name in fields} == fields


@pytest.mark.parametrize(
    "words, named",
    [
        ("/FOO", "/FOO"),
        ("/S:1", "/S:1"),
        ("/LEV", "/LEV"),
        ("/LEV:0", "/LEV:0"),
        ("/MT:129", "/MT:129"),
        ("/C:0", "/C:0"),
        ("/C:23", "/C:23"),
        ("/R:-1", "/R:-1"),
        ("/SERVERPORT:70000", "/SERVERPORT:70000"),
        ("/DCOPY:X", "/DCOPY:X"),
        ("/IA:RS", "/IA:RS"),
        ("/XA:Q", "/XA:Q"),
        ("/XF *.pdb /PURG", "/PURG"),
        ("/I", "/I"),
        ("/SERVERADDR", "/SERVERADDR"),
        ("/LINKDB a /LINKDB b", "/LINKDB"),
        ("x.txt /I list.txt", "/I"),
        ("/XD C:\\temp", "C:\\temp"),
        ("/XF /elsewhere/x", "/elsewhere/x"),
        ("/LOG:", "/LOG:"),
    ],
)
def test_what_is_not_legal_is_named(words, named):
    with pytest.raises(click.UsageError) as caught:
        parsed(*words.split())
    assert named in caught.value.message


@pytest.mark.parametrize("words", ["*.*", "*", "*.* x.txt"])
def test_every_file_is_no_restriction(words):
    assert "files" not in parsed(*words.split()).options


def test_first_two_words_are_paths(tmp_path, monkeypatch):
    plan = robo_switches.parse(["/data/x", "out\\bin", "/S"])
    assert (plan.source, plan.destination, plan.given) == ("/data/x", "out/bin", ["S"])
    with pytest.raises(click.UsageError, match="/MIR is the first word"):
        robo_switches.parse(["/MIR", "a", "b"])
    with pytest.raises(click.UsageError, match="drives"):
        robo_switches.parse(["D:\\x", "b"])
    with pytest.raises(click.UsageError, match="source and a destination"):
        robo_switches.parse(["a"])
    monkeypatch.setattr(os.path, "exists", {"/E"}.__contains__)
    assert robo_switches.parse(["/E", "to"]).source == "/E"


def test_paths_below_the_source_are_meant_below_it():
    source = os.path.abspath("from")
    assert parsed("/XD", source + "/obj").options["exclude_dirs"] == ("/obj",)


def test_hint_without_effect_is_told():
    assert "/J" in parsed("/J").notes[0]


# What it copies -------------------------------------------------------------------------------------------------------


@pytest.fixture
def syncing(backend):
    """Each backend that can sync."""
    need_sync()
    return backend


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "from"
    (root / "below" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "one.txt").write_bytes(b"1" * 1000)
    (root / "one.tmp").write_bytes(b"t")
    (root / "below" / "two.txt").write_bytes(b"2" * 2000)
    (root / "below" / "deep" / "three.txt").write_bytes(b"3" * 3000)
    return root


ALL = {
    "one.txt", "one.tmp", "below", "below/two.txt", "below/deep", "below/deep/three.txt", "empty",
}  # fmt: skip


@pytest.mark.parametrize(
    "words, expected",
    [
        ("", {"one.txt", "one.tmp"}),
        ("*.*", {"one.txt", "one.tmp"}),
        ("*.txt", {"one.txt"}),
        ("/E", ALL),
        ("/S", ALL - {"empty"}),
        ("/S /LEV:2", {"one.txt", "one.tmp", "below", "below/two.txt"}),
        ("/MIR /XF *.tmp /XD deep", {"one.txt", "below", "below/two.txt", "empty"}),
        ("/S /F", {"one.txt", "one.tmp", "two.txt", "three.txt"}),
        ("below\\two.txt one.txt", {"one.txt", "below", "below/two.txt"}),
        ("below\\*.txt", {"below", "below/two.txt"}),
        ("*.txt /S", {"one.txt", "below", "below/two.txt", "below/deep", "below/deep/three.txt"}),
    ],
)
def test_what_is_copied(syncing, tree, tmp_path, words, expected):
    done = eacopy("robo", tree, tmp_path / "to", *words.split())
    assert done.status == 0, done.err
    assert set(contents(tmp_path / "to")) == expected
    again = eacopy("robo", tree, tmp_path / "to", *words.split())
    files = table(again.out)["Files"]
    assert files[1:3] == ["0", "0"] and files[0] == files[3] != "0"


def test_lists_written_on_windows_are_read(syncing, tree, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"one.txt\r\nbelow\\two.txt\r\n")
    done = eacopy("robo", tree, tmp_path / "to", "/I", tmp_path / "list.txt")
    assert done.status == 0, done.err
    assert set(contents(tmp_path / "to")) == {"one.txt", "below", "below/two.txt"}


def test_file_that_is_named_must_be_there(syncing, tree, tmp_path):
    done = eacopy("robo", tree, tmp_path / "to", "one.txt", "missing.txt", "*.none", "/R:0")
    assert done.status == 1 and "missing.txt" in done.err and ".none" not in done.err
    assert set(contents(tmp_path / "to")) == {"one.txt"}


@pytest.mark.parametrize("given", [["--robocopy-exit-codes"], "EACOPY_ROBOCOPY_EXIT_CODES"])
def test_exit_statuses_of_robocopy(syncing, tree, tmp_path, monkeypatch, given):
    if isinstance(given, str):
        monkeypatch.setenv(given, "1")
        given = []

    def status(*words):
        return eacopy("robo", *given, *words).status

    target = tmp_path / "to"
    assert status(tree, target, "/MIR") == 1
    assert status(tree, target, "/MIR") == 0
    (target / "extra").touch()
    assert status(tree, target, "/MIR") == 2
    (target / "extra").touch()
    (tree / "new").touch()
    assert status(tree, target, "/MIR") == 3
    (tree / "missing").symlink_to("x")
    assert status(tree, target, "one.txt", "gone", "/R:0") == 8
    (target / "mixed").mkdir()
    (tree / "mixed").touch()
    assert status(tree, target, "/R:0") == 1 + 4 + 8
    assert status(tmp_path / "nowhere", target, "/R:0") == 16
    assert status(tree, target, "/NONSENSE") == 16


def test_log_begins_anew_and_has_all(syncing, tree, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("of yesterday\n")
    done = eacopy("robo", tree, tmp_path / "to", "/S", "/LOG:%s" % log)
    text = log.read_text()
    assert "yesterday" not in text
    for part in ("Source", "/S /LOG:", "two.txt", "Mismatch"):
        assert part in text and part in done.out
    assert eacopy("robo", tree, tmp_path / "to", "/LOG:%s/no/log" % tmp_path).status == 2
    before = log.read_text()
    assert eacopy("robo", tree, "//no.host.invalid/share/x", "/NOSERVER", "/LOG:%s" % log).status == 2
    assert log.read_text() == before


def test_what_is_told_can_be_less(syncing, tree, tmp_path):
    done = eacopy("robo", tree, tmp_path / "to", "/S", "/NJH", "/NJS")
    assert "Source" not in done.out and "Mismatch" not in done.out and "two.txt" in done.out
    done = eacopy("robo", tree, tmp_path / "to2", "/S", "/LOGMIN", "/NJH", "/LOG:%s" % (tmp_path / "log"))
    assert "two.txt" not in done.out + (tmp_path / "log").read_text() and "Mismatch" in done.out
    done = eacopy("robo", tree, tmp_path / "to3", "/S", "/VERBOSE")
    assert "copying with the %s backend" % syncing in done.err
    done = eacopy("robo", tree, tmp_path / "to5", "/S", "/VERBOSE", "/NJH", "/LOG:%s" % (tmp_path / "log"))
    assert (done.out + done.err).count("two.txt ->") == (tmp_path / "log").read_text().count("two.txt ->") == 1
    done = eacopy("robo", "--quiet", tree, tmp_path / "to4", "/S")
    assert (done.out, done.err) == ("", "")


def test_dry_run_writes_nothing(syncing, tree, tmp_path):
    done = eacopy("robo", "-n", "--json", tree, tmp_path / "to", "/MIR")
    report = json.loads(done.out)
    assert report["files_copied"] == 4 and len(report["actions"]) == 8
    assert not (tmp_path / "to").exists()


# Through a server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(backend, tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    with py_eacopy.EACopyServer(port=0, shares={"s": share}, token="secret") as running:
        running.share = share
        yield running


def through(server, words, tree):
    place = "eacopy://127.0.0.1:%d/s/there" % server.port
    return eacopy("robo", "--token", "secret", tree, place, *words.split())


@pytest.mark.parametrize(
    "words, expected",
    [
        ("/E", ALL),
        ("/S", ALL - {"empty"}),
        ("", {"one.txt", "one.tmp"}),
        ("*.txt /S /XD deep", {"one.txt", "below", "below/two.txt"}),
        ("/E /XF one.*", ALL - {"one.txt", "one.tmp"}),
        ("/S /LEV:2", {"one.txt", "one.tmp", "below", "below/two.txt"}),
    ],
)
def test_server_gets_what_the_switches_say(server, tree, words, expected):
    done = through(server, words + " /SERVER /C:3", tree)
    assert done.status == 0, done.err
    assert set(contents(server.share / "there")) == expected
    assert "Server" in done.out


@pytest.mark.parametrize(
    "words, named", [("/MIR", "/MIR"), ("/F /XC", "/F /XC"), ("/PURGE", "/PURGE"), ("/LINK old", "/LINK")]
)
def test_what_a_server_cannot_do_is_named(server, tree, words, named):
    done = through(server, words + " /SERVER", tree)
    assert done.status == 2 and named in done.err
    assert not list(server.share.iterdir())


def test_server_and_purging_where_the_share_is_seen_too(server, syncing, tree):
    target = server.share / "there"
    target.mkdir()
    (target / "extra").touch()
    address = "127.0.0.1:%d" % server.port
    done = eacopy("robo", "--token", "secret", tree, target, "/MIR", "/SERVER", "/SERVERADDR", address)
    assert done.status == 0, done.err
    assert contents(target) == contents(tree)
    assert table(done.out)["Files"][-1] == "1"


def test_pull_copies_all_or_nothing(server, tree, tmp_path):
    assert through(server, "/E /SERVER", tree).status == 0
    place = "eacopy://127.0.0.1:%d/s/there" % server.port
    done = eacopy("robo", "--token", "secret", place, tmp_path / "back", "*.*", "/E", "/SERVER")
    assert done.status == 0, done.err
    assert contents(tmp_path / "back") == contents(tree)
    done = eacopy("robo", "--token", "secret", place, tmp_path / "back2", "*.txt", "/E", "/SERVER")
    assert done.status == 2 and not (tmp_path / "back2").exists()


@pytest.mark.parametrize("words", [["/SERVER"], ["/S", "/SERVER"], []])
def test_a_pull_of_less_than_all_says_what_to_add(tmp_path, words):
    done = eacopy("robo", "//no.host.invalid/share/x", tmp_path / "to", *words)
    assert done.status == 2 and "add /E" in done.err
    assert not (tmp_path / "to").exists()


def test_server_that_must_be_there_is_not(syncing, tree, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % nobody.getsockname()[1]
        done = eacopy("robo", tree, tmp_path / "to", "/E", "/SERVER", "/SERVERADDR", address, "/R:0")
        assert done.status == 3 and not (tmp_path / "to").exists()
        assert eacopy("robo", tree, tmp_path / "to", "/E", "/SERVERADDR", address, "/R:0").status == 0
    assert set(contents(tmp_path / "to")) == ALL
    done = eacopy("robo", tree, tmp_path / "to2", "/SERVER")
    assert done.status == 2 and "/SERVER" in done.err
    assert eacopy("robo", tree, tmp_path / "to2", "/NOSERVER").status == 0


@pytest.mark.parametrize("words", [["/NOSERVER"], ["--dry-run"]])
def test_share_is_not_taken_for_a_directory_of_this_machine(syncing, tree, words):
    for place in ("//no.host.invalid/share/x", "\\\\no.host.invalid\\share\\x", "eacopy://no.host.invalid/share/x"):
        done = eacopy("robo", tree, place, *words)
        assert done.status == 2 and "no.host.invalid" in done.err
        done = eacopy("robo", place, tree, *words)
        assert done.status == 2 and words[0] in done.err


def test_pulls_leave_nothing_out(server, tmp_path):
    with pytest.raises(py_eacopy.InvalidArgumentError, match="ignore"):
        py_eacopy.copy_with_server(
            "eacopy://127.0.0.1:%d/s/x" % server.port, tmp_path / "x", token="secret", ignore=lambda path, names: []
        )


def test_statistics_of_a_server(server):
    done = eacopy("robo", "--token", "secret", "/STATS", "eacopy://127.0.0.1:%d/s" % server.port)
    assert done.status == 0 and re.search("[0-9]", done.out), done.err
    address = ["/SERVERADDR", "127.0.0.1:%d" % server.port]
    assert eacopy("robo", "--token", "secret", "/stats", server.share, *address).status == 0
    assert eacopy("robo", "/STATS", server.share, "/MIR").status == 2
    assert eacopy("robo", "/STATS").status == 2
