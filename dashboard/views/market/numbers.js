// Numbers as documents print them: all their digits, none that came from floats, no exponents.

const MINUS = "\u2212";
export const NONE = "–";

/** A number in plain decimal notation: 1.234e-7 is "0.0000001234". */
export function plain(value) {
  const text = String(value);
  const parts = /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (parts === null) return text;
  const [, sign, whole, fraction = "", exponent] = parts;
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${"0".repeat(point - digits.length)}`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** How many decimals a number has: 0.00001234 has 8. */
export function decimalsOf(value) {
  const point = plain(value).indexOf(".");
  return point < 0 ? 0 : plain(value).length - point - 1;
}

/** The most decimals of these columns' values in these rows: what the market's prices are quoted in. */
export function mostDecimals(rows, columns) {
  let most = 0;
  for (const row of rows) {
    for (const column of columns) {
      const value = row[column];
      if (value !== null && value !== undefined) most = Math.max(most, decimalsOf(value));
    }
  }
  return most;
}

/** All digits, thousands parted by commas; with at least so many decimals: 76732 is "76,732.0". */
export function exact(value, decimals = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const [whole, fraction = ""] = plain(Math.abs(value)).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const padded = fraction.padEnd(decimals, "0");
  return `${value < 0 ? MINUS : ""}${grouped}${padded && `.${padded}`}`;
}

/** A fraction as a percentage with all its digits: 0.00007449 is "0.007449%". */
export function exactPercent(value, signed = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const text = shiftedByTwo(plain(Math.abs(value)));
  return `${value < 0 ? MINUS : signed && value > 0 ? "+" : ""}${text}%`;
}

/** Moves the point of a decimal two places to the right, on its text: no float comes in between. */
function shiftedByTwo(text) {
  const [whole, fraction = ""] = text.split(".");
  const digits = whole + fraction.slice(0, 2).padEnd(2, "0");
  const rest = fraction.slice(2);
  return `${digits.replace(/^0+(?=\d)/, "")}${rest && `.${rest}`}`;
}

/** How much a value has changed from an earlier one, as a fraction; null where either is unknown. */
export function change(from, to) {
  if (from === null || from === undefined || to === null || to === undefined) return null;
  return from > 0 ? to / from - 1 : null;
}
