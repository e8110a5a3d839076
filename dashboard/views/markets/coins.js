// Coins: what contracts are of, so that those of one coin stand together. Pure functions.

// As market/assets/names.py has it: what is left must be readable, so that 1INCH and 1000X are names.
const MULTIPLES = [
  /^10{3,9}(\p{L}[\p{L}\p{N}_]+)$/u,
  /^1M(\p{L}[\p{L}\p{N}_]{2,})$/u,
  /^(\p{L}[\p{L}\p{N}_]*\p{L})10{3,9}$/u,
];

/** The coin of a contract, without how many of it are one: 1000SHIB and SHIB1000 are of SHIB. */
export function coinOf(base) {
  const name = base.toUpperCase();
  for (const multiple of MULTIPLES) {
    const found = multiple.exec(name);
    if (found !== null) return found[1];
  }
  return name;
}

/** The coins of a heat map, the largest turnover first: [{coin, cells: {exchange: row}}]. */
export function coinsOf(rows) {
  const by = new Map();
  for (const row of rows) {
    const coin = coinOf(row.base);
    // A second contract of a coin on one exchange has a tile of its own.
    const key = by.get(coin)?.cells[row.exchange] === undefined ? coin : row.base;
    const tile = by.get(key) ?? { coin: key, turnover: 0, cells: {} };
    tile.cells[row.exchange] = row;
    tile.turnover += row.turnover ?? 0;
    by.set(key, tile);
  }
  return [...by.values()].sort((a, b) => b.turnover - a.turnover || a.coin.localeCompare(b.coin));
}
