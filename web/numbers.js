// Numbers with four decimals that show no more than they have, and have larger steps.

export function asTyped(widget, step) {
  widget.options.step2 = step;
  widget.options.step = 10 * step; // as older front ends read it
  widget.options.round = 0.0001;
  Object.defineProperty(widget.options, "precision", {
    get: () => decimals(Number(widget.value)),
    enumerable: false, // a copy, as on a subgraph, must not keep the digits of one number
    configurable: true,
  });
}

// Gives every number of a kind of node its step, by name; nested ones come and go.
export function setSteps(nodeType, steps) {
  const { addWidget } = nodeType.prototype;
  nodeType.prototype.addWidget = function (type, name) {
    const widget = addWidget.apply(this, arguments);
    if (name in steps) asTyped(widget, steps[name]);
    return widget;
  };
}

export function decimals(number) {
  const digits = [1, 2, 3].find((n) => Math.abs(number - number.toFixed(n)) < 5e-5);
  return digits ?? 4;
}
