"""The key of an endpoint: text that requests can be made with, and that nothing prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic import SecretStr

from windfall.errors import ConfigError

_MASK: Final = "***"


class Key(str):
    """A key, or text with one in it. An f-string has the text; its repr, and so every dump of variables, is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MASK if self else "")

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, _: Any) -> Key:
        return self

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a key cannot be pickled")


class _PrivateValue(bytes):
    """A header's value with a key in it. httpx and h11 take it for the bytes that it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MASK.encode())

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> Key:
        """The same as text that nothing prints either: httpx's repr of headers decodes them."""
        return Key(super().decode(encoding, errors))

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a header with a key in it cannot be pickled")


def checked_key(api_key: str | SecretStr | None) -> Key:
    """The key, without the newline that it was pasted with. Raises `ConfigError` for one that no header can hold."""
    secret = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key or ""
    secret = secret.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError("the key holds a character that no key has: a blank, a control character or a non-ASCII one")
    return Key(secret)


def private_headers(headers: Mapping[str, str], key: Key) -> dict[bytes, bytes]:
    """The same headers for httpx, whose own repr hides `authorization` alone."""
    return {
        name.encode("ascii"): _PrivateValue(value.encode("ascii")) if key and key in value else value.encode("ascii")
        for name, value in headers.items()
    }
