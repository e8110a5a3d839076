// Exchanges in words.
import { capital } from "../../lib/format.js";

const NAMES = new Map([["okx", "OKX"]]); // those that are not written like other names

/** Binance for "binance", OKX for "okx". */
export const named = (exchange) => NAMES.get(exchange) ?? capital(exchange);
