"""`eacopy serve` as a service: its configuration file, what it tells systemd, its signals, logs and metrics."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from net import serving

import py_eacopy
from py_eacopy import Config, EACopyServer
from py_eacopy._server import ServerStats, parse_report

pytest.importorskip("click.testing", reason="click is not installed, so the service was NOT tested")
pytest.importorskip("rich", reason="rich is not installed, so the service was NOT tested")

from py_eacopy.cli import metrics, notify, service_config, service_switches

if sys.version_info < (3, 11):
    pytest.importorskip("tomli", reason="tomli is not installed, so the service was NOT tested")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the service does not run here")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAIN = "import sys; from py_eacopy.cli import main; sys.exit(main())"
SECONDS = 20.0


def environment(**more):
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), COLUMNS="100", **more)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)], env=environment(), capture_output=True, encoding="utf-8",
        timeout=60,
    )  # fmt: skip


def deployed(name):
    with open(os.path.join(ROOT, "deploy", name), encoding="utf-8") as stream:
        return stream.read()


class Service:
    """A process of `eacopy serve`, and the socket at which systemd would listen."""

    def __init__(self, address, *arguments, **more):
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(address)
        self.notified.settimeout(SECONDS)
        name = "@" + address[1:] if address.startswith("\0") else address
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "serve", *map(str, arguments)],
            env=environment(NOTIFY_SOCKET=name, **more), stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        self.ready = self.hear()
        self.port = int(re.search(r"port (\d+)", self.ready).group(1))

    def hear(self):
        return self.notified.recv(4096).decode()

    def hear_until(self, wanted):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            message = self.hear()
            if wanted in message:
                return message
        raise AssertionError("%s was never told" % wanted)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.notified.close()


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def start(tmp_path, share):
    """Starts a service that serves `share` to everybody, at a free port."""
    running = []

    def start(*arguments, address=None, **more):
        address = address or str(tmp_path / ("notify%d" % len(running)))
        service = Service(address, "--port", 0, "--share", "s=%s" % share, "--unsecure", *arguments, **more)
        running.append(service)
        return service

    yield start
    for service in running:
        service.__exit__()


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


# The configuration file -----------------------------------------------------------------------------------------------


def written(tmp_path, text):
    path = tmp_path / "eacopy.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_option_of_a_server_can_be_in_the_file():
    import inspect

    options = set(inspect.signature(EACopyServer.__init__).parameters) - {"self", "config"}
    assert options <= set(service_config.KEYS)


def test_values_arrive_and_paths_are_relative_to_the_file(tmp_path):
    found = service_config.read(
        written(tmp_path, 'port = 1\nidle_timeout = 2\ntoken_file = "t"\nlog = "/l"\n[shares]\na = "b"\nc = "/d"\n')
    )
    assert found == {
        "port": 1,
        "idle_timeout": 2,
        "token_file": str(tmp_path / "t"),
        "log": "/l",
        "shares": {"a": str(tmp_path / "b"), "c": "/d"},
    }


@pytest.mark.parametrize(
    "text, words",
    [
        ("prot = 1", ["unknown key 'prot'", "legal keys are: backend", "use_hash"]),
        ('port = "1"', ["port = '1'", "a whole number"]),
        ("port = true", ["port = True", "a whole number"]),
        ("port = 1.5", ["port = 1.5", "a whole number"]),
        ("host = 1", ["host = 1", "a string"]),
        ("use_hash = 1", ["use_hash = 1", "true or false"]),
        ('idle_timeout = "long"', ["idle_timeout = 'long'", "a number"]),
        ('shares = "a"', ["shares = 'a'", "a table of strings"]),
        ("[shares]\na = 1", ["shares.a = 1", "the path of a directory"]),
        ("[service]\nport = 1", ["unknown key 'service'", "legal keys are"]),
        ('token = "a"\ntoken_file = "b"', ["token and token_file"]),
        ("port = = 1", ["this is no TOML", "line 1"]),
        ("port = 70000", ["port=70000 is not legal"]),
        ('metrics = "here"', ["metrics='here' is not legal", "HOST:PORT"]),
        ('backend = "fast"', ["backend='fast' is not legal"]),
        ('token_file = "gone"', ["gone: the token cannot be read"]),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, text, words):
    path = written(tmp_path, text)
    done = command("serve", "--config", path)
    told = " ".join(done.stderr.split())
    assert done.returncode == 2, done.stderr
    assert all(word in told for word in words), told
    assert os.path.dirname(path) in told


def test_missing_file_is_named(tmp_path):
    done = command("serve", "--config", tmp_path / "gone.toml")
    assert done.returncode == 2 and "gone.toml: No such file" in done.stderr


def test_command_line_goes_before_the_file(tmp_path, share):
    (tmp_path / "token").write_text("secret\n")
    os.chmod(tmp_path / "token", 0o600)
    path = written(
        tmp_path,
        'port = 1\nthread_count = 3\nhost = "192.0.2.1"\nquiet = true\ntoken_file = "token"\nhistory_file = "h"\n'
        '[shares]\ns = "share"\n',
    )
    with Service(str(tmp_path / "notify"), "--config", path, "--port", 0, "--host", "127.0.0.1") as service:
        there = "eacopy://127.0.0.1:%d/s/file" % service.port
        (tmp_path / "file").write_bytes(b"contents")
        py_eacopy.copy_with_server(tmp_path / "file", there, token="secret")
        with pytest.raises(PermissionError):
            py_eacopy.copy_with_server(tmp_path / "file", there)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(SECONDS) == 0
        assert service.process.stderr.read() == ""  # the file says that it is to be quiet
    assert (share / "file").read_bytes() == b"contents"
    assert (tmp_path / "h").exists()


def test_example_is_legal():
    found = service_config.read(os.path.join(ROOT, "deploy", "eacopy.toml"))
    assert found["shares"] == {"builds": "/srv/builds"}
    commented = re.findall(r"^# (\w+) = ", deployed("eacopy.toml"), re.M)
    assert set(found) | set(commented) | {"token"} == set(service_config.KEYS)


def test_token_that_others_can_read_is_warned_of(tmp_path, start, share):
    (tmp_path / "open").write_text("secret")
    os.chmod(tmp_path / "open", 0o644)
    service = start("--config", written(tmp_path, 'token_file = "open"'))
    service.process.terminate()
    assert "can be read by every user" in service.process.stderr.read()


# systemd --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_of_readiness_and_of_the_end(tmp_path, start, backend, abstract):
    if abstract and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    serving.need(backend, "server")
    address = "\0eacopy-test-%d" % os.getpid() if abstract else str(tmp_path / "socket")
    service = start(address=address)
    assert re.fullmatch(r"READY=1\nSTATUS=listening at 127\.0\.0\.1, port \d+", service.ready)
    socket.create_connection(("127.0.0.1", service.port), SECONDS).close()  # ready means ready
    service.process.send_signal(signal.SIGTERM)
    assert service.hear_until("STOPPING").startswith("STOPPING=1\nSTATUS=")
    assert service.process.wait(SECONDS) == 0


def test_watchdog_hears_of_the_service(start):
    service = start(WATCHDOG_USEC="200000")
    for _ in range(3):
        service.hear_until("WATCHDOG=1")


def test_watchdog_of_another_process_is_left_alone():
    theirs = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid() + 1)}
    assert notify._watchdog_interval(theirs) is None
    assert notify._watchdog_interval(dict(theirs, WATCHDOG_PID=str(os.getpid()))) == 0.5
    assert notify._watchdog_interval({"WATCHDOG_USEC": "often"}) is None


def test_unit_calls_what_there_is():
    unit = deployed("eacopy.service")
    call = re.search(r"^ExecStart=\S+ (.*)$", unit, re.M).group(1).split()
    page = command("serve", "--help").stdout
    assert call[0] == "serve" and all(word in page for word in call if word.startswith("--"))
    assert "Type=notify" in unit and re.search(r"^ExecReload=/bin/kill -HUP", unit, re.M)


# Signals and logs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(start, number):
    service = start()
    with socket.create_connection(("127.0.0.1", service.port), SECONDS):  # an open connection does not hold it up
        service.process.send_signal(number)
        assert service.process.wait(SECONDS) == 0
    assert "stopped; received 0 files, sent 0" in service.process.stderr.read()


def test_log_is_made_anew_when_it_was_rotated(tmp_path, start):
    log, old = tmp_path / "log", tmp_path / "log.1"
    service = start("--log", log, "--verbose")
    until(lambda: log.exists() and "listening at" in log.read_text())
    os.rename(log, old)
    service.process.send_signal(signal.SIGHUP)
    until(lambda: log.exists() and "opened again" in log.read_text())
    before = old.read_text()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(SECONDS) == 0
    assert "stopped; received 0" in log.read_text() and old.read_text() == before


def test_hangup_without_a_log_ends_nothing(start):
    service = start()
    service.process.send_signal(signal.SIGHUP)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(SECONDS) == 0


def test_log_that_cannot_be_written_is_told(tmp_path, share):
    done = command("serve", "--share", "s=%s" % share, "--log", tmp_path / "gone" / "log")
    assert done.returncode == 2 and "cannot write the log" in done.stderr


# EACopyService's switches ---------------------------------------------------------------------------------------------


def test_switches_mean_what_they_mean_there():
    switches = ["/P:0", "/ip:::1", "/HISTORY:7", "/LINK", "/LINKDB:/h", "/LINKMIN:12", "/LINKBYNAME", "/UNSECURE"]
    notes = []
    assert service_switches.parse(
        [*switches, "/HASH", "/LOG:/l:1", "/VERBOSE", "/NJ", "/j", "/OFFLOAD"], notes.append
    ) == {
        "port": 0,
        "host": "::1",
        "history_size": 7,
        "link_mode": "hard",
        "history_file": "/h",
        "link_min_size": 12,
        "link_by_name": True,
        "security_file": False,
        "use_hash": True,
        "log": "/l:1",
        "verbose": True,
    }
    assert notes == ["/j is not heeded: files go through the system's cache"]
    assert service_switches.parse([], notes.append) == {}
    assert service_switches.parse(["/NOLINKS"], notes.append) == {"port": 18099, "link_mode": "never"}


@pytest.mark.parametrize(
    "switch, words",
    [
        ("/INSTALL", "service manager"),
        ("/PASS:x", "service manager"),
        ("/srv/builds", "/LINKDB:file"),
        ("/P", "not known"),
        ("/P:x", "a whole number"),
        ("/LOG:", "something after the colon"),
        ("/HASH:1", "not known"),
        ("/Q", "not known"),
        ("P:1", "no switch"),
    ],
)
def test_switches_that_cannot_be_are_named(switch, words):
    with pytest.raises(service_switches.SwitchError) as raised:
        service_switches.parse([switch], print)
    assert words in str(raised.value)
    if switch.startswith("/PASS:"):
        assert "/PASS is not possible" in str(raised.value)  # the secret itself is not told
    else:
        assert switch in str(raised.value)


def test_service_runs_with_switches(tmp_path, share):
    log = tmp_path / "log"
    log.write_text("of yesterday\n")
    arguments = ["--share", "s=%s" % share, "/P:0", "/UNSECURE", "/LOG:%s" % log, "/HISTORY:10"]
    with Service(str(tmp_path / "notify"), *arguments) as service:
        assert service.port not in (18099, 31337)
        service.process.terminate()
        assert service.process.wait(SECONDS) == 0
    assert "listening" in log.read_text() and "yesterday" not in log.read_text()
    assert command("serve", "/WHAT").returncode == 2


# Numbers --------------------------------------------------------------------------------------------------------------


def test_both_backends_report_alike(server_backend, share, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 1000)
    options = {"shares": {"s": share}, "security_file": False, "config": Config(backend=server_backend)}
    with EACopyServer(0, **options) as server:
        py_eacopy.copy_with_server(tmp_path / "file", "eacopy://127.0.0.1:%d/s/file" % server.port)
        report = py_eacopy.server_report("127.0.0.1", server.port)
        found, own = parse_report(report), server.get_stats()
    assert set(found) == set(ServerStats.__annotations__)
    assert [line.partition(":")[0] for line in report.splitlines()] == [
        "py-eacopy server", "uptime", "active connections", "bytes linked", "bytes received", "bytes sent",
        "bytes skipped", "connections", "errors", "files linked", "files received", "files sent", "files skipped",
        "history size",
    ]  # fmt: skip
    assert (found["files_received"], found["history_size"], found["errors"]) == (1, 1, 0)
    assert 1000 < found["bytes_received"] <= own["bytes_received"]
    assert 0 < found["uptime"] <= own["uptime"] + 0.001  # it is rounded


@pytest.mark.parametrize(
    "text", ["", "a report\nof two lines\n", "py-eacopy server\nerrors: 1\n", "py-eacopy server\nx\n"]
)
def test_reports_of_others_have_no_numbers(text):
    assert parse_report(text) is None


def test_stats_as_json_has_numbers(server_backend, share):
    options = {"shares": {"s": share}, "security_file": False, "config": Config(backend=server_backend)}
    with EACopyServer(0, **options) as server:
        done = command("stats", "--json", "127.0.0.1:%d" % server.port)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["stats"]["connections"] == 1 and found["stats"]["files_sent"] == 0
    assert found["report"].startswith("py-eacopy server\n")


# Metrics --------------------------------------------------------------------------------------------------------------

SAMPLE = re.compile(r"([a-z_]+)(?:\{[a-z_]+=\"[^\"\\\n]*\"\})? (\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def parsed(text):
    """The samples of a text in format 0.0.4, which is checked on the way."""
    assert text.endswith("\n")
    samples, kinds, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ")[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in samples and kind in ("counter", "gauge")
            kinds[name] = kind
        else:
            name, value = SAMPLE.fullmatch(line).groups()
            assert name in kinds and name not in samples, "each metric has its lines together, the type first"
            assert name.endswith("_total") == (kinds[name] == "counter")
            samples[name] = float(value)
    assert set(samples) == set(kinds) == helped
    return samples


def fetch(url, method="GET"):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method=method), timeout=SECONDS) as answer:
        return answer.headers, answer.read().decode("utf-8")


def test_prometheus_is_told(start, backend, share, tmp_path):
    serving.need(backend, "server")
    service = start("--metrics", "0")
    lines = [service.process.stderr.readline() for _ in range(2)]
    url = re.search(r"http://127\.0\.0\.1:\d+/metrics", lines[1]).group(0)
    first = parsed(fetch(url)[1])
    assert first["eacopy_received_files_total"] == 0 and first["eacopy_build_info"] == 1
    (tmp_path / "file").write_bytes(b"x" * 5000)
    py_eacopy.copy_with_server(tmp_path / "file", "eacopy://127.0.0.1:%d/s/file" % service.port)
    headers, text = fetch(url)
    then = parsed(text)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(headers["Content-Length"]) == len(text)
    assert then["eacopy_received_files_total"] == 1 and then["eacopy_received_bytes_total"] > 5000
    assert set(first) == set(then) and then["eacopy_uptime_seconds"] > first["eacopy_uptime_seconds"]
    assert fetch(url, "HEAD")[1] == ""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(url.replace("/metrics", "/"))
    with pytest.raises(urllib.error.HTTPError, match="501"):
        fetch(url, "POST")
    service.process.terminate()
    assert service.process.wait(SECONDS) == 0


def test_another_parser_reads_the_same():
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    text = metrics.text(dict.fromkeys(ServerStats.__annotations__, 3))
    families = list(parser.text_string_to_metric_families(text))
    assert {sample.name: sample.value for family in families for sample in family.samples} == parsed(text)
    assert all(family.documentation for family in families)


def test_every_statistic_is_a_metric():
    values = {name: 100 + number for number, name in enumerate(ServerStats.__annotations__)}
    assert set(values.values()) <= set(parsed(metrics.text(values)).values())


@pytest.mark.parametrize(
    "text, place",
    [("9797", ("127.0.0.1", 9797)), (":9797", ("127.0.0.1", 9797)), ("[::1]:1", ("::1", 1)), ("h:0", ("h", 0))],
)
def test_address_of_metrics(text, place):
    assert metrics.address(text) == place


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000", "[::1:1", "::1]:1", "host:-1"])
def test_address_of_metrics_that_is_none(text):
    with pytest.raises(py_eacopy.ConfigurationError, match="must be PORT or HOST:PORT"):
        metrics.address(text)


def test_port_of_metrics_that_is_taken_is_told(share):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = command("serve", "--port", 0, "--share", "s=%s" % share, "--unsecure", "--metrics", port)
    assert done.returncode == 3 and "the metrics cannot be served at 127.0.0.1, port %d" % port in done.stderr
