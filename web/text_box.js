// Text on a node that always stands in the same place, behind its widgets.

const LINE = 16;

// The name of the widget that ComfyUI shows a node's progress texts in. It makes one below
// all others; where a box of ours has the name, they stand in it.
export const PROGRESS = "$$node-text-preview";

export function addTextBox(node, lines, { isKept = false, name = "text" } = {}) {
  const element = document.createElement("div");
  Object.assign(element.style, {
    whiteSpace: "pre-wrap",
    overflowWrap: "anywhere", // paths of files have no spaces
    overflow: "auto",
    userSelect: "text",
    font: `12px/${LINE}px Inter, Arial, sans-serif`,
    padding: "0 8px",
    color: "var(--descrip-text, #999)",
  });
  const height = lines * LINE;
  const widget = node.addDOMWidget(name, "spanpp_text", element, {
    serialize: false, // no input of the node
    hideOnZoom: false,
    margin: 4,
    getMinHeight: () => height + 8,
    getValue: () => element.textContent,
    setValue: (text) => (element.textContent = text ?? ""),
  });
  element.style.minHeight = `${height}px`; // Nodes 2.0 asks the element
  if (!isKept) widget.serialize = false; // not stored with the graph either
  return widget;
}

export function textOf(output) {
  return output?.text?.join("\n") ?? "";
}
