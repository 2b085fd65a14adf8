// The size of a result before it is made, as the core decides it (engine/size.py).

const MOST = 8;

// Returns {width, height, factor}, or null where it cannot be told. Sizes are
// {width, height}; values are Upscale's by name, nested ones as "size.width".
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
  return { width, height, factor, isPossible: factor <= MOST && width > 0 && height > 0 };
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

// Returns the {width, height} of what comes out of a node, or null where it cannot be told.
// sourceOf(node, input) returns the node that an input is connected to.
export function imageSize(node, sourceOf) {
  const value = (name) => node.widgets?.find((each) => each.name === name)?.value;
  const through = {
    VAEDecode: "samples",
    VAEDecodeTiled: "samples",
    KSampler: "latent_image",
    KSamplerAdvanced: "latent_image",
  };
  switch (node?.comfyClass) {
    case undefined:
      return null;
    case "LoadImage": {
      const [image] = node.imgs ?? [];
      return image?.naturalWidth
        ? { width: image.naturalWidth, height: image.naturalHeight }
        : null;
    }
    case "SpanPPDemoPhoto": {
      const shrunk = Math.min(1, value("longer_side") / PHOTO.width);
      const width = Math.round(PHOTO.width * shrunk) - 2 * (value("frames") - 1);
      return { width, height: Math.round(PHOTO.height * shrunk) };
    }
    case "EmptyImage":
    case "EmptyLatentImage":
    case "EmptySD3LatentImage":
      return { width: value("width"), height: value("height") };
    case "SpanPPUpscale":
      return node.spanppResult ?? null;
    default: {
      const source = through[node.comfyClass] && sourceOf(node, through[node.comfyClass]);
      return source ? imageSize(source, sourceOf) : null;
    }
  }
}
