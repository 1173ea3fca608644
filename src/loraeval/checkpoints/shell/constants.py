"""What Python expressions of constants and known names are, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from loraeval.checkpoints.shell.words import MAX_WORD, MAX_WORDS

Names = dict[str, Any]


class Unknown:
    """The value of what is not known."""

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()


def constant(node: ast.expr, names: Names) -> Any:
    """Return what an expression of constants and known names is, ``UNKNOWN`` for any other."""
    rule = _RULES.get(type(node))
    return UNKNOWN if rule is None else rule(node, names)


def _list(node: Any, names: Names) -> Any:
    return [constant(item, names) for item in node.elts]


def _dict(node: ast.Dict, names: Names) -> Any:
    found = {}
    for key, value in zip(node.keys, node.values, strict=True):
        name = None if key is None else constant(key, names)
        if isinstance(name, str):
            found[name] = constant(value, names)
    return found


def _text(node: ast.JoinedStr, names: Names) -> Any:
    parts = [
        constant(part.value if isinstance(part, ast.FormattedValue) else part, names)
        for part in node.values
    ]
    return UNKNOWN if UNKNOWN in parts else "".join(map(str, parts))[:MAX_WORD]


def _choice(node: ast.IfExp, names: Names) -> Any:
    test = constant(node.test, names)
    return UNKNOWN if test is UNKNOWN else constant(node.body if test else node.orelse, names)


def _unary(node: ast.UnaryOp, names: Names) -> Any:
    value = constant(node.operand, names)
    if isinstance(node.op, ast.Not):
        return UNKNOWN if value is UNKNOWN else not value
    minus = isinstance(node.op, ast.USub) and isinstance(value, (int, float))
    return -value if minus else UNKNOWN


def _compare(node: ast.Compare, names: Names) -> Any:
    if len(node.ops) != 1 or not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        return UNKNOWN
    left, right = constant(node.left, names), constant(node.comparators[0], names)
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    return (left == right) is isinstance(node.ops[0], ast.Eq)


def _binary(node: ast.BinOp, names: Names) -> Any:
    left, right = constant(node.left, names), constant(node.right, names)
    if isinstance(node.op, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return (left + right)[:MAX_WORD]
        if isinstance(left, list) and isinstance(right, list):
            return (left + right)[:MAX_WORDS]
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        return UNKNOWN
    if abs(left) > 1e9 or abs(right) > 1e9:
        return UNKNOWN
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    if isinstance(node.op, (ast.FloorDiv, ast.Div)) and right:
        return left // right if isinstance(node.op, ast.FloorDiv) else left / right
    return UNKNOWN


def _call(node: ast.Call, names: Names) -> Any:
    if not isinstance(node.func, (ast.Name, ast.Attribute)):
        return UNKNOWN
    name = ast.unparse(node.func)
    args = [constant(item, names) for item in node.args]
    if name in ("str", "int", "float") and len(args) == 1 and args[0] is not UNKNOWN:
        return _converted(name, args[0])
    if name == "os.path.join" and args and isinstance(args[-1], str):
        return args[-1] if UNKNOWN in args else "/".join(map(str, args))
    return UNKNOWN


_RULES: dict[type, Callable[..., Any]] = {
    ast.Constant: lambda node, _: node.value,
    ast.Name: lambda node, names: names.get(node.id, UNKNOWN),
    ast.List: _list, ast.Tuple: _list, ast.Dict: _dict, ast.JoinedStr: _text, ast.IfExp: _choice,
    ast.UnaryOp: _unary, ast.Compare: _compare, ast.BinOp: _binary, ast.Call: _call,
}  # fmt: skip


def _converted(name: str, value: Any) -> Any:
    try:
        return {"str": str, "int": int, "float": float}[name](value)
    except (TypeError, ValueError):
        return UNKNOWN


def plain_table(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table without what is not known; names of unknown values map to ``None`` text."""
    done: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            done[key] = plain_table(value)
        else:
            done[key] = f"${{{key}}}" if value is UNKNOWN else value
    return done
