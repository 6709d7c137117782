"""The command `serve`: the search service."""

import logging
from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[
        Path, typer.Argument(help="A workspace, or a folder that contains a copy of its folder `published`.")
    ] = Path(),
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than loopback need FCLIP_API_KEYS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    host_names: Annotated[
        list[str] | None,
        typer.Option("--host-name", metavar="NAME", help="A name under which clients reach the service. Repeatable."),
    ] = None,
    log_queries: Annotated[
        bool, typer.Option(help="Write queries to .fclip/queries.jsonl, for `fclip queries`. No addresses are kept.")
    ] = True,
    num_threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the model.")] = None,
) -> None:
    """Serve search, embeddings and a page for people over HTTP. It follows what is published without a restart."""
    from fclip.serve.server import serve as run
    from fclip.serve.settings import Settings, keys_from_environment

    settings = Settings(
        host=host,
        port=port,
        hosts=tuple(host_names or ()),
        keys=keys_from_environment(),
        log_queries=log_queries,
        num_threads=num_threads,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"http://{shown}:{port} serves what is published in {folder.resolve()}; stop it with Ctrl+C")
    run(folder.resolve(), settings)
