"""Where a node answers HTTP, and whom."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from espeer.errors import ConfigError
from espeer.settings import Service
from espeer.sources import secret

DEFAULT_PORT: Final = 7741
DEFAULT_ADDRESS: Final = f"127.0.0.1:{DEFAULT_PORT}"
MIN_KEY: Final = 16
MAX_KEY: Final = 256
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where HTTP is answered, and whom.

    :ivar address: ``IP:PORT``, or ``[IP]:PORT`` of IPv6; port 0 takes a free one.
    :ivar next_port: take one of the next ports where that one is taken.
    :ivar key: what clients must show as ``Authorization: Bearer KEY``; demanded for every address but
        this machine's own. Secret.
    :ivar names: names that this node is called by, beside ``localhost`` and IP addresses: a request for another is
        refused, since a web page can have its own name lead here (DNS rebinding).
    :raises ConfigError: a setting cannot be used, or others could reach the node without a key.
    """

    address: str = DEFAULT_ADDRESS
    next_port: bool = False
    key: str = field(default="", repr=False)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.ip.is_loopback and not self.key:
            raise ConfigError(
                f"others could use this node through {self.address} without a key; give --http-key-file, or listen on 127.0.0.1"
            )
        if self.key and not (MIN_KEY <= len(self.key) <= MAX_KEY and self.key.isascii() and self.key.isprintable()):
            raise ConfigError(f"an HTTP key has {MIN_KEY} to {MAX_KEY} printable ASCII characters; try: openssl rand -hex 32")

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address to listen on.

        :raises ConfigError: there is none.
        """
        return _parsed(self.address)[0]

    @property
    def port(self) -> int:
        """The port to listen on."""
        return _parsed(self.address)[1]


def of_service(service: Service) -> HttpSettings | None:
    """Return the settings as `espeer node` was given them; None for no HTTP.

    :raises ConfigError: they cannot be used, or the file with the key cannot be read.
    """
    if service.http == "off":
        return None
    if service.http_key and service.http_key_file:
        raise ConfigError("http-key and http-key-file are both given; give one of them")
    key = service.http_key
    if service.http_key_file:
        key = secret(service.http_key_file, "an HTTP key; make one with: openssl rand -hex 32")
    free = service.http == "auto"
    return HttpSettings(address=DEFAULT_ADDRESS if free else service.http, next_port=free, key=key, names=service.http_names)


def _parsed(address: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port) if port.isdecimal() and port.isascii() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= _MAX_PORT:
        raise ConfigError(f"cannot listen for HTTP on {address!r}; give IP:PORT, such as {DEFAULT_ADDRESS}")
    return ip, number
