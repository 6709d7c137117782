"""Addresses: what is one, which are asked, and which parts of the network are nobody's business."""

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

WEB = ("http", "https")
BUCKETS = {"s3": "s3", "gs": "gs", "memory": ""}  # scheme -> the extra of pyproject.toml that brings it
MAX_LENGTH = 8192
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def scheme_of(address: str) -> str | None:
    """The scheme of `scheme://…`, in lower case; None for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else None


def is_remote(address: str) -> bool:
    """Whether `address` is `scheme://…` rather than a path."""
    return scheme_of(address) is not None


def address_fault(address: str) -> str | None:
    """Why an address is asked by nobody, or None: its scheme, no host, or characters that no address has."""
    if len(address) > MAX_LENGTH:
        return f"{len(address)} characters, {MAX_LENGTH} at most"
    if _CONTROL.search(address):
        return "control characters"
    try:
        address.encode()
        host = urlsplit(address).hostname
    except ValueError as error:  # lone surrogates, a broken IPv6 host
        return f"no address: {error}"
    scheme = scheme_of(address)
    if scheme not in (*WEB, *BUCKETS):
        return f"its scheme is not among {', '.join((*WEB, *BUCKETS))}"
    return None if host or scheme == "memory" else "no host"


def web_fault(address: str) -> str | None:
    """`address_fault` of what strangers wrote: nothing but http and https."""
    if scheme_of(address) not in WEB:
        return f"not {' or '.join(f'{scheme}://' for scheme in WEB)}"
    return address_fault(address)


def is_public(ip: str) -> bool:
    """Whether an IP address, and any IPv4 address inside it, is on the public Internet."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        inside = (address.sixtofour, *(address.teredo or ()))
        if any(each is not None and not is_public(str(each)) for each in inside):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def file_name(address: str) -> str:
    """The last part of a path or address, without what follows `?` or `#` in an address."""
    path = urlsplit(address).path if is_remote(address) else address
    return PurePosixPath(path).name


def fits(path: str, patterns: Sequence[str]) -> bool:
    """Whether a file's path fits one of the patterns, as the hub reads them: `*` fits slashes too, case counts."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def address_in(folder: str, name: str) -> str | None:
    """The address of the file `name` in a remote folder; None for a name that leads outside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or is_remote(name) or _CONTROL.search(name) or not path.parts:
        return None
    written = quote(str(path), errors="surrogatepass") if scheme_of(folder) in WEB else str(path)
    return f"{folder.rstrip('/')}/{written}"
