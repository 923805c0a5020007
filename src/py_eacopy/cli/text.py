"""How sizes, times and names are written for people."""

from .. import SyncAction


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return "%d B" % count if unit == "B" else "%.1f %s" % (count, unit)
        count /= 1024
    return "%.1f TiB" % count


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or with fractions where they are few."""
    if seconds < 60:
        return "%.1f s" % seconds
    minutes, rest = divmod(int(seconds), 60)
    return "%d:%02d:%02d" % (minutes // 60, minutes % 60, rest)


def plain(name: str) -> str:
    """Text that came from a file's name or from a server: what a terminal would obey, or cannot show, is escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def action(done: SyncAction) -> str:
    """One thing that was done, or would be, as a line."""
    line = "%-16s  " % done.action
    if done.source is not None and done.action != "make-directory":
        line += plain(done.source) + " -> "
    return line + plain(done.destination)
