/**
 * xterm.js makes <style> elements, which a Content-Security-Policy with `style-src 'self'` leaves without effect. It is
 * given a document whose style elements are constructed style sheets instead: scripts may make those.
 */

/** An element that stands for a style sheet: its text is the sheet's. */
function sheetElement(): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const element = document.createElement("span");
  element.hidden = true;
  let text = "";
  Object.defineProperties(element, {
    textContent: {
      get: () => text,
      set: (value: string | null) => {
        text = value ?? "";
        sheet.replaceSync(text);
      },
    },
    remove: {
      value: () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
        HTMLElement.prototype.remove.call(element);
      },
    },
  });
  return element;
}

/** This document, but for its style elements. */
export function documentForTerminal(): Document {
  return new Proxy(document, {
    get(target, key) {
      if (key === "createElement") {
        return (name: string) => (name === "style" ? sheetElement() : target.createElement(name));
      }
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
}
