"""Where the files of a sync are at both ends, and in the older copies that may be linked to."""

import os
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Tuple

from .. import system
from ..directory import Directory
from ..tree import Node, NodePlace
from ..worker import Place
from .file_systems import Traits

if TYPE_CHECKING:
    from .tree import SyncTree


class Older(NamedTuple):
    """A place where an older copy of a file may be: a directory that is open, what comes before a name, and a path."""

    directory: Optional[int]
    prefix: str
    path: str


class SyncNode(Node):
    """A directory of a tree that is brought up to date.

    Attributes:
        depth: 1 for the root.
        there: the destination exists, and is open. In a dry run, and before something goes in, it may not.
        made: it was made by this job, or would be.
        filled: something of the source is in it.
        left: how much of what was at the destination is still there, or would be; guarded by the job's lock.
        older: the directories of older copies, None where there is none.
    """

    __slots__ = ("depth", "filled", "left", "made", "older", "there")

    tree: "SyncTree"
    parent: "Optional[SyncNode]"
    depth: int
    there: bool
    made: bool
    filled: bool
    left: int
    older: Tuple[Optional[Directory], ...]

    def where(self) -> str:
        """Its path below the root, with "/" between names and at its end; empty for the root."""
        names: List[str] = []
        node: Optional[SyncNode] = self
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "".join(name + "/" for name in reversed(names))


class SyncPlace(Place):
    """One of the two kinds of places below.

    Attributes:
        target: the directory of the destination, for as long as something is to be looked up in it; None for paths.
        traits: what both file systems can remember.
        older: where older copies may be.
    """

    target: Optional[Directory] = None
    traits: Traits
    older: List[Older]

    def where(self, name: str) -> str:
        """The path of a file below the destination, by which the database knows it."""
        raise NotImplementedError

    def beside(self, name: str, other: str) -> str:
        """Another name in the directory in which a name is."""
        raise NotImplementedError


class InTree(SyncPlace, NodePlace):
    """The names in a directory that is pinned at both ends."""

    node: SyncNode

    def __init__(self, node: SyncNode, traits: Traits, older: List[Older]) -> None:
        NodePlace.__init__(self, node)
        self.target = node.target
        self.traits = traits
        self._where: Optional[str] = None
        self.older = older

    def paths(self, name: str) -> Tuple[str, str]:
        source, target = super().paths(name)
        return (source, self.node.tree.flat_path(name)) if self.node.tree.flat else (source, target)

    def where(self, name: str) -> str:
        if self._where is None:
            self._where = "" if self.node.tree.flat else self.node.where()
        return self._where + name

    def beside(self, name: str, other: str) -> str:
        return self.target_prefix + other


class Alone(SyncPlace):
    """A file that is an item of the job; its name is empty, and the paths are the prefixes."""

    def __init__(self, source: str, target: str, where: str, traits: Traits, older: List[Older]) -> None:
        super().__init__(system.file_path(source), system.file_path(target))
        self.traits = traits
        self.older = older
        self._where = where

    def where(self, name: str) -> str:
        return self._where

    def beside(self, name: str, other: str) -> str:
        return os.path.join(os.path.dirname(self.target_prefix), other)
