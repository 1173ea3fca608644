"""Commands of a Jupyter notebook: shell lines, ``subprocess`` calls, written configurations.

Constants that the cells assign are filled in, in the order of the cells. Nothing is run.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from loraeval.checkpoints.shell.constants import UNKNOWN, constant
from loraeval.checkpoints.shell.posix import posix_script
from loraeval.checkpoints.shell.words import Command, Script, Variables, Word

MAX_CELLS = 2000

_MAGIC = re.compile(r"\s*%%(bash|sh|script|writefile|capture)\b[ \t]*(?:-a[ \t]+)?(.*)")
_ENV = re.compile(r"\s*%(?:set_)?env[ \t]+(\w+)[ \t=]+(.*)")


def notebook_script(tree: Any) -> tuple[Script, list[dict[str, Any]]]:
    """Return the commands of a notebook, the files it writes, and the tables of constants that its
    cells build: what a cell dumps as TOML stands among them.
    """
    script = Script()
    tables: list[dict[str, Any]] = []
    names: dict[str, Any] = {}
    cells = tree.get("cells") if isinstance(tree, dict) else None
    for cell in cells[:MAX_CELLS] if isinstance(cells, list) else ():
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", "")
            text = "".join(map(str, source)) if isinstance(source, list) else str(source)
            _cell(text, script, names, tables)
    return script, tables


def _cell(text: str, script: Script, names: dict[str, Any], tables: list[dict[str, Any]]) -> None:
    first, _, rest = text.lstrip().partition("\n")
    magic = _MAGIC.match(first)
    if magic and magic[1] == "writefile":
        script.written[_filled(magic[2].strip().strip("'\""), names)] = rest
        return
    if magic and magic[1] != "capture":
        _add(script, posix_script(rest, _variables(names)))
        return
    python: list[str] = []
    shell: list[str] = []
    for line in (rest if magic else text).split("\n"):
        if shell and shell[-1].rstrip().endswith("\\"):
            shell.append(line)
        elif line.lstrip().startswith("!"):
            python.append(line[: len(line) - len(line.lstrip())] + f"__shell__({len(shell)})")
            shell.append(line.lstrip()[1:])
        elif line.lstrip().startswith("%"):
            found = _ENV.match(line)
            if found:
                names[found[1]] = found[2].strip()
            python.append("")
        else:
            python.append(line)
    try:
        body = ast.parse("\n".join(python)[: 64 << 10]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for command in "\n".join(shell).split("\n__\n"):
            _add(script, posix_script(_filled(command, names), _variables(names)))
        return
    _statements(body, script, names, tables, shell)


def _statements(
    body: list[ast.stmt], script: Script, names: dict[str, Any], tables: list[dict[str, Any]],
    shell: list[str],
) -> None:  # fmt: skip
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            _assign(node.targets[0], constant(node.value, names), names)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _assign(node.target, constant(node.value, names), names)
        elif isinstance(node, ast.If):
            _condition(node, script, names, tables, shell)
        elif isinstance(node, (ast.With, ast.Try)):
            _statements(node.body, script, names, tables, shell)
        elif isinstance(node, (ast.FunctionDef, ast.For, ast.While)):
            inner = dict(names)
            _forget(node, inner)
            _statements(node.body, script, inner, tables, shell)
        if not hasattr(node, "body"):
            for call in ast.walk(node):
                if isinstance(call, ast.Call):
                    _call(call, script, names, shell)
    for value in list(names.values()):
        if isinstance(value, dict) and value not in tables:
            tables.append(value)


def _condition(
    node: ast.If, script: Script, names: dict[str, Any], tables: list[dict[str, Any]],
    shell: list[str],
) -> None:  # fmt: skip
    test = constant(node.test, names)
    if test is not UNKNOWN:
        _statements(node.body if test else node.orelse, script, names, tables, shell)
        return
    _forget(node, names)
    _statements([*node.body, *node.orelse], script, dict(names), tables, shell)


def _forget(node: ast.AST, names: dict[str, Any]) -> None:
    """What is set where it may not run, or more than once, is not known."""
    for name in ast.walk(node):
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
            names[name.id] = UNKNOWN


def _assign(target: ast.expr, value: Any, names: dict[str, Any]) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = value
    elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        table, key = names.get(target.value.id), constant(target.slice, names)
        if isinstance(table, dict) and isinstance(key, str):
            table[key] = value
    elif isinstance(target, ast.Tuple):
        for index, name in enumerate(target.elts):
            one = value[index] if isinstance(value, list) and index < len(value) else UNKNOWN
            _assign(name, one, names)


def _call(call: ast.Call, script: Script, names: dict[str, Any], shell: list[str]) -> None:
    name = ast.unparse(call.func) if isinstance(call.func, (ast.Name, ast.Attribute)) else ""
    if name == "__shell__" and call.args and isinstance(call.args[0], ast.Constant):
        start = int(str(call.args[0].value))
        lines = [shell[start]]
        while lines[-1].rstrip().endswith("\\") and start + len(lines) < len(shell):
            lines.append(shell[start + len(lines)])
        text = _filled("\n".join(lines), names)
        _add(script, posix_script(text, _variables(names)))
    elif name in ("os.system", "subprocess.run", "subprocess.call", "subprocess.Popen",
                  "subprocess.check_call", "get_ipython().system") and call.args:  # fmt: skip
        value = constant(call.args[0], names)
        if isinstance(value, str):
            _add(script, posix_script(value, _variables(names)))
        elif isinstance(value, list):
            words = [Word("?", ("?",)) if w is UNKNOWN else Word(str(w)) for w in value]
            script.commands.append(Command(words))


def _add(script: Script, found: Script) -> None:
    script.commands += found.commands
    script.written.update(found.written)


def _variables(names: dict[str, Any]) -> Variables:
    plain = {k: (Word(str(v)),) for k, v in names.items() if isinstance(v, (str, int, float))}
    return Variables(dict(plain))


def _filled(text: str, names: dict[str, Any]) -> str:
    """Fill in ``{name}`` as IPython does; what is not known becomes an open shell variable."""

    def replace(match: re.Match[str]) -> str:
        try:
            value = constant(ast.parse(match[1].strip(), mode="eval").body, names)
        except (SyntaxError, ValueError, RecursionError):
            return match[0]
        if value is UNKNOWN:
            return f"${{{re.sub(r'[^A-Za-z_0-9]', '_', match[1].strip())}}}"
        return str(value)

    return re.sub(r"(?<!\$)\{([^{}\n]{1,200})\}", replace, text)
