// Keys that work everywhere. Letters go with Alt, so that nothing that is typed does anything.

/** `does`: an action by letter, by "/" (with Ctrl), and Escape, which says whether it did anything. */
export function listenToKeys(does) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const letter = /^Key([A-Z])$/.exec(event.code)?.[1].toLowerCase(); // Alt changes `key` on a Mac
    const control = event.ctrlKey || event.metaKey;
    if (event.key === "Escape" && does.Escape()) event.preventDefault();
    else if (event.key === "/" && control && !event.altKey) run(event, does["/"]);
    else if (event.altKey && !control && !event.shiftKey && letter in does) run(event, does[letter]);
  });
}

function run(event, action) {
  event.preventDefault();
  action();
}
