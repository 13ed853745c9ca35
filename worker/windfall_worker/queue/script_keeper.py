"""Keeps the scripts loaded in Redis, which forgets them on a restart or failover: producers may not load any."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from arq import ArqRedis
from redis.exceptions import NoPermissionError

from windfall.broker.connection import REDIS_ERRORS
from windfall.scripts import load_missing

logger = logging.getLogger("windfall.scripts")

#: Seconds between checks. After a restart, producers wait this long, and for as long as it takes to reconnect.
_PERIOD: Final = 1.0


async def keep_scripts(redis: ArqRedis) -> None:
    """Reload missing scripts until cancelled."""
    denied = False
    while True:
        try:
            await load_missing(redis)
        except NoPermissionError as exc:
            # This worker does not depend on it: it loads what it runs, or another client already has.
            if not denied:
                logger.warning("not allowed to load scripts into Redis (%s); see docs/operations.md, Users", exc)
            denied = True
        except REDIS_ERRORS as exc:
            logger.debug("cannot check the scripts: %s", exc)
        await asyncio.sleep(_PERIOD)
