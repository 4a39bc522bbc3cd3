"""Networks of their own for tests: namespaces, bridges and NATs that are gone when the test is over.

Nothing that runs in one reaches the machine's own network, multicast included.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace."""

    name: str

    def command(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in here, with the process id that it is started with."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str) -> None:
        """Run a command in here and wait for it."""
        _run(*self.command(*command))

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` on what is in here."""
        _run("ip", "-n", self.name, *arguments)

    def address(self, device: str, address: str) -> None:
        """Give a device an address, and switch it on."""
        self.ip("address", "add", address, "dev", device)
        self.ip("link", "set", device, "up")


class Namespaces:
    """Makes namespaces, and removes them with the block."""

    def __init__(self) -> None:
        self._made: list[Namespace] = []

    def make(self) -> Namespace:
        """A namespace with a loopback device and nothing else."""
        made = Namespace(f"espeer-{os.getpid()}-{len(self._made)}")
        _run("ip", "netns", "add", made.name)
        self._made.append(made)
        made.ip("link", "set", "lo", "up")
        return made

    def switch(self, address: str) -> Namespace:
        """A namespace with a bridge, ``switch``, that others can be plugged into; it has an address itself."""
        made = self.make()
        made.ip("link", "add", "switch", "type", "bridge")
        made.address("switch", address)
        return made

    def plug(self, namespace: Namespace, device: str, switch: Namespace, address: str) -> None:
        """Join a namespace to a switch by a device of that name and address."""
        port = f"port{len(self._made)}"
        namespace.ip("link", "add", device, "type", "veth", "peer", "name", port, "netns", switch.name)
        switch.ip("link", "set", port, "master", "switch")
        switch.ip("link", "set", port, "up")
        namespace.address(device, address)

    def home(self, internet: Namespace, address: str) -> Namespace:
        """A namespace behind a NAT that has ``address`` on the switch ``internet``; all homes are 192.168.1.2 inside.

        The NAT lets nothing in that was not asked for.
        """
        home, router = self.make(), self.make()
        self.plug(router, "wan", internet, address)
        router.ip("link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", home.name)
        router.address("lan", "192.168.1.1/24")
        home.address("eth0", "192.168.1.2/24")
        home.ip("route", "add", "default", "via", "192.168.1.1")
        router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        router.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE")
        router.run("iptables", "-P", "FORWARD", "DROP")
        router.run("iptables", "-A", "FORWARD", "-i", "lan", "-j", "ACCEPT")
        router.run("iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
        return home

    def close(self) -> None:
        """Remove them all."""
        for made in self._made:
            subprocess.run(["ip", "netns", "del", made.name], check=False, capture_output=True)


@contextmanager
def opened() -> Iterator[Namespaces]:
    """Namespaces for a test, which is skipped where there can be none."""
    if missing := [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]:
        pytest.skip(f"no network namespaces: {' and '.join(missing)} not installed")
    if os.geteuid() != 0:
        pytest.skip("no network namespaces: not root")
    probe = Namespaces()
    try:
        probe.home(probe.switch("203.0.113.1/24"), "203.0.113.2/24")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces: {error.stderr.decode().strip()}")
    finally:
        probe.close()
    made = Namespaces()
    try:
        yield made
    finally:
        made.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
