"""The command line."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

import vision
from vision import catalog, display, models
from vision.config import RunConfig, load
from vision.errors import ConfigError, VisionError, one_line
from vision.folder import default_folder
from vision.listing import print_plugins
from vision.plan import Step, plan
from vision.runner import Outcome, Run
from vision.simulator.settings import SimulatorSettings
from vision.yamlfile import read

__all__ = ["main"]

_INTERRUPTED, _BUG = 130, 70

app = typer.Typer(
    help="Proves, frame by frame, that a live avatar looks and sounds right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Model files: where each comes from, present or not; fetch them.")
app.add_typer(models_app, name="models")
_out, _err = Console(), Console(stderr=True)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's YAML file")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="change a value of the YAML; repeatable"),
]


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"avatar-vision {vision.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks and log in detail")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    handler = RichHandler(console=_err, show_path=debug, rich_tracebacks=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("vision").setLevel(logging.DEBUG if debug else logging.INFO)


@app.command()
def run(
    config: ConfigPath,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="default: runs/<name>/<UTC time>")] = None,
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="replaces run.duration_s")] = None,
    assignments: Assignments = None,
) -> None:
    """Run it: progress on the terminal, then the summary."""
    loaded = load(config, assignments or (), duration)
    steps = plan(loaded.processors)
    for model in _models_of(steps):
        models.ensure(model, lambda text: _err.print(escape(text), highlight=False))
    cv2.setNumThreads(1)  # the processors are the parallelism; more threads on few cores only take turns
    prepared = Run(loaded, out or default_folder(loaded))
    outcome = asyncio.run(_executed(prepared))
    display.print_outcome(prepared, outcome, _out)
    if outcome.error:
        _say(outcome.error)
    raise typer.Exit(outcome.exit_status)


async def _executed(prepared: Run) -> Outcome:
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        prepared.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second Ctrl-C does not wait

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    following = asyncio.create_task(display.follow(prepared, _err))
    try:
        return await prepared.execute()
    finally:
        following.cancel()
        await asyncio.wait([following])


@app.command()
def check(config: ConfigPath, assignments: Assignments = None) -> None:
    """Read it and print the plan; touches no network."""
    loaded = load(config, assignments or ())
    steps = plan(loaded.processors)
    _out.print(_plan_table(loaded, steps))
    for model in _models_of(steps):
        if not models.is_present(model):
            _out.print(f"model {model.name} is not here yet; a run, or `vision models fetch {model.name}`, fetches it")
    _out.print(f"{config}: good", highlight=False)


def _plan_table(config: RunConfig, steps: tuple[Step, ...]) -> Table:
    run_options = config.run
    length = f"{run_options.duration_s:g} s" if run_options.duration_s else "until the source ends"
    queue = f"queue of {run_options.queue.size}, {config.policy}"
    table = Table(title=f"{config.name}: {config.source.use}, {length}, {queue}")
    for heading in ("#", "processor", "needs", "reads", "every", "placement", "gives"):
        table.add_column(heading)
    for number, step in enumerate(steps, 1):
        chosen = step.config
        table.add_row(
            str(number),
            chosen.name if chosen.name == chosen.use else f"{chosen.name} ({chosen.use})",
            ", ".join(step.needs),
            (chosen.processor.reads.name or "").lower(),
            str(chosen.every),
            chosen.placement,
            chosen.processor.result_type().__name__,
        )
    table.caption = "sinks: " + (", ".join(sink.use for sink in config.sinks) or "none")
    return table


def _models_of(steps: tuple[Step, ...]) -> Iterator[models.ModelFile]:
    for step in steps:
        yield from step.config.processor.models(step.config.options)


@app.command(name="list")
def list_() -> None:
    """Connectors, processors and sinks that are installed: options, results, units."""
    print_plugins(_out)


@app.command()
def schema() -> None:
    """JSON Schema of the YAML, for editors."""
    sys.stdout.write(json.dumps(catalog.schema(), indent=2, default=str) + "\n")


@models_app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@models_app.command(name="list")
def list_models() -> None:
    """The model files, where each comes from, and whether it is here."""
    table = Table(caption=f"kept in {models.cache_dir()}")
    for heading in ("model", "here", "license", "from"):
        table.add_column(heading, overflow="fold")
    for model in _known_models().values():
        table.add_row(model.name, "yes" if models.is_present(model) else "no", model.license, model.origin)
    _out.print(table, highlight=False)


@models_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="as `vision models` lists them")],
) -> None:
    """Fetch model files into the cache folder."""
    for name in names:
        path = models.ensure(_model(name), lambda text: _err.print(escape(text), highlight=False))
        _out.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@models_app.command(name="import")
def import_model(name: str, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Take a model file that was brought here by other means; it is checked first."""
    _out.print(f"{name}: {models.import_file(_model(name), file)}", highlight=False, soft_wrap=True)


def _model(name: str) -> models.ModelFile:
    known = _known_models()
    if name not in known:
        raise ConfigError(f"no model named '{name}'; known: {', '.join(known) or 'none'}")
    return known[name]


def _known_models() -> dict[str, models.ModelFile]:
    return {model.name: model for model in catalog.known_models()}


@app.command()
def simulate(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="its `source` is the simulator's")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 0,
    truth: Annotated[Path | None, typer.Option(metavar="FILE", help="write what was drawn, a line a picture")] = None,
) -> None:
    """The local avatar service alone; prints its URL and serves until Ctrl-C."""
    asyncio.run(_served(_simulator_settings(config), host, port, truth))
    raise typer.Exit(_INTERRUPTED)


def _simulator_settings(config: Path | None) -> SimulatorSettings:
    if config is None:
        return SimulatorSettings()
    document = read(config)
    source = document.data.get("source") if isinstance(document.data, dict) else None
    if not isinstance(source, dict) or source.get("use") != "simulator":
        raise document.error(("source",), "must be the simulator's: use: simulator")
    own = {key: value for key, value in source.items() if key != "use"}
    return document.validated(SimulatorSettings, own, ("source",))


async def _served(settings: SimulatorSettings, host: str, port: int, truth: Path | None) -> None:
    from vision.simulator.service import serve  # takes a second to import, and no other command needs it

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def listening(url: str, admin_ks: str) -> None:
        create = f"{url}/v1/avatar-session/create"
        _out.print(f"avatar service: {url}", soft_wrap=True)
        _out.print("create a session:", highlight=False)
        command = f"curl -X POST {create} -H 'Authorization: KS {admin_ks}' -H 'Content-Type: application/json'"
        _out.print(f'  {command} -d \'{{"visualConfig": {{"id": "0123456789abcdef01234567"}}}}\'', soft_wrap=True)
        _out.print("Ctrl-C ends it", style="dim")

    await serve(settings, host=host, port=port, truth=truth, on_listening=listening, stop=stop)


def _say(message: str) -> None:
    sys.stderr.write(f"vision: {' '.join(message.split())}\n")


def main() -> None:
    """Entry point: runs a command; errors are one line and an exit status."""
    debug = "--debug" in sys.argv
    try:
        status = app(standalone_mode=False, prog_name="vision")
    except VisionError as error:
        if debug:
            raise
        _say(str(error))
        status = error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        status = _INTERRUPTED
    except Exception as error:
        # the errors of the command line are click's, which typer has under a name of its own
        about_usage = getattr(error, "format_message", None)
        if debug and not about_usage:
            raise
        if about_usage:
            _say(f"{about_usage()} (vision --help)")
        else:
            _say(f"internal error: {one_line(error)}; `vision --debug ...` shows where")
        status = ConfigError.exit_status if about_usage else _BUG
    sys.exit(status if isinstance(status, int) else 0)
