"""Saved graphs as the front end reads them: workflow files to prompts."""

from __future__ import annotations

from typing import Any

WIDGET_TYPES = {
    *("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"),
    "FLOAT,INT,STRING",
}
FRONT_END_NODES = {"MarkdownNote", "Note"}


def prompt_of(
    workflow: dict[str, Any], object_info: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns the prompt the front end would queue for a workflow without subgraphs.

    Widget values are stored by position, in the order of the node's widgets; a dynamic
    combo's value decides which widgets follow it. Older hosts have the widgets of all its
    options; web/saved_graphs.js leaves out those that are not used.

    Raises:
        AssertionError: A node type is unknown, or widget values are left over.
    """
    links = {link[0]: link for link in workflow["links"]}
    prompt: dict[str, dict[str, Any]] = {}
    for node in workflow["nodes"]:
        kind = node["type"]
        if kind in FRONT_END_NODES:
            continue
        assert kind in object_info, f"this host has no node type {kind!r}"
        inputs = _widget_values(kind, object_info[kind], node.get("widgets_values", []))
        for slot in node.get("inputs", []):
            if slot.get("link") is not None:
                _, source, output, *_ = links[slot["link"]]
                inputs[slot["name"]] = [str(source), output]
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


def prompt_of_block(
    block: dict[str, Any], object_info: dict[str, Any], values: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Any]]]:
    """Returns the prompt of a subgraph with values for its promoted widgets.

    Args:
        block: A file of ``subgraphs``, with one instance.
        object_info: What the host answers.
        values: For each promoted widget; and the link to its source for each input
            that has one.

    Returns:
        The nodes inside, their ids with a prefix, and the links to the outputs by name.
    """
    (instance,) = block["nodes"]
    (graph,) = block["definitions"]["subgraphs"]
    nodes = [{**each, "inputs": []} for each in graph["nodes"]]
    prompt = prompt_of({"nodes": nodes, "links": []}, object_info)
    for inner, widget in instance["properties"]["proxyWidgets"]:
        prompt[inner]["inputs"][widget] = values[widget]
    by_id = {node["id"]: node for node in graph["nodes"]}
    results: dict[str, list[Any]] = {}
    for link in graph["links"]:
        source: Any = [f"block:{link['origin_id']}", link["origin_slot"]]
        if link["origin_id"] == graph["inputNode"]["id"]:
            source = values.get(graph["inputs"][link["origin_slot"]]["name"])
        if link["target_id"] == graph["outputNode"]["id"]:
            results[graph["outputs"][link["target_slot"]]["name"]] = source
        elif source:
            slot = by_id[link["target_id"]]["inputs"][link["target_slot"]]["name"]
            prompt[str(link["target_id"])]["inputs"][slot] = source
    return {f"block:{name}": node for name, node in prompt.items()}, results


def _widget_values(
    kind: str, info: dict[str, Any], values: list[Any]
) -> dict[str, Any]:
    left = list(values)
    named: dict[str, Any] = {}

    def take(inputs: dict[str, Any], prefix: str) -> None:
        specs = {**inputs.get("required", {}), **inputs.get("optional", {})}
        for name, (type_name, *rest) in specs.items():
            options = rest[0] if rest else {}
            if not (isinstance(type_name, list) or type_name in WIDGET_TYPES):
                continue
            if not _is_used(name, options, named):
                continue
            value = left.pop(0) if left else _default(type_name, options)
            named[prefix + name] = value
            if options.get("control_after_generate") or options.get("image_upload"):
                left[:1] = []
            if type_name == "COMFY_DYNAMICCOMBO_V3":
                option = next(o for o in options["options"] if o["key"] == value)
                take(option["inputs"], f"{prefix}{name}.")

    take(info["input"], "")
    assert not left, f"{kind}: values {left} have no widget, only {list(named)} do"
    return named


def _is_used(name: str, options: dict[str, Any], named: dict[str, Any]) -> bool:
    """Whether the option chosen uses an input, whose tooltip says which ones do."""
    choice, dot, _ = name.partition(".")
    return not dot or f"'{named[choice]}'" in options["tooltip"].partition(". ")[0]


def _default(type_name: str | list[str], options: dict[str, Any]) -> Any:
    if isinstance(type_name, list):
        return options.get("default", type_name[0])
    if type_name == "COMFY_DYNAMICCOMBO_V3":
        return options["options"][0]["key"]
    return options.get("default", options.get("options", [None])[0])
