"""Looking at processes through /proc."""

import os
import socket
import subprocess
import sys

import pytest

from espeer.sim import processes
from espeer.sim.processes import Sample

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is /proc only on Linux")

LISTENER = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"

MB = 1024 * 1024


def test_a_process_that_lives_uses_something() -> None:
    found = processes.sample(os.getpid(), 7.0)
    assert found is not None
    assert found.at == 7.0
    assert found.rss > MB
    assert found.cpu > 0


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert processes.sample(2**22 + 1, 0.0) is None  # above the kernel's highest process id


def test_the_worst_node_counts() -> None:
    samples = {
        "n1": [Sample(0, 100 * MB, 1.0), Sample(10, 90 * MB, 2.0)],
        "n2": [Sample(0, 50 * MB, 1.0), Sample(10, 60 * MB, 6.0)],
        "n3": [],
    }
    assert processes.usage(samples) == {"rss_peak_mb": 100.0, "cpu_mean": 0.5}
    assert processes.usage({}) == {}


def test_a_share_of_a_core_needs_a_span_of_time() -> None:
    samples = [Sample(at, MB, at / 4) for at in range(10)]
    assert processes.cpu_share(samples, 2, 6) == 0.25
    assert processes.cpu_share(samples, 8.5, 9.5) is None
    assert processes.peak_mb(samples, 0, 5) == 1.0
    assert processes.peak_mb(samples, 20, 30) is None


def test_the_port_that_a_process_listens_on_is_found() -> None:
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        port = int(listener.stdout.readline())
        assert processes.listening(listener.pid) == port
        listener.communicate(b"\n")
    assert processes.listening(listener.pid) is None


def test_the_owner_of_a_connection_is_found_by_its_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ports = client.getsockname()[1], server.getsockname()[1]
        assert processes.owner(*ports, {os.getpid(): "me"}) == "me"
        assert processes.owner(*ports, {1: "somebody else"}) is None
        assert processes.owner(1, ports[1], {os.getpid(): "me"}) is None
