// Set Scale: a number, with the usual scales within reach.

import { app } from "../../scripts/app.js";
import { setSteps } from "./numbers.js";
import { savedScale } from "./saved_graphs.js";

const NODE = "SpanPPSetScale";
const USUAL = [1.5, 2, 2.5, 3, 4];

app.registerExtension({
  name: "SpanPP.SetScale",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== NODE) return;
    setSteps(nodeType, { scale: 0.5 });
    const { configure } = nodeType.prototype;
    nodeType.prototype.configure = function (info) {
      return configure.call(this, restored(info));
    };
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const scale = node.widgets.find(({ name }) => name === "scale");
    const row = document.createElement("div");
    Object.assign(row.style, { display: "flex", gap: "4px", minHeight: "22px" });
    for (const value of USUAL) row.append(button(`x${value}`, () => set(value)));
    const widget = node.addDOMWidget("usual scales", "spanpp_usual", row, {
      serialize: false,
      hideOnZoom: false,
      margin: 6,
      getMinHeight: () => 34,
      getMaxHeight: () => 34,
    });
    widget.serialize = false;
    node.setSize([Math.max(270, node.size[0]), node.computeSize()[1]]);

    function set(value) {
      scale.value = value;
      scale.callback?.(value, app.canvas, node);
      node.setDirtyCanvas(true, true);
    }
  },
});

// A saved node, as this version has it.
function restored(info) {
  const values = info.widgets_values ?? [];
  const saved = { ...info };
  if (values.length) saved.widgets_values = [savedScale(values)];
  const named = info.widgets_values_named;
  if (named) {
    const scale = savedScale([named.scale, named["scale.factor"]]);
    saved.widgets_values_named = { scale };
  }
  const factor = info.inputs?.find(({ name }) => name === "scale.factor");
  if (factor) {
    const scale = { ...factor, name: "scale", widget: { name: "scale" } };
    const others = info.inputs.filter(({ name }) => !name.startsWith("scale"));
    saved.inputs = [...others, scale];
  }
  return saved;
}

function button(text, onClick) {
  const element = document.createElement("button");
  element.textContent = text;
  element.type = "button";
  Object.assign(element.style, {
    flex: "1",
    padding: "2px 0",
    border: "1px solid var(--border-color, #4e4e4e)",
    borderRadius: "6px",
    background: "var(--comfy-input-bg, #222)",
    color: "var(--input-text, #ddd)",
    font: "12px Arial, sans-serif",
    cursor: "pointer",
  });
  element.addEventListener("click", onClick);
  return element;
}
