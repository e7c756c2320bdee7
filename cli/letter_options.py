"""Which dead letters a command is about: the same options for every command that takes a choice of them."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from cli.options import line, milliseconds
from storage.letter_queries import NO_HANDLER, LetterFilter
from storage.schema import LetterState

ALL = "all"
NOBODY = "-"
STATES = [state.name.lower() for state in LetterState]

Reason = Annotated[
    str | None, typer.Option("--reason", "--reason-code", callback=line, help="Of this reason code.")
]
ReasonCode = Annotated[str | None, typer.Option("--reason-code", callback=line, help="Of this reason code.")]


def _filter(
    reason: Reason = None,
    handler: Annotated[
        str | None,
        typer.Option("--handler", callback=line, help=f"Of this handler; {NOBODY}: no handler could run."),
    ] = None,
    redemption: Annotated[
        str | None, typer.Option("--redemption", callback=line, help="Of this redemption.")
    ] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", callback=line, help="Of this customer.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", callback=line, help="Of this group (see stats).")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", callback=line, help="Of this tenant.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Last seen at this time (UTC) or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", help="First seen before this time (UTC).")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help=f"{', '.join(STATES)} or {ALL}. Default: open.")
    ] = None,
) -> LetterFilter:
    if state not in (None, ALL, *STATES):
        raise typer.BadParameter(f"--state is one of {', '.join(STATES)}, {ALL}")
    states = () if state == ALL else (LetterState[(state or "open").upper()],)
    return LetterFilter(
        states=states,
        tenant=tenant,
        reason=reason,
        handler=NO_HANDLER if handler == NOBODY else handler,
        redemption_id=redemption,
        customer_id=customer,
        fingerprint=fingerprint,
        since=milliseconds(since),
        until=milliseconds(until),
    )


def filtered(command: Callable[..., None], *, own_reason: bool = False) -> Callable[..., None]:
    """Give a command the options of the filter in place of its parameter `wanted`.

    `own_reason`: the command has a `--reason` of its own, so that of the filter is `--reason-code` alone.
    """
    options = signature(_filter, eval_str=True).parameters
    own = [one for one in signature(command, eval_str=True).parameters.values() if one.name != "wanted"]
    shown = {
        name: option.replace(
            name="reason_code" if name == "reason" else name,
            annotation=ReasonCode if own_reason and name == "reason" else option.annotation,
            kind=Parameter.KEYWORD_ONLY,
        )
        for name, option in options.items()
    }

    @wraps(command)
    def called(**given: Any) -> None:
        command(wanted=_filter(**{name: given.pop(option.name) for name, option in shown.items()}), **given)

    parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own] + list(shown.values())
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def states_are_given(context: typer.Context) -> bool:
    """Whether `--state` was written, rather than left to its default."""
    return context.params.get("state") is not None
