"""Renders prompts and targets by the chat template of a checkpoint, in the same way for all stages.

A prompt is what the template writes for a user's turn and the beginning of the answer. Some
templates begin the answer themselves, with `<think>`: the prefill. A model writes what follows, and
everything that reads a completion reads prefill and completion; see `geovlm.engine.rows.tokens`.

All of it is found by rendering a few words and looking where they come to lie, never by the name of
a family. Texts given here have the control tokens of the model as letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jinja2 import TemplateError

from geovlm import answers
from geovlm.api import Turn
from geovlm.config.control_tokens import TAGS
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps

Messages: TypeAlias = list[dict[str, Any]]
"""Turns of a conversation, as chat templates take them."""
THINKING = "enable_thinking"
"""Variable of chat templates that leave a place for reasoning where it is true."""

_OPENED = "<think>"
_ASKED, _BECAUSE, _SAID = "geovlm question", "geovlm reasoning", "geovlm answer"
_FRAME = answers.frame(Turn(question=_ASKED, reasoning=_BECAUSE, answer=_SAID))
_CLOSED = "</answer>"
_EMPTY = "\n</think>\n\n"
"""Rest of an empty thought, as the chat template of Qwen3 writes it where `enable_thinking` is
false."""
_SEEN = re.compile(rf"{_SAID}\s*{_CLOSED}(?!['\"])")
"""The end of an answer that is no literal of Python or JSON."""


def messages(question: str, *, images: int) -> Messages:
    """Return the user's turn: one placeholder per image, then the question."""
    content: list[dict[str, Any]] = [{"type": "image"} for _ in range(images)]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


def prompt(processor: Any, said: Messages) -> str:
    """Return the text after which a model writes its completion; its images are placeholders."""
    return _rendered(processor, said, asks=True)


def prefill(processor: Any) -> str:
    """Return the end of every prompt that is the beginning of an answer: `<think>`, or nothing.

    It begins with the first tag of an answer behind the question.
    """
    _, _, behind = prompt(processor, messages(_ASKED, images=0)).rpartition(_ASKED)
    tag = answers.tag(behind)
    return behind[behind.index(tag) :] if tag else ""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Text that a chat template writes around an answer, and tokens that end one."""

    processor: Any
    prefill: str
    """See `prefill`."""
    lead: str
    """White space between a prompt and what the model writes."""
    end: str
    """Text behind a correct completion, up to the first token that ends it; empty where the
    completion ends in such a token."""
    stops: tuple[int, ...]
    """Ids of the tokens that end a completion: the checkpoint's, and that of `end`."""

    @classmethod
    def of(cls, processor: Any, *, stops: Iterable[int] | int | None = ()) -> Chat:
        """Return the chat of a processor; `stops` are the end tokens of its generation config.

        The tokenizer's own end token is one of them.

        Raises:
            ConfigError: the template does not write a user's question and images.
        """
        tokenizer = processor.tokenizer
        given = [stops] if isinstance(stops, int) else list(stops or ())
        own = dict.fromkeys([*given, tokenizer.eos_token_id])
        known = [str(tokenizer.convert_ids_to_tokens(each)) for each in own if each is not None]
        _check(processor)
        end = "" if _CLOSED in known else _end(processor, known)
        ids = [*own, *tokenizer(end, add_special_tokens=False)["input_ids"][-1:]]
        return cls(
            processor=processor,
            prefill=prefill(processor),
            lead=_lead(processor),
            end=end,
            stops=tuple(dict.fromkeys(each for each in ids if each is not None)),
        )

    def require_place(self, *, thinks: bool = True) -> None:
        """Refuse a template whose prompts leave no place for the correct completion.

        Raises:
            ConfigError: the prefill begins the answer, or closes the reasoning of a task that
                `thinks`.
        """
        opened = self.prefill.removeprefix(_OPENED)
        begun = bool(self.prefill) and (opened == self.prefill or "<answer>" in opened)
        if begun or (thinks and answers.tag(opened)):
            raise ConfigError(
                f"the chat template of the model ends a prompt in {self.prefill!r}: no completion "
                "can hold reasoning, so none earns the format rewards",
                hint=f"leave out chat_template_kwargs.{THINKING}, choose a checkpoint whose "
                "template lets it think, train tasks without reasoning alone, or only evaluate",
            )

    def target(self, gold: str) -> str:
        """Return what a model is taught to write after a prompt, its end included.

        Args:
            gold: A correct answer as `geovlm.answers.frame` writes it. Where it has no reasoning
                and the prefill opens one, the target closes it at once.

        Raises:
            ConfigError: see `require_place`.
        """
        thinks = gold.startswith(_OPENED)
        self.require_place(thinks=thinks)
        rest = gold
        if self.prefill and not thinks:
            rest = gold if answers.tag(self.prefill.removeprefix(_OPENED)) else f"{_EMPTY}{gold}"
        elif self.prefill:
            rest = gold.removeprefix(_OPENED)
            if f"{self.prefill}{self.lead}"[-1].isspace():
                rest = rest.lstrip()
        return f"{self.lead}{rest}{self.end}"

    def template_tokens(self, images: int) -> int:
        """Return the number of tokens around question and answer, one placeholder per image."""
        text = prompt(self.processor, messages("", images=images)) + self.lead + self.end
        return len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def settle(processor: Any, values: Mapping[str, bool | int | float | str]) -> None:
    """Let a processor render and tokenize prompts alike wherever it is used, TRL included.

    The template gets its `values`, see `with_values`. It writes all special tokens, so the
    tokenizer adds none: a second one at the beginning would shift whatever is counted by tokens.
    Prompts are padded on the left, where generation continues.

    Raises:
        ConfigError: see `with_values`.
    """
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    template = processor.chat_template
    if not template:  # not a chat model
        return
    if isinstance(template, Mapping):  # several, of which transformers takes this one
        template = {**template, "default": with_values(template["default"], values)}
    else:
        template = with_values(template, values)
    processor.chat_template = tokenizer.chat_template = template  # the tokenizer writes the file
    if tokenizer("")["input_ids"]:
        tokenizer.add_bos_token = False
    if tokenizer("")["input_ids"]:
        tokenizer.add_eos_token = False


def with_values(template: str, values: Mapping[str, bool | int | float | str]) -> str:
    """Return a chat template in which variables have these values where a caller gives none.

    So the template says the same to every program that reads it: trainers, vLLM, an exported
    folder. `THINKING` is true where the template knows it and `values` do not set it.

    Raises:
        ConfigError: the template knows no such variable.
    """
    chosen = {THINKING: True} if _knows(template, THINKING) else {}
    for name, value in {**chosen, **values}.items():
        if not _knows(template, name):
            raise ConfigError(
                f"chat_template_kwargs.{name}: the chat template of the model has no such variable",
                hint="leave it out",
            )
        begun = "{%% if %s is not defined %%}{%% set %s = %s %%}{%% endif %%}\n"
        line = begun % (name, name, dumps(value))
        if not template.startswith(line):
            template = line + template
    return template


def _knows(template: str, name: str) -> bool:
    return name.isidentifier() and re.search(rf"\b{name}\b", template) is not None


def _rendered(processor: Any, said: Messages, *, asks: bool) -> str:
    text: str = processor.apply_chat_template(said, tokenize=False, add_generation_prompt=asks)
    return text


def _check(processor: Any) -> None:
    """Refuse a template that prints the parts of a user's turn, or writes nothing for an image."""
    try:
        seen, blind = (prompt(processor, messages(_ASKED, images=n)) for n in (1, 0))
    except (TemplateError, TypeError) as error:
        raise ConfigError(
            f"the chat template of the model does not take a question about an image: {error}",
            hint="choose a checkpoint whose chat template takes images",
        ) from error
    literal = re.search(rf"['\"]{_ASKED}['\"]", seen)
    if literal or _ASKED not in seen or seen == blind:
        raise ConfigError(
            "the chat template of the model does not write a question about an image: it writes "
            f"{seen[-200:]!r}",
            hint="choose a checkpoint whose chat template takes images",
        )


def _answered(processor: Any, *, then: Sequence[dict[str, Any]] = ()) -> str:
    """Return a conversation in which the correct answer is written as text; empty if none is.

    Some templates print a list of parts as it is, and some write nothing for a text.
    """
    for content in ([{"type": "text", "text": _FRAME}], _FRAME):
        said = [*messages(_ASKED, images=0), {"role": "assistant", "content": content}, *then]
        try:
            text = _rendered(processor, said, asks=False)
        except (TemplateError, TypeError):
            continue
        if _SEEN.search(text):
            return text
    return ""


def _lead(processor: Any) -> str:
    """Return the white space between prompt and answer: GLM-4.5V's answers begin in a new line."""
    asked = prompt(processor, messages(_ASKED, images=0))
    answered = _answered(processor)
    if not answered.startswith(asked):
        return ""
    rest = answered[len(asked) :]
    return rest[: len(rest) - len(rest.lstrip())]


def _end(processor: Any, known: Sequence[str]) -> str:
    """Return what a template writes behind an answer, up to the first token that ends it.

    That is one of the `known` tokens, else the first special one; where a template writes none, the
    one that begins the next turn (GLM-4.5V), or that of the tokenizer.
    """
    added = processor.tokenizer.added_tokens_decoder.values()
    special = [each.content for each in added if each.special and each.content not in TAGS]
    closed, followed = (
        _behind(_answered(processor, then=then)) for then in ((), messages(_ASKED, images=0))
    )
    for text, marks in ((closed, known), (closed, special), (followed, known)):
        found = [(text.index(each), -len(each), each) for each in marks if each and each in text]
        if found:
            start, _, mark = min(found)
            return text[:start] + mark
    return str(processor.tokenizer.eos_token or "")


def _behind(answered: str) -> str:
    found = _SEEN.search(answered)
    return answered[found.end() :] if found else ""
