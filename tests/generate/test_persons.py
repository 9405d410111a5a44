"""A reply says "he" or "she" only where somebody was spoken of."""

import pytest

from elman.generate.persons import speaks_of_nobody


@pytest.mark.parametrize(
    ("reply", "before", "nobody"),
    [
        ("Does she like it?", ["I am a nurse."], True),
        ("Does she like it?", ["I am a bit better."], True),
        ("Does she like it?", ["I am a bit better.", "My sister called."], False),
        ("What does he do?", ["He plays drums."], False),
        ("What does he do?", ["We met Paul there."], False),
        ("What does he do?", ["Then we left.", "It rained."], True),
        ("She\u2019s lucky.", ["I got it."], True),
        ("Here is the answer.", ["I got it."], False),
        ("How nice!", [], False),
        ("Is he well?", [], True),
        ("Is he well?", ["It rained in town, which is strange."], True),
        ("Is he well?", ["my dogs are ill"], False),
    ],
)
def test_somebody_must_have_been_spoken_of(reply: str, before: list[str], nobody: bool) -> None:
    assert speaks_of_nobody(reply, before) == nobody
