"""Keeping the scripts in Redis, for producers who may not load any: it forgets them when it restarts or fails over."""

from __future__ import annotations

import asyncio
import logging

from arq import ArqRedis
from redis.exceptions import NoPermissionError, RedisError

from windfall.broker.connection import OUTAGE
from windfall.scripts import load_missing

logger = logging.getLogger("windfall.scripts")

#: Seconds between two looks. So long, and the time in which Redis is found again, producers wait after a restart.
_PERIOD = 1.0


async def keep_scripts(redis: ArqRedis) -> None:
    """See to it, for ever, that Redis has every script."""
    denied = False
    while True:
        try:
            await load_missing(redis)
        except NoPermissionError as exc:
            # This worker's own steps may do without: what it runs, it loads, or somebody else has.
            if not denied:
                logger.warning("may not look after the scripts in Redis (%s); see docs/operations.md, Users", exc)
            denied = True
        except (RedisError, *OUTAGE) as exc:
            logger.debug("cannot look after the scripts: %s", exc)
        await asyncio.sleep(_PERIOD)
