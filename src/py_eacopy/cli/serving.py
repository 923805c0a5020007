"""Runs a server in the foreground until it is told to stop."""

import os
import signal
import socket
import threading

import click

from .. import EACopyError, EACopyServer
from . import text
from .running import COMPLETE, NOTHING_DONE


def serve(server: EACopyServer, host: str, quiet: bool) -> int:
    """Serves until SIGTERM or Ctrl-C; returns the exit status."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.set())
    try:
        server.start()
    except EACopyError as error:
        click.echo("eacopy: " + text.plain(str(error)), err=True)
        return NOTHING_DONE
    try:
        if not quiet:
            click.echo("listening at %s, port %d" % (host, server.port), err=True)
        _notify("READY=1")
        while not stopped.wait(1.0):  # Windows looks for signals only between waits
            pass
        _notify("STOPPING=1")
    finally:
        server.stop()
    if not quiet:
        done = server.get_stats()
        received, sent = done["files_received"], done["files_sent"]
        click.echo("stopped; received %d files, sent %d" % (received, sent), err=True)
    return COMPLETE


def _notify(message: str) -> None:
    """Tells systemd, where it asks for that (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # an abstract one
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(message.encode("ascii"), address)
        except OSError as error:
            click.echo("eacopy: cannot reach NOTIFY_SOCKET: %s" % error.strerror, err=True)
