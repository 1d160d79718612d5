"""What autodoc cannot make: pages and tables of plugins by name, of the fields of a run, and of types with a range."""

import importlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import docstring_parser
from docutils import nodes
from signatures import RANGES, default_in_words, in_words, signature_of
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from capsnet_dist.plugins import REGISTRIES, Routing, routings
from capsnet_dist.registry import Registry

KINDS = {registry.kind: registry for registry in REGISTRIES}
MNIST = (1152, 8, 10, 16)  # parts, part_dim, wholes and dim of CapsNet's class capsules on MNIST


def words(text: str | None) -> list[nodes.Node]:
    """Running text; what stands in backticks, and a flag, is code. Nothing else in a docstring is markup."""
    pieces = re.split(r"(`[^`]+`|(?<!\S)--[a-z][\w.-]*\w)", " ".join((text or "").split()))
    return [nodes.literal("", p.strip("`")) if p[:1] == "`" or p[:2] == "--" else nodes.Text(p) for p in pieces if p]


def code(text: str) -> list[nodes.Node]:
    """Text as code."""
    return [nodes.literal("", text)]


def described(target: Any) -> list[nodes.Node]:
    """What a docstring says before its Args, paragraph by paragraph."""
    doc = docstring_parser.parse(inspect.getdoc(target) or "")
    text = "\n\n".join(filter(None, [doc.short_description, doc.long_description]))
    return [nodes.paragraph("", "", *words(block)) for block in re.split(r"\n\s*\n", text)]


def table(head: Iterable[str], rows: Iterable[Iterable[list[nodes.Node]]]) -> nodes.table:
    """A table of inline text."""
    head, rows = list(head), [list(row) for row in rows]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", name)) for name in head)))
    body = [nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in row)) for row in rows]
    group += nodes.tbody("", *body)
    return nodes.table("", group)


def options(registry: Registry[Any], name: str) -> nodes.Node:
    """The options of a plugin, as a table."""
    known = registry.options(name)
    if not known:
        return nodes.paragraph("", "It has no options.")
    doc = docstring_parser.parse(inspect.getdoc(registry[name]) or "")
    helps = {parameter.arg_name: parameter.description for parameter in doc.params}
    rows = (
        [code(key), code(in_words(option.type)), code(default_in_words(option.default)), words(helps.get(key))]
        for key, option in known.items()
    )
    return table(["option", "type", "default", "meaning"], rows)


class Plugin(SphinxDirective):
    """A plugin: its signature with a link to its source, what it is, and its options."""

    def plugin(self, registry: Registry[Any], name: str) -> list[nodes.Node]:
        """Its nodes."""
        target: Any = registry[name]
        kind = "class" if inspect.isclass(target) else "function"
        lines = [f"```{{py:{kind}}} {target.__name__}{signature_of(target)}", f":module: {target.__module__}"]
        found = self.parse_text_to_nodes("\n".join([*lines, ":no-contents-entry:", "```"]))
        for content in (content for node in found for content in node.findall(addnodes.desc_content)):
            content += [*described(target), options(registry, name)]
        return found


class RoutingPage(Plugin):
    """`{routing} em`: what it is, its options, what it needs and adds; the same for every routing."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        name = self.arguments[0]
        built: Routing = routings(name).build(*MNIST)
        count = sum(parameter.numel() for parameter in built.parameters())
        facts = [
            f"Activations of the parts: {'needed' if built.needs_activations else 'not used'}.",
            f"Activations of the wholes: {'made' if built.makes_activations else 'none, all are 1'}.",
            f"Parameters of its own, for 1152 x 8 -> 10 x 16 (CapsNet on MNIST): {count:,}.",
        ]
        items = [nodes.list_item("", nodes.paragraph("", "", *words(fact))) for fact in facts]
        return [*self.plugin(routings, name), nodes.bullet_list("", *items)]


class PluginList(Plugin):
    """`{plugins} loss`: every plugin of a kind that comes with the package, each in a section of its own."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        registry = KINDS[self.arguments[0]]
        own = [name for name in registry if registry.owner(name).startswith("capsnet_dist")]
        return [self._section(registry, name) for name in own]

    def _section(self, registry: Registry[Any], name: str) -> nodes.Node:
        found = nodes.section("", nodes.title("", "", *code(name)), ids=[f"{registry.kind}-{name}".replace("_", "-")])
        found += self.plugin(registry, name)
        return found


class Fields(SphinxDirective):
    """`{fields} capsnet_dist.run.Run`: every field of a dataclass, its type, default and meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        module, _, name = self.arguments[0].rpartition(".")
        target: Any = getattr(importlib.import_module(module), name)
        return [table(["field", "type", "default", "meaning"], self._rows(target))]

    def _rows(self, target: Any, prefix: str = "") -> Iterable[list[list[nodes.Node]]]:
        doc = docstring_parser.parse_from_object(target)
        helps = {parameter.arg_name: parameter.description for parameter in doc.params}
        kinds = inspect.get_annotations(target, eval_str=True)
        for field in fields(target):
            if is_dataclass(kind := kinds[field.name]):
                yield from self._rows(kind, f"{prefix}{field.name}.")
            else:
                default = [] if field.default is MISSING else code(default_in_words(field.default))
                yield [code(prefix + field.name), code(in_words(kind)), default, words(helps[field.name])]


class Ranges(SphinxDirective):
    """`{ranges}`: the types of `capsnet_dist.ranges`, and what each allows."""

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        entries = [f"```{{py:type}} {name}\n{in_words(kind)}\n```" for name, kind in RANGES.items()]
        module = "```{py:currentmodule} capsnet_dist.ranges\n```"
        return self.parse_text_to_nodes("\n\n".join([module, *entries]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("routing", RoutingPage)
    app.add_directive("plugins", PluginList)
    app.add_directive("fields", Fields)
    app.add_directive("ranges", Ranges)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
