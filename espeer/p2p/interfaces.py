"""The machine's network interfaces."""

import ipaddress

import ifaddr


def hosts() -> list[str]:
    """Our IPv4 addresses, one of each interface but loopback."""
    found = ([ip.ip for ip in adapter.ips if isinstance(ip.ip, str)] for adapter in ifaddr.get_adapters())
    return [addresses[0] for addresses in found if addresses and not ipaddress.ip_address(addresses[0]).is_loopback]
