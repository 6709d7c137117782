"""The language of a catalog's texts."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

LANGUAGES: Mapping[str, str] = {
    **{"ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish"},
    **{"fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "it": "Italian"},
    **{"ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese"},
    **{"ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "zh": "Chinese"},
}
"""The languages that are distinguished: with fewer of them the detector is more certain of short texts."""

MIN_TEXTS = 10
MAX_CHARS = 300  # of a text that are read
MIN_PROBABILITY = 0.4
"""The mean probability from which on a language is reported.

Measured (tests/fclip/catalog/mapping/test_language.py): invented German, French, Spanish, Italian, Dutch, Polish and
Portuguese product titles have 0.67 to 0.97; of KAGL's English titles no language but English has more than 0.1.
"""
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Language:
    """A language, and the mean probability that a text is in it."""

    code: str
    name: str
    probability: float


def foreign_language(texts: Sequence[str]) -> Language | None:
    """The language that most texts are in, if it is certainly not English.

    The mean over all texts of the probabilities that py3langid gives. None for fewer than `MIN_TEXTS` texts.
    """
    read = [text for each in texts if (text := " ".join(_TAG.sub(" ", each).split())[:MAX_CHARS])]
    if len(read) < MIN_TEXTS:
        return None
    identifier = _identifier()
    sums: dict[str, float] = defaultdict(float)
    for text in read:
        for code, probability in identifier.rank(text):
            sums[code] += float(probability)
    code, total = max(sums.items(), key=lambda item: item[1])
    probability = total / len(read)
    return None if code == "en" or probability < MIN_PROBABILITY else Language(code, LANGUAGES[code], probability)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # its model takes a second to load

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier
