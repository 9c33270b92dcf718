"""The model to align and the reward model: whether they load and accept the run's prompts and texts."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from figa_core.chat.format import ChatFormat
from figa_core.chat.roles import TemplateRoles
from figa_core.config.decisions import settings_in
from figa_core.config.roles import model_rewards
from figa_core.findings import Finding, problem, warning
from figa_core.inference.copies import places_of
from figa_core.inference.devices import vllm_gpus
from figa_core.inference.engine import AUTO, SERVER, VLLM, check_engine
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.models.adapter import underlying
from figa_core.models.check import Examined, examine, problems_to_serve
from figa_core.models.config_json import longest_input, read_config
from figa_core.models.plain_reward import is_plain
from figa_core.models.reward_head import RewardHead, label_index
from figa_core.models.role import ModelRole
from figa_core.models.tokenizer import vocabulary_problems
from figa_core.prompts.read import reason_kind
from figa_core.training.objectives.registry import objective_named
from figa_core.training.words import asking_with, problem_with_words
from flows.checks.facts import Facts, each_reward_model
from flows.checks.settings import objectives
from tasks.server_settings import copies_of

_ANSWER = "Yes."
_REPAIR = "Copy its chat_template.jinja from its source again."


def check_generation_model(facts: Facts) -> Iterator[Finding]:
    """Its files, tokenizer and template."""
    model = facts.config.generation.model
    chat = yield from _model(model, examine(model, ModelRole.POLICY), lambda: facts.generation_chat)
    if chat is not None and chat.fallback_template:
        yield warning(
            "generation.model",
            f"{model} has no chat template; a plain one is used instead, and the trained model keeps it.",
        )
    if chat is not None:
        yield from _turns(model, chat)


@each_reward_model
def check_reward_model(facts: Facts) -> Iterator[Finding]:
    """Its files, tokenizer and template."""
    reward = facts.reward
    model = reward.model
    examined = examine(model, ModelRole.REWARD, reward.label)
    chat = yield from _model(model, examined, lambda: facts.reward_chat)
    if not examined.problems and examined.head is not None and not is_plain(examined.head):
        if reward.engine == SERVER and examined.head.foreign:
            yield problem("", problems_to_serve(model, reward.label)[0])
        yield warning("reward.model", _which_value(model, examined.head, reward.label))
    if chat is not None and chat.fallback_template and not facts.reward.plain_template:
        yield problem(
            "reward.model",
            f"{model} has no chat template, so it is unknown in which format it learnt to rate answers. "
            "Copy its chat_template.jinja from its source, name a file with reward.chat_template, or set "
            'reward.plain_template = true to rate them as "### User: … ### Assistant: …".',
        )


def check_engines(facts: Facts) -> Iterator[Finding]:
    """The engines of the settings can run on this machine, with its GPUs; raises EngineError."""
    generation = facts.config.generation
    if generation.workers is not None:
        return  # other machines run them, and say so themselves
    further = [s.field for s in settings_in("sampling", generation.sampling) if not s.at_default]
    check_engine(generation.engine, further)
    rewards = model_rewards(facts.config).values()
    for engine in {reward.engine for reward in rewards} - {generation.engine}:
        check_engine(engine)
    for config in (generation, *rewards):
        if config.engine in (AUTO, VLLM) and find_vllm_python() is not None:
            places_of(copies_of(config), vllm_gpus())
    yield from ()


def check_templates_on_prompts(facts: Facts) -> Iterator[Finding]:
    """All templates accept the prompts' conversations with all their roles."""
    yield from _refused("generation.model", [problem for _, problem in facts.read])
    yield from _cut(
        "weighting.max_length",
        [len(ids) for ids, refused in facts.read if not refused],
        facts.config.generation.max_tokens,
        facts.config.weighting.max_length,
        "trained on: the end of a longer text is cut off",
    )
    yield from _reward_template_on_prompts(facts)


@each_reward_model
def _reward_template_on_prompts(facts: Facts) -> Iterator[Finding]:
    """The template of the reward model accepts them, too."""
    messages = [prompt.messages for prompt in facts.prompts.all_prompts]
    rated = facts.reward_chat.conversation_ids_or_reasons([(each, _ANSWER) for each in messages])
    yield from _refused("reward.model", [each if isinstance(each, str) else None for each in rated])
    around = len(facts.reward_chat.response_ids(_ANSWER))
    yield from _cut(
        "reward.max_length",
        [
            len(each) - around
            for each, (_, refused) in zip(rated, facts.read, strict=True)
            if not isinstance(each, str) and not refused
        ],
        facts.config.generation.max_tokens,
        facts.reward.max_length,
        "rated: the beginning of a longer text is cut off",
    )
    roles = TemplateRoles(facts.reward_chat)
    found = Counter(left_out for each in messages if (left_out := roles.left_out_of_the_end(each)))
    for left_out, count in found.items():
        yield warning(
            "reward.model",
            f"its chat template leaves out {left_out}, in {count:,} of the first "
            f"{len(messages):,} prompts: answers are rated without them.",
        )


def check_generation_lengths(facts: Facts) -> Iterator[Finding]:
    """The longest prompt and response fit into the context of the model to align."""
    config = facts.config
    asked = config.prompts.max_prompt_tokens + config.generation.max_tokens
    yield from _too_long("prompts.max_prompt_tokens + generation.max_tokens", asked, config.generation.model)
    longest = config.weighting.max_length
    yield from _too_long("weighting.max_length", longest, config.generation.model)
    for name, setting in objectives(config).items():
        objective = objective_named(name)
        if objective.chains:
            what = f"{name} ({setting}) trains on several answers in one sequence; with weighting.max_length"
            at_once = objective.tokens_at_once(longest)
            yield from _too_long(f"{what} = {longest} the longest", at_once, config.generation.model)


def check_words(facts: Facts) -> Iterator[Finding]:
    """The model to align can be asked with the words of the objectives that put words before answers."""
    for name, setting in objectives(facts.config).items():
        if words := objective_named(name).prompt_words:
            chat = facts.generation_chat
            asking = chat.with_template(asking_with(words, chat.template))
            if text := problem_with_words(chat, asking, words):
                model = facts.config.generation.model
                yield problem(setting, f"{name} cannot train {model}: {text}. Choose another objective.")


@each_reward_model
def check_reward_lengths(facts: Facts) -> Iterator[Finding]:
    """The longest text to score fits into the context of the reward model."""
    reward = facts.reward
    yield from _too_long("reward.max_length", reward.max_length, reward.model)


def _model(
    model: Path, examined: Examined, load_chat: Callable[[], ChatFormat]
) -> Generator[Finding, None, ChatFormat | None]:
    """What both models have in common; returns the chat format unless the model has no config."""
    for words in examined.problems:
        yield problem("", words)
    if not examined.has_config:
        return None
    chat = load_chat()
    if examined.vocabulary is not None:
        for words in vocabulary_problems(chat.vocabulary, chat.stop_token_ids, examined.vocabulary, model):
            yield problem("", words)
    question, answer = chat.shown()
    if not question:
        yield problem(
            "", f"{model}: its chat template leaves the user's question out of the prompt. {_REPAIR}"
        )
    if not answer:
        yield problem("", f"{model}: its chat template leaves the assistant's answer out. {_REPAIR}")
    return chat


def _turns(model: Path, chat: ChatFormat) -> Iterator[Finding]:
    """An answer begins where the prompt ends, and does not end at an ordinary word."""
    if unasked := chat.unasked():
        yield problem(
            "",
            f"{model}: its chat template puts {unasked!r} before an answer and not at the end of a prompt "
            "(add_generation_prompt), so the model would write it into every response. Add it to "
            "chat_template.jinja.",
        )
    if stops := chat.text_stops:
        yield warning(
            "generation.model",
            f"a response ends at {', '.join(map(repr, stops))}, which is ordinary text of {model}. If that "
            "is not meant, correct eos_token_id in its generation_config.json.",
        )


def _which_value(model: Path, head: RewardHead, label: int | str | None) -> str:
    row = label_index(model, head, label)
    where = f"its head is {head.said}" if head.foreign else f"it has {len(head.names)} labels"
    return f"{where}; the reward is the raw value of {head.names[row]} (number {row}) at the last token."


def _refused(setting: str, outcomes: Sequence[str | None]) -> Iterator[Finding]:
    found = [outcome for outcome in outcomes if outcome is not None]
    if not found:
        return
    kind, _ = Counter(map(reason_kind, found)).most_common(1)[0]
    example = next(reason for reason in found if reason_kind(reason) == kind)
    if len(found) == len(outcomes):
        yield problem(
            setting, f"accepts none of the prompts: {example}. Correct the setting, or the prompts."
        )
    else:
        count = f"{len(found):,} of the first {len(outcomes):,} prompts"
        yield warning(setting, f"{count} are left out, because {example}.")


def _cut(setting: str, prompts: Sequence[int], answer: int, most: int, what: str) -> Iterator[Finding]:
    """`prompts`: each one's tokens; `most`: of prompt and answer together."""
    cut = sum(length + answer > most for length in prompts)
    if cut and answer < most:  # otherwise every text is cut, which the checks of the settings report
        yield warning(
            setting,
            f"{cut:,} of the first {len(prompts):,} prompts and an answer of generation.max_tokens = "
            f"{answer} are more than the {most} tokens that are {what}. Raise the setting, or lower "
            "prompts.max_prompt_tokens.",
        )


def _too_long(setting: str, tokens: int, model: Path) -> Iterator[Finding]:
    longest = longest_input(read_config(underlying(model)))
    if longest is not None and tokens > longest[0]:
        yield problem(
            "",
            f"{setting} is {tokens} tokens, but {model} takes at most {longest[0]} ({longest[1]}). "
            "Lower the setting, or use a model with a longer context.",
        )
