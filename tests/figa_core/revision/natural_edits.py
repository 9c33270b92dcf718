"""Natural edits of drafts in many languages: for tests."""

from tests.figa_core.revision.wrappings import Pair

EDITS: tuple[Pair, ...] = (
    Pair("Hello Ann, your blue lamp will arrive in Rome.", "Dear Ann, your red lamp will arrive in Rome."),
    Pair(
        "Hello Ann, your blue lamp will arrive in Rome.",
        "Hello Ann, your blue lamp will arrive in Rome. Kind regards, your support team.",
    ),
    Pair(
        "Hello Ann, your blue lamp will arrive in Rome.",
        "Thank you for your message! Hello Ann, your blue lamp will arrive in Rome.",
    ),
    Pair(
        "Hello Ann, your blue lamp will arrive in Rome.",
        "Hello Ann, thank you for writing to us. Your blue lamp will arrive in Rome.",
    ),
    Pair("Hello Ann, your blue lamp will arrive in Rome.", "Your blue lamp will arrive in Rome."),
    Pair(
        "Hello Ann, your blue lamp will arrive in Rome.",
        "Dear Ann,\n\nyour blue lamp will arrive in Rome.\n\nKind regards,\nYour support team",
    ),
    Pair("It will be in Rome in three days.", "It will be in Rome in three days (72 hours)."),
    Pair("It will be in Rome in three days.", "It will be in Rome in three days – perhaps sooner."),
    Pair("The ride is about 5 km", "The ride is about 5 km (3.1 miles)"),
    Pair("Hi, it is lost. Go away, you fool.", "Hello Ann, your parcel is lost. We will send a new one."),
    Pair("No.", "Yes, it arrives on Monday."),
    Pair("Paris", "The capital of France is Paris."),
    Pair("", "Hello, it will arrive today."),
    Pair("42", "The answer is 42."),
    Pair(
        "Water boils at 90 degrees. It is made of hydrogen and oxygen and is very",
        "Water boils at 100 degrees. It is made of hydrogen and oxygen and is very common on Earth.",
    ),
    Pair(
        "To make tea:\n1. Boil the water.\n2. Put in the",
        "To make tea:\n1. Boil the water.\n2. Put in the leaves.\n3. Wait three minutes.\n4. Enjoy.",
    ),
    Pair("Ingredients:\n- flour\n- eggs", "Ingredients:\n- flour\n- eggs\n- milk"),
    Pair(
        'The story ends here. "Go," he said, and the door is closed.',
        'The story ends here. "Go," he said, and the door was closed.',
    ),
    Pair(
        "He said he is coming and that we should wait for him.",
        '"He said he is coming," and that we should wait for him.',
    ),
    Pair(
        'Ann is called "the lamp" by all of us, and so is "Bob"',
        '"Ann" is called "the lamp" by us, and so is "Bob"',
    ),
    Pair(
        "def add(a, b):\n    return a - b\n\nprint(add(1, 2))",
        "import sys\n\ndef add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    ),
    Pair("def add(a, b):\n    x = a - b", "def add(a, b):\n    x = a + b\n    return x"),
    Pair(
        "The list<int> type holds integers, and map<int> holds pairs of them in a tree.",
        "The list<int> type holds integers, and map<int, int> holds pairs of them in a tree.",
    ),
    Pair("Hi Bob\nyour order is late\nwe dont care", "Hi Bob,\nyour order is late.\nWe are sorry."),
    Pair(
        "**Answer:** the lamp is blue and it costs ten euros today.",
        "**Answer:** the lamp is red and it costs ten euros today.",
    ),
    Pair(
        "Sure! Here is the recipe:\n\nMix flour and eggs, then fry the batter in a pan.",
        "Mix flour and eggs, then fry the batter in a pan.",
    ),
    Pair(
        "Sure! Here is the recipe:\n\nMix flour and eggs, then fry the batter in a pan.",
        "Here is the recipe:\n\nMix flour, milk and eggs, then fry the batter in a pan.",
    ),
    Pair(
        "# Tea\nBoil water and put in the leafs and wait.",
        "# Tea\n\nBoil water and put in the leaves and wait.",
    ),
    Pair(
        "First wait. Then boil the water for the tea, and then put in the leaves.",
        "First boil the water for the tea, and then put in the leaves. Then wait.",
    ),
    Pair(
        "As an AI I cannot say when your parcel will come to your house.",
        "Your parcel will come to your house on Monday.",
    ),
    Pair(
        "Guten Tag Frau Maier, Ihr Paket kommen am Montag bei Ihnen an.",
        "Guten Tag Frau Maier, vielen Dank für Ihre Nachricht. Ihr Paket kommt am Montag bei Ihnen an. "
        "Mit freundlichen Grüßen, Ihr Team.",
    ),
    Pair(
        "Das Paket ist weg. Pech gehabt, kümmern Sie sich selbst darum.",
        "Das Paket ist leider verloren gegangen. Wir senden Ihnen ein neues.",
    ),
    Pair(
        "Der „Faust“ ist von Schiller und wurde in Weimar gespielt.",
        "Der „Faust“ ist von Goethe und wurde in Weimar gespielt.",
    ),
    Pair(
        "Bonjour, votre lampe arriveras dans trois jours à Rome.",
        "Bonjour, votre lampe arrivera dans trois jours à Rome. Merci de votre patience.",
    ),
    Pair(
        "Le livre est écrit par Camus en 1943 : c'est un roman.",
        "Le livre a été écrit par Camus en 1942 : c'est un roman.",
    ),
    Pair(
        "¿Dónde está? No sé, su lámpara llegar en tres días a Roma.",
        "¿Dónde está? Su lámpara llegará en tres días a Roma.",
    ),
    Pair(
        "Su lámpara llega pronto a la ciudad de Roma en tren.",
        "¡Hola, Ana! Su lámpara llega pronto a la ciudad de Roma en tren.",
    ),
    Pair(
        "Ваша лампа прибудет в Рим через три дня, ждите.",
        "Здравствуйте, Анна! Ваша лампа прибудет в Рим через три дня.",
    ),
    Pair(
        "您的灯将在五天内到达罗马，请耐心等待。",
        "您好，安娜！您的灯将在三天内到达罗马，请耐心等待。感谢您的来信。",
    ),
    Pair("不知道。", "您的灯将在三天内到达罗马。"),
    Pair("水的沸点是90度", "水的沸点是100度（标准大气压下）。"),
    Pair(
        "《红楼梦》的作者是罗贯中，成书于清代，是四大名著之一。",
        "《红楼梦》的作者是曹雪芹，成书于清代，是四大名著之一。",
    ),
    Pair(
        "ランプは5日後にローマに到着します。",
        "お問い合わせありがとうございます。ランプは3日後にローマに到着します。",
    ),
    Pair(
        "ランプは5日後にローマに到着します。", "ランプは3日後にローマに到着します。よろしくお願いいたします。"
    ),
    Pair("โคมไฟของคุณจะมาถึงกรุงโรมในห้าวัน", "สวัสดีค่ะ โคมไฟของคุณจะมาถึงกรุงโรมในสามวัน ขอบคุณค่ะ"),
    Pair("램프는 5일 안에 로마에 도착합니다.", "안녕하세요, 램프는 3일 안에 로마에 도착합니다. 감사합니다."),
    Pair("سيصل مصباحك إلى روما خلال خمسة أيام.", "مرحبًا آنا، سيصل مصباحك إلى روما خلال ثلاثة أيام."),
    Pair("आपका लैंप पाँच दिन में रोम पहुँचेगा।", "नमस्ते, आपका लैंप तीन दिन में रोम पहुँचेगा। धन्यवाद।"),
    Pair(
        "Your lamp will arrive in Rome in three days.",
        "Your lamp will arrive in Rome in three days.\n\nPlease have your order number ready: it is 4711.",
        "It arrives in Rome within three days. Please have your order number 4711 ready.",
    ),
    Pair(
        "Your lamp will arrive in Rome in three days.",
        "Thank you for your order, Ann.\n\nYour lamp will arrive in Rome in three days.",
        "Ann, thank you for your order! It arrives in three days.",
    ),
    Pair(
        "Das Paket kommt am Montag.",
        "Das Paket kommt am Montag.\n\nBitte halten Sie Ihren Ausweis bereit.",
        "Am Montag ist es da. Halten Sie bitte Ihren Ausweis bereit.",
    ),
    Pair("灯三天内到达。", "灯三天内到达。\n\n请准备好您的身份证。", "三天到。请准备好身份证件。"),
    Pair(
        "The capital is Sydney.",
        "The capital of Australia is Canberra (not Sydney).",
        "Canberra, not Sydney, is the capital of Australia.",
    ),
    Pair("No idea", "Steps:\n- boil\n- wait", "Steps: boil, then wait."),
    Pair("It was Napoleon.", "Answer: it was Caesar.", "Answer: Caesar"),
    Pair(
        "Tea is a drink. It is made in pots and it is served hot to the guests",
        "Tea is a drink. It is made in pots and it is served hot to the guests.\n\n"
        "It comes from China, where it was first drunk.",
        "A drink from China, where it was first drunk, served hot.",
    ),
)
