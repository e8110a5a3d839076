// Exchanges in words.

/** "binance" is Binance. */
export { capital as named } from "../../lib/format.js";
