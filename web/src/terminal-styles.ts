/**
 * xterm.js makes <style> elements, which a Content-Security-Policy with `style-src 'self'` leaves without effect. While it
 * opens, it gets constructed style sheets instead, which scripts may make.
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

/** Runs `open`; the <style> elements that are made meanwhile are style sheets. */
export function withStyleSheets(open: () => void): void {
  // An own property hides the prototype's method until it is deleted. (The option documentOverride does not reach all of
  // xterm.js 6.0.)
  let isOurs = false;
  Object.defineProperty(document, "createElement", {
    configurable: true,
    value: (name: string, options?: ElementCreationOptions) => {
      if (name !== "style" || isOurs) return Document.prototype.createElement.call(document, name, options);
      isOurs = true;
      try {
        return sheetElement();
      } finally {
        isOurs = false;
      }
    },
  });
  try {
    open();
  } finally {
    Reflect.deleteProperty(document, "createElement");
  }
}
