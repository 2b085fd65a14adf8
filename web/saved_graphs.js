// Graphs saved by older versions of this pack, or in another ComfyUI. Widget values are
// stored by position; the inputs of Upscale have moved, and Set Scale was a list once.

const PRECISIONS = ["auto", "float32", "float16", "bfloat16"];
const FIRST_ONCE = ["precision", "tile", "method", "size"];
const SIZES_ONCE = ["width", "height", "longer_side", "megapixels", "factor"];

export const NESTED = {
  "model scale": [],
  factor: ["factor"],
  "fit inside": ["width", "height"],
  "exact size": ["width", "height"],
  width: ["width"],
  height: ["height"],
  "longer side": ["longer_side"],
  "shorter side": ["shorter_side"],
  megapixels: ["megapixels"],
};
const SIZES = [...new Set(Object.values(NESTED).flat())];

// A newer ComfyUI has the nested inputs of the chosen size only; an older one has all.
export function isDynamic(input) {
  return input.required.size[0] === "COMFY_DYNAMICCOMBO_V3";
}

// The optional inputs with a widget but for nested ones, in order.
function optionalNames({ optional }) {
  const hasWidget = (name) => optional[name][0] !== "MASK" && !name.startsWith("size.");
  return Object.keys(optional).filter(hasWidget);
}

// The widget values of a saved node from "size" on by name, nested ones as "size.width".
// Upscale once had "size" behind others, and Upscale Video had none.
export function namedValues(values, input) {
  let names, nested, others;
  if (PRECISIONS.includes(values[0])) {
    names = FIRST_ONCE;
    nested = values.slice(names.length);
    others = values.slice(0, names.length);
  } else {
    const end = values.findIndex((value, i) => i > 0 && typeof value !== "number");
    names = ["size", ...optionalNames(input)];
    nested = values.slice(1, end < 0 ? values.length : end);
    others = [values[0], ...values.slice(1 + nested.length)];
  }
  const named = {};
  others.forEach((value, i) => (named[names[i]] = value));
  const chosen = NESTED[named.size] ?? [];
  const all = names === FIRST_ONCE ? SIZES_ONCE : SIZES;
  const nestedNames = nested.length > chosen.length ? all : chosen;
  nested.forEach((value, i) => (named[`size.${nestedNames[i]}`] = value));
  return named;
}

// Values by name in the order of this ComfyUI's widgets, with defaults for new inputs.
export function inOrder(named, input) {
  const nested = isDynamic(input) ? (NESTED[named.size] ?? []) : SIZES;
  const names = ["size", ...nested.map((name) => `size.${name}`), ...optionalNames(input)];
  return names.map((name) => named[name] ?? defaultOf(name, input));
}

function defaultOf(name, input) {
  if (name === "size") return Object.keys(NESTED)[0];
  if (name in input.optional) return input.optional[name][1].default;
  const options = input.required.size[1].options.map(({ inputs }) => inputs.required);
  const nested = name.slice("size.".length);
  return options.find((option) => option?.[nested])?.[nested][1].default;
}

// The scale of a saved Set Scale node: a number, where "x2" was or "custom" and a number.
export function savedScale([scale, factor]) {
  if (scale === "custom") return factor ?? 2.5;
  const preset = String(scale).match(/^x([\d.]+)$/);
  return preset ? Number(preset[1]) : scale;
}
