// Server-sent events out of a response's body (https://html.spec.whatwg.org/#event-stream-interpretation).

/** Yields {event, data}, data parsed as JSON; ends where the body ends. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      // A \r at the very end may be the first half of \r\n: it waits for what follows.
      const text = rest + value;
      const whole = text.endsWith("\r") ? text.slice(0, -1) : text;
      const blocks = whole.replace(/\r\n?/g, "\n").split("\n\n");
      rest = blocks.pop() + text.slice(whole.length);
      for (const block of blocks) {
        const found = parsed(block);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
    if (name === "event") event = value ?? "";
    else if (name === "data") data.push(value ?? "");
  }
  if (!data.length || data[0] === "[DONE]") return null;
  return { event, data: JSON.parse(data.join("\n")) };
}
