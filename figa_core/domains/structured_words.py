"""The words of the structured-output world. They are fixed: `structured_world.VERSION` names them."""

from collections.abc import Mapping, Sequence

ITEMS = (
    "jacket", "lamp", "kettle", "backpack", "notebook", "umbrella", "blanket", "teapot", "mirror", "hat",
    "pillow", "toaster", "candle", "wallet", "basket", "helmet", "clock", "jug", "stool", "apron",
)  # fmt: skip
COLOURS = ("orange", "green", "navy", "grey", "purple", "white", "beige", "red", "black", "teal")
SIZES = {"small": "S", "medium": "M", "large": "L", "extra large": "XL"}
NAMES = (
    "Amara Okafor", "Jonas Weber", "Mei Tanaka", "Lucia Romano", "Omar Haddad", "Freya Lindqvist",
    "Ravi Menon", "Clara Dubois", "Tomas Novak", "Nia Campbell", "Pedro Alves", "Ingrid Solberg",
    "Yusuf Demir", "Hana Kim",
)  # fmt: skip
CITIES = (
    "Nairobi", "Oslo", "Lyon", "Kyoto", "Porto", "Dublin", "Krakow", "Lima", "Ghent", "Tampere", "Izmir",
    "Quito",
)  # fmt: skip
NUMBERS = {
    "two": 2, "a pair of": 2, "three": 3, "four": 4, "five": 5, "half a dozen": 6, "seven": 7, "eight": 8,
    "ten": 10, "a dozen": 12, "fifteen": 15, "two dozen": 24,
}  # fmt: skip
WEIGHTS = {
    "half a kilo": 500, "a kilo and a half": 1500, "two kilos": 2000, "a quarter of a kilo": 250,
    "300 grams": 300, "750 grams": 750, "ninety grams": 90, "120 grams": 120,
}  # fmt: skip
"""In grams."""
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
TIMES = {
    "half past seven in the evening": "19:30", "noon": "12:00", "a quarter to nine in the morning": "08:45",
    "eight in the evening": "20:00", "ten past one in the afternoon": "13:10", "6 pm": "18:00",
    "half past six in the morning": "06:30", "a quarter past eight in the evening": "20:15",
}  # fmt: skip
GUESTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
NOTES = (
    "ring twice", "leave it with the neighbour", "table by the window", "nut allergy", "call before you come",
    "use the back door", "one high chair", "mind the dog",
)  # fmt: skip

TASKS = (
    "Write each text as one JSON object of the form",
    "Turn each text into a JSON object of the form",
    "Give the data of each text as one JSON object like",
    "I need each text as JSON, in the form",
)
FORMS: Mapping[str, str] = {
    "short": '{"item": "...", "colour": "...", "quantity": ..., "city": "..."}',
    "booking": '{"name": "...", "people": ..., "date": "YYYY-MM-DD", "time": "HH:MM"}',
    "nested": (
        '{"customer": {"name": "...", "city": "..."}, "item": {"name": "...", "size": "..."}, '
        '"quantity": ..., "total": ...}'
    ),
    "list": '{"deliver_by": "YYYY-MM-DD", "lines": [{"item": "...", "quantity": ..., "grams": ...}, ...]}',
}
RULES: Mapping[str, Sequence[str]] = {
    "short": ("quantity is a number.",),
    "booking": ("people is the number of all guests.", 'If there is a note, add "note".'),
    "nested": ("size is S, M, L or XL.", "total is quantity times price."),
    "list": ("grams is the weight of one piece.", 'If there is a note, add "note".'),
}
ENDINGS = ("Answer with the JSON only.", "Nothing but the JSON, please.", "Give the JSON and no other text.")
