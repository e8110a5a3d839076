// Exchanges in words.

/** "binance" is Binance. */
export const named = (exchange) => exchange.charAt(0).toUpperCase() + exchange.slice(1);
