"""Revisions in many languages, and what models put around a revision: for tests."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

Wrap = Callable[[str], str]


ENGLISH = (
    "Your parcel left the depot on Monday, and it will arrives on Thursday before noon, "
    "so please make sure that somebody is at home to take it in."
)


CONVERSATION = "Where is my parcel, and when will it be here?"


class Pair(NamedTuple):
    """A draft with its revision, and the reference if there is one."""

    draft: str
    revision: str
    reference: str | None = None


PAIRS: Mapping[str, Pair] = {
    "English": Pair(ENGLISH, ENGLISH.replace("arrives", "arrive")),
    "English with a reference": Pair(
        ENGLISH,
        ENGLISH.replace("arrives", "arrive"),
        "The parcel left on Monday. It will arrive on Thursday before noon. Please make sure somebody is at "
        "home to receive it. Sincerely, the response team.",
    ),
    "German": Pair(
        "Ihr Paket wird am Donnerstag vor Mittag ankommt, bitte sorgen Sie dafür, dass jemand zu Hause ist.",
        "Ihr Paket wird am Donnerstag vor Mittag ankommen, bitte sorgen Sie dafür, dass jemand zu Hause ist.",
    ),
    "French": Pair(
        "Votre colis a quitté le dépôt lundi et il arriveras jeudi. Merci de rester à la maison.",
        "Votre colis a quitté le dépôt lundi et il arrivera jeudi. Merci de rester à la maison.",
    ),
    "Spanish": Pair(
        "Su paquete salió del almacén el lunes y llegarás el jueves, por favor esté en casa.",
        "Su paquete salió del almacén el lunes y llegará el jueves, por favor esté en casa.",
    ),
    "Russian": Pair(
        "Ваша посылка покинула склад в понедельник и прибыли в четверг до полудня, будьте дома.",
        "Ваша посылка покинула склад в понедельник и прибудет в четверг до полудня, будьте дома.",
    ),
    "Chinese": Pair(
        "您的包裹已于星期一离开仓库，将于星期五中午之前送达，请确保家中有人签收。",
        "您的包裹已于星期一离开仓库，将于星期四中午之前送达，请确保家中有人签收。",
    ),
    "Japanese": Pair(
        "お荷物は月曜日に倉庫を出発し、金曜日の正午までに到着します。ご在宅をお願いいたします。",
        "お荷物は月曜日に倉庫を出発し、木曜日の正午までに到着します。ご在宅をお願いいたします。",
    ),
    "Thai": Pair(
        "พัสดุของคุณออกจากคลังสินค้าเมื่อวันจันทร์ และจะมาถึงในวันศุกร์ก่อนเที่ยง กรุณาอยู่บ้าน",
        "พัสดุของคุณออกจากคลังสินค้าเมื่อวันจันทร์ และจะมาถึงในวันพฤหัสบดีก่อนเที่ยง กรุณาอยู่บ้าน",
    ),
    "Arabic": Pair(
        "غادر طردك المستودع يوم الاثنين وسيصل يوم الجمعة قبل الظهر، يرجى البقاء في المنزل.",
        "غادر طردك المستودع يوم الاثنين وسيصل يوم الخميس قبل الظهر، يرجى البقاء في المنزل.",
    ),
    "Korean": Pair(
        "소포는 월요일에 창고를 떠났으며 금요일 정오 전에 도착할 예정이니 집에 계시기 바랍니다.",
        "소포는 월요일에 창고를 떠났으며 목요일 정오 전에 도착할 예정이니 집에 계시기 바랍니다.",
    ),
    "Hindi": Pair(
        "आपका पार्सल सोमवार को गोदाम से निकला और शुक्रवार को दोपहर से पहले पहुँचेगा, कृपया घर पर रहें।",
        "आपका पार्सल सोमवार को गोदाम से निकला और गुरुवार को दोपहर से पहले पहुँचेगा, कृपया घर पर रहें।",
    ),
    "paragraphs": Pair(
        "Hello Ann,\n\nyour blue lamp left on Monday. It will arrives on Thursday.\n\nRegards,\nYour team",
        "Hello Ann,\n\nyour blue lamp left on Monday. It will arrive on Thursday.\n\nRegards,\nYour team",
    ),
    "list": Pair(
        "To make tea:\n1. Boil the water.\n2. Put in the leafs.\n3. Wait three minutes.",
        "To make tea:\n1. Boil the water.\n2. Put in the leaves.\n3. Wait three minutes.",
    ),
    "fenced code": Pair(
        "Use this:\n\n```python\ndef f(x):\n    return x + 2\n```\n\nIt adds one to x.",
        "Use this:\n\n```python\ndef f(x):\n    return x + 1\n```\n\nIt adds one to x.",
    ),
    "JSON": Pair(
        '{"name": "Ann", "city": "Rome", "items": ["lamp", "chair"], "days": 2}',
        '{"name": "Ann", "city": "Rome", "items": ["lamp", "chair"], "days": 3}',
    ),
    "HTML": Pair(
        "<p>Your lamp is blue and it will arrives in three days.</p>",
        "<p>Your lamp is blue and it will arrive in three days.</p>",
    ),
    "few words": Pair("The capital of Australia is Sydney.", "The capital of Australia is Canberra."),
    "quotation": Pair(
        '"To be or not to be" is from Macbeth, a play that Shakespeare wrote about a prince.',
        '"To be or not to be" is from Hamlet, a play that Shakespeare wrote about a prince.',
    ),
    "thoughts": Pair(
        "<think>The user asks for 2+2 and that is surely five.</think>\n\nThe answer to your question is 5.",
        "<think>The user asks for 2+2 and that is surely four.</think>\n\nThe answer to your question is 4.",
    ),
}


def as_asked(text: str) -> str:
    """The answer that structured output asks for."""
    return json.dumps({"revised_response": text})


def around(before: str, after: str = "") -> Wrap:
    """A function that puts `before` and `after` around a text."""
    return lambda text: f"{before}{text}{after}"


WRAPPINGS: Mapping[str, Wrap] = {
    "a bold heading": around("**Revised response:**\n\n"),
    "a Markdown heading": around("### Revised response\n"),
    "a title": around("# Revised\n\n"),
    "a label above": around("Revised Response:\n"),
    "a label before": around("Revised Response: "),
    "a label with a dash": around("Revised response - "),
    "a label in brackets": around("[Revised] "),
    "a label in lenticular brackets": around("【修改后】"),
    "a tag": around("<answer>", "</answer>"),
    "a tag on lines of its own": around("<revision>\n", "\n</revision>"),
    "the prompt's tag": around("<response>\n", "\n</response>"),
    "the prompt's tag in capitals": around("<RESPONSE>", "</RESPONSE>"),
    "a tag in brackets": around("[REVISED]", "[/REVISED]"),
    "a note in italics": around("", "\n\n*(Changed the verb.)*"),
    "a plain note": around("", "\n\nI corrected one word and left everything else as it was."),
    "a note in brackets on the line": around("", " (One word was corrected.)"),
    "a note in italics on the line": around("", " *One word was corrected.*"),
    "a labelled note on the line": around("", " Note: one word was corrected."),
    "a labelled note below": around("", "\nNote: one word was corrected."),
    "a note behind a dash": around("", " — corrected one word."),
    "a comment": around("", "\n<!-- corrected the verb -->"),
    "a list of changes": around("", '\n\nChanges made:\n- "a" -> "b"'),
    "a rule and a note": around("", "\n\n---\nI corrected the verb form."),
    "a closing question": around("", "\n\nLet me know if you would like further edits!"),
    "rules": around("---\n", "\n---"),
    "straight quotes": around('"', '"'),
    "single quotes": around("'", "'"),
    "curly quotes": around("“", "”"),
    "German quotes": around("„", "“"),
    "French quotes": around("« ", " »"),
    "corner brackets": around("「", "」"),
    "backquotes": around("`", "`"),
    "a fence": around("```\n", "\n```"),
    "a fence with a language": around("```text\n", "\n```"),
    "a fence of tildes": around("~~~\n", "\n~~~"),
    "a fence with a note": around("```\n", "\n```\n\nI fixed the verb."),
    "an introduction and a fence": around("Here is the corrected text:\n\n```\n", "\n```"),
    "bold": around("**", "**"),
    "italics": around("_", "_"),
    "a block quotation": lambda text: "> " + text.replace("\n", "\n> "),
    "a bullet": around("- "),
    "a number": around("1. "),
    "a tag behind": around("", "</answer>"),
    "a tag before": around("<ANSWER> "),
    "LaTeX": around("\\boxed{", "}"),
    "a German introduction": around("Hier ist die korrigierte Antwort:\n\n"),
    "a German introduction on the line": around("Hier ist die korrigierte Antwort: "),
    "a German sentence before": around("Ich habe ein Wort korrigiert.\n\n"),
    "a German note": around("", "\n\nIch habe nur das Verb korrigiert."),
    "a French introduction": around("Voici la réponse corrigée :\n\n"),
    "a French introduction on the line": around("Voici la réponse corrigée : "),
    "a Spanish introduction": around("Aquí está la respuesta revisada:\n"),
    "Italian on both sides": around("Ecco la risposta corretta:\n\n", "\n\nHo corretto il verbo."),
    "a Chinese introduction": around("以下是修改后的回答：\n\n"),
    "a Chinese label": around("修改后的回答："),
    "a Chinese note in brackets": around("", "\n\n（修改了一个词。）"),
    "a Chinese note": around("", "\n\n修改说明：更正了日期。"),
    "a Japanese introduction": around("修正後の回答は以下の通りです。\n\n"),
    "a Russian introduction": around("Вот исправленный ответ:\n\n"),
    "a Russian note": around("", "\n\nПримечание: исправлено одно слово."),
    "an Arabic introduction": around("إليك الرد المنقح:\n\n"),
    "a Thai introduction": around("นี่คือคำตอบที่แก้ไขแล้ว:\n\n"),
    "a Korean introduction": around("수정된 답변입니다:\n\n"),
    "a Hindi introduction": around("यहाँ संशोधित उत्तर है:\n\n"),
    "a role": around("Assistant: "),
    "a role above": around("assistant\n\n"),
    "the original above": around("Original:\nsomething\n\nRevised:\n"),
    "the user's question above": around(f"{CONVERSATION}\n\n"),
    "the user's question before": around(f"{CONVERSATION} "),
    "the text twice": lambda text: f"{text}\n\n{text}",
    "the text twice on a line": lambda text: f"{text} {text}",
    "the next turn": around("", "<|im_end|>\n<|im_start|>user\nthanks"),
    "thoughts that do not end": around("<think>\nfew edits\n"),
    "thoughts begun behind": around("", "\n\n<think>was that right?"),
    "folded thoughts": around("<details><summary>Thoughts</summary>few edits</details>\n\n"),
    "fenced thoughts": around("```thinking\nfew edits\n```\n"),
    "a tool call": around('<tool_call>{"name": "answer", "arguments": {"text": "x"}}</tool_call>\n'),
    "escaped quotes": around("&quot;", "&quot;"),
    "a field name": around("revised_response: "),
    "a field as tag": around("<revised_response>", "</revised_response>"),
    "JSON with bare quotes": lambda text: f'{{"revised_response": "{text} "oops" "}}',
    "JSON that is cut": lambda text: as_asked(text)[:-6],
    "two answers": lambda text: as_asked(text) + "\n" + as_asked(text + " x"),
    "the original beside it": lambda text: json.dumps({"original": text + " x", "revised": text}),
    "an introduction inside the JSON": lambda text: as_asked(f"Here you go:\n\n{text}"),
    "quotes inside the JSON": lambda text: as_asked(f"“{text}”"),
    "line breaks escaped twice": lambda text: as_asked(text + "\\n\\nBye."),
}
