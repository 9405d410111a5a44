// Numbers and times as people read them.

export const bytes = (n) => (n < 1000 ? `${n} bytes` : `${trimmed(n / 1000)} KB`);

const trimmed = (n) => (n < 100 ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n).toLocaleString("en"));

export const messages = (n) => `${n.toLocaleString("en")} ${n === 1 ? "message" : "messages"}`;

/** Seconds since 1970 -> "3 hours ago". */
export function ago(seconds, now = Date.now() / 1000) {
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const past = Math.max(0, now - seconds);
  if (past < 60) return "just now";
  for (const [unit, size, most] of [["minute", 60, 3600], ["hour", 3600, 86400], ["day", 86400, 604800]]) {
    if (past < most) return words.format(-Math.floor(past / size), unit);
  }
  return new Date(seconds * 1000).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

export const moment = (seconds) => new Date(seconds * 1000).toLocaleString("en");

/** The beginning of a text, in one line. */
export function shortened(text, most = 48) {
  const line = text.replace(/\s+/g, " ").trim();
  const letters = [...line];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : line;
}
