// Nodes with a size for their result: saved values, the steps of numbers, and, where an
// older ComfyUI has the inputs of every size, which of them are shown.

import { app } from "../../scripts/app.js";
import { setSteps } from "./numbers.js";
import { NESTED, inOrder, isDynamic, namedValues } from "./saved_graphs.js";

const WIDGETS_BEFORE = { SpanPPUpscale: 0, SpanPPUpscaleFolder: 1, SpanPPUpscaleVideo: 2 };

app.registerExtension({
  name: "SpanPP.Sizes",

  beforeRegisterNodeDef(nodeType, { name, input }) {
    const before = WIDGETS_BEFORE[name];
    if (before === undefined) return;
    setSteps(nodeType, { "size.factor": 0.5, "size.megapixels": 0.5 });
    const { configure } = nodeType.prototype;
    nodeType.prototype.configure = function (info) {
      const saved = { ...info };
      const values = info.widgets_values;
      if (values?.length) {
        const named = info.widgets_values_named ?? namedValues(values.slice(before), input);
        saved.widgets_values = [...values.slice(0, before), ...inOrder(named, input)];
      }
      const result = configure.call(this, saved);
      if (!isDynamic(input)) showUsed(this);
      return result;
    };
    nodeType.prototype.showsAllSizes = !isDynamic(input);
  },

  nodeCreated(node) {
    if (!node.showsAllSizes) return;
    const size = node.widgets.find(({ name }) => name === "size");
    const { callback } = size;
    size.callback = function () {
      callback?.apply(this, arguments);
      showUsed(node);
    };
    showUsed(node);
  },
});

function showUsed(node) {
  const size = node.widgets.find(({ name }) => name === "size").value;
  let hasChanged = false;
  for (const widget of node.widgets) {
    if (!widget.name.startsWith("size.")) continue;
    const hidden = !(NESTED[size] ?? []).includes(widget.name.slice("size.".length));
    hasChanged ||= Boolean(widget.hidden) !== hidden;
    widget.hidden = hidden;
    if (hidden) widget.computeSize = () => [0, -4]; // less the gap between two widgets
    else delete widget.computeSize;
  }
  if (hasChanged) node.setSize([node.size[0], node.computeSize()[1]]);
}
