"""Addresses that must not be requested, and limits of retry waits."""

import ipaddress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.mirror.addresses import address_below, address_fault, file_name, is_public, is_remote, web_fault
from fclip.mirror.retry import MAX_RETRY_AFTER_S, MAX_WAIT_S, backoff, retry_after

NOT_PUBLIC = [  # RFC 6890 and its updates
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32",
]  # fmt: skip


@given(st.sampled_from(NOT_PUBLIC).map(ipaddress.ip_network).flatmap(lambda net: st.ip_addresses(network=net)))
def test_non_public_ip_is_recognised_in_every_form(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(str(address))
    if isinstance(address, ipaddress.IPv4Address):
        assert not is_public(f"::ffff:{address}")
        assert not is_public(f"64:ff9b::{address}")
        assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_ip_is_recognised(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "fe80::1%eth0", "::ffff:127.0.0.1%1"])
def test_text_that_is_not_an_ip_is_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("https://shop.example/a.jpg", None),
        ("HTTP://shop.example/ä b.jpg?size=1&x", None),
        ("file:///etc/passwd", "not http:// or https://"),
        ("ftp://shop.example/a.jpg", "not http:// or https://"),
        ("s3://bucket/a.jpg", "not http:// or https://"),
        ("data:image/png;base64,AAAA", "not http:// or https://"),
        ("a.jpg", "not http:// or https://"),
        ("https:///a.jpg", "no host"),
        ("https://shop.example/a\r\nHost: evil", "control characters"),
        ("https://shop.example/\ud800", "not an address"),
        ("https://[::1/a.jpg", "not an address"),
        ("https://shop.example/" + "a" * 10_000, "10021 characters, 8192 at most"),
    ],
)
def test_web_fault_accepts_only_valid_web_addresses(cell: str, fault: str | None) -> None:
    found = web_fault(cell)
    assert found is None if fault is None else found is not None and found.startswith(fault)


@given(st.text())
def test_text_is_a_remote_address_or_has_a_fault(text: str) -> None:
    if address_fault(text) is None:
        assert is_remote(text)
        assert text.isprintable() or not text.isascii()


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b", "https://x/y.jpg", "a\0b", "", "."])
def test_name_that_leaves_a_remote_folder_has_no_address(name: str) -> None:
    assert address_below("s3://bucket/images", name) is None


def test_names_in_a_remote_folder_are_quoted() -> None:
    assert address_below("s3://bucket/images/", "a b/#1.jpg") == "s3://bucket/images/a b/#1.jpg"
    assert address_below("https://cdn.example/i", "a b/#1?.jpg") == "https://cdn.example/i/a%20b/%231%3F.jpg"
    assert file_name("https://shop.example/t/products.csv?token=secret#top") == "products.csv"
    assert file_name("s3://bucket/products.parquet") == "products.parquet"
    assert file_name("shop/products#1.csv") == "products#1.csv"


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.integers(-10_000, 10_000))
def test_retry_after_is_parsed_and_capped(seconds: int) -> None:
    wanted = min(MAX_RETRY_AFTER_S, max(0, seconds))
    assert retry_after(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW) == wanted
    if seconds >= 0:
        assert retry_after(f" {seconds} ", NOW) == wanted


@given(st.text())
def test_invalid_retry_after_is_ignored(text: str) -> None:
    found = retry_after(text, NOW)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER_S


@given(st.integers(0, 20))
def test_backoff_grows_and_is_capped(attempt: int) -> None:
    assert 0 <= backoff(attempt) <= min(MAX_WAIT_S, 0.5 * 2**attempt)
