"""``smc-decode``: the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .settings import ConfigError, Settings, load_settings

app = typer.Typer(
    name="smc-decode",
    help="Reward-guided Sequential Monte Carlo decoding behind an OpenAI-compatible server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="The configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file: [server], [engine], [presets.NAME]...")]
ModelOption = Annotated[str | None, typer.Option(help="Hugging Face name or folder; left out: the bundled model.")]
PresetOption = Annotated[str | None, typer.Option(help="Preset of requests that name none.")]
EngineOption = Annotated[str | None, typer.Option(help="vllm, remote, or module:function.")]
RemoteOption = Annotated[
    list[str] | None, typer.Option(help="Address of a running vLLM server; again for each of its replicas.")
]
LengthOption = Annotated[int | None, typer.Option(help="Tokens of the model's context.")]
UnsafeOption = Annotated[
    bool | None, typer.Option("--allow-unsafe-exec", help="Run model-written code even where no sandbox works.")
]


@app.command()
def serve(
    model: ModelOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; others than loopback need API keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    served_model_name: Annotated[list[str] | None, typer.Option(help="Name of the model in requests.")] = None,
    max_model_len: LengthOption = None,
    engine: EngineOption = None,
    remote: RemoteOption = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with one API key a line.")] = None,
    allow_client_tests: Annotated[
        bool | None, typer.Option("--allow-client-tests", help="Take tests in requests from other machines too.")
    ] = None,
    allow_unsafe_exec: UnsafeOption = None,
    exit_on_engine_death: Annotated[
        bool | None, typer.Option("--exit-on-engine-death", help="Exit with code 1 when the engine dies.")
    ] = None,
    trace_dir: Annotated[Path | None, typer.Option(help="Where runs with smc.trace are stored.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the server."""
    overrides: dict[str, dict[str, Any]] = {
        "server": {
            "host": host,
            "port": port,
            "preset": preset,
            "served_model_name": served_model_name or None,
            "api_key_file": api_key_file,
            "allow_client_tests": allow_client_tests,
            "allow_unsafe_exec": allow_unsafe_exec,
            "exit_on_engine_death": exit_on_engine_death,
            "trace_dir": trace_dir,
            "log_format": log_format,
            "log_level": log_level,
        },
        "engine": _engine(model, engine, remote, max_model_len),
    }
    settings = _settings(config, overrides)
    from .process.serving import bind
    from .process.serving import serve as run_server

    try:
        listener = bind(settings.server.host, settings.server.port)
        with listener:
            code = asyncio.run(run_server(settings, listener))
    except (ConfigError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


@app.command()
def run(
    prompt: Annotated[str, typer.Argument(help="What to ask; '-' reads standard input.")],
    model: ModelOption = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    engine: EngineOption = None,
    remote: RemoteOption = None,
    max_model_len: LengthOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text; no chat template.")] = False,
    reward: Annotated[str | None, typer.Option(help="Name of a reward; see 'smc-decode rewards'.")] = None,
    params: Annotated[str, typer.Option(help="The reward's parameters, as a JSON object.")] = "{}",
    smc: Annotated[str, typer.Option(help="Fields of 'smc', as a JSON object.")] = "{}",
    particles: Annotated[int | None, typer.Option("--particles", "-n", help="Number of particles.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the run repeatable.")] = None,
    allow_unsafe_exec: UnsafeOption = None,
) -> None:
    """Decode one prompt, with the population live in the terminal."""
    server = {"preset": preset, "allow_unsafe_exec": allow_unsafe_exec}
    settings = _settings(config, {"server": server, "engine": _engine(model, engine, remote, max_model_len)})
    fields = _json_object(smc, "--smc")
    if reward is not None:
        fields["reward"] = {"name": reward, "params": _json_object(params, "--params")}
    if particles is not None:
        fields["n_particles"] = particles
    text = sys.stdin.read() if prompt == "-" else prompt
    body: dict[str, Any] = {"smc": fields, "seed": seed, "max_tokens": max_tokens}
    body |= {"prompt": text} if raw else {"messages": [{"role": "user", "content": text}]}
    from .process.terminal import run_live

    try:
        asyncio.run(run_live(settings, body))
    except ConfigError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def score(
    file: Annotated[
        str,
        typer.Argument(
            help='JSON lines with "messages" or "prompt", "answers" and, where they are wanted, "reward", "finished" '
            "and \"id\", as POST /v1/smc/score takes them; '-' reads standard input."
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here, not to standard output.")] = None,
    reward: Annotated[str | None, typer.Option(help="The reward of lines that name none.")] = None,
    params: Annotated[str, typer.Option(help="Its parameters, as a JSON object.")] = "{}",
    model: ModelOption = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    engine: EngineOption = None,
    remote: RemoteOption = None,
    max_model_len: LengthOption = None,
    allow_unsafe_exec: UnsafeOption = None,
) -> None:
    """Judge given answers by a reward: a line of scores for each line of the file."""
    server = {"preset": preset, "allow_unsafe_exec": allow_unsafe_exec}
    settings = _settings(config, {"server": server, "engine": _engine(model, engine, remote, max_model_len)})
    usual = None if reward is None else {"name": reward, "params": _json_object(params, "--params")}
    from .process.scoring import score_file

    try:
        asyncio.run(score_file(settings, file, output, usual))
    except ConfigError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def suggest(
    sample: Annotated[
        str,
        typer.Option(help="Prompts: one a line, or JSON lines with messages or prompt; '-' reads standard input."),
    ],
    reward: Annotated[str | None, typer.Option(help="Name of a reward; see 'smc-decode rewards'.")] = None,
    params: Annotated[str, typer.Option(help="Its parameters, as a JSON object.")] = "{}",
    prompts: Annotated[int, typer.Option(help="Look at the first so many.", min=1)] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    model: ModelOption = None,
    config: ConfigOption = None,
    engine: EngineOption = None,
    remote: RemoteOption = None,
    max_model_len: LengthOption = None,
    allow_unsafe_exec: UnsafeOption = None,
) -> None:
    """Draw a few answers, see how the reward moves along them, and say which preset and block size fit."""
    server = {"allow_unsafe_exec": allow_unsafe_exec}
    settings = _settings(config, {"server": server, "engine": _engine(model, engine, remote, max_model_len)})
    usual = None if reward is None else {"name": reward, "params": _json_object(params, "--params")}
    from .process.suggest import suggest as suggest_settings

    try:
        asyncio.run(suggest_settings(settings, sample, usual, prompts, as_json))
    except ConfigError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def rewards(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="With the JSON schemas of the parameters.")] = False,
    allow_unsafe_exec: UnsafeOption = None,
) -> None:
    """List the rewards, what they take, and which of them work here."""
    settings = _settings(config, {"server": {"allow_unsafe_exec": allow_unsafe_exec}})
    from .process.shows import show_rewards

    try:
        show_rewards(settings, as_json)
    except ConfigError as error:
        _fail(str(error))


@app.command()
def trace(
    run_id: Annotated[str, typer.Argument(metavar="ID|FILE", help="A stored run's id, or its file.")],
    config: ConfigOption = None,
) -> None:
    """Show a run that was stored with smc.trace: its blocks, genealogy and answer."""
    settings = _settings(config, {})
    from .process.shows import show_trace

    try:
        show_trace(settings, run_id)
    except ConfigError as error:
        _fail(str(error))


@app.command()
def fuse(
    scores: Annotated[Path, typer.Argument(help='Scores: JSON lines with {"scores": {NAME: SCORE}}, or CSV.')],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the fit here, as JSON.")] = None,
) -> None:
    """Fit the weights of an ensemble from unlabelled scores, and say whether they can be trusted."""
    from smc_decode.potentials.mixtures.fuse import FuseError
    from smc_decode.potentials.mixtures.fuse import run as fit_file

    try:
        fit, text = fit_file(scores, output)
    except (FuseError, OSError) as error:
        _fail(str(error))
    typer.echo(text)
    raise typer.Exit(0 if fit.trustworthy else 1)


@app.command()
def doctor(config: ConfigOption = None) -> None:
    """Check what a server needs here, and say what to do about what is missing."""
    settings = _settings(config, {})
    from .process.doctor import examine

    raise typer.Exit(0 if examine(settings) else 1)


@config_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print the configuration in force, as TOML."""
    settings = _settings(config, {})
    from .process.shows import show_config

    show_config(settings)


def _engine(model: str | None, kind: str | None, remote: list[str] | None, length: int | None) -> dict[str, Any]:
    """What the options say of the ``[engine]`` table."""
    if remote and kind not in (None, "remote"):
        _fail(f"--remote is an engine of its own: leave out --engine {kind}")
    return {"model": model, "kind": "remote" if remote else kind, "urls": remote or None, "max_model_len": length}


def _settings(path: Path | None, overrides: dict[str, dict[str, Any]]) -> Settings:
    try:
        return load_settings(path, overrides)
    except ConfigError as error:
        _fail(str(error))


def _json_object(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        _fail(f"{option} is not JSON: {error}")
    if not isinstance(value, dict):
        _fail(f"{option} must be a JSON object, such as '{{\"n_particles\": 8}}'")
    return value


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
