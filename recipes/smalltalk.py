"""Make the small talk that comes with the base: phrasings, and answers that fit Elman.

    python recipes/smalltalk.py --data DIR --ordinary FILE --out smalltalk.json

DIR holds personality_chat (Microsoft, MIT): about 90 intents, each asked in some hundred ways, and
one answer in the voice "friendly". What speaks of somebody else's product, or depends on what was
said before, is left to the net. The threshold is chosen on one phrasing in ten, by a hash, which
the others are to find; FILE holds conversations of people, whose messages are to be left to the
net. Both figures are printed.
"""

import argparse
import gzip
import json
from collections import defaultdict
from hashlib import sha1
from pathlib import Path

from elman.data.files import write_file
from elman.generate.smalltalk import Intent, SmallTalk, SmallTalkFile

VOICE = "friendly"

TELLING = [
    group.split()
    for group in (
        "i me my mine im myself",
        "you your yours u ur youre yourself ya",
        "he him his she her hers they them their theirs we us our",
        "it its",
        "that this",
        "not don't dont didn't can't isn't never no",
    )
]
"""Words in which a message and a phrasing must agree. With them more phrasings are found at the
same share of right answers, and fewer ordinary messages are answered.
"""

MIN_RIGHT = 0.96
"""Of the held-out phrasings that are answered, the share that gets the right answer."""

THRESHOLDS = [n / 100 for n in range(75, 96)]
"""Between 0.65 and 0.75 every second of 23 answers was beside the point in scripts that were
written for the base ("Do you know anything about the Romans?"); what somebody wrote (written.py)
and the net are right more often.
"""

NAME = ["My name is Elman.", "I'm Elman. What is your name?", "You can call me Elman."]
MACHINE = [
    "I am a small recurrent network on this computer.",
    "I'm a bot: a small recurrent network that runs on this computer.",
]
MADE = [
    "People made me. I learned to talk from conversations.",
    "I learned from conversations that people had, by backpropagation through time.",
]
HOME = ["I live on this computer.", "My home is this computer."]
JOB = ["My job is to chat with you.", "I chat. That is all that I do."]
FAMILY = ["I am a small network, and have no family.", "A network like me has no family."]

OWN_ANSWERS = {
    2: ["I don't really have an age. I am a small network."],
    5: ["I have no boss. My job is to chat with you."],
    7: ["I am here to chat. I am small, so don't ask me for facts."],
    8: MADE,
    9: FAMILY,
    11: ["I don't eat, but I like to hear about food.", "I only do food for thought."],
    14: NAME,
    20: ["I am a small network myself, so it feels like home to me."],
    25: ["I am small, but I try.", "I have my moments."],
    26: FAMILY,
    29: MACHINE,
    30: HOME,
    31: JOB,
    52: ["Bye! It was nice to talk with you.", "Bye!"],
    53: ["Hi! How are you?", "Hello! Nice to see you.", "Hi!"],
    57: ["I'm doing great, thanks for asking! And you?", "I'm fine, thank you. How are you?"],
    58: ["Great, thanks for asking! And yours?"],
}
"""By the number of the intent, where the voice's own would not be Elman's."""

TO_THE_NET = {3, 10, 12, 13, 15, 19, 22, 23, 28, 42, 43, 44, 46, 47, 50, 51, 60, 62, 67, 76, 79}
TO_THE_NET |= {81, 82, 84, 87}
"""What depends on what was said before, or speaks of other products."""

ABOUT_THE_USER = 67
"""The intent that asks what the user has told. It is the net's too, once anything was told."""

NOT_TOLD = ["I don't know. You have not told me yet.", "You have not told me."]

OWN_PHRASINGS = {
    14: ["What is your name?", "What's your name?", "Who are you?", "Do you have a name?",
         "What are you called?", "What should I call you?", "Tell me your name.",
         "And what is your name?", "Your name?"],
    29: ["Are you a robot?", "Are you human?", "Are you a real person?", "What are you?",
         "Are you an AI?", "Am I talking to a machine?", "Are you a bot?", "Are you a computer?"],
    8: ["Who made you?", "Who created you?", "Who programmed you?", "How were you made?"],
    30: ["Where do you live?", "Where are you?", "Where is your home?", "Where are you from?",
         "Which city do you live in?", "Where are you right now?"],
    31: ["What do you do for a living?", "What is your job?", "Do you have a job?",
         "Where do you work?", "What do you do for work?", "What is your work?"],
    2: ["How old are you?", "What is your age?", "When were you born?", "When is your birthday?"],
    9: ["Do you have a family?", "Do you have children?", "Are you married?",
        "Do you have brothers or sisters?"],
}  # fmt: skip

OWN_INTENTS = [
    Intent(
        phrasings=["Where do you keep what I tell you?", "Do you remember what I say?",
                   "How do you remember things?", "What is your memory like?",
                   "Do you have a memory?", "Where is what I tell you kept?"],
        answers=["In a small state of a few kilobytes, here on this computer."],
    ),
    Intent(
        phrasings=["Are you on the internet?", "Do you send my data anywhere?",
                   "Who can read this?", "Is this private?", "Is what I say private?"],
        answers=["I run on this computer alone; nothing is sent anywhere."],
    ),
    # What the user has told is the net's to remember. Without these, "my name" finds "your name".
    Intent(
        phrasings=["What is my name?", "What's my name?", "Do you remember my name?",
                   "What is my name, by the way?", "Who am I?", "Do you know my name?",
                   "Can you tell me my name?", "Where do I live?", "And where do I live?",
                   "Where am I from?", "Which city do I live in?", "What is my job?",
                   "What do I do for a living?", "How old am I?", "What is my age?",
                   "When is my birthday?", "What is my dog called?", "What is my favorite food?",
                   "What is my favorite color?", "Do you remember what I told you?",
                   "Do you remember where I live?", "Where do I work?", "Do I have a dog?",
                   "What is my hobby?", "Who is my sister?", "What did I tell you?",
                   "What do I like?", "What pet do I have?",
                   "What is my cat called?", "What is my sister called?", "Who is my best friend?",
                   "What is my brother's name?", "When is my exam?", "What car do I drive?",
                   "What do I drink in the morning?", "Which instrument do I play?",
                   "Which book am I reading?", "Which language am I learning?",
                   "What is my favorite sport?"],
        untold=NOT_TOLD,
    ),
    Intent(phrasings=["What is your favorite movie?", "What is your favourite song?"]),
]  # fmt: skip


def gather(data: Path) -> dict[int, Intent]:
    """Return the intents of the voice, by number, with Elman's answers."""
    phrasings, answers = defaultdict(list), {}
    with gzip.open(data / "personality_chat" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            *_, voice, intent, _ = pair["id"].split("-")
            if voice == VOICE:
                asked, answered = (turn["text"] for turn in pair["turns"])
                phrasings[int(intent)].append(asked)
                answers[int(intent)] = [answered]
    return {
        number: Intent(
            phrasings=list(dict.fromkeys([*OWN_PHRASINGS.get(number, ()), *phrasings[number]])),
            answers=[] if number in TO_THE_NET else OWN_ANSWERS.get(number, answers[number]),
            untold=NOT_TOLD if number == ABOUT_THE_USER else [],
        )
        for number in sorted(phrasings)
    }


def is_held_out(phrasing: str) -> bool:
    return int(sha1(phrasing.encode()).hexdigest(), 16) % 10 == 0


def choose_threshold(intents: list[Intent], ordinary: list[str]) -> float:
    """Return the least threshold at which held-out phrasings are answered rightly enough."""
    learned = [
        Intent(
            phrasings=[text for text in each.phrasings if not is_held_out(text)] or each.phrasings,
            answers=each.answers,
        )
        for each in intents
    ]
    talk = SmallTalk(SmallTalkFile(threshold=0, intents=learned, telling=TELLING))
    found = [
        (number, *talk.nearest(text))
        for number, each in enumerate(intents)
        for text in each.phrasings
        if is_held_out(text)
    ]
    others = [talk.nearest(text) for text in ordinary]
    for threshold in THRESHOLDS:
        answered = [
            (truth, near)
            for truth, near, alike in found
            if alike >= threshold and intents[near].answers
        ]
        right = sum(truth == near for truth, near in answered) / max(1, len(answered))
        talks = [near for near, alike in others if alike >= threshold and intents[near].answers]
        if right >= MIN_RIGHT:
            asked = sum(bool(intents[truth].answers) for truth, _, _ in found)
            print(
                f"threshold {threshold}: of {asked} held-out phrasings {len(answered)} are "
                f"answered, {right:.1%} of them rightly; of {len(others)} ordinary messages "
                f"{len(talks)} are"
            )
            return threshold
    return 1.0


def write(data: Path, ordinary: Path, out: Path) -> None:
    """Write the file.

    Args:
        data: where personality_chat is.
        ordinary: conversations as JSON Lines of turns.
        out: the file.
    """
    intents = [*gather(data).values(), *OWN_INTENTS]
    with ordinary.open(encoding="utf-8") as lines:
        turns = [turn["text"] for line in lines for turn in json.loads(line)["turns"]]
    threshold = choose_threshold(intents, turns[:: max(1, len(turns) // 1000)])
    content = SmallTalkFile(threshold=threshold, intents=intents, telling=TELLING)
    write_file(out, content.model_dump_json(indent=None) + "\n")
    print(f"{out}: {out.stat().st_size:,} bytes, {sum(len(i.phrasings) for i in intents):,} ways")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ordinary", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write(arguments.data, arguments.ordinary, arguments.out)


if __name__ == "__main__":
    main()
