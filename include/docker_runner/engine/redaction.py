"""Hides secrets in what components write (LG-20..LG-24, D12)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from os.path import commonprefix
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[hidden]"

# Base64 inside other base64 is looked for without its borders; fewer characters than this would hit by chance.
_MIN_EMBEDDED_BASE64 = 8
# Text that is short of a match is recognised by this many first characters of a form.
_HEAD = 4


class Redactor:
    """Replaces secrets, and their encoded forms, by ``[hidden]``.

    Hidden are the plain value (also without surrounding white space), base64 (standard and URL alphabet, alone or
    inside a longer encoded text), the JSON string and the URL-encoded value (LG-21, D12). Where several begin at the
    same place the longest wins. Values accumulate (LG-23); empty ones are skipped (LG-24).
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._secrets: set[str] = set()
        self._compiled: _Forms | None = None
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these values from now on, also in streams that are already open."""
        for value in values:
            if value.strip() and value not in self._secrets:
                self._secrets.add(value)
                self._forms.update(_forms(value))
                self._compiled = None

    def redact(self, text: str) -> str:
        """``text`` with every secret replaced."""
        return self.forms.pattern.sub(HIDDEN, text) if self._forms else text

    def redact_document(self, document: Any) -> Any:
        """A JSON document with the secrets in its texts, keys and numbers replaced."""
        if isinstance(document, str):
            return self.redact(document)
        if isinstance(document, Mapping):
            return {self.redact(str(key)): self.redact_document(value) for key, value in document.items()}
        if isinstance(document, list | tuple):
            return [self.redact_document(value) for value in document]
        text = json.dumps(document)
        return document if isinstance(document, bool | None) or self.redact(text) == text else HIDDEN

    def stream(self) -> StreamRedactor:
        """A redactor for text that arrives in pieces."""
        return StreamRedactor(self)

    @property
    def forms(self) -> _Forms:
        """What is looked for, compiled."""
        if self._compiled is None:
            self._compiled = _Forms(self._forms)
        return self._compiled

    def __bool__(self) -> bool:
        return bool(self._forms)

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} secrets)"


class StreamRedactor:
    """Redacts text that arrives in pieces as if it had come in one.

    Held back is only an end that could be the beginning of a secret, so that a person sees lines as they are written.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Take the next piece; returns what can be shown of it and of what was held back."""
        if not self._redactor:
            return chunk
        forms = self._redactor.forms
        text = self._held + chunk
        hold = forms.unfinished(text, 0)
        shown: list[str] = []
        position = 0
        for match in forms.pattern.finditer(text):
            if match.start() >= hold:
                break
            shown += (text[position : match.start()], HIDDEN)
            position = match.end()
            if position > hold:
                hold = forms.unfinished(text, position)
        shown.append(text[position:hold])
        self._held = text[hold:]
        return "".join(shown)

    @property
    def holds(self) -> bool:
        """Whether the end of the last piece is held back."""
        return bool(self._held)

    def flush(self) -> str:
        """What was still held back; the stream is at its end."""
        held, self._held = self._held, ""
        return self._redactor.redact(held)

    def __repr__(self) -> str:
        return f"StreamRedactor({self._redactor!r})"


class _Forms:
    """All texts to hide: one pattern that finds them, and a way to see whether a text ends in the midst of one."""

    def __init__(self, forms: Iterable[str]) -> None:
        ordered = sorted(forms)
        self.pattern = re.compile(_trie(ordered))
        self._longest = max(map(len, ordered), default=0)
        self._by_head = {head: tuple(group) for head, group in groupby(ordered, key=lambda form: form[:_HEAD])}
        # Longest heads first: of two that begin alike the shorter one would hide the other.
        heads = sorted(self._by_head, key=len, reverse=True)
        self._heads = re.compile(f"(?=({'|'.join(map(re.escape, heads))}))")
        self._short_beginnings = {form[:size] for form in ordered for size in range(1, min(_HEAD, len(form)))}

    def unfinished(self, text: str, start: int) -> int:
        """Where the longest end of ``text[start:]`` begins that more text could make a secret; its length if none."""
        size = len(text)
        for match in self._heads.finditer(text, max(start, size - self._longest + 1)):
            end = text[match.start() :]
            for form in self._by_head[match[1]]:
                if len(form) > len(end) and form.startswith(end):
                    return match.start()
        for length in range(min(_HEAD - 1, size - start), 0, -1):
            if text[size - length :] in self._short_beginnings:
                return size - length
        return size


def _trie(ordered: list[str]) -> str:
    """A pattern for any of these texts, the longest first. Shared beginnings are written, and tried, once."""
    alternatives = []
    for _, group in groupby((text for text in ordered if text), key=lambda text: text[0]):
        texts = list(group)
        beginning = commonprefix(texts)  # noqa: RUF071 - characters, not paths
        alternatives.append(re.escape(beginning) + _trie([text[len(beginning) :] for text in texts]))
    if not alternatives:
        return ""
    return f"(?:{'|'.join(alternatives)})" + ("?" if ordered[0] == "" else "")


def _forms(secret: str) -> Iterator[str]:
    for value in {secret, secret.strip()}:
        yield value
        yield from _base64_forms(value.encode("utf-8", "surrogatepass"))
        yield from _json_forms(value)
        yield from _url_forms(value)


def _base64_forms(value: bytes) -> Iterator[str]:
    encoded = base64.b64encode(value).decode("ascii")
    found = {encoded, encoded.rstrip("=")}
    # Inside a longer text the value begins at one of three places of a group of three bytes; the characters that it
    # shares with its neighbours differ, those between do not.
    for offset in range(3):
        shifted = base64.b64encode(b"\0" * offset + value).decode("ascii")
        core = shifted[(offset * 8 + 5) // 6 : (offset + len(value)) * 8 // 6]
        if len(core) >= _MIN_EMBEDDED_BASE64:
            found.add(core)
    for text in found:
        yield text
        yield text.translate(str.maketrans("+/", "-_"))


def _json_forms(value: str) -> Iterator[str]:
    for ascii_only in (True, False):
        quoted = json.dumps(value, ensure_ascii=ascii_only)
        for text in (quoted, quoted.replace("/", "\\/")):
            # A value that JSON leaves as it is is found by its plain form, and its quotes stay.
            if text[1:-1] != value:
                yield text
                yield text[1:-1]


def _url_forms(value: str) -> Iterator[str]:
    for encode, safe in ((quote, ""), (quote, "/"), (quote_plus, "")):
        text = encode(value, safe=safe, errors="surrogatepass")
        yield text
        yield re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text)
