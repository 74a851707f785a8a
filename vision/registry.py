"""Plugins: found by entry point or by `module:Class`, never by import from here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from vision.connectors.base import Connector
from vision.errors import ConfigError, did_you_mean, one_line
from vision.processor import Processor
from vision.result import Result
from vision.sinks.base import Sink

__all__ = ["Kind", "connector", "installed", "processor", "sink"]

Kind = Literal["connectors", "processors", "sinks"]
_SINGULAR: Mapping[Kind, str] = {"connectors": "connector", "processors": "processor", "sinks": "sink"}


@cache
def _entry_points(kind: Kind) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=f"vision.{kind}"))}


def installed(kind: Kind) -> tuple[str, ...]:
    """The names that YAML may use, in order."""
    return tuple(_entry_points(kind))


def connector(use: str) -> type[Connector]:
    """The connector class of that name or `module:Class`.

    :raises ConfigError: when there is none, it does not import, or it is no connector.
    """
    found: type[Connector] = _checked("connectors", use, Connector)
    return found


def processor(use: str) -> type[Processor[Result]]:
    """The processor class of that name or `module:Class`; errors as `connector`."""
    found: type[Processor[Result]] = _checked("processors", use, Processor)
    return found


def sink(use: str) -> type[Sink]:
    """The sink class of that name or `module:Class`; errors as `connector`."""
    found: type[Sink] = _checked("sinks", use, Sink)
    return found


def _checked(kind: Kind, use: str, base: type[Any]) -> Any:
    found = _load(kind, use)
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigError(f"'{use}' is no {_SINGULAR[kind]}: it is not a subclass of vision.{base.__name__}")
    return found


def _load(kind: Kind, use: str) -> object:
    try:
        if point := _entry_points(kind).get(use):
            return point.load()
        if ":" in use:
            module, _, name = use.partition(":")
            return getattr(importlib.import_module(module), name)
    except Exception as error:  # a plugin's module may raise anything while it is imported
        raise ConfigError(f"{_SINGULAR[kind]} '{use}' cannot be imported ({one_line(error)})") from error
    names = installed(kind)
    hint = did_you_mean(use, names) or ";"
    raise ConfigError(
        f"no {_SINGULAR[kind]} named '{use}'{hint} installed: {', '.join(names) or 'none'} (or package.module:Class)"
    )
