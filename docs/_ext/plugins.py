"""Pages from the code: what a plugin or a class takes and gives, from its signature and its docstring."""

import importlib
import inspect
import re
import typing
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any

import docstring_parser
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from capsnet_dist.plugins import REGISTRIES, Routing, routings
from capsnet_dist.registry import Choice, Registry

KINDS = {registry.kind: registry for registry in REGISTRIES}
MNIST = (1152, 8, 10, 16)  # parts, part_dim, wholes and dim of CapsNet's class capsules on MNIST


def words(text: str | None) -> list[nodes.Node]:
    """Running text; what stands in backticks is code. Nothing else in a docstring is markup."""
    pieces = re.split(r"(`[^`]+`)", " ".join((text or "").split()))
    return [nodes.literal("", p[1:-1]) if p[:1] == "`" else nodes.Text(p) for p in pieces if p]


def paragraphs(text: str | None) -> list[nodes.Node]:
    """A paragraph for each block of text; examples stay as they are."""
    blocks = [block for block in re.split(r"\n\s*\n", text or "") if block.strip()]
    return [
        nodes.literal_block(block, inspect.cleandoc(block), language="pycon")
        if ">>>" in block
        else nodes.paragraph("", "", *words(block))
        for block in blocks
    ]


def table(head: Iterable[str], rows: Iterable[Iterable[list[nodes.Node]]]) -> nodes.table:
    """A table of inline text."""
    head, rows = list(head), [list(row) for row in rows]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", name)) for name in head)))
    body = [nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in row)) for row in rows]
    group += nodes.tbody("", *body)
    return nodes.table("", group)


def shown(value: Any) -> str:
    """A default as it is written on the command line."""
    return value.name if isinstance(value, Choice) else str(value)


def kind_of(annotation: Any) -> str:
    """A type as a reader knows it; the values of a Literal."""
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    text = inspect.formatannotation(annotation).replace("capsnet_dist.registry.", "").replace("pathlib.", "")
    text = re.sub(r"\b(?:capsnet_dist|jaxtyping|torch|typing)\.(?:\w+\.)*", "", text)
    return re.sub(r"Choice\[(\w+)\]", r"\1", text)


def options(registry: Registry[Any], name: str) -> list[nodes.Node]:
    """The options of a plugin, as a table."""
    known = registry.options(name)
    if not known:
        return [nodes.paragraph("", "It has no options.")]
    doc = docstring_parser.parse(inspect.getdoc(registry[name]) or "")
    helps = {parameter.arg_name: parameter.description for parameter in doc.params}
    rows = (
        [code(key), code(kind_of(option.type)), code(shown(option.default)), words(helps.get(key))]
        for key, option in known.items()
    )
    return [table(["option", "type", "default", "meaning"], rows)]


def is_named_tuple(target: Any) -> bool:
    """Whether it is a named tuple, whose attributes are documented one by one."""
    return inspect.isclass(target) and issubclass(target, tuple)


def code(text: str) -> list[nodes.Node]:
    """Text as code."""
    return [nodes.literal("", text)]


def described(target: Any) -> list[nodes.Node]:
    """What a docstring says before its Args."""
    doc = docstring_parser.parse(inspect.getdoc(target) or "")
    return paragraphs("\n\n".join(filter(None, [doc.short_description, doc.long_description])))


class RoutingPage(Directive):
    """`{routing} em`: what it is, its options, what it needs and adds; the same for every routing."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        name = self.arguments[0]
        kind: Any = routings[name]
        built: Routing = routings(name).build(*MNIST)
        count = sum(parameter.numel() for parameter in built.parameters())
        facts = [
            f"Activations of the parts: {'needed' if built.needs_activations else 'not used'}.",
            f"Activations of the wholes: {'made' if built.makes_activations else 'none, all are 1'}.",
            f"Parameters of its own, for 1152 x 8 -> 10 x 16 (CapsNet on MNIST): {count:,}.",
            f"Code: `{kind.__module__}`.",
        ]
        items = [nodes.list_item("", nodes.paragraph("", "", *words(fact))) for fact in facts]
        return [*described(kind), *options(routings, name), nodes.bullet_list("", *items)]


def fields(target: Any) -> list[nodes.Node]:
    """The fields of a dataclass or named tuple, as a table; each is described by the string below it."""
    doc = docstring_parser.parse_from_object(target)
    described = {parameter.arg_name: parameter.description for parameter in doc.params}
    defaults = target.__dict__ if is_dataclass(target) else target._field_defaults
    rows = (
        [
            code(name),
            code(kind_of(kind)),
            code(shown(defaults[name])) if name in defaults else [],
            words(described[name]),
        ]
        for name, kind in inspect.get_annotations(target, eval_str=True).items()
    )
    return [table(["field", "type", "default", "meaning"], rows)]


class Fields(Directive):
    """`{fields} capsnet_dist.run.Run`: every field, its type, default and meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        module, _, name = self.arguments[0].rpartition(".")
        return fields(getattr(importlib.import_module(module), name))


class PluginList(Directive):
    """`{plugins} loss`: every plugin of a kind that comes with the package, with its options."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        registry = KINDS[self.arguments[0]]
        found: list[nodes.Node] = []
        for name in registry:
            if registry.owner(name).startswith("capsnet_dist"):
                found += [nodes.rubric("", "", *code(name)), *described(registry[name]), *options(registry, name)]
        return found


class Names(Directive):
    """`{api}`, then a name a line: its signature and docstring, with those of its public methods."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        return [node for line in self.content if line.strip() for node in self._name(line.strip())]

    def _name(self, path: str) -> list[nodes.Node]:
        module, _, name = path.rpartition(".")
        target = getattr(importlib.import_module(module), name)
        found = [nodes.rubric("", "", *code(name)), *self._signature(name, target), *described(target)]
        found += fields(target) if is_named_tuple(target) else self._arguments(target)
        for key, member in vars(target).items() if inspect.isclass(target) else ():
            if not key.startswith("_") and inspect.isfunction(member) and member.__doc__:
                found += [*self._signature(key, member), nodes.block_quote("", *described(member))]
        return found

    def _signature(self, name: str, target: Any) -> list[nodes.Node]:
        try:
            parameters = inspect.signature(target).parameters.values()
        except (TypeError, ValueError):
            return []
        shown = [str(p.replace(annotation=p.empty)) for p in parameters if p.name != "self"]
        shown = [re.sub(r"<function (\w+) at \w+>", r"\1", text) for text in shown]
        star = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
        if star is not None:
            shown.insert(star, "*")
        return [nodes.literal_block("", f"{name}({', '.join(shown)})", language="python")]

    def _arguments(self, target: Any) -> list[nodes.Node]:
        doc = docstring_parser.parse(inspect.getdoc(target) or "")
        lines = [(parameter.arg_name, parameter.description) for parameter in doc.params]
        lines += [(f"raises {error.type_name}", error.description) for error in doc.raises]
        return [table(["argument", "meaning"], ([code(name), words(text)] for name, text in lines))] if lines else []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("routing", RoutingPage)
    app.add_directive("plugins", PluginList)
    app.add_directive("fields", Fields)
    app.add_directive("api", Names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
