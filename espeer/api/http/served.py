"""The node behind the HTTP server, which answers before the node is up and after it is gone."""

from typing import Annotated, Literal, cast

import trio
from fastapi import Depends, Request

from espeer.errors import EspeerError
from espeer.node import Node

Phase = Literal["loading", "ready", "stopping"]


class NotReady(EspeerError):
    """The node is not up yet, or no more."""


class Served:
    """What the HTTP server stands before.

    :ivar phase: set to "ready", with the node, when it is up.
    :ivar is_up: set when it is up.
    :ivar is_down: set when it is stopped.
    """

    def __init__(self) -> None:
        self.phase: Phase = "loading"
        self.is_up = trio.Event()
        self.is_down = trio.Event()
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        """The node.

        :raises NotReady: it is not up.
        """
        if self._node is None:
            raise NotReady(f"the node is {self.phase}; try again in some seconds")
        return self._node

    def up(self, node: Node) -> None:
        """Serve this node from now on."""
        self._node, self.phase = node, "ready"
        self.is_up.set()

    def down(self) -> None:
        """Serve it no more."""
        self._node, self.phase = None, "stopping"
        self.is_down.set()


def served(request: Request) -> Served:
    """Return what the app stands before."""
    return cast("Served", request.app.state.served)


def _node(request: Request) -> Node:
    return served(request).node


ServedNode = Annotated[Node, Depends(_node)]
"""A parameter of a handler: the node; where it is not up, the answer is 503."""
