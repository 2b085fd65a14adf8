"""The scripts of the front end: sizes before a run, and graphs saved before.

They run in Node.js; tests/hosts/comfyui runs the nodes they belong to.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from typing import Any

import pytest
from stand_in_host import PACK, Host

from spanpp_core import Size

NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js runs the scripts")

TAIL = ["any", "crop", "auto", 0, "auto"]


def run(module: str, expression: str, cases: list[Any]) -> list[Any]:
    """Evaluates an expression of ``m``, a module of the pack, for each ``c`` of cases."""
    script = (
        f"import * as m from {json.dumps((PACK / 'web' / module).as_uri())};"
        f"const cases = {json.dumps(cases)};"
        f"console.log(JSON.stringify(cases.map((c) => {expression})));"
    )
    answer = subprocess.run(
        [NODE or "", "--input-type=module", "--no-warnings"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


def inputs_of(host: Host, node: str = "SpanPPUpscale") -> dict[str, Any]:
    """A node's inputs with a widget from the size on, and its optional socket."""

    def spec(each: Any) -> list[Any]:
        kind, options = "COMBO", {"default": each.default}
        if "options" in each.options:
            options["options"] = [
                {
                    "key": o.key,
                    "inputs": {"required": {i.id: spec(i) for i in o.inputs}},
                }
                if hasattr(o, "key")
                else o
                for o in each.options["options"]
            ]
            if hasattr(each.options["options"][0], "key"):
                kind = "COMFY_DYNAMICCOMBO_V3"
        return [kind, options]

    schema = host.node(node).define_schema()
    begin = [each.id for each in schema.inputs].index("size")
    widgets = schema.inputs[begin:]
    mask = [each.id for each in schema.inputs[:begin] if each.optional]
    return {
        "required": {each.id: spec(each) for each in widgets if not each.optional},
        "optional": {
            **{name: ["MASK", {}] for name in mask},
            **{each.id: spec(each) for each in widgets if each.optional},
        },
    }


def restored(
    host: Host, *saved: list[Any], node: str = "SpanPPUpscale"
) -> list[list[Any]]:
    given = json.dumps(inputs_of(host, node))
    call = f"m.inOrder(m.namedValues(c, {given}), {given})"
    return run("saved_graphs.js", call, list(saved))


def is_newer(host: Host) -> bool:
    return inputs_of(host)["required"]["size"][0] == "COMFY_DYNAMICCOMBO_V3"


def widgets(host: Host, size: str, *nested: Any, **flat: Any) -> list[Any]:
    """The values a host has for a size, without what follows."""
    if is_newer(host):
        return [size, *nested]
    names = ("factor", "width", "height", "longer_side", "shorter_side", "megapixels")
    defaults = (2.0, 3840, 2160, 2048, 1080, 4.0)
    return [size, *(flat.get(name, d) for name, d in zip(names, defaults))]


def test_graphs_saved_when_size_stood_last_open(host: Host) -> None:
    made_by_newer = ["float32", 64, "native", "fit inside", 1280, 720]
    made_by_older = ["auto", 0, "downscale", "longer side", 3840, 2160, 999, 4.0, 2.0]
    plain = ["auto", 0, "downscale", "model scale"]
    assert restored(host, made_by_newer, made_by_older, plain) == [
        [
            *widgets(host, "fit inside", 1280, 720, width=1280, height=720),
            *("any", "crop", "float32", 64, "native"),
        ],
        [
            *widgets(host, "longer side", 999, longer_side=999),
            *("any", "crop", "auto", 0, "downscale"),
        ],
        [*widgets(host, "model scale"), "any", "crop", "auto", 0, "downscale"],
    ]


def test_graphs_of_one_host_open_in_the_other(host: Host) -> None:
    newer = ["exact size", 640, 480, "64", "fit", "float16", 32, "native"]
    older = ["exact size", 2.0, 640, 480, 2048, 1080, 4.0, *newer[3:]]
    expected = [
        *widgets(host, "exact size", 640, 480, width=640, height=480),
        *newer[3:],
    ]
    assert restored(host, newer, older) == [expected, expected]


def test_graphs_saved_before_an_input_was_added_get_its_default(host: Host) -> None:
    saved = [["factor", 3.5, *TAIL[:cut]] for cut in range(len(TAIL) + 1)]
    expected = [*widgets(host, "factor", 3.5, factor=3.5), *TAIL]
    assert restored(host, *saved) == [expected] * len(saved)


def test_videos_saved_before_they_had_sizes_open(host: Host) -> None:
    (found,) = restored(host, ["float16"], node="SpanPPUpscaleVideo")
    behind = ["any", "crop", "float16", -1, 0, "auto"]
    assert found == [*widgets(host, "model scale"), *behind]


def test_folders_open_in_either_host(host: Host) -> None:
    behind = ["8", "fit", "mine", True, "float32"]
    newer = ["longer side", 999, *behind]
    older = ["longer side", 2.0, 3840, 2160, 999, 1080, 4.0, *behind]
    expected = [*widgets(host, "longer side", 999, longer_side=999), *behind]
    found = restored(host, newer, older, node="SpanPPUpscaleFolder")
    assert found == [expected, expected]


def test_the_script_knows_the_sizes_of_the_node(host: Host) -> None:
    (known,) = run("saved_graphs.js", "m.NESTED", [0])
    if is_newer(host):
        options = inputs_of(host)["required"]["size"][1]["options"]
        ways = {each["key"]: list(each["inputs"]["required"]) for each in options}
        assert known == ways
    else:
        assert list(known) == inputs_of(host)["required"]["size"][1]["options"]


def test_scales_saved_as_a_list_become_numbers() -> None:
    saved = [["x2"], ["x4", 2.5], ["custom", 2.75], ["custom"], [1.3333], ["8/3"]]
    numbers = run("saved_graphs.js", "m.savedScale(c)", saved)
    assert numbers == [2, 4, 2.75, 2.5, 1.3333, "8/3"]


WAYS = {
    "model scale": ({}, {}),
    "factor": ({"factor": 1.3333}, {"factor": 1.3333}),
    "fit inside": ({"width": 900, "height": 700}, {"fit": (900, 700)}),
    "exact size": ({"width": 900, "height": 700}, {"width": 900, "height": 700}),
    "width": ({"width": 901}, {"width": 901}),
    "height": ({"height": 777}, {"height": 777}),
    "longer side": ({"longer_side": 1000}, {"longer_side": 1000}),
    "shorter side": ({"shorter_side": 1000}, {"shorter_side": 1000}),
    "megapixels": ({"megapixels": 1.5}, {"megapixels": 1.5}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_size_shown_before_a_run_is_that_of_the_core(way: str) -> None:
    values, asked = WAYS[way]
    cases, expected = [], []
    for width, height, multiple, to_multiple, scale in itertools.product(
        (511, 640), (333, 480, 705), (1, 8, 64), ("crop", "fit"), (2, 1.5, 2.25)
    ):
        size = Size(**asked, multiple_of=multiple, to_multiple=to_multiple)
        out = size.of(height, width, scale)
        expected.append([out.width, out.height])
        nested = {f"size.{name}": value for name, value in values.items()}
        more = {"size": way, "multiple_of": str(multiple), "to_multiple": to_multiple}
        image = {"width": width, "height": height}
        cases.append([image, more | nested, scale])
    found = run("result_size.js", "m.resultSize(...c)", cases)
    assert [[each["width"], each["height"]] for each in found] == expected


def test_no_size_is_shown_where_none_is_known() -> None:
    image, plain = {"width": 64, "height": 64}, {"size": "model scale"}
    linked = {"size": "factor", "size.factor": None}
    cases = [[None, plain, 2], [image, plain, None], [image, linked, 2]]
    assert run("result_size.js", "m.resultSize(...c)", cases) == [None] * 3


def test_a_size_that_cannot_be_made_says_why() -> None:
    image = {"width": 32, "height": 32}
    cases = [
        [image, {"size": "factor", "size.factor": 1.5, "multiple_of": "8"}, 2],
        [image, {"size": "width", "size.width": 999}, 2],
        [image, {"size": "model scale", "multiple_of": "64"}, 1],
    ]
    assert run("result_size.js", "m.resultSize(...c).refusal", cases) == [
        "",
        "out of reach: the largest scale is x8",
        "too small for a multiple of 64",
    ]


BYPASSED = 4
DEMO = {"comfyClass": "SpanPPDemoPhoto", "widgets": {"longer_side": 384, "frames": 1}}
LATENT = {"comfyClass": "EmptyLatentImage", "widgets": {"width": 640, "height": 512}}
UPSCALE = {"comfyClass": "SpanPPUpscale", "spanppResult": {"width": 9, "height": 9}}
REROUTE = {"type": "Reroute", "inputs": {"": "*"}}
DECODE = {"comfyClass": "VAEDecode", "inputs": {"samples": "LATENT", "vae": "VAE"}}
SAMPLER = {"comfyClass": "KSampler", "inputs": {"latent_image": "LATENT"}}
JOIN = {"comfyClass": "JoinImageWithAlpha", "inputs": {"alpha": "", "image": "IMAGE"}}
SCALE = {"comfyClass": "ImageScale", "inputs": {"upscale_model": "X", "image": "IMAGE"}}
BETWEEN = {**UPSCALE, "inputs": SCALE["inputs"]}
OFF = {"mode": BYPASSED}


@pytest.mark.parametrize(
    ("chain", "size"),
    [
        ([DEMO], [384, 288]),
        ([DEMO, REROUTE], [384, 288]),
        ([DEMO, BETWEEN], [9, 9]),
        ([DEMO, BETWEEN | OFF], [384, 288]),
        ([DEMO, SCALE], None),
        ([DEMO, SCALE | OFF, REROUTE], [384, 288]),
        ([LATENT, SAMPLER, DECODE], [640, 512]),
        ([LATENT, SAMPLER | OFF, DECODE], [640, 512]),
        ([LATENT, DECODE | OFF], None),
        ([DEMO, JOIN], [384, 288]),
        ([LATENT | {"linked": "width"}, DECODE], None),
        ([{"comfyClass": "LoadImage"}], None),
    ],
)
def test_the_size_of_an_image_is_found_behind_bypassed_nodes(
    chain: list[dict[str, Any]], size: list[int] | None
) -> None:
    """Each node has the one before it at its last input, and at the first of LATENT."""
    graph = """((chain) => {
        const nodes = [...chain, { inputs: { image: "IMAGE" } }].map((each, i) => ({
            ...each,
            widgets: Object.entries(each.widgets ?? {})
                .map(([name, value]) => ({ name, value })),
            inputs: [
                ...Object.entries(each.inputs ?? {}).map(([name, type]) => ({ name, type })),
                ...(each.linked ? [{ widget: { name: each.linked }, link: 7 }] : []),
            ],
            getInputNode(slot) {
                const isFirst = this.inputs.every(({ type }) => type !== "IMAGE");
                return slot === (isFirst ? 0 : this.inputs.length - 1) ? nodes[i - 1] : null;
            },
        }));
        const found = m.imageSize(m.sourceOf(nodes.at(-1), "image"));
        return found && [found.width, found.height];
    })(c)"""
    assert run("result_size.js", graph, [chain]) == [size]


def test_numbers_show_the_decimals_they_have() -> None:
    cases = [2, 1.5, 2.25, 1.3333, 2.667]
    assert run("numbers.js", "m.decimals(c)", cases) == [1, 1, 2, 4, 3]
