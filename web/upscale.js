// Upscale: the size of the result on the node, before it runs and after.

import { app } from "../../scripts/app.js";
import { imageSize, resultSize, sourceOf, valuesOf } from "./result_size.js";
import { addTextBox, textOf } from "./text_box.js";

const NODE = "SpanPPUpscale";
const BUNDLED_SCALE = 2;
const REFRESH = 400; // milliseconds: what a size depends on lies in other nodes

const nodes = new Set();

app.registerExtension({
  name: "SpanPP.Upscale",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    node.spanppText = addTextBox(node, 2);
    node.setSize([Math.max(320, node.size[0]), node.computeSize()[1]]);
    nodes.add(node);
    const { onExecuted, onRemoved } = node;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      this.spanppSeen = output.spanpp?.[0];
      this.spanppRan = { text: textOf(output), plan: plan(this).text };
      refresh(this);
    };
    node.onRemoved = function () {
      onRemoved?.apply(this, arguments);
      nodes.delete(this);
    };
  },

  setup() {
    setInterval(() => nodes.forEach(refresh), REFRESH);
  },
});

function refresh(node) {
  if (!node.graph) return;
  const { text, result } = plan(node);
  node.spanppResult = result;
  const ran = node.spanppRan;
  const shown = ran?.plan === text ? ran.text : text;
  if (node.spanppText.value !== shown) node.spanppText.value = shown;
}

// What will come out: in words, and as {width, height} where that can be told.
function plan(node) {
  const values = valuesOf(node);
  const seen = node.spanppSeen;
  const input = imageSize(sourceOf(node, "image")) ?? sizeOf(seen?.input);
  const scale = scaleOf(sourceOf(node, "model")) ?? seen?.scale;
  const result = resultSize(input, values, scale);
  if (!result) {
    const factor = values.size === "factor" ? values["size.factor"] : scale;
    const isKnown = ["factor", "model scale"].includes(values.size) && factor > 0;
    return { text: isKnown ? `x${short(factor)}` : "", result: null };
  }
  const { width, height, factor, refusal } = result;
  let text = `${input.width}x${input.height} → ${width}x${height} px · x${short(factor)}`;
  if (refusal) text += `\n${refusal}`;
  return { text, result };
}

function scaleOf(node) {
  const widget = (name) => node.widgets?.find((each) => each.name === name)?.value;
  if (node?.comfyClass === "SpanPPSetScale") return valuesOf(node).scale;
  const isBundled = node?.comfyClass === "SpanPPLoadModel" && widget("model_name") === "bundled";
  return isBundled ? BUNDLED_SCALE : undefined;
}

const sizeOf = (pair) => pair && { width: pair[0], height: pair[1] };

const short = (factor) => String(Number(Number(factor).toPrecision(5)));
