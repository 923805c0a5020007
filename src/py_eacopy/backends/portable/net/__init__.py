"""Copying through a server, and being one: the wire, both dialects (docs/protocol.md), and both sides."""
