"""What a run is, read from YAML: validated, with every plugin found and its options checked."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vision import registry, yamlfile
from vision.connectors.base import Connector
from vision.errors import ConfigError
from vision.expectations.items import expectations
from vision.expectations.verdict import Expectation
from vision.expectations.vocabulary import Producer, Vocabulary
from vision.processor import Options, Placement, Processor, Reads
from vision.record import RESERVED
from vision.redaction import redacted
from vision.result import Result, metrics_of
from vision.sinks.base import Sink
from vision.stream import Policy
from vision.yamlfile import Document, PathKeys

__all__ = ["EvidenceOptions", "ProcessorConfig", "RunConfig", "RunOptions", "SinkConfig", "SourceConfig", "load"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_LONGEST_CALL_S = 86_400


class QueueOptions(Options):
    """The queue between the source and the processors."""

    size: int = Field(64, ge=2, le=10_000, description="frames that may wait")
    policy: Policy | None = Field(
        None, description="every: the source waits (files); latest: the oldest picture is dropped (live)"
    )


class EvidenceOptions(Options):
    """What is kept of each incident in the folder `evidence`: a still, and a clip with sound."""

    clips: bool = Field(True, description="clips, beside stills")
    before_s: float = Field(2, ge=0, le=30, description="seconds that a clip shows from before the incident")
    after_s: float = Field(1, ge=0, le=30, description="seconds that it shows from behind it")
    longest_s: float = Field(10, ge=1, le=120, description="seconds after which a clip ends, however long the incident")
    height: int = Field(360, ge=64, le=2160, description="height of clips, px; stills have that of the picture")
    most: int = Field(50, ge=1, le=10_000, description="incidents that are shown; further ones are told only")
    most_mb: float = Field(200, gt=0, le=100_000, description="megabytes after which no further ones are shown")


def _switch(value: Any) -> Any:
    """`true` and `false` for what has options."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    if isinstance(value, bool):
        return {} if value else None
    if value is not None and not isinstance(value, Mapping | BaseModel):
        raise ValueError(f"must be true, false, or options such as {{most: 10}}, got {value}")
    return value


class RunOptions(Options):
    """How long a run takes, and when it gives up."""

    duration_s: float | None = Field(None, gt=0, description="media time after which the run ends; none: at the end")
    queue: QueueOptions = Field(QueueOptions(), description="the queue before the processors")
    first_picture_timeout_s: float = Field(
        20, gt=0, le=600, description="seconds a live source may take until its first picture or sound"
    )
    stall_timeout_s: float = Field(
        25,  # 4 s until a stall is noticed, 15 s of recovery (source.recovery_timeout_s), and the rest for letting go
        gt=0,
        le=3600,
        description="seconds without any media after which a live source is lost, whatever it does to recover",
    )
    evidence: Annotated[
        EvidenceOptions | None, BeforeValidator(_switch, json_schema_input_type=bool | EvidenceOptions)
    ] = Field(None, description="keep a still and a clip of each incident: true, false, or options")


class ProcessorKeys(BaseModel):
    """The keys that every processor has beside its own options."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    use: str = Field(description="name of an installed processor, or package.module:Class")
    name: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$", description="its name in the records; default: use")
    every: int = Field(1, ge=1, description="measure every n-th picture only")
    placement: Placement | None = Field(None, description="thread, or process for a process of its own")
    timeout_s: float | None = Field(
        None, gt=0, le=_LONGEST_CALL_S, description="seconds that one call may take before it counts as hung"
    )
    quarantine_after: int = Field(30, ge=1, description="failed calls in a row after which it is no longer called")


class PluginKeys(BaseModel):
    """The key that sources and sinks have beside their own options."""

    model_config = ConfigDict(extra="allow")

    use: str = Field(description="name of an installed plugin, or package.module:Class")


class _Root(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, pattern=_NAME)
    source: dict[str, Any]
    run: RunOptions = RunOptions()
    processors: list[dict[str, Any]] = []
    sinks: list[dict[str, Any]] = [{"use": "jsonl"}]
    expect: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A connector and its options."""

    use: str
    connector: type[Connector]
    options: Options


@dataclass(frozen=True, slots=True)
class ProcessorConfig:
    """A processor, its options, and how it is run."""

    use: str
    name: str
    processor: type[Processor[Result]]
    options: Options
    every: int
    placement: Placement
    timeout_s: float
    quarantine_after: int

    def producer(self) -> Producer:
        """As expectations know it."""
        return Producer.of(self.processor, self.name, self.every)


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """A sink and its options."""

    use: str
    sink: type[Sink]
    options: Options


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A whole run."""

    name: str
    source: SourceConfig
    run: RunOptions
    policy: Policy
    processors: tuple[ProcessorConfig, ...]
    sinks: tuple[SinkConfig, ...]
    expectations: tuple[Expectation, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The configuration as run, defaults included, secrets hidden."""
        run = self.run.model_dump(mode="json")
        run["queue"]["policy"] = self.policy
        data = {
            "name": self.name,
            "source": {"use": self.source.use, **self.source.options.model_dump(mode="json")},
            "run": run,
            "processors": [_processor_as_dict(processor) for processor in self.processors],
            "sinks": [{"use": sink.use, **sink.options.model_dump(mode="json")} for sink in self.sinks],
            "expect": [expectation.as_dict() for expectation in self.expectations],
        }
        hidden: dict[str, Any] = redacted(data)
        return hidden


def _processor_as_dict(config: ProcessorConfig) -> dict[str, Any]:
    keys = ("use", "name", "every", "placement", "timeout_s", "quarantine_after")
    return {**{key: getattr(config, key) for key in keys}, **config.options.model_dump(mode="json")}


def load(path: Path, assignments: Iterable[str] = (), duration_s: float | None = None) -> RunConfig:
    """Read a run's configuration.

    :param assignments: `key.path=value` changes from the command line.
    :param duration_s: replaces `run.duration_s`.
    :raises ConfigError: on the first thing that is wrong, with its line.
    """
    document = yamlfile.read(path)
    for assignment in assignments:
        document.set(assignment)
    if duration_s is not None:
        document.set(f"run.duration_s={repr(duration_s).removesuffix('.0')}", option="--duration")
    document.require_variables()
    if not isinstance(document.data, dict):
        raise document.error((), "must be a mapping with the keys name, source, run, processors, sinks, expect")
    root = document.validated(_Root, document.data, ())
    source = _source(document, root.source)
    processors = tuple(_processors(document, root.processors))
    return RunConfig(
        name=root.name or _name_of(path),
        source=source,
        run=root.run,
        policy=_policy(document, root.run, source.connector),
        processors=processors,
        sinks=tuple(_sinks(document, root.sinks, processors)),
        expectations=expectations(document, root.expect, Vocabulary(each.producer() for each in processors)),
    )


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or "run"


def _policy(document: Document, run: RunOptions, connector: type[Connector]) -> Policy:
    policy = run.queue.policy or ("latest" if connector.live else "every")
    if connector.live and policy == "every":
        raise document.error(
            ("run", "queue", "policy"),
            "a live source cannot wait; allowed here: latest (raise run.queue.size to lose fewer pictures)",
        )
    return policy


def _source(document: Document, data: dict[str, Any]) -> SourceConfig:
    path: PathKeys = ("source",)
    keys = document.validated(PluginKeys, data, path)
    connector = _found(document, path, registry.connector, keys.use)
    _require_sound_class(document, path, connector, PluginKeys)
    return SourceConfig(
        keys.use, connector, document.validated(connector.Options, _rest(keys), path, PluginKeys.model_fields)
    )


def _sinks(
    document: Document, items: list[dict[str, Any]], processors: Iterable[ProcessorConfig]
) -> Iterable[SinkConfig]:
    taken: set[type[Sink]] = set()
    fields = {processor.name: metrics_of(processor.processor.result_type()) for processor in processors}
    for i, data in enumerate(items):
        config = _sink(document, data, ("sinks", i))
        if config.sink in taken:
            raise document.error(("sinks", i), f"the sink '{config.use}' is used twice; it would write the same file")
        taken.add(config.sink)
        try:
            config.sink.check(config.options, fields)
        except ValueError as error:
            raise document.error(("sinks", i), str(error)) from error
        yield config


def _sink(document: Document, data: dict[str, Any], path: PathKeys) -> SinkConfig:
    keys = document.validated(PluginKeys, data, path)
    sink = _found(document, path, registry.sink, keys.use)
    _require_sound_class(document, path, sink, PluginKeys)
    return SinkConfig(keys.use, sink, document.validated(sink.Options, _rest(keys), path, PluginKeys.model_fields))


def _processors(document: Document, items: list[dict[str, Any]]) -> Iterable[ProcessorConfig]:
    taken = set(RESERVED)
    for i, data in enumerate(items):
        config = _processor(document, data, ("processors", i))
        if config.name in taken:
            reason = "is a field of every record" if config.name in RESERVED else "is used twice"
            raise document.error(("processors", i), f"the name '{config.name}' {reason}; give another: name: ...")
        taken.add(config.name)
        yield config


def _processor(document: Document, data: dict[str, Any], path: PathKeys) -> ProcessorConfig:
    keys = document.validated(ProcessorKeys, data, path)
    processor = _found(document, path, registry.processor, keys.use)
    _require_sound_class(document, path, processor, ProcessorKeys)
    _require_sound_processor(document, path, processor)
    if keys.every > 1 and processor.reads != Reads.PICTURE:
        raise document.error((*path, "every"), f"{keys.use} listens to the sound, which cannot be thinned")
    placement = keys.placement or processor.placement
    if placement == "process" and inspect.iscoroutinefunction(processor.process):
        raise document.error(
            (*path, "placement"),
            f"{keys.use} is asynchronous and runs in the event loop; allowed here: thread",
        )
    return ProcessorConfig(
        use=keys.use,
        name=keys.name or _default_name(keys.use),
        processor=processor,
        options=document.validated(processor.Options, _rest(keys), path, ProcessorKeys.model_fields),
        every=keys.every,
        placement=placement,
        timeout_s=keys.timeout_s or processor.timeout_s,
        quarantine_after=keys.quarantine_after,
    )


def _require_sound_class(document: Document, path: PathKeys, plugin: type[Any], keys: type[BaseModel]) -> None:
    """What every plugin's class must be like: anybody may have written it, and it is told here rather than mid-run."""
    name, options = plugin.__name__, plugin.Options
    if inspect.isabstract(plugin):
        raise document.error((*path, "use"), f"{name} lacks {', '.join(sorted(plugin.__abstractmethods__))}")
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise document.error((*path, "use"), f"{name}.Options must be a pydantic model, such as vision.Options")
    hidden = sorted(set(options.model_fields) & set(keys.model_fields))
    if hidden:
        reason = f"has an option '{hidden[0]}', which is a key of every plugin of its kind; rename it"
        raise document.error((*path, "use"), f"{name} {reason}")


def _require_sound_processor(document: Document, path: PathKeys, processor: type[Processor[Result]]) -> None:
    needs: Any = processor.needs
    sound = {
        "needs must be a tuple of Result classes": isinstance(needs, tuple)
        and all(isinstance(need, type) and issubclass(need, Result) for need in needs),
        "reads must be of vision.Reads": isinstance(processor.reads, Reads) and bool(processor.reads),
        f"placement must be one of {', '.join(get_args(Placement))}": processor.placement in get_args(Placement),
        f"timeout_s must be a number of seconds up to {_LONGEST_CALL_S}": _is_time_limit(processor.timeout_s),
    }
    for rule, kept in sound.items():
        if not kept:
            raise document.error((*path, "use"), f"{processor.__name__}.{rule}")
    try:
        metrics_of(processor.result_type())
    except (TypeError, NameError, AttributeError) as error:  # the latter two: annotations that cannot be resolved
        raise document.error((*path, "use"), str(error)) from error


def _is_time_limit(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value <= _LONGEST_CALL_S


def _default_name(use: str) -> str:
    name = use.rpartition(":")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().removesuffix("_processor")


def _rest(keys: BaseModel) -> Mapping[str, Any]:
    return keys.model_extra or {}


def _found(document: Document, path: PathKeys, find: Any, use: str) -> Any:
    try:
        return find(use)
    except ConfigError as error:
        raise document.error((*path, "use"), str(error)) from error
