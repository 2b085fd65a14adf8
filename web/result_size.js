// The size of a result before it is made, as the core decides it (engine/size.py).

const MOST = 8;

// Returns {width, height, factor, refusal}, or null where it cannot be told; refusal says
// why it will not be made, if it will not. Sizes are {width, height}; values are Upscale's
// by name, nested ones as "size.width".
export function resultSize(input, values, modelScale) {
  if (!input) return null;
  const asked = {};
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("size.")) asked[name.slice("size.".length)] = Number(value);
  }
  let factor = factorOf(input, values.size, asked, modelScale);
  if (!Number.isFinite(factor) || factor <= 0) return null;
  if (Math.abs(factor - Math.round(factor)) <= 1e-9 * factor) factor = Math.round(factor);
  let width = side(input.width * factor);
  let height = side(input.height * factor);
  if (values.size === "exact size") {
    width = Math.min(width, asked.width);
    height = Math.min(height, asked.height);
  }
  const multiple = Number(values.multiple_of) || 1;
  const whole = values.to_multiple === "fit" ? nearest : Math.floor;
  width = whole(width / multiple) * multiple;
  height = whole(height / multiple) * multiple;
  let refusal = "";
  if (factor > MOST) refusal = `out of reach: the largest scale is x${MOST}`;
  else if (!width || !height) refusal = `too small for a multiple of ${multiple}`;
  return { width, height, factor, refusal };
}

function factorOf({ width, height }, way, asked, modelScale) {
  switch (way) {
    case "factor":
      return asked.factor;
    case "fit inside":
      return Math.min(asked.width / width, asked.height / height);
    case "exact size":
      return Math.max(asked.width / width, asked.height / height);
    case "width":
      return asked.width / width;
    case "height":
      return asked.height / height;
    case "longer side":
      return asked.longer_side / Math.max(width, height);
    case "shorter side":
      return asked.shorter_side / Math.min(width, height);
    case "megapixels":
      return Math.sqrt((asked.megapixels * 1e6) / (width * height));
    default:
      return modelScale;
  }
}

const side = (length) => Math.max(1, halfToEven(length));
const nearest = (length) => Math.max(1, halfToEven(length));

// As Python rounds.
function halfToEven(number) {
  const rounded = Math.round(number);
  return Math.abs(number % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

// The longer side in pixels of the photo that comes with the pack, and its shape.
const PHOTO = { width: 960, height: 720 };

// The values of a node by name; NaN for what comes by a link and is not known.
export function valuesOf(node) {
  const values = {};
  for (const { name, value } of node.widgets ?? []) {
    const slot = node.inputs?.find((input) => input.widget?.name === name);
    values[name] = slot?.link == null ? value : NaN;
  }
  return values;
}

const BYPASSED = 4;

// Returns the node that an input gets its value from, past reroutes and bypassed nodes.
export function sourceOf(node, name) {
  const slotOf = ({ inputs }, isWanted) => inputs?.findIndex(isWanted) ?? -1;
  const first = slotOf(node, (input) => input.name === name);
  if (first < 0) return null;
  const { type } = node.inputs[first];
  let source = node.getInputNode(first);
  while (source?.type === "Reroute" || source?.mode === BYPASSED) {
    const slot = source.type === "Reroute" ? 0 : slotOf(source, (each) => each.type === type);
    source = slot < 0 ? null : source.getInputNode(slot);
  }
  return source;
}

// What a node passes on at the size that comes in, by the input it comes in at.
const THROUGH = {
  VAEDecode: "samples",
  VAEDecodeTiled: "samples",
  KSampler: "latent_image",
  KSamplerAdvanced: "latent_image",
  JoinImageWithAlpha: "image",
};

// Returns the {width, height} of what comes out of a node, or null where it cannot be told.
export function imageSize(node) {
  if (!node) return null;
  const values = valuesOf(node);
  switch (node.comfyClass) {
    case "LoadImage": {
      const [image] = node.imgs ?? [];
      return known({ width: image?.naturalWidth, height: image?.naturalHeight });
    }
    case "SpanPPDemoPhoto": {
      const shrunk = Math.min(1, values.longer_side / PHOTO.width);
      const width = Math.round(PHOTO.width * shrunk) - 2 * (values.frames - 1);
      return known({ width, height: Math.round(PHOTO.height * shrunk) });
    }
    case "EmptyImage":
    case "EmptyLatentImage":
    case "EmptySD3LatentImage":
      return known(values);
    case "SpanPPUpscale":
      return node.spanppResult ?? null;
    default: {
      const input = THROUGH[node.comfyClass];
      return input ? imageSize(sourceOf(node, input)) : null;
    }
  }
}

const known = ({ width, height }) => (width > 0 && height > 0 ? { width, height } : null);
