"""Reads tags, words, labels and numbers from the text of a model.

The text may be hostile, cut off or repeated. No function that reads it raises, none takes more than
linear time, and only the first `MAX_CHARS` characters are read. Tags are matched exactly, in lower
case and without attributes. Only the answer block counts for content: a completion without one has
the empty answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from geovlm.api import Turn

INSTRUCTION = "First reason in <think> </think>, then answer in <answer> </answer>."
"""Added to every question of a task with reasoning; a run may use other words."""
ANSWER_INSTRUCTION = "Answer in <answer> </answer>."
"""Added to every question of a task without reasoning; a run may use other words."""

MAX_CHARS = 20_000
"""Text is cut to this length before it is parsed."""

UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
)
"""Scripts without blanks between words, as the inside of a class of a regular expression: Han and
kana, then Thai, Lao, Myanmar and Khmer."""

_TAG = re.compile(r"</?(?:think|answer)>")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_WORD = re.compile(r"\w+")
_CHOICE = re.compile(r"[(\[]?(?P<letter>[A-Za-z])(?:[)\].:,]+\s*(?P<rest>.*))?")
_MARKUP = re.compile(r"\\boxed|[*`$]")
_LETTER = r"[(\[{]?[A-Z][)\]}]?"
_NEXT = rf"(?:\s?[,;/&+]\s?(?:and\s|or\s)?|\s(?:and\s|or\s)?){_LETTER}(?!\w)"
_LETTERS = re.compile(rf"{_LETTER}(?!\w)(?:{_NEXT})*")
_GLUED = re.compile(r"[A-Z]{2,26}")
_STATED = re.compile(
    r"\b(?:(?i:answers?|(?:correct|right|best) (?:options?|choices?)|option|choice)"
    r"(?: letters?)?(?:\W{0,2}(?:is|are|(?:would|should|must|could) be)\b)? ?[:=]?\s?"
    r"|(?i:choose|pick|select|take)s? )(?i:options?\s)?"
    rf"(?P<letters>{_LETTER}(?!\w)(?:{_NEXT}){{0,25}})"
)
_MARKED = re.compile(
    r"(?<![\w'])(?:[(\[{]([A-Z])[)\]}]|([A-Z])(?:[.):]|(?=\W?$)))|^([A-Z])[,;]", re.MULTILINE
)
_OR = re.compile(r"(?i)\bor\b")
_SIGNED = re.compile(r"-?\.?[0-9]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<!\w)[-+])?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++)"
    r"(?:[eE][-+]?[0-9]++)?"
)


_AREA = "(?: (?:in|of|between) (?:this|the|these|both|two)(?: two)? [a-z]+)?"
_SUBJECT = "(?:everything|all|(?:the|this|both|these|two)(?: two| whole)? [a-z]+|it|they)"
_UNCHANGED = re.compile(
    f"(?:there (?:is|are|was|were|has been|have been) )?(?:almost )?no (?:[a-z]+ )?"
    f"(?:changes?|changed|differences?)(?: to mention| (?:was|were) (?:made|detected|seen|found)"
    f"| (?:has |have )?(?:occurred|happened)| (?:is|are) (?:detected|visible|seen))?{_AREA}"
    f"|(?:almost )?nothing (?:has |have |is |was )?(?:changed|different){_AREA}"
    f"|{_SUBJECT} (?:has|have|did) not changed?{_AREA}"
    f"|{_SUBJECT} (?:is|are|was|were|remains?|remained|stays?|stayed|appears?|appeared|seems?"
    f"|looks?)(?: to be)?(?: almost| exactly)? (?:(?:the )?same|identical|unchanged|alike)"
    f"(?: as before)?{_AREA}"
)
"""Sentences that state nothing else, as the authors of LEVIR-CC and Dubai-CC write them."""
_LONGEST_UNCHANGED = 120


def frame(turn: Turn, *, thinks: bool = True) -> str:
    """Return the completion of a perfect model: reasoning and answer in their tags.

    Args:
        turn: Reasoning and answer; white space around each is stripped.
        thinks: False: the answer alone, as a task without reasoning asks for.

    Raises:
        ValueError: Reasoning or answer is blank or holds a tag, or the text is longer than
            `MAX_CHARS`: it would not earn the format rewards.

    Example:
        >>> frame(Turn(question="Damage?", reasoning="The roof is gone.", answer="destroyed"))
        '<think> The roof is gone. </think><answer> destroyed </answer>'
        >>> frame(Turn(question="Damage?", answer="destroyed"), thinks=False)
        '<answer> destroyed </answer>'
    """
    reasoning, answer = turn.reasoning.strip() if thinks else "", turn.answer.strip()
    text = f"<answer> {answer} </answer>"
    if thinks:
        text = f"<think> {reasoning} </think>{text}"
    if "<" in reasoning or "<" in answer:
        sound = well_formed(text, thinks=thinks)
    else:  # a training starts with half a million of them
        sound = bool(answer) and (bool(reasoning) or not thinks) and len(text) <= MAX_CHARS
    if not sound:
        raise ValueError(
            "a turn needs reasoning and an answer without tags, together at most "
            f"{MAX_CHARS} characters: {turn.reasoning[:80]!r}, {turn.answer[:80]!r}"
        )
    return text


def defect(text: str) -> str | None:
    """Return the reason why no model, file or terminal takes a text; `None` if it is sound.

    White space of every kind is sound, and so are marks of direction and of zero width.
    """
    if text.isprintable():  # a training starts with millions of texts
        return None
    if _SURROGATE.search(text):
        return "half of a surrogate pair, which is not Unicode"
    return "a control character" if _CONTROL.search(text) else None


def tag(text: str) -> str | None:
    """Return the first `<think>`, `</think>`, `<answer>` or `</answer>` in a text."""
    found = _TAG.search(text) if "<" in text else None
    return found.group() if found else None


def answer_text(completion: str) -> str:
    """Return the content of the last closed `<answer>` block, stripped; empty if there is none.

    Example:
        >>> answer_text("<think> Two roofs. </think><answer> 2 </answer>")
        '2'
        >>> answer_text("The answer is 2.")
        ''
    """
    return _last_block(completion, "answer")


def think_text(completion: str) -> str:
    """Return the content of the last closed `<think>` block, stripped; empty if there is none.

    Example:
        >>> think_text("<think> Two roofs. </think><answer> 2 </answer>")
        'Two roofs.'
    """
    return _last_block(completion, "think")


def has_think(completion: str) -> bool:
    """Return True if there is exactly one well-formed, non-empty think block before any answer.

    False for: no tag, an opening or closing tag alone, `</think>` before `<think>`, a second
    opening or closing tag anywhere, only white space inside, an answer tag anywhere before
    `</think>` (an answer nested in the thought, blocks that cross, a thought inside or after the
    answer). An answer that is missing, unclosed, empty, repeated or followed by text does not
    matter. Text before `<think>` and between the blocks is allowed.

    Example:
        >>> has_think("<think> Two roofs. </think> 2")
        True
        >>> has_think("<answer> 2 </answer><think> Two roofs. </think>")
        False
    """
    tags = _tags(completion)
    own = [tag for tag in tags if tag.name == "think"]
    if not _is_filled(completion, own):
        return False
    return all(tag.name == "think" or tag.start > own[1].start for tag in tags)


def has_answer(completion: str) -> bool:
    """Return True if there is exactly one well-formed, non-empty answer block that ends the text.

    False for: no tag, an opening or closing tag alone, `</answer>` before `<answer>`, a second
    opening or closing tag anywhere, only white space inside, a think tag anywhere after
    `<answer>`, anything but white space after `</answer>`, more than `MAX_CHARS` characters. A
    thought that is missing, unclosed, empty or repeated does not matter if it comes before the
    answer. So an answer nested in the thought, and blocks that cross, fail both checks.

    Example:
        >>> has_answer("<answer> 2 </answer>")
        True
        >>> has_answer("<answer> 2 </answer> or more")
        False
    """
    tags = _tags(completion)
    own = [tag for tag in tags if tag.name == "answer"]
    if not _is_filled(completion, own):
        return False
    if len(completion) > MAX_CHARS or completion[own[1].end :].strip():
        return False
    return all(tag.name == "answer" or tag.start < own[0].start for tag in tags)


def well_formed(completion: str, *, thinks: bool = True) -> bool:
    """Return True if a completion has an answer block, and a think block where the task thinks.

    A thought before an answer that needs none does not matter.

    Example:
        >>> well_formed("<answer> 2 </answer>"), well_formed("<answer> 2 </answer>", thinks=False)
        (False, True)
    """
    return has_answer(completion) and (has_think(completion) or not thinks)


def normalise(text: str) -> str:
    """Return the text in NFKC, case folded, white space collapsed, outer punctuation stripped.

    A minus or a decimal point directly before a number stays. Normalising twice changes nothing.

    Example:
        >>> normalise("  'Water  Body'. ")
        'water body'
        >>> normalise("-5.")
        '-5'
    """
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    folded = " ".join(unicodedata.normalize("NFKC", folded).split())
    first, last = 0, len(folded)
    while last > first and _is_edge(folded[last - 1]):
        last -= 1
    while first < last and _is_edge(folded[first]) and not _SIGNED.match(folded, first, last):
        first += 1
    return folded[first:last]


def words(text: str) -> list[str]:
    """Return the words of the normalised text, in order, with repetitions.

    A word is a run of letters, digits and underscores, with the marks on them (vowel signs,
    accents). Scripts without blanks between words (Han, kana, Thai, Lao, Khmer, Myanmar) give one
    word per character.

    Example:
        >>> words("Forest, and more forest.")
        ['forest', 'and', 'more', 'forest']
        >>> words("森林 and forêt")
        ['森', '林', 'and', 'forêt']
    """
    plain = normalise(text)
    return _WORD.findall(plain) if plain.isascii() else _word().findall(_joined(plain))


def labels(text: str, vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Return the vocabulary entries that the text names, in order of first appearance, each once.

    The text is read from left to right. If several entries fit, the longest is taken and its words
    are used up, so that an entry which contains another, or a comma, is read whole. Case does not
    matter, nor do white space, underscores and hyphens between the words of an entry
    (`MediumResidential` is `Medium Residential`); commas inside an entry may be missing. Entries
    match whole words only: `underwater` does not name `water`.

    Args:
        text: An answer.
        vocabulary: Possible labels; two that differ in spelling only count as the first one.

    Returns:
        Entries as `vocabulary` spells them; empty if none is named.

    Example:
        >>> labels("Pastures, inland waters", ["Inland waters", "Pastures", "Waters"])
        ('Pastures', 'Inland waters')
    """
    pattern, entries = _label_pattern(tuple(vocabulary))
    if not entries:
        return ()
    folded = _joined(unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold())
    plain = " ".join(folded.split())
    found = (entries[(match.lastindex or 1) - 1] for match in pattern.finditer(plain))
    return tuple(dict.fromkeys(found))


def choice(text: str, choices: Sequence[str]) -> int | None:
    """Return the number, from 0, of the one choice that a text names; `None` if not exactly one.

    It is read as `named_choices` does.

    Example:
        >>> choice("(b) A road.", ["a river", "a road"])
        1
        >>> choice("a river or a road", ["a river", "a road"]) is None
        True
    """
    found = named_choices(text, choices)
    return found[0] if len(found) == 1 else None


def named_choices(text: str, choices: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers, from 0 and rising, of the choices that a text names; empty if none.

    Choices have the letters from A on. The first of these that applies decides:

    1. The text is a letter (`B`, `(b)`, `B.`), a choice as it is written, or both. A letter with
       the text of another choice names nothing.
    2. The text is a list of capital letters: `A C`, `A, C`, `AC`, `A and C`.
    3. The last statement of the kind "the answer is B" or "Option: A, C".
    4. Capital letters in brackets, before a mark (`B.`, `B)`, `B:`) or at the end of a line.
    5. Choices that are written out.

    So a text that names every choice names every one, and is no right answer to a question with
    fewer. Alternatives (`A or B`) and letters beyond the last choice name nothing.

    Example:
        >>> named_choices("It is no river, so the answer is (B).", ["a river", "a road"])
        (1,)
        >>> named_choices("A and C", ["water", "road", "forest"])
        (0, 2)
        >>> named_choices("A or B", ["a river", "a road"])
        ()
    """
    lines = (" ".join(line.split()) for line in _MARKUP.sub("", text[:MAX_CHARS]).splitlines())
    cut = "\n".join(filter(None, lines))
    plain = [normalise(each) for each in choices]
    whole = _CHOICE.fullmatch(cut.replace("\n", " "))
    if whole:
        at, rest = _number_of(whole["letter"]), normalise(whole["rest"] or "")
        if at < len(plain) and rest in ("", plain[at]):
            return (at,)
        if rest in plain:
            return ()
    wanted = normalise(cut)
    if wanted in plain:
        return (plain.index(wanted),)
    listed = _LETTERS.fullmatch(cut.strip(".")) or _GLUED.fullmatch(cut.strip("."))
    if listed:
        return _of_letters(cut, n=len(plain))
    stated = list(_STATED.finditer(cut))
    if stated:
        return _of_letters(stated[-1]["letters"], n=len(plain))
    marked = {_number_of(each[1] or each[2] or each[3]) for each in _MARKED.finditer(cut)}
    found = {at for at in marked if at < len(plain)}
    if not found:
        found = {plain.index(normalise(each)) for each in labels(cut, choices)}
    if len(found) > 1 and _OR.search(cut):
        return ()
    return tuple(sorted(found))


def letters(numbers: Iterable[int]) -> str:
    """Return the letters of choices, with blanks between: 0 is `A`, 25 the last one, `Z`.

    Example:
        >>> letters([0, 2])
        'A C'
    """
    return " ".join(chr(ord("A") + number) for number in numbers)


def says_unchanged(text: str) -> bool:
    """Return True if a text states in English that nothing changed, and nothing else.

    The five sentences of LEVIR-CC do, those of Dubai-CC, and others of their form.

    Example:
        >>> says_unchanged("The scene is the same as before .")
        True
        >>> says_unchanged("No change was made, but a road appeared.")
        False
    """
    if len(text) > _LONGEST_UNCHANGED:
        return False
    return _UNCHANGED.fullmatch(normalise(text)) is not None


def number(text: str) -> float | None:
    """Return the last number of the text; `None` if there is none or it is not finite.

    ASCII digits with optional sign, decimal point and exponent; commas between groups of three are
    thousands separators. A digit inside a word (`m2`, `B04`) is not a number; a unit directly after
    a number (`120m2`) is allowed.

    Example:
        >>> number("between 3 and 1,200.5 m2")
        1200.5
        >>> number("none") is None
        True
    """
    found = _NUMBER.findall(text[:MAX_CHARS].replace("\N{MINUS SIGN}", "-"))
    value = float(found[-1].replace(",", "")) if found else math.inf
    return value if math.isfinite(value) else None


@lru_cache(maxsize=1)
def marks() -> str:
    """Return the marks on letters as the inside of a class; Python's word characters lack them.

    Variation selectors are left out: they choose the picture of an emoji.
    """
    every = (chr(code) for code in (*range(0x300, 0xFE00), *range(0xFE20, 0x1E950)))
    return "".join(each for each in every if unicodedata.category(each).startswith("M"))


class _Tag(NamedTuple):
    name: Literal["think", "answer"]
    closing: bool
    start: int
    end: int


def _tags(completion: str) -> list[_Tag]:
    return [
        _Tag(
            name="think" if "think" in match.group() else "answer",
            closing=match.group().startswith("</"),
            start=match.start(),
            end=match.end(),
        )
        for match in _TAG.finditer(completion[:MAX_CHARS])
    ]


def _is_filled(completion: str, own: list[_Tag]) -> bool:
    pair = [tag.closing for tag in own] == [False, True]
    return pair and bool(completion[own[0].end : own[1].start].strip())


def _last_block(completion: str, name: Literal["think", "answer"]) -> str:
    text = completion[:MAX_CHARS]
    opening, closing = f"<{name}>", f"</{name}>"
    if text.count(opening) == text.count(closing) == 1:  # nearly all completions
        start, end = text.index(opening) + len(opening), text.index(closing)
        return text[start:end].strip() if start <= end else ""
    content, opened = "", None
    for tag in _tags(completion):
        if tag.name != name:
            continue
        if not tag.closing:
            opened = tag.end
        elif opened is not None:
            content, opened = completion[opened : tag.start].strip(), None
    return content


def _number_of(letter: str) -> int:
    return ord(letter.upper()) - ord("A")


def _of_letters(text: str, *, n: int) -> tuple[int, ...]:
    """Return the numbers of the capital letters of a list; empty if one is beyond `n` choices."""
    found = sorted({_number_of(each) for each in re.findall("[A-Z]", text)})
    if _OR.search(text) or not found or found[-1] >= n:
        return ()
    return tuple(found)


def _joined(text: str) -> str:
    # with joiners of no width some spell a word, and some do not
    return text if text.isascii() else text.translate({0x200C: None, 0x200D: None})


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    letter, mark = rf"[^\W{UNSPACED}]", f"[{marks()}]"
    return re.compile(rf"(?=\w)[{UNSPACED}]{mark}*|{letter}(?:{letter}|{mark})*")


def _is_edge(character: str) -> bool:
    return character in " `" or unicodedata.category(character).startswith("P")


@lru_cache(maxsize=128)
def _label_pattern(vocabulary: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """Return a pattern with one group per entry, longest first, and the entries in that order.

    Entries without words are left out.
    """
    spelt: dict[tuple[str, ...], str] = {}
    part = r"[^\W_]" if all(map(str.isascii, vocabulary)) else rf"(?:[^\W_]|[{marks()}])"
    for entry in vocabulary:
        split = _CAMEL.sub(" ", unicodedata.normalize("NFKC", entry)).casefold()
        parts = tuple(re.findall(f"{part}+", _joined(split)))
        if parts:
            spelt.setdefault(parts, entry)
    order = sorted(spelt, key=lambda parts: -sum(map(len, parts)))
    alternatives = "|".join(f"({_spelling(parts, spelt[parts])})" for parts in order)
    pattern = re.compile(f"(?<!{part})(?:{alternatives})(?!{part})")
    return pattern, tuple(spelt[parts] for parts in order)


def _spelling(parts: tuple[str, ...], entry: str) -> str:
    own = set(re.findall(r"[^\w\s]", unicodedata.normalize("NFKC", entry)))
    if own & set(",;/&()"):
        own |= set(",;/&()")
    gap = f"[ _{''.join(map(re.escape, sorted(own | {'-'})))}]*+"
    return gap.join(map(re.escape, parts))
