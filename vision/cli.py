"""The command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import cv2
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

import vision
from vision import catalog, display, models, terminal
from vision.config import RunConfig, load
from vision.doctor import examine
from vision.errors import ConfigError, OutputError, SourceError, VisionError, one_line
from vision.folder import cannot_write, default_folder
from vision.listing import print_plugins
from vision.plan import Step, models_of, plan
from vision.runner import Outcome, Run
from vision.simulator.settings import SimulatorSettings
from vision.yamlfile import read

__all__ = ["main"]

_BUG = 70
_JUDGED = {True: ("ok", "green"), None: ("note", "yellow"), False: ("FAILS", "red")}

app = typer.Typer(
    help="Proves, frame by frame, that a live avatar looks and sounds right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Model files: where each comes from, present or not; fetch them.")
app.add_typer(models_app, name="models")
# no markup: paths, messages and names may hold brackets
_out = Console(file=terminal.stream("stdout"), markup=False, emoji=False, highlight=False)
_err = Console(file=terminal.stream("stderr"), markup=False, emoji=False, highlight=False)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's YAML file")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="change a value of the YAML; repeatable"),
]


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"avatar-vision {vision.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks and log in detail")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    handler = RichHandler(console=_err, show_time=debug, show_path=debug, rich_tracebacks=False)
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
    for model in models_of(steps):
        models.ensure(model, _report)
    cv2.setNumThreads(1)  # the processors are the parallelism; more threads on few cores only take turns
    prepared = Run(loaded, out or default_folder(loaded))
    runner = asyncio.Runner()
    outcome = runner.run(_executed(prepared))
    try:
        display.print_outcome(prepared, outcome, _out)
    except OutputError as error:  # the tables; the run itself is on disk, and its status stands
        terminal.say(str(error))
    if outcome.error:
        terminal.say(outcome.error)
    if asyncio.all_tasks(runner.get_loop()):  # a source that refuses to be cancelled would be waited for for ever
        terminal.finish()
        os._exit(outcome.exit_status)
    runner.close()
    raise typer.Exit(outcome.exit_status)


def _report(text: str) -> None:
    _err.print(text, soft_wrap=True)


async def _executed(prepared: Run) -> Outcome:
    with _stopped_by_signals(prepared.stop):
        following = asyncio.create_task(display.follow(prepared, _err))
        try:
            return await prepared.execute()
        finally:
            following.cancel()
            await asyncio.wait([following])


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and its like call `stop` in the event loop; the second of them ends the program at once.

    Not the loop's own handlers: those wait for the loop, which a plugin may keep from turning. Behind the block
    there is nothing left to stop in good order, so that a signal ends the program there too.
    """
    loop, told = asyncio.get_running_loop(), False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told:
            terminal.end_at_once()
        told = True
        loop.call_soon_threadsafe(stop)

    numbers = terminal.stop_signals()
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, terminal.end_at_once)


@app.command()
def check(config: ConfigPath, assignments: Assignments = None) -> None:
    """Read it and print the plan; touches no network."""
    loaded = load(config, assignments or ())
    steps = plan(loaded.processors)
    _out.print(_plan_table(loaded, steps))
    if loaded.expectations:
        _out.print(_expectation_table(loaded))
    for model in models_of(steps):
        if not models.is_present(model):
            fetched = f"a run, or `vision models fetch {model.name}`, fetches it"
            _out.print(f"model {model.name} is not here yet; {fetched}", soft_wrap=True)
    _out.print(f"{config}: good", soft_wrap=True)


def _plan_table(config: RunConfig, steps: tuple[Step, ...]) -> Table:
    run_options = config.run
    length = f"{run_options.duration_s:g} s" if run_options.duration_s else "until the source ends"
    queue = f"queue of {run_options.queue.size}, {config.policy}"
    table = Table(title=f"{config.name}: {config.source.use}, {length}, {queue}")
    for heading in ("#", "processor", "needs", "reads", "every", "placement", "gives"):
        table.add_column(heading, overflow="fold")
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


def _expectation_table(config: RunConfig) -> Table:
    table = Table(title="expected")
    for heading in ("name", "that", "level", "coverage", "preset"):
        table.add_column(heading, overflow="fold")
    for expected in config.expectations:
        if not expected.skipped:
            named = expected.name if expected.name != expected.that else ""
            table.add_row(named, expected.that, expected.level, f"{expected.min_coverage:.0%}", expected.preset or "")
    if skipped := [expected.name for expected in config.expectations if expected.skipped]:
        table.caption = f"left out, since this run does not measure it: {', '.join(skipped)}"
    return table


@app.command()
def doctor(config: ConfigPath, assignments: Assignments = None) -> None:
    """Try each step to the source, and say in plain words what fails; nothing is measured or kept."""
    raise typer.Exit(asyncio.run(_examined(load(config, assignments or ()))))


async def _examined(loaded: RunConfig) -> int:
    """Print the steps as they are taken; the exit status."""
    status, stop = 0, asyncio.Event()
    with _stopped_by_signals(stop.set):
        stopping = asyncio.create_task(stop.wait())
        async with contextlib.aclosing(examine(loaded)) as steps:
            while True:
                coming = asyncio.ensure_future(anext(steps, None))
                await asyncio.wait([coming, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait([coming])
                    return terminal.INTERRUPTED
                if (step := coming.result()) is None:
                    stopping.cancel()
                    return status
                word, style = _JUDGED[step.ok]
                _out.print(Text(f"{word:<6}", style=style) + Text(f"{step.name}: {step.said}"), soft_wrap=True)
                status = SourceError.exit_status if step.ok is False else status


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="of a run, also of one that was killed")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: report.html in it")] = None,
) -> None:
    """Write the report of a run, one file that opens offline, from its folder alone."""
    from vision.report.making import write_report  # reads and draws; no other command needs it

    with _writing(out or folder):
        _out.print(f"written: {write_report(folder, out)}", soft_wrap=True)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="of runs; the first is the baseline")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="write it as a page as well")] = None,
) -> None:
    """Put runs side by side: what got worse, what got better, and what they cannot tell."""
    from vision.report.comparison import compared
    from vision.report.comparison_table import print_comparisons
    from vision.report.making import write_comparison

    comparisons = compared(folders)
    print_comparisons(comparisons, _out)
    if out is not None:
        with _writing(out):
            write_comparison(comparisons, out)
        _out.print(f"written: {out}", soft_wrap=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the system refuses is told in a line."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


@app.command(name="list")
def list_() -> None:
    """Connectors, processors and sinks that are installed: options, results, units."""
    print_plugins(_out)


@app.command()
def schema() -> None:
    """JSON Schema of the YAML, for editors."""
    terminal.stream("stdout").write(json.dumps(catalog.schema(), indent=2, default=str) + "\n")


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
    _out.print(table)


@models_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="as `vision models` lists them")],
) -> None:
    """Fetch model files into the cache folder."""
    for name in names:
        path = models.ensure(_model(name), _report)
        _out.print(f"{name}: {path}", soft_wrap=True)


@models_app.command(name="import")
def import_model(name: str, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Take a model file that was brought here by other means; it is checked first."""
    _out.print(f"{name}: {models.import_file(_model(name), file)}", soft_wrap=True)


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
    if not host.strip():
        raise ConfigError("--host: must name an address, such as 127.0.0.1; 0.0.0.0 for all that this machine has")
    asyncio.run(_served(_simulator_settings(config), host, port, truth))
    raise typer.Exit(terminal.INTERRUPTED)


def _simulator_settings(config: Path | None) -> SimulatorSettings:
    if config is None:
        return SimulatorSettings()
    document = read(config)
    document.require_variables()
    source = document.data.get("source") if isinstance(document.data, dict) else None
    if not isinstance(source, dict) or source.get("use") != "simulator":
        raise document.error(("source",), "must be the simulator's: use: simulator")
    own = {key: value for key, value in source.items() if key != "use"}
    return document.validated(SimulatorSettings, own, ("source",))


async def _served(settings: SimulatorSettings, host: str, port: int, truth: Path | None) -> None:
    from vision.simulator.service import serve  # takes a second to import, and no other command needs it

    stop = asyncio.Event()
    with _stopped_by_signals(stop.set):
        await serve(settings, host=host, port=port, truth=truth, on_listening=_print_next_steps, stop=stop)


def _print_next_steps(url: str, admin_ks: str) -> None:
    create = f"{url}/v1/avatar-session/create"
    headers = f"-H 'Authorization: KS {admin_ks}' -H 'Content-Type: application/json'"
    body = '{"visualConfig": {"id": "0123456789abcdef01234567"}}'
    _out.print(f"avatar service: {url}", soft_wrap=True)
    _out.print("create a session:")
    _out.print(f"  curl -X POST {create} {headers} -d '{body}'", soft_wrap=True)
    _out.print("watch it, with sessionId and token of the answer:")
    variables = f"AVATAR_BASE_URL={url} AVATAR_SESSION_ID=... AVATAR_TOKEN=..."
    _out.print(f"  {variables} vision run configs/avatar.yaml", soft_wrap=True)
    _out.print("Ctrl-C ends it", style="dim")


def main() -> NoReturn:
    """Run the command of the command line; errors are one line and an exit status."""
    terminal.prepare()
    with contextlib.suppress(OSError):  # the folder may be gone
        sys.path.append(str(Path.cwd()))  # behind all else: modules of one's own are found, and hide nothing
    try:
        status = _status()
    except KeyboardInterrupt:
        status = terminal.INTERRUPTED
    if status == terminal.INTERRUPTED:
        terminal.say("interrupted")
    terminal.finish()
    sys.exit(status)


def _status() -> int:
    try:
        returned = app(standalone_mode=False, prog_name="vision")
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # of the help, which is not printed by us
            return 0
        return _told(RuntimeError("a plugin asked Python to exit"))
    except Exception as error:
        return _told(error)
    return returned if isinstance(returned, int) else 0


def _told(error: Exception) -> int:
    """Say what is wrong, as one line; its exit status."""
    # the errors of the command line are click's, which typer has under a name of its own
    about_usage = getattr(error, "format_message", None)
    if about_usage is not None:
        if message := about_usage():  # empty where the help was asked for by giving nothing
            terminal.say(f"{message} (vision --help)")
        return ConfigError.exit_status
    if "--debug" in sys.argv:
        terminal.stream("stderr").write("".join(traceback.format_exception(error)))
    if isinstance(error, VisionError):
        terminal.say(str(error))
        return error.exit_status
    terminal.say(f"internal error: {one_line(error)}; `vision --debug ...` shows where")
    return _BUG
