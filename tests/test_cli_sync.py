"""The command sync, dry runs, what is left out, and the report of what failed after further tries."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import py_eacopy

pytest.importorskip("click", reason="click is not installed, so the command was NOT tested")
pytest.importorskip("rich", reason="rich is not installed, so the command was NOT tested")

from cli_runs import contents, eacopy, need_sync, table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links are made")


@pytest.fixture
def syncing(backend):
    """Each backend that can sync."""
    need_sync()
    return backend


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "from"
    (root / "below").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "one.txt").write_bytes(b"1" * 1000)
    (root / "below" / "two.txt").write_bytes(b"2" * 2000)
    (root / "below" / "three.tmp").write_bytes(b"3" * 3000)
    return root


def test_sync_twice_copies_once(syncing, tree, tmp_path):
    done = eacopy("sync", tree, tmp_path / "to")
    assert done.status == 0, done.err
    assert table(done.out)["Files"] == ["3", "3", "0", "0", "0", "0", "0"]
    assert contents(tmp_path / "to") == contents(tree)
    again = eacopy("sync", tree, tmp_path / "to")
    assert table(again.out)["Files"] == ["3", "0", "0", "3", "0", "0", "0"]


def test_dry_run_says_what_the_run_does(syncing, tree, tmp_path):
    target = tmp_path / "to"
    shutil.copytree(tree, target)
    (target / "extra").write_bytes(b"x")
    (tree / "one.txt").write_bytes(b"changed")
    (tree / "new").write_bytes(b"n")
    before = contents(target)
    planned = eacopy("sync", "--mirror", "--dry-run", tree, target)
    assert contents(target) == before
    assert "Dry run: nothing was written" in planned.out
    done = eacopy("sync", "--mirror", "--verbose", tree, target)
    lines = [
        [line for line in run.out.splitlines() if " -> " in line or line.startswith("re")] for run in (planned, done)
    ]
    assert sorted(lines[0]) == sorted(lines[1])
    assert sorted(line.split()[0] for line in lines[0]) == ["copy", "overwrite", "remove"]
    assert table(planned.out) == table(done.out)
    assert contents(target) == contents(tree)


def test_actions_are_in_the_json(syncing, tree, tmp_path):
    target = tmp_path / "to"
    done = eacopy("sync", "--dry-run", "--json", tree, target)
    report = json.loads(done.out)
    assert (done.status, report["exit_status"], report["files_copied"]) == (0, 0, 3)
    assert {
        "action": "copy",
        "source": str(tree / "one.txt"),
        "destination": str(target / "one.txt"),
        "size": 1000,
    } in (report["actions"])
    assert not target.exists()


def test_log_has_the_actions(syncing, tree, tmp_path):
    assert eacopy("sync", "--quiet", "--log", tmp_path / "log", tree, tmp_path / "to") == (0, "", "")
    log = (tmp_path / "log").read_text()
    assert "INFO copy" in log and "two.txt" in log and "copied 3 files" in log


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--exclude", "*.tmp"], {"one.txt", "below", "below/two.txt", "empty"}),
        (["--exclude-dir", "below"], {"one.txt", "empty"}),
        (["--files", "*.txt", "--no-empty-dirs"], {"one.txt", "below", "below/two.txt"}),
        (["--no-subdirs"], {"one.txt"}),
        (["--max-depth", "1", "--no-empty-dirs"], {"one.txt"}),
        (["--flatten"], {"one.txt", "two.txt", "three.tmp"}),
    ],
)
def test_what_is_taken(syncing, tree, tmp_path, options, expected):
    done = eacopy("sync", *options, tree, tmp_path / "to")
    assert done.status == 0, done.err
    assert set(contents(tmp_path / "to")) == expected


def test_changed_files_can_be_left_alone(syncing, tree, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "one.txt").write_bytes(b"own")
    assert eacopy("sync", "--exclude-changed", tree, tmp_path / "to").status == 0
    assert (tmp_path / "to" / "one.txt").read_bytes() == b"own"
    assert (tmp_path / "to" / "below" / "two.txt").exists()


def test_lists_say_what_is_copied(syncing, tree, tmp_path):
    (tmp_path / "list").write_text("one.txt\nmissing.txt\n")
    done = eacopy("sync", "--file-list", tmp_path / "list", tree, tmp_path / "to")
    assert done.status == 1 and "missing.txt" in done.err
    done = eacopy("sync", "--file-list", tmp_path / "list", "--optional", "missing.txt", tree, tmp_path / "to2")
    assert done.status == 0, done.err
    assert set(contents(tmp_path / "to2")) == {"one.txt"}
    (tmp_path / "two").write_text("below\nmissing.txt\none.txt\n")
    retries = ("--retries", "1", "--retry-wait", "0")
    done = eacopy("sync", *retries, "--file-list", tmp_path / "two", tree, tmp_path / "to3")
    assert table(done.out)["Files"] == ["4", "3", "0", "0", "0", "1", "0"]


def test_older_copies_are_linked_to(syncing, tree, tmp_path):
    assert eacopy("sync", tree, tmp_path / "old").status == 0
    done = eacopy("sync", "--link-dir", tmp_path / "old", tree, tmp_path / "new")
    assert table(done.out)["Files"] == ["3", "0", "3", "0", "0", "0", "0"]
    assert os.path.samefile(tmp_path / "old" / "one.txt", tmp_path / "new" / "one.txt")


def test_what_is_wrong_is_told_before_anything_is_written(syncing, tree, tmp_path):
    done = eacopy("sync", tree, tree / "below" / "inside")
    assert done.status == 3 and "inside" in done.err
    assert not (tree / "below" / "inside").exists()
    assert eacopy("sync", tmp_path / "nowhere", tmp_path / "to").status == 3
    assert eacopy("sync", tree / "one.txt", tmp_path / "to").status in (2, 3)
    assert not (tmp_path / "to").exists()


def test_a_mismatch_is_told_apart(syncing, tree, tmp_path):
    (tmp_path / "to" / "one.txt").mkdir(parents=True)
    done = eacopy("sync", tree, tmp_path / "to")
    assert done.status == 1 and "one.txt" in done.err
    assert table(done.out)["Files"] == ["3", "2", "0", "0", "1", "1", "0"]


# cp and cptree --------------------------------------------------------------------------------------------------------


def test_dry_run_of_a_tree_says_what_is_copied(backend, tree, tmp_path):
    (tree / "link").symlink_to("one.txt")
    target = tmp_path / "to"
    planned = eacopy("cptree", "--dry-run", "--json", "--symlinks", "--exclude", "*.tmp", tree, target)
    assert not target.exists()
    done = eacopy("cptree", "--json", "--symlinks", "--exclude", "*.tmp", tree, target)
    plan, report = json.loads(planned.out), json.loads(done.out)
    for name in ("files_copied", "bytes_copied", "symlinks_copied", "directories_created", "exit_status"):
        assert plan[name] == report[name], name
    assert {action["destination"] for action in plan["actions"]} == {
        str(target), *(str(target / path) for path in contents(target))
    }  # fmt: skip
    assert "below/three.tmp" not in contents(target)


def test_dry_run_of_a_tree_finds_the_failures_of_the_run(backend, tree, tmp_path):
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to(".")
    os.mkfifo(str(tree / "fifo"))
    planned = json.loads(eacopy("cptree", "-n", "--json", tree, tmp_path / "to").out)
    done = json.loads(eacopy("cptree", "--json", tree, tmp_path / "to").out)
    found = [{(os.path.basename(e["source"]), e["kind"]) for e in report["errors"]} for report in (planned, done)]
    assert found[0] == found[1]
    assert {name for name, _ in found[0]} == {"dangling", "loop", "fifo"}
    assert eacopy("cptree", "-n", tree, tmp_path / "to").status == 3  # it exists by now


def test_dry_run_of_files(backend, tree, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "one.txt").write_bytes(b"old")
    done = eacopy("cp", "-n", tree / "one.txt", tree / "below" / "two.txt", tree / "missing", tmp_path / "to")
    assert done.status == 1 and "missing" in done.err
    assert [line.split()[0] for line in done.out.splitlines()[:2]] == ["overwrite", "copy"]
    assert (tmp_path / "to" / "one.txt").read_bytes() == b"old"
    assert eacopy("cp", "-n", tree / "one.txt", tree / "one.txt").status == 3


def test_names_that_are_left_out_of_a_tree(backend, tree, tmp_path):
    assert eacopy("cptree", "--exclude", "*.tmp", "--exclude", "empty", tree, tmp_path / "to").status == 0
    assert set(contents(tmp_path / "to")) == {"one.txt", "below", "below/two.txt"}


@pytest.mark.parametrize("retries", [(), ("--retries", "1", "--retry-wait", "0.01")])
def test_report_is_kept_in_spite_of_further_tries(backend, tree, tmp_path, retries):
    (tree / "dangling").symlink_to("nowhere")
    done = eacopy("cptree", "--json", *retries, tree, tmp_path / "to")
    report = json.loads(done.out)
    assert done.status == 1
    assert (report["files_copied"], report["bytes_copied"], report["directories_created"]) == (3, 6000, 3)
    assert [os.path.basename(error["source"]) for error in report["errors"]] == ["dangling"]


def test_exception_carries_the_report(backend, tree, tmp_path):
    (tree / "dangling").symlink_to("nowhere")
    with pytest.raises(py_eacopy.TreeError) as caught:
        py_eacopy.batch_copytree([(tree, tmp_path / "to")], symlinks=False)
    assert caught.value.report.files_copied == 3
    assert caught.value.report.errors == caught.value.errors
    with pytest.raises(py_eacopy.SourceNotFoundError) as single:
        py_eacopy.batch_copy([(tree / "nothing", tmp_path / "x")])
    assert single.value.report.errors == (single.value,)


def test_ignore_of_a_batch_of_trees(backend, tree, tmp_path):
    asked = []

    def ignore(directory, names):
        asked.append(directory)
        return [name for name in names if name == "below"]

    py_eacopy.batch_copytree([(tree, tmp_path / "to")], ignore=ignore)
    assert set(contents(tmp_path / "to")) == {"one.txt", "empty"}
    assert str(tree) in asked
    with pytest.raises(TypeError, match="ignore"):
        py_eacopy.batch_copytree([(tree, tmp_path / "no")], ignore="*.tmp")


# Shells ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_one_that_the_shell_reads(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip("%s is not installed, so its completion was NOT tested" % shell)
    done = eacopy("completion", shell)
    assert done.status == 0 and "_EACOPY_COMPLETE" in done.out
    script = tmp_path / "script"
    script.write_text(done.out)
    subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes_commands_and_options(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed, so its completion was NOT tested")
    (tmp_path / "script").write_text(eacopy("completion", "bash").out)
    program = tmp_path / "eacopy"
    program.write_text("#!%s\nimport sys\nfrom py_eacopy.cli import main\nsys.exit(main())\n" % sys.executable)
    program.chmod(0o755)
    asked = "COMP_WORDS=(eacopy sync --mir); COMP_CWORD=2; . %s; _eacopy_completion eacopy; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", asked % (tmp_path / "script")], capture_output=True, encoding="utf-8",
        env=dict(os.environ, PATH="%s:%s" % (tmp_path, os.environ["PATH"]), PYTHONPATH=os.pathsep.join(sys.path)),
    )  # fmt: skip
    assert done.stdout.split() == ["--mirror"], done.stderr


def test_fish_completes_commands_and_options(tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed, so its completion was NOT tested")
    (tmp_path / "script").write_text(eacopy("completion", "fish").out)
    program = tmp_path / "eacopy"
    program.write_text("#!%s\nimport sys\nfrom py_eacopy.cli import main\nsys.exit(main())\n" % sys.executable)
    program.chmod(0o755)
    done = subprocess.run(
        ["fish", "-c", "source %s; complete -C 'eacopy sync --mir'" % (tmp_path / "script")],
        capture_output=True, encoding="utf-8",
        env=dict(
            os.environ, PATH="%s:%s" % (tmp_path, os.environ["PATH"]), PYTHONPATH=os.pathsep.join(sys.path),
            HOME=str(tmp_path),
        ),
    )  # fmt: skip
    assert done.stdout.split()[:1] == ["--mirror"], done.stderr


def test_reader_that_leaves_ends_it_quietly(tree, tmp_path):
    for number in range(500):
        (tree / ("%0200d" % number)).touch()
    done = subprocess.run(
        "%s -c 'import sys; from py_eacopy.cli import main; sys.exit(main())' sync -n %s %s | head -1"
        % (sys.executable, tree, tmp_path / "to"),
        shell=True, capture_output=True, encoding="utf-8",
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )  # fmt: skip
    assert done.stdout.startswith("make-directory") and done.stderr == ""
