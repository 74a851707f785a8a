"""What is installed, told for people (`vision list`) and for editors (`vision schema`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from vision import registry
from vision.config import PluginKeys, ProcessorKeys, RunOptions
from vision.errors import ConfigError
from vision.expectations.items import ExpectKeys
from vision.models import ModelFile
from vision.processor import Processor
from vision.registry import Kind
from vision.result import MetricInfo, metrics_of

__all__ = ["Entry", "entries", "known_models", "schema"]

_FIND = {"connectors": registry.connector, "processors": registry.processor, "sinks": registry.sink}


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed plugin.

    :ivar error: why it cannot be used, where it does not import.
    """

    kind: Kind
    name: str
    purpose: str
    options: type[BaseModel] | None
    metrics: tuple[MetricInfo, ...] = ()
    needs: tuple[str, ...] = ()
    error: str | None = None


def entries(kind: Kind) -> Iterator[Entry]:
    """The installed plugins of a kind, by name; one that does not import is in the list too."""
    for name in registry.installed(kind):
        try:
            yield _entry(kind, name)
        except (ConfigError, TypeError) as error:
            yield Entry(kind, name, "", None, error=str(error))


def known_models() -> Iterator[ModelFile]:
    """The model files of all installed processors that import."""
    for name in registry.installed("processors"):
        with contextlib.suppress(ConfigError):
            yield from registry.processor(name).known_models


def _entry(kind: Kind, name: str) -> Entry:
    plugin: Any = _FIND[kind](name)
    purpose = (plugin.__doc__ or "").strip().split("\n")[0]
    if not issubclass(plugin, Processor):
        return Entry(kind, name, purpose, plugin.Options)
    needs = tuple(needed.__name__ for needed in plugin.needs)
    return Entry(kind, name, purpose, plugin.Options, metrics_of(plugin.result_type()), needs)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a run's YAML, with the plugins that are installed here."""
    definitions: dict[str, Any] = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of avatar-vision",
        "type": "object",
        "additionalProperties": False,
        "required": ["source"],
        "properties": {
            "name": {"type": "string", "description": "name of the run; default: that of the file"},
            "source": {"oneOf": _plugins("connectors", PluginKeys, definitions)},
            "run": _inlined(RunOptions, definitions),
            "processors": {
                "type": "array",
                "items": {"oneOf": _plugins("processors", ProcessorKeys, definitions)},
            },
            "sinks": {"type": "array", "items": {"oneOf": _plugins("sinks", PluginKeys, definitions)}},
            "expect": {"type": "array", "items": _expectation(definitions)},
        },
        "$defs": definitions,
    }


def _plugins(kind: Kind, keys: type[BaseModel], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    common = _inlined(keys, definitions)["properties"]
    found = [_plugin(entry, common, definitions) for entry in entries(kind) if entry.options is not None]
    foreign = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "package.module:Class"}
    return [*found, {"type": "object", "required": ["use"], "properties": {**common, "use": foreign}}]


def _plugin(entry: Entry, common: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    assert entry.options is not None
    own = _inlined(entry.options, definitions)
    options = {**common, **own.get("properties", {})}
    return {
        "type": "object",
        "description": entry.purpose,
        "additionalProperties": False,
        "required": ["use", *own.get("required", [])],
        "properties": {name: _or_variable(option) for name, option in options.items()} | {"use": {"const": entry.name}},
    }


def _expectation(definitions: dict[str, Any]) -> dict[str, Any]:
    own = _inlined(ExpectKeys, definitions)
    return own | {"properties": {name: _or_variable(option) for name, option in own["properties"].items()}}


def _or_variable(option: dict[str, Any]) -> dict[str, Any]:
    """An option may be an environment variable wherever it is one value."""
    if option.get("type") in ("object", "array"):
        return option
    return {"description": option.get("description", ""), "anyOf": [option, {"type": "string", "pattern": r"\$\{.+\}"}]}


def _inlined(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    own = model.model_json_schema()
    definitions |= own.pop("$defs", {})
    return own
