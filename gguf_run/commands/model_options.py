"""The options that name a model: a file, the demo model, or one of the hub's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gguf_run.commands.options import Command, stack
from gguf_run.errors import ModelError
from gguf_run.hub import HubModel, fetch

_PATH = click.Path(path_type=Path)

named_model_options = stack(
    click.option("-m", "--model", "model_option", type=_PATH, help="The model file."),
    click.option("--demo", is_flag=True, help="Use the small model that comes with gguf-run."),
    click.option(
        "-hf",
        "-hfr",
        "--hf-repo",
        "hf_repo",
        metavar="USER/REPO[:QUANT]",
        help="A model of the Hugging Face hub, fetched when first needed.",
    ),
    click.option("-hff", "--hf-file", help="The file of that repository."),
    click.option("--offline", is_flag=True, help="Fetch nothing; use what was fetched before."),
)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that a command line names."""

    path: Path | None
    hub: HubModel | None
    offline: bool

    def fetch(self) -> Path:
        """The model's (first) file; fetches it where it comes from the hub.

        Raises `ModelError` where it can't be fetched.
        """
        if self.path is not None:
            _refuse_what_is_no_file(self.path)
            return self.path
        assert self.hub is not None
        return fetch(self.hub, self.offline)


def model_options(command: Command) -> Callable[..., Any]:
    """Add the options; the command gets them as `model`, a `ModelChoice`."""

    @functools.wraps(command)
    def choosing(
        model: Path | None,
        model_option: Path | None,
        demo: bool,
        hf_repo: str | None,
        hf_file: str | None,
        offline: bool,
        **options: Any,
    ) -> Any:
        paths = [path for path in (model, model_option, demo_model() if demo else None) if path]
        choice = chosen_model(paths, hf_repo, hf_file, offline)
        return command(model=choice, **options)

    argument = click.argument("model", type=_PATH, required=False)
    return argument(named_model_options(choosing))


def demo_model() -> Path:
    """The small model that comes with gguf-run."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "models" / "demo.gguf"
    return installed if installed.exists() else here.parent / "models" / "demo.gguf"


def _refuse_what_is_no_file(path: Path) -> None:
    """`ModelError` for a folder, an address or a name of the hub, with what to say instead."""
    if path.is_dir():
        models = sorted(file.name for file in path.glob("*.gguf"))
        found = f"a folder with {', '.join(models[:8])}" if models else "a folder without one"
        raise ModelError(f"{path}: expected a GGUF file, found {found}")
    spec = path.as_posix()
    if path.exists():
        return
    try:
        named = HubModel.parse(spec)
    except ModelError:
        named = None
    if named is not None and (named.file or path.suffix != ".gguf"):
        quant = f":{named.quant}" if named.quant else ""
        option = f"-hf {named.repo}{quant}" + (f" -hff {named.file}" if named.file else "")
        raise ModelError(
            f"{spec}: expected a GGUF file, found none; from the hub it would be {option}"
        )
    if spec.startswith(("http:/", "https:/")):
        raise ModelError(f"{spec}: expected a GGUF file, found an address; download it first")


def chosen_model(
    paths: list[Path], hf_repo: str | None, hf_file: str | None, offline: bool
) -> ModelChoice:
    """The one model among those that a command line names; `click.UsageError` for none or more."""
    given = [*map(str, paths), *([f"-hf {hf_repo}"] if hf_repo else [])]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise click.UsageError(
            f"expected one model (MODEL, -m MODEL, -hf USER/REPO or --demo), found {found}; "
            "try: gguf-run --demo -p 'Once upon a time'"
        )
    if hf_file and not hf_repo:
        raise click.UsageError("-hff names a file of a repository: add -hf USER/REPO")
    hub = HubModel.parse(hf_repo, hf_file) if hf_repo else None
    return ModelChoice(paths[0] if paths else None, hub, offline)
