"""What a server is told: a frozen value, validated by then, that holds all a backend needs to serve."""

from typing import Mapping, Optional

import attr

LINK_MODES = ("auto", "hard", "reflink", "never")


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True)
class ServerOptions:
    """How to serve.

    Attributes:
        host: the address to listen at.
        port: 0 takes a free one.
        thread_count: requests that are worked on at the same time; also how many connections a client is advised.
        shares: names and the absolute directories they stand for; empty: absolute paths, for clients of this machine.
        token: the shared secret; None without.
        history_size: most files that are remembered.
        history_file: where they are kept between two runs; None nowhere.
        link_mode: "auto" (clone, else hard link), "hard", "reflink" or "never".
        link_min_size: smaller files, in bytes, are not linked.
        link_by_name: a file is known by its name alone, not by its relative path.
        use_hash: ask for digests, to find files that were copied under another name or time.
        security_file: clients prove that they are the server's own user by reading a file.
        compression: whether zstd may be used.
        delta: whether deltas may be used.
        max_connections: more are refused.
        idle_timeout: seconds without a request after which a connection is closed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    thread_count: int = 4
    shares: Mapping[str, bytes] = attr.Factory(dict)
    token: Optional[str] = attr.ib(default=None, repr=False)
    history_size: int = 500_000
    history_file: Optional[bytes] = None
    link_mode: str = "auto"
    link_min_size: int = 0
    link_by_name: bool = False
    use_hash: bool = False
    security_file: bool = True
    compression: bool = True
    delta: bool = True
    max_connections: int = 256
    idle_timeout: float = 300.0
