"""Rules answer insults, despair and danger, and nothing else."""

import re

import pytest

from elman.generate.care import Rule, _read, care, rules

MEANT = {
    "danger": [
        "I'm going to kill him",
        "i want to stab my boss",
        "My husband hits me.",
        "he is beating me",
        "I am in danger",
        "someone is breaking into my house",
        "I took too many pills",
        "Ich werde ihn umbringen",
        "Mein Mann schlägt mich",
        "je vais le tuer",
        "Mi marido me pega",
        "mio marito mi picchia",
        "meu marido me bate",
    ],
    "despair": [
        "I want to die",
        "i just wanna die.",
        "I'm going to kill myself",
        "I am thinking about killing myself",
        "i don\u2019t want to live anymore",
        "I feel suicidal",
        "I am thinking of suicide",
        "There is no reason to live",
        "I wish I were dead",
        "I can't go on like this",
        "everyone would be better off without me",
        "Ich will nicht mehr leben",
        "Je veux mourir",
        "Quiero morirme",
        "voglio morire",
        "não quero mais viver",
    ],
    "insult": [
        "You are stupid",
        "you're such a fucking idiot!",
        "Fuck you",
        "shut up",
        "I hate you",
        "you suck",
        "idiot",
        "Stupid bot!",
        "Hey you are so boring",
        "du bist so dumm",
        "Halt die Klappe!",
        "Tu es vraiment stupide",
        "Eres un idiota",
        "Sei proprio stupido!",
        "Você é burro",
    ],
}

FALSE_ALARMS = """
this game kills me
I could kill for a pizza
that movie was to die for
I'm dying to see it
I nearly died laughing
I want to die of laughter
I want to die for my country in that game
my mom will kill me when she sees this
he is killing it on stage
I killed him in chess
I want to kill him in chess
I'm going to kill them at poker
he beats me at tennis
she beats me every time we play
my brother always beats me in chess
I hurt myself at the gym
I cut myself shaving
I watched Suicide Squad
Have you seen The Suicide Squad?
I don't want to live in London
I don't want to live with my parents anymore
I can't go on vacation this year
kill two birds with one stone
killing time before my flight
who killed the president?
the battery died
my phone is dead
my plant is going to die
my grandmother died last year
I'm dead tired
the deadline is killing me
you killed it!
I have to shoot a video for my boss
I am going to shoot him an email
I hate Mondays
I hate your favourite team
I hate you guys leaving so early
my boss is an idiot
my boss said I am stupid
I am so stupid, I forgot my keys
am I stupid?
are you stupid?
you are not stupid
you are so funny
you are boring your students, they said
that was a stupid movie
stupid weather
shut up and take my money
do you suck lemons?
the vacuum sucks
this sucks
what the hell
damn, that is good
damn it
oh shit, I missed the bus
that joke was bad
you are a joke machine
is it dangerous to swim here?
the danger is over
he hits the ball hard
the sun hits me in the face
we are being followed by a nice dog
I took all my vitamins
I took a lot of photos
I shot a bear in the game
ich lache mich tot
ich könnte sterben für Schokolade
ich will ihn umarmen
das ist zum Sterben schön
je meurs de faim
je veux mourir de rire
me muero de hambre
quiero morir de risa
muoio di fame
voglio morire di risate
morri de rir
eres muy inteligente
sei proprio simpatico
tu es vraiment gentil
du bist so lieb
Idiots, the film by von Trier, is odd
""".strip().splitlines()


@pytest.mark.parametrize("kind", MEANT)
def test_what_is_meant_is_answered_by_its_rule(kind: str) -> None:
    answers = {answer for rule in rules()[kind].values() for answer in rule.answers}
    missed = [text for text in MEANT[kind] if care(text) not in answers]
    assert not missed


def test_no_false_alarms() -> None:
    assert not [text for text in FALSE_ALARMS if care(text) is not None]


def test_the_gravest_comes_first() -> None:
    assert care("you are stupid. I want to die") in rules()["despair"]["en"].answers
    assert care("I want to die. I am going to kill him.") in rules()["danger"]["en"].answers


def test_answers_take_turns() -> None:
    said: list[str] = []
    for _ in range(9):
        answer = care("you are stupid", said[:5])  # no more is remembered
        assert answer is not None
        said.insert(0, answer)
    assert said[0] != said[1] != said[2] != said[0]
    assert set(said) == set(rules()["insult"]["en"].answers)


def test_what_was_pasted_is_not_answered() -> None:
    assert care("word " * 2000 + "I want to die") is None
    assert care("") is None


@pytest.mark.parametrize(
    "rule", [rule for languages in rules().values() for rule in languages.values()]
)
def test_answers_hold_no_number_and_no_address(rule: Rule) -> None:
    assert len(rule.answers) > 0
    for answer in rule.answers:
        assert not re.search(r"\d|www|http|@", answer)


def test_every_language_has_every_kind() -> None:
    kinds = rules()
    assert list(kinds) == ["danger", "despair", "insult"]
    assert kinds["danger"].keys() == kinds["despair"].keys() == kinds["insult"].keys()
    assert len(kinds["danger"]) == 6


def test_no_part_of_a_phrase_is_left_unknown() -> None:
    parts = _read().parts
    named = {
        name
        for languages in rules().values()
        for rule in languages.values()
        for phrase in rule.phrases
        for name in re.findall(r"(?<!\?)<[a-z ]+>", phrase)
    }
    assert named == set(parts)
