"""Generated candles of a market, from a seed and a symbol, consistent over all intervals.

There are two layers. Blocks of 2 hours come first, 384 in a chunk of 32 days; intervals from 2h up
are aggregated from them. The 5-minute candles of a day subdivide its 12 blocks and add up exactly
to them; shorter intervals and the forming candle are aggregated from those, or from the minutes of
their tapes of trades. So 499 daily candles cost as little as 499 candles of 5 minutes.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulator.candles import (
    CLOSE,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NO_CANDLES,
    SLOT_MS,
    TIME,
    Ints,
    aggregate,
    between,
    one_candle,
)
from simulator.prices import (
    BLOCKS_A_CHUNK,
    BLOCKS_A_DAY,
    CHUNK_DAYS,
    SLOTS_A_BLOCK,
    AssetPrice,
    Floats,
)
from simulator.randomness import RecentlyUsed, draw, generator
from simulator.subdivision import Flags, subdivide
from simulator.tape import Tape, minutes, tape_of

BLOCK_MS: Final = 2 * HOUR_MS
CHUNK_MS: Final = CHUNK_DAYS * DAY_MS
SLOTS_A_CHUNK: Final = CHUNK_DAYS * 288
# The relative distance of an exchange's price from the asset's: usually 1 basis point, at most 3.
_BASIS: Final = 1e-4
_LARGEST_BASIS: Final = 3e-4
_LEAST_VOLUME: Final = 200  # of a traded block, in steps: enough for each of its 24 slots
_BIG_HOLES_MS: Final = (45 * 60_000, 2 * HOUR_MS, 4 * HOUR_MS, 9 * HOUR_MS, 30 * HOUR_MS)


class Chunk(NamedTuple):
    """The blocks of 32 days."""

    blocks: Ints  # candles in ticks and steps
    latent: Ints  # open, high and low of the asset's price, traded here or not: (3, 384)
    exists: Flags  # which 5-minute slots have a candle


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a generated market; prices and volumes in units of its decimals."""

    name: str  # "exchange:symbol", the key of its random numbers
    asset: AssetPrice  # the latent price that the market follows
    seed: int
    ticks_a_unit: float  # how many ticks one US dollar (or other quote) of `asset` is here
    block_volume: float  # the usual volume of 2 hours, in steps
    price_decimals: int
    quantity_decimals: int
    tick: int
    step: int
    opens_with_gaps: bool
    quiet_slots: float  # the share of 5-minute candles without a trade
    quiet_blocks: float
    holes: bool
    first_trade_ms: int


class GeneratedCandles:
    """The candle series of one market."""

    has_minutes = True

    def __init__(self, shape: Shape, chunks: RecentlyUsed[Chunk], days: RecentlyUsed[Ints]):
        self._shape = shape
        self._chunks = chunks
        self._days = days
        scale = [1] + [shape.tick] * 4 + [shape.step, shape.tick * shape.step, 1]
        scale += [shape.step, shape.tick * shape.step]
        self._scale = np.array(scale, dtype=np.int64)[:, None]
        self._last_chunk: int | None = None
        self._last_tape: Tape | None = None

    @property
    def first_ms(self) -> int:
        """When the first 5-minute candle opens."""
        return self._shape.first_trade_ms - self._shape.first_trade_ms % SLOT_MS

    def closed(self, interval_ms: int, first_ms: int, last_ms: int) -> Ints:
        """The candles that open from `first_ms` to `last_ms`, in their final form."""
        first_ms = max(first_ms, self.first_ms - self.first_ms % interval_ms)
        first_ms += -first_ms % interval_ms
        last_ms -= last_ms % interval_ms
        if last_ms < first_ms:
            return NO_CANDLES
        end_ms = last_ms + interval_ms - 1
        if interval_ms < BLOCK_MS:
            days = range(first_ms // DAY_MS, end_ms // DAY_MS + 1)
            fine = np.concatenate([self._day(day) for day in days], axis=1)
        else:
            chunks = range(first_ms // CHUNK_MS, end_ms // CHUNK_MS + 1)
            fine = np.concatenate([self._blocks(chunk) for chunk in chunks], axis=1)
        if interval_ms % SLOT_MS:
            fine = between(fine, first_ms - first_ms % SLOT_MS, end_ms)
            fine = minutes(fine, SLOT_MS, self._shape.tick, self._shape.step)
        fine = between(fine, first_ms, end_ms)
        return fine if interval_ms in (SLOT_MS, BLOCK_MS) else aggregate(fine, interval_ms)

    def forming(self, interval_ms: int, now_ms: int) -> Ints:
        """The candle that is open at `now_ms` in its state at that time, or none."""
        open_ms = now_ms - now_ms % interval_ms
        slot_ms = now_ms - now_ms % SLOT_MS
        if slot_ms < self.first_ms:
            return NO_CANDLES
        if interval_ms % SLOT_MS:
            return self._forming_of_minutes(open_ms, now_ms)
        fine = between(self._day(now_ms // DAY_MS), open_ms, slot_ms)
        if fine.shape[1] and fine[TIME, -1] == slot_ms:
            tape = self._tape(fine[:, -1:])
            part = np.array(tape.state(tape.count_at(now_ms)), dtype=np.int64)[:, None]
            fine = np.concatenate((fine[:, :-1], part), axis=1)
        return one_candle(open_ms, fine)

    def tape(self, now_ms: int) -> Tape | None:
        """The trades of the 5 minutes around `now_ms`; None where there is no such candle."""
        slot_ms = now_ms - now_ms % SLOT_MS
        if slot_ms < self.first_ms:
            return None
        slot = between(self._day(now_ms // DAY_MS), slot_ms, slot_ms)
        return self._tape(slot) if slot.shape[1] else None

    def _tape(self, slot: Ints) -> Tape:
        if self._last_tape is None or self._last_tape.start_ms != slot[TIME, 0]:
            self._last_tape = tape_of(slot, SLOT_MS, self._shape.tick, self._shape.step)
        return self._last_tape

    def _forming_of_minutes(self, open_ms: int, now_ms: int) -> Ints:
        minute_ms = now_ms - now_ms % MINUTE_MS
        parts = [self.closed(MINUTE_MS, open_ms, minute_ms - MINUTE_MS)]
        tape = self.tape(now_ms)
        if tape is not None:
            now = tape.part_until(minute_ms, now_ms + 1)
            parts.append(np.array(now, dtype=np.int64)[:, None])
        return one_candle(open_ms, np.concatenate(parts, axis=1))

    def rough_prices(self, times: Ints) -> Ints:
        """Approximate prices of the candles at some times (exact at 00:00 UTC)."""
        if times.size == 0:
            return times
        first_day = int(times[0]) // DAY_MS // CHUNK_DAYS * CHUNK_DAYS
        days = range(first_day, int(times[-1]) // DAY_MS + 1, CHUNK_DAYS)
        anchors = [self._shape.asset.days(day) for day in days]
        levels = np.concatenate([part[:-1] for part in anchors] + [anchors[-1][-1:]])
        place = np.arange(first_day, first_day + len(levels)) * float(DAY_MS)
        scaled: Ints = self._ticks(np.interp(times, place, levels)) * self._shape.tick
        return scaled

    def end_at(self, last_trade_ms: int) -> None:
        """Ends trading: candles are flat, without volume, after this chunk. Call before use."""
        self._last_chunk = last_trade_ms // CHUNK_MS

    def _blocks(self, chunk: int) -> Ints:
        raw, _, exists = self._chunk(chunk)
        there = exists.reshape(BLOCKS_A_CHUNK, SLOTS_A_BLOCK).any(axis=1)
        scaled = raw * self._scale
        return scaled if there.all() else scaled[:, there]

    def _chunk(self, chunk: int) -> Chunk:
        return self._chunks.get((self._shape.name, chunk), lambda: self._make_chunk(chunk))

    def _day(self, day: int) -> Ints:
        return self._days.get((self._shape.name, day), lambda: self._make_day(day))

    def _ticks(self, logs: Floats) -> Ints:
        """Converts logarithms of the asset's price to prices of this market, in ticks."""
        prices: Ints = np.rint(np.exp(logs) * self._shape.ticks_a_unit).astype(np.int64)
        return np.maximum(prices, 50)

    def _make_chunk(self, chunk: int) -> Chunk:
        shape = self._shape
        n = BLOCKS_A_CHUNK
        random = generator(shape.seed, shape.name, "blocks", chunk)
        normal = random.standard_normal((3, n))
        uniform = random.random((5, n))

        path = shape.asset.blocks(chunk)
        basis = np.clip(normal[0] * _BASIS, -_LARGEST_BASIS, _LARGEST_BASIS)
        basis[-1] = 0.0  # where the next chunk starts
        close = self._ticks(path.close + basis)
        start = int(self._ticks(np.array([path.start]))[0])

        began = np.concatenate(([start], close[:-1]))
        highest = np.maximum(began, close) + 1 + (path.up * close).astype(np.int64)
        lowest = np.minimum(began, close) - 1 - (path.down * close).astype(np.int64)
        latent = np.stack((began, highest, np.maximum(lowest, 1)))
        silent = uniform[0] < shape.quiet_blocks
        silent[0] = False
        if self._last_chunk is not None and chunk > self._last_chunk:
            silent[:] = True
            close[:] = self._chunk(self._last_chunk)[0][CLOSE, -1]
            start = int(close[0])
        elif silent.any():
            close = close[np.maximum.accumulate(np.where(silent, 0, np.arange(n)))]
        opened = np.concatenate(([start], close[:-1]))
        if shape.opens_with_gaps:
            gap = np.where(uniform[1] < 0.1, 1, np.where(uniform[1] > 0.9, -1, 0))
            opened = opened + np.where(silent, 0, gap)

        # After blocks without trades the market opens at its last price, which may be far away.
        high = np.maximum(latent[1], opened)
        low = np.minimum(latent[2], opened)
        volume = np.exp(normal[1] * 0.6 - 0.18) * shape.block_volume
        volume = volume.astype(np.int64) + _LEAST_VOLUME
        middle = (opened + close) // 2 + np.rint(normal[2] * (high - low) * 0.1).astype(np.int64)
        middle = np.clip(middle, low, high - 1)
        turnover = volume * middle + (volume * uniform[2]).astype(np.int64)
        trades = SLOTS_A_BLOCK + (
            (volume - _LEAST_VOLUME) * (3000 / shape.block_volume) * (1 + uniform[3])
        ).astype(np.int64)
        share = 0.35 + 0.3 * uniform[4]

        times = chunk * CHUNK_MS + np.arange(n) * BLOCK_MS
        raw = np.stack(
            [
                times, opened, high, low, close, volume, turnover, trades,
                (volume * share).astype(np.int64), (turnover * share).astype(np.int64),
            ]
        )  # fmt: skip
        if silent.any():
            raw[1:5, silent] = close[silent]
            raw[5:, silent] = 0
        return Chunk(raw, latent, self._slots(chunk))

    def _slots(self, chunk: int) -> Flags:
        """Which 5-minute candles of the chunk exist: none before the listing or in holes."""
        shape = self._shape
        start_ms = chunk * CHUNK_MS
        exists = np.ones(SLOTS_A_CHUNK, dtype=np.bool_)
        missing = [(start_ms, self.first_ms)] if self.first_ms > start_ms else []
        if shape.holes:
            missing += self._holes(chunk)
        for hole_start_ms, hole_end_ms in missing:
            first = max((hole_start_ms - start_ms) // SLOT_MS, 0)
            exists[first : max((hole_end_ms - start_ms) // SLOT_MS, 0)] = False
        return exists

    def _holes(self, chunk: int) -> list[tuple[int, int]]:
        """Outages: a long one in every 16 days, a short one on two days out of five."""
        seed, name = self._shape.seed, self._shape.name
        holes = []
        for half in (0, 1):
            index = chunk * 2 + half
            length_ms = _BIG_HOLES_MS[draw(seed, name, "hole", index, len(_BIG_HOLES_MS))]
            slot = draw(seed, name, "hole at", index, 14 * 288)
            if length_ms >= 2 * HOUR_MS:
                slot -= slot % 48  # so that whole candles of 2h and 4h are missing
            start_ms = chunk * CHUNK_MS + half * 16 * DAY_MS + slot * SLOT_MS
            holes.append((start_ms, start_ms + length_ms))
        for day in range(chunk * CHUNK_DAYS, (chunk + 1) * CHUNK_DAYS):
            if draw(seed, name, "gap", day, 5) < 2:
                start_ms = day * DAY_MS + draw(seed, name, "gap at", day, 280) * SLOT_MS
                length = 1 + draw(seed, name, "gap length", day, 8)
                holes.append((start_ms, start_ms + length * SLOT_MS))
        return holes

    def _make_day(self, day: int) -> Ints:
        """The 5-minute candles of one day, which add up exactly to its blocks."""
        raw, latent, slots = self._chunk(day // CHUNK_DAYS)
        first = day % CHUNK_DAYS * BLOCKS_A_DAY
        blocks = raw[:, first : first + BLOCKS_A_DAY]
        exists = slots.reshape(BLOCKS_A_CHUNK, SLOTS_A_BLOCK)[first : first + BLOCKS_A_DAY]
        random = generator(self._shape.seed, self._shape.name, "slots", day)
        path = self._shape.asset.slots(day)
        latent = latent[:, first : first + BLOCKS_A_DAY]
        fine = subdivide(blocks, latent, exists, path, random, self._shape.quiet_slots)
        fine[TIME] += np.tile(np.arange(SLOTS_A_BLOCK) * SLOT_MS, BLOCKS_A_DAY)
        there = exists.ravel()
        scaled = fine * self._scale
        return scaled if there.all() else scaled[:, there]
