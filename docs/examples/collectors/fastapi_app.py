"""A FastAPI application that runs collectors, shows their state and restarts them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from docs.examples.collectors.exchanges import OKXCollector
from perpcache.live import CollectorManager

manager: CollectorManager | None = None


@asynccontextmanager
async def collectors(_: FastAPI) -> AsyncIterator[None]:
    global manager
    manager = CollectorManager("fastapi_collectors")
    manager.add_collector(OKXCollector(["BTC-USDT", "ETH-USDT"]))
    await manager.start()
    try:
        yield
    finally:
        await manager.stop()


app = FastAPI(lifespan=collectors)


@app.get("/collector/status")
async def get_collector_status() -> dict[str, Any]:
    return manager.get_status() if manager else {}


@app.post("/collector/{name}/restart")
async def restart_collector(name: str) -> dict[str, bool]:
    success = manager is not None and await manager.restart_collector(name)
    return {"success": success}
