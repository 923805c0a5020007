"""Tells systemd how the service is: readiness, status and watchdog (sd_notify(3))."""

import os
import socket
import sys
import time
from typing import Mapping, Optional

import click


class Notifier:
    """Sends to the socket that systemd names in the environment; does nothing where it names none.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked for.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._interval = _watchdog_interval(environment)
        self._fed = time.monotonic()
        self._status = ""

    def ready(self, status: str) -> None:
        """The service does its work now."""
        self._status = status
        self._send("READY=1\nSTATUS=" + status)

    def stopping(self) -> None:
        """The service was told to end, and does."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def status(self, text: str) -> None:
        """A line for people; sent when it is another one."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text)

    def alive(self) -> None:
        """To be called at least every second; tells the watchdog as often as it wants to hear it."""
        if self._interval is not None and time.monotonic() - self._fed >= self._interval:
            self._fed = time.monotonic()
            self._send("WATCHDOG=1")

    @property
    def longest_wait(self) -> float:
        """Seconds within which :meth:`alive` wants to be called."""
        return 1.0 if self._interval is None else min(1.0, self._interval)

    def _send(self, message: str) -> None:
        if self._address is None or sys.platform == "win32":
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                channel.sendto(message.encode("utf-8"), self._address)
            except OSError as error:
                click.echo("eacopy: cannot reach NOTIFY_SOCKET: %s" % error.strerror, err=True)
                self._address = None


def _address(name: str) -> Optional[bytes]:
    if name.startswith("@"):  # an abstract one
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _watchdog_interval(environment: Mapping[str, str]) -> Optional[float]:
    """Seconds between two signs of life: half of what systemd waits for, as it recommends."""
    limit = environment.get("WATCHDOG_USEC", "")
    if not limit.isdecimal() or int(limit) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is meant for another process
    return int(limit) / 2e6
