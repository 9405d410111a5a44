"""What WhatsApp itself writes, under the name of a person or a group, and what only sounds so."""

import unicodedata
from collections.abc import Callable
from typing import Literal

import pytest

from elman.data.conversation import Message
from elman.data.notes import Notes
from elman.data.readers.whatsapp.phrases import own_words, phrases

ANDROID, IPHONE = "31/12/2023, 23:59 - ", "[31/12/2023, 23:59:58] "

Load = Callable[[str], tuple[list[Message], Notes]]


@pytest.mark.parametrize("stamp", [ANDROID, IPHONE])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("mark", ["", "\u200e"])
@pytest.mark.parametrize(
    "text",
    [
        "Messages and calls are end-to-end encrypted. No one outside of this chat can read them.",
        "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Mehr erfahren.",
        "Los mensajes y las llamadas están cifrados de extremo a extremo.",
        "Пропущенный видеозвонок",
        "Missed voice call",
        "Verpasster Sprachanruf",
        "Chamada de voz perdida",
        "未接语音通话",
        "Diese Nachricht wurde gelöscht.",
        "This message was deleted by admin Ann",
        "Tuto zprávu jste odstranil/a.",
        "您删除这个信息",
        "हा मेसेज हटवला गेला",
        "live location shared",
        "Du hast die Gruppe erstellt",
        "You created group “Tea & Rust”",
        "Your security code with Ann changed. Tap to learn more.",
        "Deine Sicherheitsnummer für Ann hat sich geändert. Tippe, um mehr zu erfahren.",
        "You turned on disappearing messages. New messages disappear after 24 hours.",
        "You received a view once message. For added privacy, you can only open it on your phone.",
        "🔒 You started using end to end encryption",
        "Essa mensagem foi apagada",
        "Ez az üzenet törölve lett",
        "Това съобщение бе изтрито",  # noqa: RUF001
        "Ова порука је избрисана",  # noqa: RUF001
        "Acest mesaj a fost şters",
        "Este mensaje ha sido eliminado",
        "यह संदेश हटा दिया गया",
        "这条消息已删除",
        "Voice call, 2 min",
        "Video call, No answer",
        "Voice call. 1 hr 12 min",
        "Sprachanruf, 3 Min.",
        "audio omitted",
        "зображення відсутнє",
        "<Videonachricht weggelassen>",
        "<Médias omis>",
    ],
)
def test_what_whatsapp_writes(
    load_whatsapp: Load, text: str, mark: str, form: Literal["NFC", "NFD"], stamp: str
) -> None:
    lines = ["Mira: Hi", "Tobin: Hello", f"Mira: {mark}{unicodedata.normalize(form, text)}"]
    messages, notes = load_whatsapp("".join(f"{stamp}{line}\n" for line in lines))
    assert [m.text for m in messages] == ["Hi", "Hello"]
    assert notes.left_out.total() == 1


@pytest.mark.parametrize("stamp", [ANDROID, IPHONE])
@pytest.mark.parametrize(
    "text",
    [
        "You deleted this message yesterday, why?",
        "This message was deleted, she said",
        "Missed voice call from the school",
        "The message was deleted",
        "I deleted this message",
        "Ich habe diese Nachricht gelöscht",
        "Я удалил это сообщение",
        "我删除了这条消息",
        "Voice call, 8 pm",
        "Voice call, tomorrow",
        "<media>",
        "<смеётся>",
        "<笑>",
        "ok <edited later>",
        "Messages are encrypted",
        "Du hast die Gruppe erstellt, oder?",
        "Ann left",
        "Ann added you",
        "He said: image omitted is what it shows",
        "Diese Nachricht wurde gelöscht\nwarum?",
        "<censored>",
    ],
)
def test_what_people_write_about_it_is_kept(load_whatsapp: Load, text: str, stamp: str) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n{stamp}Mira: {text}\n")
    assert messages[-1].text == text
    assert not notes.lines()


def test_every_phrase_is_found_by_its_start() -> None:
    known = phrases()
    for phrase, reason in known._whole.items():
        assert own_words(phrase, "Mira", True)[2] == reason


@pytest.mark.parametrize("mark", ["", "\u200e"])
def test_a_group_is_no_speaker(load_whatsapp: Load, mark: str) -> None:
    lines = [
        f"Rust Club: {mark}Messages and calls are end-to-end encrypted.",
        f"Mira: {mark}Mira created group “Rust Club”",
        f"Rust Club: {mark}Mira added you",
        "Mira: Hi",
        "Tobin: Hello",
        f"Tobin: {mark}Tobin changed this group's icon",
    ]
    messages, notes = load_whatsapp("".join(f"{IPHONE}{line}\n" for line in lines))
    assert [m.author for m in messages] == ["Mira", "Tobin"]
    assert notes.left_out.total() == 4


@pytest.mark.parametrize(
    "text", ["list.docx {}document omitted", "Plan.pdf • {}2 pages {}document omitted"]
)
@pytest.mark.parametrize("mark", ["", "\u200e"])
def test_a_document_is_no_text(load_whatsapp: Load, text: str, mark: str) -> None:
    said = text.replace("{}", mark)
    messages, notes = load_whatsapp(
        f"{IPHONE}Mira: Hi\n{IPHONE}Tobin: Hello\n{IPHONE}Mira: {said}\n"
    )
    assert len(messages) == 2
    assert notes.left_out.total() == 1


def test_a_text_of_one_mark_is_kept(load_whatsapp: Load) -> None:
    messages, _ = load_whatsapp(f"{ANDROID}Mira: Hi\n{ANDROID}Tobin: Hello\n{ANDROID}Mira:.\n")
    assert messages[-1] == Message("Mira", ".", messages[0].time)


@pytest.mark.parametrize("stamp", [ANDROID, IPHONE])
@pytest.mark.parametrize(
    "line",
    [
        "Mira added you to a group in the community: Boats",
        "You joined a group via invite in the community: Boats",
        "Mira added Tobin: captain",
    ],
)
def test_a_colon_makes_no_speaker_of_a_system_line(
    load_whatsapp: Load, line: str, stamp: str
) -> None:
    messages, notes = load_whatsapp(f"{stamp}Mira: Hi\n{stamp}Tobin: Hello\n{stamp}{line}\n")
    assert [m.author for m in messages] == ["Mira", "Tobin"]
    assert notes.left_out.total() == 1


def test_a_person_may_say_that_somebody_added_somebody(load_whatsapp: Load) -> None:
    messages, _ = load_whatsapp(f"{ANDROID}Mira: Hi\n{ANDROID}Tobin: Mira added Ann\n")
    assert messages[-1].text == "Mira added Ann"
