"""`accelerate launch train/run.py --method byol …`: flags in, pretrain() out.

The flags are the fields of `Run` and, once method and encoder are known, the keyword-only
arguments of their constructors and of the view: `--method.momentum`, `--encoder.width`,
`--view.clip-s`. Nothing heavy is imported before it is known what to run.
"""

from __future__ import annotations

import argparse
import errno
import inspect
import sys
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any

import tyro

from shards.errors import CommandError
from train.config import Run
from train.encoders import ENCODERS, encoder_class
from train.methods import METHODS, method_class

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}

DESCRIPTION = f"""Pre-train an encoder from an archive of music.

Methods: {", ".join(sorted(METHODS))}. Encoders: {", ".join(sorted(ENCODERS))}.
`--method NAME --help` lists the settings of that method, its encoder and its view as well."""


def main(args: list[str] | None = None) -> None:
    """Run the command; what the user gave wrong is said in a line, with exit status 2."""
    args = sys.argv[1:] if args is None else args
    try:
        status = _run(args)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except OSError as error:
        if error.errno not in DISK | REFUSED:
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 4 if error.errno in DISK else 2
    if status:
        raise SystemExit(status)


def _run(args: list[str]) -> int:
    names = _names(args)
    if names.method is None:
        tyro.cli(Run, args=args, prog="train/run.py", description=DESCRIPTION)
        return 2  # not reached: without --method the line above has printed help or an error
    run, settings = parse(args, method=names.method, encoder=names.encoder)
    from train.loop import pretrain
    from train.signals import die_with_launcher

    die_with_launcher()
    return pretrain(run, **settings)


def parse(args: list[str], *, method: str, encoder: str) -> tuple[Run, dict[str, dict[str, Any]]]:
    """The run, and the chosen arguments of method, encoder and view by those names."""
    from shards.views import view_class

    chosen = method_class(method)
    owners = {"method": chosen, "encoder": encoder_class(encoder), "view": view_class(chosen.view)}
    parts: list[Any] = [("run", Annotated[Run, tyro.conf.OmitArgPrefixes])]
    parts += [(f"{name}_", _flags(name, owner)) for name, owner in owners.items()]
    everything = make_dataclass("Flags", parts, frozen=True, kw_only=True)
    flags: Any = tyro.cli(everything, args=args, prog="train/run.py", description=DESCRIPTION)
    settings = {name: _given(getattr(flags, f"{name}_")) for name in owners}
    if "clip_s" in settings["encoder"] and not _mentions(args, "--encoder.clip-s"):
        settings["encoder"]["clip_s"] = settings["view"].get("clip_s", 4.0)
    return flags.run, settings


def _flags(name: str, owner: type) -> Any:
    """The hyperparameters of `owner` as a part of the command line, under `--name.`."""
    return Annotated[hyperparameters(owner), tyro.conf.arg(name=name)]


def hyperparameters(owner: type) -> type:
    """A dataclass of the keyword-only arguments of a constructor: its hyperparameters."""
    if is_dataclass(owner):
        return owner
    given = inspect.signature(owner, eval_str=True).parameters.values()
    wanted = [
        (p.name, p.annotation, field(default=p.default))
        for p in given
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    ]
    return make_dataclass(
        owner.__name__, wanted, namespace={"__doc__": owner.__doc__}, frozen=True, kw_only=True
    )


def _given(flags: Any) -> dict[str, Any]:
    return {f.name: getattr(flags, f.name) for f in fields(flags)}


def _names(args: list[str]) -> argparse.Namespace:
    """What is asked for by name, read before the rest of the flags is known."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--method")
    parser.add_argument("--encoder", default="resnet")
    return parser.parse_known_args(args)[0]


def _mentions(args: list[str], flag: str) -> bool:
    spellings = (flag, flag.replace("-s", "_s"))
    return any(arg.split("=")[0] in spellings for arg in args)
