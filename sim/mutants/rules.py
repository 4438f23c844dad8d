"""The rules: what can be changed in a hardware module, found on its syntax tree."""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

_NOT_HARDWARE = re.compile(r"__init__|__post_init__|_?check\w*|_?trace\w*|parse_\w+")
"""Functions whose text makes no gates of a synthesised design: argument checks, trace ports."""
_ROUNDING = re.compile(r"\bhalf\b|round|1 << .* - 1$|_BITS - 1\]")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")
CONSTANT = "constant off by one"
_SWAPPED_COMPARISON: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
}


@dataclass(frozen=True)
class Mutant:
    """One change of one expression.

    Members:
        module: Dotted name.
        function: The innermost function or class around it; empty at the module's level.
        rule: What kind of fault.
        before, after: The expression's text.
        number: Which of the places in the module that agree in all of the above, from 0.
        line: Where it is today; no part of the mutant's name.
    """

    module: str
    function: str
    rule: str
    before: str
    after: str
    number: int
    line: int

    @property
    def name(self) -> str:
        """The same while the expression stays in its function, wherever that lies."""
        number = f" #{self.number}" if self.number else ""
        return f"{self.module}:{self.function}: {self.rule}: {self.before} -> {self.after}{number}"

    @property
    def digest(self) -> str:
        """SHA-256 of the name, in hex."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def as_json(self) -> dict[str, object]:
        """For result files."""
        return asdict(self)


def find_mutants(source: str, module: str) -> list[Mutant]:
    """All mutants of a module's source, in the order of its syntax tree."""
    return [mutant for mutant, *_ in _places(ast.parse(source), module)]


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The module's tree with the mutant's change; line numbers stay.

    Raises:
        ValueError: the source has no such place.
    """
    tree = ast.parse(source)
    for found, parent, field, index, replacement in _places(tree, mutant.module):
        if found.name == mutant.name:
            if index is None:
                setattr(parent, field, replacement)
            elif replacement is None:
                del getattr(parent, field)[index]
            else:
                getattr(parent, field)[index] = replacement
            return ast.fix_missing_locations(tree)
    raise ValueError(f"{mutant.module} has no place for the mutant {mutant.name!r}")


_Place = tuple[Mutant, ast.AST, str, "int | None", "ast.AST | None"]


def _places(tree: ast.Module, module: str) -> Iterator[_Place]:
    seen: Counter[str] = Counter()
    for function, node, parent, field, index in _walk(tree, "", None):
        for rule, replacement in _variants(node, parent, function):
            before = ast.unparse(node)
            after = "" if replacement is None else ast.unparse(replacement)
            if rule == CONSTANT and isinstance(parent, ast.Assign):
                before = f"{ast.unparse(parent.targets[0])} = {before}"
            key = f"{function}|{rule}|{before}|{after}"
            line = getattr(node, "lineno", 0)
            mutant = Mutant(module, function, rule, before, after, seen[key], line)
            seen[key] += 1
            if replacement is not None:
                replacement = ast.copy_location(replacement, node)
            yield mutant, parent, field, index, replacement


def _walk(
    node: ast.AST, function: str, inside: ast.AST | None
) -> Iterator[tuple[str, ast.expr, ast.AST, str, int | None]]:
    """Every expression that a rule may look at, with the place it stands in."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        if _NOT_HARDWARE.fullmatch(node.name):
            return
        function = node.name
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if isinstance(child, ast.AST):
                if isinstance(child, ast.expr):
                    yield function, child, node, field, index if isinstance(value, list) else None
                yield from _walk(child, function, node)


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _called(node: ast.AST) -> str:
    """The last name of what a call calls; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is(node: ast.AST, *values: int) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value in values


def _variants(node: ast.expr, parent: ast.AST, function: str) -> Iterator[tuple[str, ast.expr | None]]:
    """What the rules make of one expression; None drops it from its list."""
    yield from _constant(node, parent)
    if not function:
        return
    if isinstance(node, ast.Call):
        yield from _call(node)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        swapped = _SWAPPED_COMPARISON.get(type(node.ops[0]))
        if swapped:
            yield "comparison", ast.Compare(node.left, [swapped], node.comparators)
    elif isinstance(node, ast.BinOp):
        yield from _operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield "inversion dropped", node.operand
    elif _is_constant_used(node, parent):
        for step in ("-", "+"):
            yield CONSTANT, _expression(f"({ast.unparse(node)} {step} 1)")
    if _called(node) == "eq":
        if isinstance(parent, ast.List):
            yield "assignment dropped", None
        elif isinstance(parent, ast.AugAssign):
            yield "assignment dropped", _expression("[]")


def _is_constant_used(node: ast.expr, parent: ast.AST) -> bool:
    """A named constant as an operand or argument."""
    return (
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and _CONSTANT.fullmatch(node.id) is not None
        and isinstance(parent, ast.Call | ast.BinOp | ast.Compare | ast.UnaryOp)
    )


def _constant(node: ast.expr, parent: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """``SLOTS = 4``: a count, a width, a window's length."""
    if isinstance(parent, ast.Assign) and isinstance(node, ast.Constant) and type(node.value) is int:
        target = parent.targets[0]
        if isinstance(target, ast.Name) and _CONSTANT.fullmatch(target.id.lstrip("_")):
            for value in (node.value - 1, node.value + 1):
                yield CONSTANT, ast.Constant(value)


def _call(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    name, arguments = _called(node), node.args
    if name == "saturate" and len(arguments) == 3:
        yield "saturation dropped", arguments[0]
        value, low, high = (ast.unparse(argument) for argument in arguments)
        yield "bound off by one", _expression(f"saturate({value}, ({low}) + 1, {high})")
        yield "bound off by one", _expression(f"saturate({value}, {low}, ({high}) - 1)")
    elif name == "saturate_signed" and len(arguments) == 2:
        value, bits = (ast.unparse(argument) for argument in arguments)
        yield "saturation dropped", _expression(f"({value})[:{bits}].as_signed()")
        yield "bound off by one", _expression(f"saturate_signed({value}, ({bits}) - 1)")
    elif name == "Mux" and len(arguments) == 3:
        swapped = copy.deepcopy(node)
        swapped.args[1], swapped.args[2] = swapped.args[2], swapped.args[1]
        yield "branches swapped", swapped
    elif name == "delay" and len(arguments) >= 3:
        for step in ("-", "+"):
            changed = copy.deepcopy(node)
            changed.args[2] = _expression(f"({ast.unparse(arguments[2])}) {step} 1")
            yield "delay off by one", changed
    elif name == "as_signed" and not arguments and isinstance(node.func, ast.Attribute):
        yield "signed as unsigned", _expression(f"({ast.unparse(node.func.value)}).as_unsigned()")
    elif name == "eq" and len(arguments) == 1 and _is(arguments[0], 0, 1):
        changed = copy.deepcopy(node)
        changed.args[0] = ast.Constant(0 if _is(arguments[0], 1) else 1)
        yield "constant assigned", changed
    for number, keyword in enumerate(node.keywords):
        if keyword.arg == "init" and _is(keyword.value, *range(2**16)):
            changed = copy.deepcopy(node)
            value = keyword.value.value  # type: ignore[attr-defined]
            changed.keywords[number].value = ast.Constant(0 if value == 1 else value + 1)
            yield "reset value", changed


def _operation(node: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node.op, ast.Add | ast.Sub) and _is(node.right, 1):
        yield "off by one", node.left
        yield "off by one", ast.BinOp(node.left, node.op, ast.Constant(2))
    if isinstance(node.op, ast.Add) and _ROUNDING.search(ast.unparse(node.right)):
        yield "rounding dropped", node.left
    if isinstance(node.op, ast.BitAnd):
        yield "and as or", ast.BinOp(node.left, ast.BitOr(), node.right)
    elif isinstance(node.op, ast.BitOr):
        yield "or as and", ast.BinOp(node.left, ast.BitAnd(), node.right)
    elif isinstance(node.op, ast.LShift | ast.RShift) and _is(node.right, *range(1, 64)):
        more = ast.Constant(node.right.value + 1)  # type: ignore[attr-defined]
        yield "shift off by one", ast.BinOp(node.left, node.op, more)
