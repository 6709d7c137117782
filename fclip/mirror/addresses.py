"""Remote addresses: parse them, check that they may be requested, and tell public from private IP addresses."""

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

WEB = ("http", "https")
BUCKETS = {"s3": "s3", "gs": "gs", "memory": ""}  # scheme -> the extra of pyproject.toml that installs its file system
MAX_LENGTH = 8192
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def scheme_of(address: str) -> str | None:
    """Return the lower-case scheme of `scheme://…`. Return None for a path."""
    match = _SCHEME.match(address)
    return match[1].lower() if match else None


def is_remote(address: str) -> bool:
    """Whether `address` has the form `scheme://…`; a path has not."""
    return scheme_of(address) is not None


def address_fault(address: str) -> str | None:
    """Return why an address must not be requested (scheme, missing host, invalid characters), or None if it may be."""
    if len(address) > MAX_LENGTH:
        return f"{len(address)} characters, {MAX_LENGTH} at most"
    if _CONTROL.search(address):
        return "control characters"
    try:
        address.encode()
        host = urlsplit(address).hostname
    except ValueError as error:  # lone surrogates, a broken IPv6 host
        return f"not an address: {error}"
    scheme = scheme_of(address)
    if scheme not in (*WEB, *BUCKETS):
        return f"its scheme is not one of {', '.join((*WEB, *BUCKETS))}"
    return None if host or scheme == "memory" else "no host"


def web_fault(address: str) -> str | None:
    """`address_fault` for untrusted input: it also refuses every scheme except http and https."""
    if scheme_of(address) not in WEB:
        return f"not {' or '.join(f'{scheme}://' for scheme in WEB)}"
    return address_fault(address)


def is_public(ip: str) -> bool:
    """Whether an IP address, and each IPv4 address embedded in it, is on the public Internet."""
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
    """Return the last part of a path or address. An address loses its query and fragment."""
    path = urlsplit(address).path if is_remote(address) else address
    return PurePosixPath(path).name


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path matches one of the patterns, by the hub's rules: `*` also matches slashes; case matters."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def address_below(folder: str, name: str) -> str | None:
    """Return the address of the file `name` in a remote folder, or None if the name leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or is_remote(name) or _CONTROL.search(name) or not path.parts:
        return None
    quoted = quote(str(path), errors="surrogatepass") if scheme_of(folder) in WEB else str(path)
    return f"{folder.rstrip('/')}/{quoted}"
