"""What a server did, for Prometheus: its text format 0.0.4, and an HTTP endpoint that serves it."""

import http.server
import socket
import socketserver
import threading
from typing import Any, Callable, Mapping, Tuple

from .. import ConfigurationError, __version__
from .._control import logger

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Name, type, the statistic, and what it is.
_METRICS = (
    ("eacopy_connections_total", "counter", "connections", "Connections that were accepted."),
    ("eacopy_active_connections", "gauge", "active_connections", "Connections that are open."),
    ("eacopy_sent_bytes_total", "counter", "bytes_sent", "Bytes sent to clients."),
    ("eacopy_received_bytes_total", "counter", "bytes_received", "Bytes received from clients."),
    ("eacopy_sent_files_total", "counter", "files_sent", "Files that clients pulled."),
    ("eacopy_received_files_total", "counter", "files_received", "Files that clients pushed, whole."),
    ("eacopy_linked_files_total", "counter", "files_linked", "Pushed files that were linked, not sent."),
    ("eacopy_skipped_files_total", "counter", "files_skipped", "Pushed files that were there already."),
    ("eacopy_linked_bytes_total", "counter", "bytes_linked", "Sizes of the files that were linked."),
    ("eacopy_skipped_bytes_total", "counter", "bytes_skipped", "Sizes of the files that were there already."),
    ("eacopy_errors_total", "counter", "errors", "Requests and connections that failed."),
    ("eacopy_history_files", "gauge", "history_size", "Files that are remembered."),
    ("eacopy_uptime_seconds", "gauge", "uptime", "Seconds since the server was started."),
)


def text(statistics: Mapping[str, Any]) -> str:
    """The statistics of a server in the text format of Prometheus."""
    lines = [
        "# HELP eacopy_build_info The version that serves.",
        "# TYPE eacopy_build_info gauge",
        'eacopy_build_info{version="%s"} 1' % __version__,
    ]
    for name, kind, statistic, meaning in _METRICS:
        value = statistics[statistic]
        lines += ["# HELP %s %s" % (name, meaning), "# TYPE %s %s" % (name, kind), "%s %s" % (name, repr(value))]
    return "\n".join(lines) + "\n"


def address(value: str) -> Tuple[str, int]:
    """Host and port of "HOST:PORT", "[ADDRESS]:PORT", or of "PORT", which is at the loopback address alone.

    Raises ConfigurationError.
    """
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or host.startswith("[") != host.endswith("]"):
        raise ConfigurationError("metrics=%r is not legal: it must be PORT or HOST:PORT" % value)
    return host.strip("[]") or "127.0.0.1", int(port)


class MetricsServer:
    """Answers GET /metrics until it is closed.

    Args:
        host, port: where; port 0 picks a free one.
        statistics: asked for at each request.

    Raises OSError when it cannot listen there.
    """

    def __init__(self, host: str, port: int, statistics: Callable[[], Mapping[str, Any]]) -> None:
        self._server = _Server(host, port, statistics)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="eacopy-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, statistics: Callable[[], Mapping[str, Any]]) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.statistics = statistics
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # that of HTTPServer asks for this machine's name, and may wait for it


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "eacopy"
    sys_version = ""
    timeout = 10  # a client that says nothing keeps no thread for longer

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, with_body: bool) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is here")
            return
        body = text(self.server.statistics()).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        logger.debug("metrics: " + format, *arguments)
