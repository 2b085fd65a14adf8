// Shows what Model Info says, whole: a node's own text line has room for two lines only.

import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const NODE = "SpanPPModelInfo";
const WIDGET = "text";

app.registerExtension({
  name: "SpanPP.ModelInfo",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const options = ["STRING", { multiline: true }];
    const { widget } = ComfyWidgets.STRING(node, WIDGET, options, app);
    widget.options.serialize = false; // not an input of the node
    widget.serialize = false; // and not stored with the graph
    if (widget.element) widget.element.readOnly = true;
    widget.options.read_only = true;
    node.setSize([300, Math.max(node.size[1], 200)]);

    const { onExecuted } = node;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      widget.value = output.text?.join("\n") ?? "";
    };
  },
});
