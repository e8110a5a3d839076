"""stub"""
from benchmarks.stage import Stage
PART = "collecting"
async def measure(stage: Stage) -> None: ...
