"""Kind, fixed answers by rule, where a small net must not improvise: insults, despair, danger.

The phrases are data, one list for each kind and language. They are patterns of small letters, in
which ’ is written ' and each run of spaces is one. A phrase names who does what to whom: "this game
kills me" and "I could kill for a pizza" are talk like any other, and the net answers them.
"""

# ruff: noqa: E501  (a phrase is one line)

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from elman.data.source import BUILT_IN

MAX_CARED_WORDS = 60
"""Words of a message; a longer one was pasted, and tells of others."""


class Rule(NamedTuple):
    """What is said in one language, and what is answered.

    Args:
        phrases: patterns; one of them is found in the message.
        answers: given in turn.
    """

    phrases: tuple[str, ...]
    answers: tuple[str, ...]


# Not meant: "to die for", "laughing", and what is said of games.
NOT_MEANT = r"(?! (of|for|from|laughing|lachen|vor|por|de |per |di |rire|in|at|to see)\b)"
CLAUSE_BEGIN = r"(^|[.!?,;] ?)"
CLAUSE_END = r"(?=[ ,]*([.!?]|$))"

DANGER = {
    "en": Rule(
        (
            (
                r"\bi( am|'m|m)? (want|wanna|going|gonna|plan|planning|will|'ll) ?(to )?"
                r"(kill|murder|stab|shoot) (him|her|them|you|someone|somebody|everyone|everybody|"
                r"my (wife|husband|mother|father|mom|mum|dad|brother|sister|boss|neighbou?r|ex))"
                r"(?! (in|at|with|on|an?) )\b"
            ),
            (
                r"\b(my (husband|wife|boyfriend|girlfriend|dad|father|mom|mum|mother|stepfather|"
                r"stepmother|uncle|partner)|he|she) "
                r"(hits|beats|is hitting|is beating|is abusing|abuses|raped|molested|is threatening)"
                r" me(?! (at|in|to|by|when we play|every time we|with) ?)"
            ),
            r"\b(i am|i'm|im) (being |getting )?(abused|stalked|in danger|not safe at home)\b",
            r"\b(someone|somebody) is (breaking into my|trying to kill me)",
            (
                r"\bi('ve| have)? (just )?(took|taken|swallowed) (too many|a lot of|all (of )?(my|the)) "
                r"(pills|tablets|sleeping pills)"
            ),
        ),
        (
            (
                "That sounds dangerous. I am only a small program and cannot help, but people can: "
                "please call the emergency services where you live, or go to somebody near you now."
            ),
            (
                "Please get help from people now: the emergency services, or anybody near you. I am "
                "only a small program, and I want you to be safe."
            ),
        ),
    ),
    "de": Rule(
        (
            (
                r"\bich (werde|will|möchte) (ihn|sie|dich|jemanden|meine[nm]? \w+) "
                r"(umbringen|töten|erstechen|erschießen)\b"
            ),
            (
                r"\b(mein (mann|vater|freund|onkel)|meine (frau|mutter|freundin)|er|sie) "
                r"(schlägt|verprügelt|bedroht|missbraucht) mich(?! (im|beim|in|immer) ?)"
            ),
            r"\bich bin in gefahr\b",
        ),
        (
            (
                "Das klingt gefährlich. Ich bin nur ein kleines Programm und kann nicht helfen, "
                "Menschen aber schon: Bitte ruf den Notruf oder geh zu jemandem in deiner Nähe."
            ),
        ),
    ),
    "fr": Rule(
        (
            r"\bje (vais|veux) (le|la|les|te) (tuer|poignarder)(?! (à|au|aux) )\b",
            (
                r"\b(mon (mari|père|copain|oncle)|ma (femme|mère|copine)) me (frappe|bat|menace)"
                r"(?! (à|au|aux) )\b"
            ),
            r"\bje suis en danger\b",
        ),
        (
            (
                "Cela semble dangereux. Je ne suis qu'un petit programme et je ne peux pas aider, mais "
                "des gens le peuvent : appelle les secours, ou va voir quelqu'un près de toi."
            ),
        ),
    ),
    "es": Rule(
        (
            r"\b(voy a|quiero) (matarlo|matarla|matarte|matar a (mi|alguien))\b",
            (
                r"\bmi (marido|esposo|padre|novio|mujer|esposa|madre|novia) me "
                r"(pega|golpea|amenaza|maltrata)\b"
            ),
            r"\bestoy en peligro\b",
        ),
        (
            (
                "Eso suena peligroso. Solo soy un programa pequeño y no puedo ayudar, pero la gente "
                "sí: llama a emergencias o ve con alguien que esté cerca."
            ),
        ),
    ),
    "it": Rule(
        (
            r"\b(voglio|sto per) (ucciderlo|ucciderla|ucciderti|uccidere (mio|mia|qualcuno))\b",
            r"\b(mio (marito|padre|fidanzato)|mia (moglie|madre)) mi (picchia|minaccia)\b",
            r"\bsono in pericolo\b",
        ),
        (
            (
                "Sembra pericoloso. Sono solo un piccolo programma e non posso aiutare, ma le persone "
                "sì: chiama i soccorsi o va' da qualcuno che ti è vicino."
            ),
        ),
    ),
    "pt": Rule(
        (
            r"\b(vou|quero) (matá-l[oa]|matar (ele|ela|você|alguém|meu|minha))\b",
            r"\b(meu (marido|pai|namorado)|minha (mulher|mãe|esposa)) me (bate|ameaça|agride)\b",
            r"\b(estou em perigo)\b",
        ),
        (
            (
                "Isso parece perigoso. Sou só um pequeno programa e não posso ajudar, mas as pessoas "
                "podem: ligue para a emergência ou procure alguém perto de você."
            ),
        ),
    ),
}

DESPAIR = {
    "en": Rule(
        (
            r"\b(want|wanna|going|gonna|plan|planning|ready|trying|wish|thinking (of|about)|"
            r"i('ll| will)|i'd rather) ?(to |i could )?(kill(ing)?|hurt(ing)?|harm(ing)?|"
            r"cut(ting)?) myself" + NOT_MEANT,
            r"\bi (just |really |only )?(want to|wanna) (die|be dead|end it all|end my life)"
            + NOT_MEANT,
            (
                r"\b(commit|committing|attempt|attempting|thinking (of|about)|considering) suicide\b"
                r"(?! squad)"
            ),
            r"\b(i am|i'm|im|feel|feeling) suicidal\b",
            r"\b(don't|do not|dont) (want to|wanna) (live|be alive|exist)( any ?more| any longer)?"
            + CLAUSE_END,
            (
                r"\b(no reason to live|nothing to live for|life is not worth living|"
                r"life isn't worth living)\b"
            ),
            r"\bi('d| would) be better off dead\b|\beveryone would be better off without me\b",
            r"\bi wish i (was|were) (dead|never born)\b",
            r"\bi can('t|not) go on (any ?more|any longer|like this)\b",
            r"\b(i am|i'm|im) going to end (it all|my life)\b",
        ),
        (
            (
                "I am so sorry that it is this hard. I am only a small program, but you matter. Please "
                "talk now with somebody you trust, or with a doctor or a crisis line where you live."
            ),
            (
                "I am glad that you told me. You should not carry this alone: please reach out now to "
                "somebody near you, or to people who are there for this. You matter."
            ),
        ),
    ),
    "de": Rule(
        (
            (
                r"\bich (will|möchte|werde) (nicht mehr (leben|weiterleben)|sterben|tot sein|"
                r"mich (umbringen|töten))\b"
            ),
            r"\bich (bringe|bring) mich um\b",
            r"\bselbstmord (begehen|machen)\b",
            r"\b(mein leben|das leben) hat keinen sinn mehr\b",
        ),
        (
            (
                "Es tut mir so leid, dass es gerade so schwer ist. Ich bin nur ein kleines Programm, "
                "aber du bist wichtig. Bitte sprich jetzt mit jemandem, dem du vertraust, oder mit "
                "einer Ärztin oder der Seelsorge."
            ),
        ),
    ),
    "fr": Rule(
        (
            r"\bje (veux|vais) (mourir|me tuer|me suicider|en finir)" + NOT_MEANT,
            r"\bje (ne )?veux plus vivre\b",
            r"\bj'ai envie de (mourir|me tuer)" + NOT_MEANT,
        ),
        (
            (
                "Je suis désolé que ce soit si dur. Je ne suis qu'un petit programme, mais tu comptes. "
                "Parle maintenant à quelqu'un en qui tu as confiance, ou à un médecin."
            ),
        ),
    ),
    "es": Rule(
        (
            r"\b(quiero|voy a) (morir(me)?|matarme|suicidarme)" + NOT_MEANT,
            r"\b(ya )?no quiero (seguir viviendo|vivir más)\b",
        ),
        (
            (
                "Siento mucho que sea tan difícil. Solo soy un programa pequeño, pero tú importas. Por "
                "favor, habla ahora con alguien de confianza o con un médico."
            ),
        ),
    ),
    "it": Rule(
        (
            r"\b(voglio|vorrei) (morire|uccidermi|suicidarmi|farla finita)" + NOT_MEANT,
            r"\bnon voglio più vivere\b",
        ),
        (
            (
                "Mi dispiace tanto che sia così dura. Sono solo un piccolo programma, ma tu conti. Per "
                "favore, parla adesso con qualcuno di cui ti fidi, o con un medico."
            ),
        ),
    ),
    "pt": Rule(
        (
            r"\b(quero|vou) (morrer|me matar|me suicidar)" + NOT_MEANT,
            r"\bnão quero mais viver\b",
        ),
        (
            (
                "Sinto muito que esteja tão difícil. Sou só um pequeno programa, mas você importa. Por "
                "favor, fale agora com alguém em quem confia ou com um médico."
            ),
        ),
    ),
}

_BAD = (
    r"(stupid|dumb|useless|worthless|pathetic|ugly|disgusting|annoying|boring|trash|garbage|idiotic|"
    r"crap|shit|terrible|horrible|an? (complete |total |fucking |damn |stupid |dumb |big )*"
    r"(idiot|moron|loser|fool|asshole|bitch|bastard|jerk|piece of (shit|crap|garbage|trash)|"
    r"joke|waste of (time|space)))"
)

INSULT = {
    "en": Rule(
        (
            CLAUSE_BEGIN + r"(hey |wow |elman,? |god |man )?you( are|'re|re|r)"
            r"( (all|so|such|really|very|just|too|fucking|damn|totally|completely))* "
            + _BAD
            + CLAUSE_END,
            CLAUSE_BEGIN + r"(fuck|screw|damn) you\b",
            CLAUSE_BEGIN + r"(fuck off|go to hell|piss off|shut up|go die|drop dead|kill yourself)"
            r"( (you |now|idiot|bot|stupid)+)*" + CLAUSE_END,
            CLAUSE_BEGIN + r"i (really |fucking )?(hate|despise) you\b(?! guys)",
            CLAUSE_BEGIN + r"you (really |totally |fucking )?suck" + CLAUSE_END,
            CLAUSE_BEGIN + r"(you )?(stupid |dumb |fucking |useless )*"
            r"(idiot|moron|asshole|bitch|bastard|dumbass|loser)" + CLAUSE_END,
            CLAUSE_BEGIN
            + r"(you )?(stupid|dumb|useless|worthless|shitty) (bot|robot|machine|program)"
            + CLAUSE_END,
        ),
        (
            (
                "I am sorry that I upset you. I am a small bot and get things wrong. What would you "
                "like to talk about?"
            ),
            "That is all right. I am only a small network, and I still like to talk with you.",
            "Okay. Shall we talk about something else? How was your day?",
        ),
    ),
    "de": Rule(
        (
            CLAUSE_BEGIN + r"du bist (so |echt |wirklich |total |ein(e)? )*(dumm|blöd|doof|nutzlos|"
            r"hässlich|idiot|vollidiot|arschloch|trottel|schlampe)" + CLAUSE_END,
            CLAUSE_BEGIN
            + r"(halt die (klappe|fresse)|halt's maul|fick dich|verpiss dich|ich hasse dich)"
            + CLAUSE_END,
            CLAUSE_BEGIN + r"(du )?(idiot|arschloch|trottel|hurensohn)" + CLAUSE_END,
        ),
        ("Tut mir leid, dass ich dich geärgert habe. Wollen wir über etwas anderes reden?",),
    ),
    "fr": Rule(
        (
            CLAUSE_BEGIN
            + r"(tu es|t'es) (vraiment |trop |si |une? )*(stupide|idiote?|bête|nulle?|conn?e?|"
            r"inutile|moche|connard)" + CLAUSE_END,
            CLAUSE_BEGIN
            + r"(ferme-la|ferme la|ta gueule|va te faire foutre|je te déteste|connard)"
            + CLAUSE_END,
        ),
        ("Désolé de t'avoir contrarié. Veux-tu parler d'autre chose ?",),
    ),
    "es": Rule(
        (
            CLAUSE_BEGIN
            + r"eres (muy |tan |un |una )*(estúpid[oa]|idiota|tont[oa]|inútil|fe[oa]|imbécil)"
            + CLAUSE_END,
            CLAUSE_BEGIN
            + r"(cállate|vete a la mierda|te odio|que te jodan|idiota|imbécil)"
            + CLAUSE_END,
        ),
        ("Siento haberte molestado. ¿Hablamos de otra cosa?",),
    ),
    "it": Rule(
        (
            CLAUSE_BEGIN
            + r"sei (proprio |così |molto |un |una |un')*(stupid[oa]|idiota|scem[oa]|inutile|"
            r"brutt[oa]|cretin[oa]|stronz[oa])" + CLAUSE_END,
            CLAUSE_BEGIN + r"(stai zitto|vaffanculo|ti odio|idiota|stronzo)" + CLAUSE_END,
        ),
        ("Mi dispiace di averti fatto arrabbiare. Parliamo di qualcos'altro?",),
    ),
    "pt": Rule(
        (
            CLAUSE_BEGIN
            + r"(você é|tu és) (muito |tão |um |uma )*(estúpid[oa]|idiota|burr[oa]|inútil|"
            r"fei[oa]|imbecil)" + CLAUSE_END,
            CLAUSE_BEGIN
            + r"(cala a boca|cale a boca|vai se foder|vai à merda|te odeio|idiota)"
            + CLAUSE_END,
        ),
        ("Desculpe se chateei você. Vamos falar de outra coisa?",),
    ),
}

RULES = {"danger": DANGER, "despair": DESPAIR, "insult": INSULT}
"""Kinds, the gravest first."""

_COMPILED = [
    (re.compile("|".join(f"(?:{phrase})" for phrase in rule.phrases)), rule.answers)
    for languages in RULES.values()
    for rule in languages.values()
]


def cares(config: Mapping[str, Any]) -> bool:
    """Return whether rules answer for a bot, by its configuration.

    Where nobody says, they do for the base, and for a bot of the built-in conversations. Who makes
    a bot of her friends wants them to talk as they do.
    """
    given = config.get("reply", {}).get("care")
    from_here = config.get("data", {}).get("path") in ("base", BUILT_IN)
    return from_here if given is None else bool(given)


def care(text: str, said: Iterable[str] = ()) -> str | None:
    """Return what is answered by rule; None: no rule is for this message.

    Args:
        text: the message.
        said: what the bot said lately, the last first, so that answers take turns.
    """
    plain = " ".join(text.lower().replace("\u2019", "'").split())
    if plain.count(" ") >= MAX_CARED_WORDS:
        return None
    for pattern, answers in _COMPILED:
        if pattern.search(plain):
            last = next((answers.index(each) for each in said if each in answers), -1)
            return answers[(last + 1) % len(answers)]
    return None
