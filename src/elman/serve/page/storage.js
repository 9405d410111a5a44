// What the browser keeps: choices for always, the key and what is being written for this tab only.
// A browser that keeps nothing (private windows, blocked storage) still works.

const of = (storage) => ({
  get(name) {
    try {
      return storage().getItem(`elman.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null || value === "") storage().removeItem(`elman.${name}`);
      else storage().setItem(`elman.${name}`, value);
    } catch {
      // Full or forbidden: the page goes on without.
    }
  },
});

export const always = of(() => localStorage);
export const thisTab = of(() => sessionStorage);
