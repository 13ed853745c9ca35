"""What a sentinel URL says of TLS reaches the connections to the sentinels and to the master."""

from __future__ import annotations

import pytest

from windfall.broker.sentinel import sentinel_pool
from windfall.errors import ConfigError

FILES = {"ssl_ca_certs": "/ca.pem", "ssl_certfile": "/own.pem", "ssl_keyfile": "/own.key"}


def test_the_certificates_are_for_the_master_and_for_the_sentinels() -> None:
    query = "&".join(f"{name}={file}" for name, file in FILES.items())
    pool = sentinel_pool(f"rediss+sentinel://a,b/main?{query}")
    manager = pool.sentinel_manager  # type: ignore[attr-defined]
    for options in (pool.connection_kwargs, manager.sentinel_kwargs):
        assert {name: options[name] for name in FILES} == FILES


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rediss+sentinel://a/main?ssl_crtfile=x", "no option ssl_crtfile"),
        ("redis+sentinel://a/main?ssl_certfile=x", "needs a rediss"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sentinel_pool(url)
