"""Writes the parts of the Python package that follow from the native module.

    python -m tools.generate_python [--check]

The doc comments and signatures of `src/python` are the source. From them this writes the stub
`_native.pyi`, the classes with the operations of `OrderEngine` and `AsyncOrderEngine`, and the
typed settings. `--check` writes nothing and fails if a file is not up to date.

Types of arguments and results stand in the docstrings, as in `user_id (Id): The customer.`; the
types of a result's fields come from its `__annotations__`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

PACKAGE = Path(__file__).parents[1] / "python" / "order_engine"
LINE_LENGTH = 100
EVENTS = "events_"
"""Operations with this prefix are those of `engine.events`."""
BLOCKING_ONLY = {"migration_router"}
ASYNC_ONLY = {"open_websocket"}
LIFECYCLE = {"open", "close", "sink_feeds"}
"""Methods that `order_engine.connection` calls; they are no operations."""

IMPORTS = """
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, final
from order_engine.argument_types import Headers, Id, Line, OrderRow
from order_engine.exceptions import OrderEngineError
from order_engine.status import OrderStatus
"""
NOTICE = "Written by `make generate` from the native module; do not edit it."
SINKS = "sinks"
"""The setting that the argument of the same name sets."""

STUB_DOC = f"""The native module: the engine behind `OrderEngine` and the `order-engine` command.

{NOTICE}

`flags` are settings by name, as text: `{{"database_url": "postgresql://...", "port": "5000"}}`.
Lists are separated by commas; booleans are `true` and `false`. Settings that are not given come
from the environment, `.env` and `order-engine.toml` in the working directory, and the defaults.

Every exception is one of `order_engine.exceptions.KINDS`. Any call may raise `Misconfigured`,
`Unavailable` and `Internal`; the docstrings name the others.

Results are immutable, hashable and picklable. They compare by value and can be used in `match`
and as dataclasses. Times are aware datetimes in UTC, amounts are `Decimal` with at least two
decimals.
"""


def load_native() -> ModuleType:
    """Load the installed native module without the package, which needs the generated files."""
    package = importlib.util.find_spec("order_engine")
    assert package is not None  # noqa: S101 - for the type checker.
    assert package.submodule_search_locations is not None  # noqa: S101 - as above.
    [folder] = package.submodule_search_locations
    [library] = Path(folder).glob("_native*.so")
    spec = importlib.util.spec_from_file_location("order_engine._native", library)
    assert spec is not None  # noqa: S101 - as above.
    assert spec.loader is not None  # noqa: S101 - as above.
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_native: Any = load_native()


@dataclass
class Doc:
    """A docstring in its sections."""

    text: str
    arguments: dict[str, tuple[str, str]] = field(default_factory=dict)
    returns: tuple[str, str] | None = None
    raises: list[str] = field(default_factory=list)


def parse(docstring: str | None) -> Doc:
    """Split a docstring in Google style."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line in ("Args:", "Returns:", "Raises:"):
            current = line
            sections[current] = []
        else:
            sections[current].append(line)
    doc = Doc("\n".join(sections[""]).strip())
    for entry in entries(sections.get("Args:", [])):
        name, annotation, text = matched(r"(\w+) \((.+?)\): (.+)", entry)
        doc.arguments[name] = (annotation, text)
    for entry in entries(sections.get("Returns:", [])):
        annotation, text = matched(r"((?:[^:]|:(?! ))+): (.+)", entry)
        doc.returns = (annotation, text)
    doc.raises = entries(sections.get("Raises:", []))
    return doc


def entries(lines: list[str]) -> list[str]:
    """Join the lines of each entry of a section."""
    found: list[str] = []
    for line in lines:
        if line.startswith("     "):
            found[-1] += " " + line.strip()
        elif line.strip():
            found.append(line.strip())
    return found


def matched(pattern: str, entry: str) -> tuple[str, ...]:
    """Match an entry of a section, or fail with its text."""
    found = re.fullmatch(pattern, entry)
    if found is None:
        raise SystemExit(f"This docstring entry has no type: {entry!r}")
    return found.groups()


def docstring(doc: Doc, indent: int) -> str:
    """Write a docstring without types, which stand in the signature."""
    width = LINE_LENGTH - indent
    parts = [doc.text]
    for title, section in (
        ("Args:", [f"{name}: {text}" for name, (_, text) in doc.arguments.items()]),
        ("Returns:", [doc.returns[1]] if doc.returns and doc.returns[1] else []),
        ("Raises:", doc.raises),
    ):
        if section:
            hanging = "    " if title == "Returns:" else "        "
            wrapped = (
                textwrap.fill(
                    entry,
                    width,
                    initial_indent="    ",
                    subsequent_indent=hanging,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                for entry in section
            )
            parts.append("\n".join([title, *wrapped]))
    text = "\n\n".join(parts)
    if "\n" not in text and len(text) + 6 <= width:
        return f'"""{text}"""'
    return f'"""{text}\n"""'


def parameters(text_signature: str, doc: Doc, name: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the typed parameters of a signature, and how a wrapper passes them on."""
    function = ast.parse(f"def f{text_signature.replace('$', '').replace('/', 'POSITIONAL')}: 0")
    definition = function.body[0]
    assert isinstance(definition, ast.FunctionDef)  # noqa: S101 - for the type checker.
    arguments = definition.args
    positional = [
        argument
        for argument in arguments.args
        if argument.arg not in ("self", "cls", "POSITIONAL", "slf")
    ]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    written, passed = [], []
    for argument, default in zip(positional, defaults, strict=True):
        written.append(parameter(argument.arg, default, doc, name))
        passed.append((argument.arg, argument.arg))
    if arguments.kwonlyargs:
        written.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        written.append(parameter(argument.arg, default, doc, name))
        passed.append((argument.arg, f"{argument.arg}={argument.arg}"))
    return ", ".join(written), passed


def parameter(argument: str, default: ast.expr | None, doc: Doc, name: str) -> str:
    """Write one parameter with its type and default."""
    if argument not in doc.arguments:
        raise SystemExit(f"{name}: the docstring has no type of {argument}")
    annotation = doc.arguments[argument][0]
    return f"{argument}: {annotation}" + ("" if default is None else f" = {ast.unparse(default)}")


def members(kind: type) -> dict[str, Any]:
    """Return the documented members of a native class: properties by name, methods as declared.

    PyO3 adds properties in random order.
    """
    public = {name: member for name, member in vars(kind).items() if name[0] != "_"}
    properties = sorted(name for name, member in public.items() if is_property(member))
    return {name: public[name] for name in [*properties, *public]}


def is_property(member: object) -> bool:
    """Whether a member is a property, as opposed to a method."""
    return inspect.isgetsetdescriptor(member)


def stub_class(kind: type, base: type | None = None) -> str:
    """Write the stub of a class; with `base`, that of its asyncio twin."""
    lines = ["@final", f"class {kind.__name__}:"]
    doc = parse(kind.__doc__)
    lines.append(textwrap.indent(docstring(Doc(doc.text), 4), "    "))
    fields = vars(kind).get("__annotations__")
    if fields is not None:
        lines += [
            f"    __match_args__ = {tuple(fields)!r}",
            "    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]",
        ]
        constructor = ", ".join(f"{name}: {annotation}" for name, annotation in fields.items())
        lines.append(f"    def __new__(cls, {constructor}) -> {kind.__name__}: ...")
    elif kind.__text_signature__ is not None:
        constructor, _ = parameters(kind.__text_signature__, doc, kind.__name__)
        separator = ", " if constructor else ""
        lines.append(f"    def __new__(cls{separator}{constructor}) -> {kind.__name__}: ...")
    own = members(kind)
    if fields is not None:
        own = {name: own[name] for name in [*fields, *own]}
    inherited = members(base) if base is not None else {}
    for name, member in {**inherited, **own}.items():
        is_future = name in inherited and name not in own
        if is_property(member):
            annotation = fields[name] if fields else None
            lines += stub_property(name, member, annotation)
        else:
            lines += stub_function(name, member, indent=4, is_future=is_future)
    return "\n".join(lines)


def stub_property(name: str, member: Any, annotation: str | None) -> list[str]:  # noqa: ANN401
    """Write the stub of a property."""
    text = inspect.cleandoc(member.__doc__ or "")
    if annotation is None:
        annotation, text = matched_property(text, name)
    body = textwrap.indent(docstring(Doc(text), 8), "        ")
    return ["    @property", f"    def {name}(self) -> {annotation}:", body]


def matched_property(text: str, name: str) -> tuple[str, str]:
    """Split `int: The status code.`."""
    found = re.fullmatch(r"((?:[^:]|:(?! ))+): (.+)", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"{name}: the docstring has no type")
    return found.group(1), found.group(2)


def stub_function(
    name: str,
    member: Any,  # noqa: ANN401 - a function or method of any kind.
    *,
    indent: int,
    is_future: bool = False,
) -> list[str]:
    """Write the stub of a function or method."""
    is_static = isinstance(member, staticmethod)
    function = getattr(member, "__func__", member)
    doc = parse(function.__doc__)
    arguments, _ = parameters(function.__text_signature__, doc, name)
    returns = doc.returns[0] if doc.returns else "None"
    if is_future:
        returns = f"Future[{returns}]"
    margin = " " * indent
    lines = []
    if indent and is_static:
        lines.append(f"{margin}@staticmethod")
    elif indent:
        arguments = f"self, {arguments}" if arguments else "self"
    head = f"{margin}def {name}({arguments}) -> {returns}:"
    if is_future:
        # Documented at the blocking class.
        return [*lines, f"{head} ..."]
    return [*lines, head, textwrap.indent(docstring(doc, indent + 4), margin + "    ")]


def stub() -> str:
    """Write `_native.pyi`."""
    names = sorted(name for name in vars(_native) if not name.startswith("_"))
    twins = {"AsyncEngine": _native.Engine, "AsyncConsumer": _native.Consumer}
    parts = [f'"""{STUB_DOC}"""', IMPORTS, f"__all__ = {[*names, '__version__']!r}"]
    parts.append("__version__: str")
    for name in names:
        member = getattr(_native, name)
        if isinstance(member, type):
            parts.append(stub_class(member, twins.get(name)))
        else:
            parts.append("\n".join(stub_function(name, member, indent=0)))
    return "\n\n".join(parts)


def operations(*, is_async: bool) -> str:
    """Write the classes with the operations of one engine class."""
    prefix = "Async" if is_async else ""
    skipped = LIFECYCLE | (BLOCKING_ONLY if is_async else ASYNC_ONLY)
    native = {
        name: member for name, member in members(_native.Engine).items() if name not in skipped
    }
    imports = ", ".join(
        name
        for name in sorted(vars(_native))
        if isinstance(getattr(_native, name), type) and not name.startswith("_")
    )
    parts = [
        f'"""The operations of `{prefix}OrderEngine`.\n\n{NOTICE}\n"""',
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
        "if TYPE_CHECKING:",
        textwrap.indent(IMPORTS, "    "),
        f"    from order_engine._native import {imports}",
        f"    from order_engine.connection import {prefix}Connection",
        f"class {prefix}EngineOperations:",
        f'    """The operations of `{prefix}OrderEngine`."""',
        f"    _connection: {prefix}Connection",
        *(
            operation(name, name, member, is_async=is_async)
            for name, member in native.items()
            if not name.startswith(EVENTS)
        ),
        f"class {prefix}EventOperations:",
        f'    """The operations of `{prefix}OrderEngine.events`."""',
        f"    def __init__(self, connection: {prefix}Connection) -> None:",
        "        self._connection = connection",
        *(
            operation(name, name.removeprefix(EVENTS), member, is_async=is_async)
            for name, member in native.items()
            if name.startswith(EVENTS)
        ),
    ]
    return "\n\n".join(parts)


def operation(native: str, name: str, member: Any, *, is_async: bool) -> str:  # noqa: ANN401
    """Write one operation, which passes its arguments on to the native engine."""
    doc = parse(member.__doc__)
    arguments, passed = parameters(member.__text_signature__, doc, native)
    separator = ", " if arguments else ""
    returns = doc.returns[0] if doc.returns else "None"
    call = f"{native}({', '.join(value for _, value in passed)})"
    if is_async:
        call = f"await (await self._connection.engine()).{call}"
    else:
        call = f"self._connection.engine().{call}"
    keyword = "async def" if is_async else "def"
    return "\n".join(
        [
            f"    {keyword} {name}(self{separator}{arguments}) -> {returns}:",
            textwrap.indent(docstring(doc, 8), "        "),
            f"        {'return ' if doc.returns else ''}{call}",
        ]
    )


def settings() -> str:
    """Write the typed settings."""
    lines = [
        f'"""The settings of an engine, for type checkers and editors.\n\n{NOTICE}\n"""',
        "from __future__ import annotations",
        "from typing import TypedDict",
        "class Settings(TypedDict, total=False):",
        '    """Settings by name. None means that a setting is not given."""',
    ]
    for setting in _native.settings():
        if setting.name == SINKS:
            continue
        variables = ", ".join(f"`{name}`" for name in setting.variables)
        default = f" Default: `{setting.default}`." if setting.default else ""
        text = f"{' '.join(setting.help.split())}{default} Variable: {variables}."
        body = textwrap.fill(
            f'"""{text}', LINE_LENGTH - 4, break_long_words=False, break_on_hyphens=False
        )
        end = '"""' if "\n" not in body and len(body) + 7 <= LINE_LENGTH else '\n"""'
        lines += [
            f"    {setting.name}: {setting_type(setting.default)}",
            textwrap.indent(body + end, "    "),
        ]
    return "\n".join(lines)


def setting_type(default: str) -> str:
    """Return the type of a setting, judged by its default."""
    if default in ("true", "false"):
        return "bool | str | None"
    if default.isdecimal():
        return "int | str | None"
    return "str | int | None"


def formatted(source: str, path: Path) -> str:
    """Sort and prune the imports and format the source, by the rules of the project."""
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(path), "-"]
    for command in (["check", "--quiet", "--fix-only", "--select", "I,F401,RUF022"], ["format"]):
        done = subprocess.run(
            [*ruff, *command, *name], input=source, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{path}: {done.stderr}")
        source = done.stdout
    return source


def main() -> None:
    """Write the files, or check that they are up to date."""
    files = {
        PACKAGE / "_native.pyi": stub(),
        PACKAGE / "generated" / "operations.py": operations(is_async=False),
        PACKAGE / "generated" / "async_operations.py": operations(is_async=True),
        PACKAGE / "generated" / "settings.py": settings(),
    }
    is_check = "--check" in sys.argv[1:]
    for path, source in files.items():
        text = formatted(source, path)
        if not is_check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise SystemExit(f"{path.name} is not up to date. Run: make generate")


if __name__ == "__main__":
    main()
