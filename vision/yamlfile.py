"""YAML that remembers its lines, reads the environment, and can be changed from the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vision.errors import ConfigError, did_you_mean
from vision.redaction import is_secret

__all__ = ["Document", "Location", "PathKeys", "path_text", "read"]

PathKeys = tuple[str | int, ...]
Location = tuple[str, int | None]  # file or "--set", line
M = TypeVar("M", bound=BaseModel)
_SET = "--set"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?")
_DOTTED = re.compile(r"[\w-]+(\.[\w-]+)*")
_KEY = re.compile(r"[\w.-]{1,40}")
_HARMLESS = re.compile(r"[A-Za-z0-9_. -]{0,40}")
_ADDRESS = re.compile(r"url|ice_servers", re.IGNORECASE)  # what stands there may hold a secret in any form
_MOST_DIGITS = 30
_MOST_NODES = 100_000  # with every alias written out
# What PyYAML quotes of the file is a value that begins with one of its signs: * & !
_QUOTED_NAME = re.compile(r"(alias|anchor|tag|handle) (['\"]).*\2")


@dataclass(slots=True)
class Document:
    """Parsed YAML, and where each of its values stands.

    :ivar missing: what is to be said of values whose environment variable is not set, unless they are replaced.
    :ivar texts: the nodes of texts that stand in the file as they are.
    """

    name: str
    data: Any
    where: dict[PathKeys, Location] = field(default_factory=dict)
    missing: dict[PathKeys, str] = field(default_factory=dict)
    texts: dict[PathKeys, yaml.ScalarNode] = field(default_factory=dict)

    def error(self, path: PathKeys, message: str, at: int | None = None) -> ConfigError:
        """An error at a path: `demo.yaml:7: processors[1].use: message`.

        :param at: index of the character of the text at that path that the error is about: `demo.yaml:7:23: ...`.
        """
        name, line = self.location(path)
        dotted, message = path_text(path), " ".join(message.split())
        if at is not None:
            if place := self._place_in_text(path, at):
                return ConfigError(f"{name}:{place[0]}:{place[1]}: {dotted}: {message}")
            message = f"column {at + 1} of it: {message}"
        if name == _SET:
            return ConfigError(f"{_SET} {dotted}: {message}")
        where = f"{name}:{line}" if line else name
        return ConfigError(f"{where}: {dotted}: {message}" if dotted else f"{where}: {message}")

    def _place_in_text(self, path: PathKeys, at: int) -> tuple[int, int] | None:
        """Line and column, from 1, of a character of a text; `None` where it does not stand there as it is.

        The text may be quoted, or folded over lines: what is not space is the same, and in the same order.
        """
        node = self.texts.get(path)
        if node is None or node.start_mark.buffer is None:
            return None
        source, begin, end = node.start_mark.buffer, node.start_mark.index, node.end_mark.index
        if node.style in ("|", ">"):
            begin = source.find("\n", begin, end) + 1  # behind the indicators
        elif node.style:
            begin += 1
        before = "".join(node.value[:at].split())
        for index in range(begin, end):
            if source[index].isspace():
                continue
            if not before:
                return source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)
            if source[index] != before[0]:
                return None  # an escape
            before = before[1:]
        return source.count("\n", 0, begin) + 1, len(source[:end].rstrip()) - source.rfind("\n", 0, begin)

    def location(self, path: PathKeys) -> Location:
        """Where a path stands, or the nearest thing around it that stands somewhere."""
        while path and path not in self.where:
            path = path[:-1]
        return self.where.get(path, (self.name, None))

    def require_variables(self) -> None:
        """To be called when everything is set that will be.

        :raises ConfigError: when a value needs an environment variable that is not set.
        """
        for path, message in self.missing.items():
            raise self.error(path, message)

    def validated(self, model: type[M], data: Any, path: PathKeys, beside: Iterable[str] = ()) -> M:
        """The part of the document at `path`, checked by a pydantic model.

        :param beside: keys that are allowed there too, and were taken out before.
        :raises ConfigError: on the first thing that is wrong, with its line, what is allowed, and how many more.
        """
        # `from None`: what the errors say of their input is not to be shown, by tracebacks neither
        try:
            return model.model_validate(data)
        except ValidationError as invalid:
            problems = invalid.errors()
        except Exception as error:  # a validator may be anybody's
            raise self.error(path, f"cannot be checked: {model.__qualname__} raised {type(error).__name__}") from None
        first = problems[0]
        more = f" (the first of {len(problems)} errors)" if len(problems) > 1 else ""
        full = (*path, *first["loc"])
        raise self.error(self._existing(full), _message(first, model, full, beside) + more)

    def _existing(self, path: PathKeys) -> PathKeys:
        """Pydantic puts names of union branches into a path; keep what the document has, and a missing last key."""
        kept: PathKeys = ()
        for key in path:
            if (*kept, key) in self.where or key == path[-1]:
                kept = (*kept, key)
        return kept

    def set(self, assignment: str, option: str = _SET) -> None:
        """Carry out one `key.path=value` of the command line; the value is YAML, `option` is what it is called there.

        :raises ConfigError: when it is no assignment, or the path leads through something that is no mapping.
        """
        dotted, equals, text = assignment.partition("=")
        dotted = dotted.strip()
        if not equals or not _DOTTED.fullmatch(dotted):
            raise ConfigError(f"{option} {_shown_key(dotted)}: not of the form key.path=value: run.duration_s=10")
        keys: PathKeys = tuple(int(key) if _is_index(key) else key for key in dotted.split("."))
        value = _parse(text, f"{option} {dotted}")
        self.data = _with(self.data, keys, value.data, dotted)
        given = option if option == _SET else f"{option} {text}"
        for known in (self.where, self.missing, self.texts):
            for path in [path for path in known if path[: len(keys)] == keys]:
                del known[path]
        for depth in range(1, len(keys) + 1):
            self.where.setdefault(keys[:depth], (given, None))
        self.missing |= {(*keys, *path): message for path, message in value.missing.items()}


def path_text(path: Sequence[str | int]) -> str:
    """`("processors", 1, "use")` as `processors[1].use`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{_shown_key(key)}" if text else _shown_key(key)
    return text


def read(path: Path) -> Document:
    """Read a YAML file; see `Document.require_variables` for what it may still lack.

    :raises ConfigError: when it cannot be read, is no YAML, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> Document:
    document = Document(name, None)
    # `from None`: PyYAML's errors quote the file, which may hold secrets
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _require_bounded(node, name)
            document.data = _construct(loader, node, (), document, set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = _QUOTED_NAME.sub(r"\1", error.problem or error.context or "")
        raise ConfigError(f"{name}:{line}: no valid YAML: {problem}") from None
    except RecursionError:
        raise ConfigError(f"{name}: no valid YAML: nested too deeply") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: no valid YAML: {' '.join(str(error).split())}") from None
    return document


def _require_bounded(root: yaml.Node, name: str) -> None:
    """Aliases of aliases can make a few lines larger than any memory."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 0  # of an alias that contains itself; that is found later
            children = node.value if isinstance(node, yaml.CollectionNode) else ()
            inside = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
            sizes[id(node)] = 1 + sum(size(part) for part in inside)
        return sizes[id(node)]

    if size(root) > _MOST_NODES:
        raise ConfigError(f"{name}: more than {_MOST_NODES} values, with its aliases written out")


def _construct(loader: yaml.SafeLoader, node: yaml.Node, path: PathKeys, document: Document, parents: set[int]) -> Any:
    document.where.setdefault(path, (document.name, node.start_mark.line + 1))
    if id(node) in parents:
        raise document.error(path, "an alias that contains itself")
    inside = parents | {id(node)}
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, path, document, inside)
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_construct(loader, item, (*path, i), document, inside) for i, item in items]
    value = _scalar(loader, node, path, document)
    if not isinstance(value, str):
        return value
    text = _substituted(value, path, document)
    if isinstance(node, yaml.ScalarNode) and text == value:
        document.texts[path] = node
    return text


def _scalar(loader: yaml.SafeLoader, node: yaml.Node, path: PathKeys, document: Document) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):  # `2001-99-99`, `!!bool x`, `!!int ""`
        raise document.error(path, f"no valid YAML: this is no {node.tag.rpartition(':')[2]}") from None


def _mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: PathKeys, document: Document, parents: set[int]
) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{document.name}:{line}: {path_text(path) or 'the file'}: a key must be a single word")
        key = str(key_node.value)
        here = (*path, key)
        if key in result:
            raise ConfigError(f"{document.name}:{line}: {path_text(here)}: given twice")
        document.where[here] = (document.name, line)
        result[key] = _construct(loader, value_node, here, document, parents)
    return result


def _substituted(text: str, path: PathKeys, document: Document) -> str:
    def value(found: re.Match[str]) -> str:
        name, default = found.groups()
        if name is None:
            raise document.error(path, "a '${' that begins no variable; write ${NAME} or ${NAME:-default}")
        if name not in os.environ and default is None:
            advice = f"export it, or write ${{{name}:-default}}"
            document.missing[path] = f"the environment variable {name} is not set; {advice}"
        return os.environ.get(name, default or "")

    return _VARIABLE.sub(value, text)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= _MOST_DIGITS


def _with(data: Any, keys: PathKeys, value: Any, dotted: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(key, int):
        if not isinstance(data, list) or key >= len(data):
            length = len(data) if isinstance(data, list) else 0
            raise ConfigError(f"--set {dotted}: there is no item {key}; the list has {length}")
        return [_with(item, rest, value, dotted) if i == key else item for i, item in enumerate(data)]
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"--set {dotted}: '{key}' is looked for in something that has no keys")
    return {**data, key: _with(data.get(key), rest, value, dotted)}


def _message(problem: ErrorDetails, model: type[BaseModel], path: PathKeys, beside: Iterable[str]) -> str:
    kind, key = problem["type"], str(problem["loc"][-1]) if problem["loc"] else ""
    if kind == "extra_forbidden":
        allowed = sorted({*_fields_at(model, problem["loc"][:-1]), *(beside if len(problem["loc"]) == 1 else ())})
        hint = did_you_mean(key, allowed) or ";"
        return f"unknown key '{_shown_key(key)}'{hint} allowed: {', '.join(allowed) or 'none'}"
    if kind == "missing":
        return f"'{key}' is required"
    got = f", got {_shown(problem['input'], path)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping (key: value){got}"
    if kind == "value_error" and isinstance(problem["input"], dict | list):
        got = ""  # the words are about what is inside
    # words of a plugin's own may end with the input already, in clear
    text = re.sub(r"[,;:] got .*", "", problem["msg"].removeprefix("Value error, "), flags=re.DOTALL)
    return f"{text[:1].lower()}{text[1:]}{got}{_nearest(problem)}"


def _nearest(problem: ErrorDetails) -> str:
    expected = str(problem.get("ctx", {}).get("expected", ""))
    given = problem["input"]
    return did_you_mean(given, re.findall(r"'([^']*)'", expected)) if isinstance(given, str) else ""


def _shown(value: Any, path: PathKeys) -> str:
    """A value where it cannot be a secret, else what kind of thing it is."""
    names = [key for key in path if isinstance(key, str)]
    if value is None or isinstance(value, bool):
        return repr(value)
    if not any(is_secret(name) or _ADDRESS.search(name) for name in names):
        if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**_MOST_DIGITS):
            return repr(value)
        if isinstance(value, str) and _HARMLESS.fullmatch(value):
            return repr(value)
    kinds = {str: "text", dict: "mapping", int: "number", float: "number"}
    return f"a {kinds.get(type(value), type(value).__name__)}"


def _shown_key(key: str) -> str:
    """A key as far as it looks like one: where the space behind the colon is forgotten it holds the value too."""
    found = _KEY.match(key)
    return key if found and found.group() == key else f"{found.group() if found else ''}..."


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> Iterable[str]:
    """The field names of the model that `loc` leads to."""
    for key in loc:
        inner = model.model_fields.get(str(key))
        found = _models_in(inner.annotation) if inner else []
        model = found[0] if found else model
    return model.model_fields


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
