"""Create or update the limits that several runs share at one provider.

    python -m deployments.limits --config my-run.toml
    python -m deployments.limits --name openai --requests-per-minute 500 --tokens-per-minute 200000

They are two global concurrency limits on the Prefect server at PREFECT_API_URL. A run uses them if its config
names them: `[revision_batches] shared_limit = "..."`. Running this again with other values changes the limits
at once, also for runs that use them.
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

from deployments.server import require_server
from figa_core.config.file import load_config
from figa_core.errors import ConfigError, FigaError
from figa_core.llm.permits import shared_rate
from tasks.shared_limits import SLOTS_PER_REQUEST, SLOTS_PER_TOKEN, LimitNames, name_for

RUNS = 4
_CALL_TOKENS = 4096
_CALL_PER_ANSWER = 4  # prompt, draft, answer, and a second answer with twice the tokens


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's limits, how many runs may share them at once, and the size of their largest calls."""

    name: str
    requests_per_minute: float
    tokens_per_minute: float
    runs: int = RUNS
    tokens_per_call: float = _CALL_TOKENS


def slot_limits(provider: Provider) -> list[GlobalConcurrencyLimitCreate]:
    """The limits of requests and tokens; raises ConfigError if they are too low for so many runs."""
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
        decay = round(rate.per_second * slots_per_permit, 3)
        limits.append(GlobalConcurrencyLimitCreate(name=name, limit=slots, slot_decay_per_second=decay))
    return limits


async def create_limits(provider: Provider) -> list[str]:
    """Create or update both limits, and return a line about each; raises ConfigError if that fails."""
    url, limits = require_server(), slot_limits(provider)
    try:
        async with get_client() as client:
            return [await _create_or_update(client, limit) for limit in limits]
    except httpx.HTTPError as error:
        raise ConfigError(f"the Prefect server at {url} refuses the limits: {error}") from error


async def _create_or_update(client: PrefectClient, wanted: GlobalConcurrencyLimitCreate) -> str:
    size = f"{wanted.name}: {wanted.limit:,} slots, {wanted.slot_decay_per_second:,.0f} a second"
    values = wanted.model_dump(include={"limit", "slot_decay_per_second", "active"})
    try:
        found = await client.read_global_concurrency_limit_by_name(wanted.name)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(wanted)
        return f"created {size}"
    if all(getattr(found, name) == value for name, value in values.items()):
        return f"unchanged {size}"
    await client.update_global_concurrency_limit(wanted.name, GlobalConcurrencyLimitUpdate(**values))
    return f"updated {size}"


def _provider(options: argparse.Namespace) -> Provider:
    """The provider from the options and the config; options take precedence."""
    given = {
        name: value for name, value in vars(options).items() if value not in (None, "") and name != "config"
    }
    if options.config is not None:
        config = load_config(options.config)
        revision = config.revision
        return Provider(
            **{
                "name": config.revision_batches.shared_limit or name_for(revision.base_url, revision.model),
                "requests_per_minute": revision.requests_per_minute,
                "tokens_per_minute": revision.tokens_per_minute,
                "tokens_per_call": _CALL_PER_ANSWER * revision.max_tokens,
                **given,
            }
        )
    required = ("name", "requests_per_minute", "tokens_per_minute")
    if missing := [f"--{name.replace('_', '-')}" for name in required if name not in given]:
        raise ConfigError(f"give --config FILE, or {', '.join(missing)}")
    return Provider(**given)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.limits", description="Limits that several runs share at one provider."
    )
    parser.add_argument("--config", type=Path, help="a run's config; its [revision] section has the limits")
    parser.add_argument("--name", help="of the limits; default: the config's, or host and model")
    parser.add_argument(
        "--requests-per-minute", type=float, help="what the provider allows all runs together"
    )
    parser.add_argument("--tokens-per-minute", type=float, help="what the provider allows all runs together")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"the most runs at once; default: {RUNS}")
    parser.add_argument("--tokens-per-call", type=float, help="tokens of the largest call, prompt and answer")
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
    print(f'A run uses them if its config has: [revision_batches] shared_limit = "{provider.name}"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
