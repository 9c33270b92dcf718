"""Create or update the limits that several runs share at one provider.

    python -m deployments.limits --config my-run.toml
    python -m deployments.limits --name openai --requests-per-minute 500 --tokens-per-minute 200000

They live on the Prefect server that PREFECT_API_URL names, as two global concurrency limits. A run uses them
if its config names them: `[revision_batches] shared_limit = "..."`. Running this again with the same values
changes nothing; with other values the limits in use change at once.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from figa_core.config.file import load_config
from figa_core.errors import ConfigError, FigaError
from figa_core.llm.permits import shared_rate
from tasks.shared_limits import SLOTS_PER_REQUEST, SLOTS_PER_TOKEN, LimitNames, name_for

RUNS = 4
_CALL_TOKENS = 4096
_CALL_PER_ANSWER = 4  # prompt, draft, answer, and a second answer with twice the tokens


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's limits, how many runs share them at once, and the size of their calls."""

    name: str
    requests_per_minute: float
    tokens_per_minute: float
    runs: int = RUNS
    tokens_per_call: float = _CALL_TOKENS


@dataclass(frozen=True, slots=True)
class SlotLimit:
    """One global concurrency limit as Prefect keeps it."""

    name: str
    slots: int
    decay_per_second: float

    def __str__(self) -> str:
        return f"{self.name}: {self.slots:,} slots, {self.decay_per_second:,.0f} a second"


def slot_limits(provider: Provider) -> list[SlotLimit]:
    """The limit of requests and the limit of tokens.

    Raises:
        ConfigError: so many runs cannot share limits so low.
    """
    if provider.runs < 1 or provider.tokens_per_call <= 0:
        raise ConfigError(f"{provider.name}: --runs must be at least 1, and --tokens-per-call more than 0.")
    names, limits = LimitNames.of(provider.name), []
    for name, per_minute, slots_per_permit, largest in (
        (names.requests, provider.requests_per_minute, SLOTS_PER_REQUEST, 1),
        (names.tokens, provider.tokens_per_minute, SLOTS_PER_TOKEN, provider.tokens_per_call),
    ):
        try:
            rate = shared_rate(per_minute, largest=largest, runs=provider.runs)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}. Share with fewer runs (--runs) or smaller calls.") from error
        slots = max(1, int(rate.capacity * slots_per_permit))
        limits.append(SlotLimit(name, slots, round(rate.per_second * slots_per_permit, 3)))
    return limits


async def create_limits(provider: Provider) -> list[str]:
    """Create or update both limits; returns a line about each.

    Raises:
        ConfigError: no Prefect server is configured or reached, or the limits are too low to be shared.
    """
    url = get_current_settings().api.url
    if url is None:
        raise ConfigError(
            "PREFECT_API_URL is not set, so there is no Prefect server that runs could share. Start one "
            "(`prefect server start`) and set the variable here and for the runs."
        )
    limits = slot_limits(provider)
    try:
        async with get_client() as client:
            return [f"{await _create_or_update(client, limit)} {limit}" for limit in limits]
    except httpx.HTTPError as error:
        raise ConfigError(f"the Prefect server at {url} cannot be asked: {error}") from error


async def _create_or_update(client: PrefectClient, wanted: SlotLimit) -> str:
    values = {"limit": wanted.slots, "slot_decay_per_second": wanted.decay_per_second, "active": True}
    try:
        found = await client.read_global_concurrency_limit_by_name(wanted.name)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=wanted.name, **values))
        return "created"
    if all(getattr(found, name) == value for name, value in values.items()):
        return "unchanged"
    await client.update_global_concurrency_limit(wanted.name, GlobalConcurrencyLimitUpdate(**values))
    return "updated"


def _provider(options: argparse.Namespace) -> Provider:
    """The provider from the options and the config; options take precedence."""
    if options.config is None:
        missing = [
            f"--{field.replace('_', '-')}"
            for field in ("name", "requests_per_minute", "tokens_per_minute")
            if getattr(options, field) is None
        ]
        if missing:
            raise ConfigError(f"give --config FILE, or {', '.join(missing)}")
        call = options.tokens_per_call or _CALL_TOKENS
        return Provider(
            options.name, options.requests_per_minute, options.tokens_per_minute, options.runs, call
        )
    config = load_config(options.config)
    revision = config.revision
    return Provider(
        options.name or config.revision_batches.shared_limit or name_for(revision.base_url, revision.model),
        options.requests_per_minute or revision.requests_per_minute,
        options.tokens_per_minute or revision.tokens_per_minute,
        options.runs,
        options.tokens_per_call or _CALL_PER_ANSWER * revision.max_tokens,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.limits", description="Limits that several runs share at one provider."
    )
    parser.add_argument("--config", type=Path, help="a run's config; its [revision] section has the limits")
    parser.add_argument("--name", help="of the limits; default: the config's, or host and model")
    parser.add_argument("--requests-per-minute", type=float, help="what the provider permits, to all runs")
    parser.add_argument("--tokens-per-minute", type=float, help="what the provider permits, to all runs")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"most runs at once; default: {RUNS}")
    parser.add_argument("--tokens-per-call", type=float, help="the largest call, prompt and answer")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create or update, and print what was done; 1 on failure."""
    try:
        provider = _provider(_parse(arguments))
        lines = asyncio.run(create_limits(provider))
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    print(f'A run uses them with, in its config: [revision_batches] shared_limit = "{provider.name}"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
