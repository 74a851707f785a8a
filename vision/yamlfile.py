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

from vision.errors import ConfigError
from vision.redaction import redacted, redacted_text
from vision.registry import did_you_mean

__all__ = ["Document", "Location", "PathKeys", "path_text", "read"]

PathKeys = tuple[str | int, ...]
Location = tuple[str, int | None]  # file or "--set", line
M = TypeVar("M", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?")


@dataclass(slots=True)
class Document:
    """Parsed YAML, and where each of its values stands."""

    name: str
    data: Any
    where: dict[PathKeys, Location] = field(default_factory=dict)

    def error(self, path: PathKeys, message: str) -> ConfigError:
        """An error at a path: `demo.yaml:7: processors[1].use: message`."""
        name, line = self.location(path)
        place = f"{name}:{line}" if line else name
        dotted = path_text(path)
        return ConfigError(f"{place}: {dotted}: {message}" if dotted else f"{place}: {message}")

    def location(self, path: PathKeys) -> Location:
        """Where a path stands, or the nearest thing around it that stands somewhere."""
        while path and path not in self.where:
            path = path[:-1]
        return self.where.get(path, (self.name, None))

    def validated(self, model: type[M], data: Any, path: PathKeys, beside: Iterable[str] = ()) -> M:
        """The part of the document at `path`, checked by a pydantic model.

        :param beside: keys that are allowed there too, and were taken out before.
        :raises ConfigError: on the first thing that is wrong, with its line, what is allowed, and how many more.
        """
        try:
            return model.model_validate(data)
        except ValidationError as invalid:
            problems = invalid.errors()
            first = problems[0]
            more = f" (the first of {len(problems)} errors)" if len(problems) > 1 else ""
            keys = self._existing((*path, *first["loc"]))
            raise self.error(keys, _message(first, model, beside) + more) from invalid

    def _existing(self, path: PathKeys) -> PathKeys:
        """Pydantic puts names of union branches into a path; keep what the document has, and a missing last key."""
        kept: PathKeys = ()
        for key in path:
            if (*kept, key) in self.where or key == path[-1]:
                kept = (*kept, key)
        return kept

    def set(self, assignment: str, option: str = "--set") -> None:
        """Carry out one `key.path=value` of the command line; the value is YAML, `option` is what it is called there.

        :raises ConfigError: when it is no assignment, or the path leads through something that is no mapping.
        """
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted.strip():
            raise ConfigError(f"{option} {assignment}: not of the form key.path=value, such as run.duration_s=10")
        keys: PathKeys = tuple(int(key) if key.isdigit() else key for key in dotted.strip().split("."))
        given = f"{option} {text}" if option != "--set" else f"--set {dotted}"
        value = _parse(text, given)
        self.data = _with(self.data, keys, value.data, dotted)
        for path in [path for path in self.where if path[: len(keys)] == keys]:
            del self.where[path]
        for depth in range(1, len(keys)):
            self.where.setdefault(keys[:depth], (given, None))
        self.where[keys] = (given, None)


def path_text(path: Sequence[str | int]) -> str:
    """`("processors", 1, "use")` as `processors[1].use`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def read(path: Path) -> Document:
    """Read a YAML file.

    :raises ConfigError: when it cannot be read, is no YAML, repeats a key, or needs a variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return _parse(text, str(path))


def _parse(text: str, name: str) -> Document:
    document = Document(name, None)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _construct(loader, node, (), document, set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: no valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: no valid YAML: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise ConfigError(f"{name}: no valid YAML: {' '.join(str(error).split())}") from error
    return document


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
    value = loader.construct_object(node, deep=True)
    return _substituted(value, path, document) if isinstance(value, str) else value


def _mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: PathKeys, document: Document, parents: set[int]
) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        here = (*path, key)
        if key in result:
            raise ConfigError(f"{document.name}:{key_node.start_mark.line + 1}: {path_text(here)}: given twice")
        document.where[here] = (document.name, key_node.start_mark.line + 1)
        result[key] = _construct(loader, value_node, here, document, parents)
    return result


def _substituted(text: str, path: PathKeys, document: Document) -> str:
    def value(found: re.Match[str]) -> str:
        name, default = found.groups()
        if name is None:
            raise document.error(path, f"'{found.group()}' is no variable; write ${{NAME}} or ${{NAME:-default}}")
        if name in os.environ:
            return os.environ[name]
        if default is None:
            raise document.error(
                path, f"the environment variable {name} is not set; export it, or write ${{{name}:-default}}"
            )
        return str(default)

    return _VARIABLE.sub(value, text)


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


def _message(problem: ErrorDetails, model: type[BaseModel], beside: Iterable[str]) -> str:
    kind, key = problem["type"], str(problem["loc"][-1]) if problem["loc"] else ""
    if kind == "extra_forbidden":
        allowed = sorted({*_fields_at(model, problem["loc"][:-1]), *(beside if len(problem["loc"]) == 1 else ())})
        hint = did_you_mean(key, allowed) or ";"
        return f"unknown key '{key}'{hint} allowed: {', '.join(allowed) or 'none'}"
    if kind == "missing":
        return f"'{key}' is required"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping (key: value), got {_shown(problem['input'])}"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{text[:1].lower()}{text[1:]}, got {_shown(redacted({key: problem['input']})[key])}"


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__}"
    return redacted_text(text if len(text) <= 60 else f"{text[:57]}...")


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
