// What nodes say when they have run, and Upscale Folder and Upscale Video meanwhile. Model
// Info's text is stored with the graph.

import { app } from "../../scripts/app.js";
import { PROGRESS, addTextBox, textOf } from "./text_box.js";

const LINES = {
  SpanPPModelInfo: 10,
  SpanPPCompare: 2,
  SpanPPExport: 3,
  SpanPPSaveSlim: 2,
  SpanPPUpscaleFolder: 4,
  SpanPPUpscaleVideo: 2,
};

const WITH_PROGRESS = ["SpanPPUpscaleFolder", "SpanPPUpscaleVideo"];

const PICTURE = 220; // the least height the front end draws one in

app.registerExtension({
  name: "SpanPP.Texts",

  nodeCreated(node) {
    const lines = LINES[node.comfyClass];
    if (!lines) return;
    const isKept = node.comfyClass === "SpanPPModelInfo";
    const name = WITH_PROGRESS.includes(node.comfyClass) ? PROGRESS : undefined;
    const widget = addTextBox(node, lines, { isKept, name });
    node.setSize([Math.max(300, node.size[0]), node.computeSize()[1]]);
    const { onExecuted } = node;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      widget.value = textOf(output);
      if (output.images) makeRoom(this);
    };
  },
});

// A picture that comes below the widgets does not make a node larger by itself.
function makeRoom(node) {
  const isShown = node.widgets.some(({ name }) => name.endsWith("image-preview"));
  const height = node.computeSize()[1] + (isShown ? 0 : PICTURE);
  if (node.size[1] < height) node.setSize([node.size[0], height]);
}
