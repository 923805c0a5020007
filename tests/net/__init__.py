"""What tests of the network service talk to."""

import contextlib
import socket


def end_accepting(listener: socket.socket) -> None:
    """Ends another thread's waiting in accept(), and closes the listener. That thread has to look whether it is over:
    what it accepts may be no client.
    """
    address = listener.getsockname()
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        return
    # Shutting down does that on POSIX alone.
    with contextlib.suppress(OSError), socket.create_connection(address[:2], timeout=1):
        pass
    listener.close()
