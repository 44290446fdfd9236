"""Values that break writers of env files: traps, short strings by exhaustion, and a generator."""

from __future__ import annotations

import itertools
import string
import unicodedata

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

PEM = "-----BEGIN FAKE PRIVATE KEY-----\nZmFrZSBrZXk=\nbm90IGEga2V5\n-----END FAKE PRIVATE KEY-----\n"

# What some reader takes for more than a character, and what real secrets look like.
_TEXT_TRAPS = (
    "", " ", "  ", "\t", "\n", "\n\n", "\r", "\r\n", "\r\r", "a\r", "a\r\n", "a\rb", "\ra", "a\n", "\na",
    "'", "''", "'''", '"', '""', "`", "``", "'\"", "'\"`", "`'\"a", "a'\"`", "a'\"`b", "a'\"` ", " a'\"`",
    "a'\"`#b", "a'\"`\nb", "'\"'\"'", "'\\''", "\"'\"", "'; id; '", "it's", "it's \"x\"", "it's $5",
    "it's `x`",
    "it's a\\", "x'\nLD_PRELOAD='/evil.so", '"\nPATH="/evil', "a\nB='evil'", "a\nB=evil", "\nB=evil\n",
    "\\", "\\\\", "\\\\\\", "a\\", "a\\\\", "\\a", "\\\n", "a\\\nb", "\\n", "a\\nb", "\\\\n", "'\\n", "'`\\n",
    "\\'", '\\"', "\\`", "\\$", "\\${A}", "\\t", "\\u0041", "\\x41", "\\0", "C:\\new\\table", "\\r", "\\\r",
    "$", "$$", "$a", "a$", "$HOME", "${HOME}", "${", "${}", "$${A}", "${A", "${A:-b}", "${:-$}{", "${:-}",
    "$\\{A}", "$(id)", "$((1+1))", "${K0}", "${A}'", "${A}\\", "$'a'", "`id`", "'${K0}'", '"${K0}"',
    "#", "#a", "a#b", " #a", "a #b", "a # b", "'a' # b", '"a" #', ";", "; a", "a ; b", "=", "==", "a=b", "=a",
    "A=b\nC=d", "export A=b", "export", "-n", "-", "!", "!!", "a!b", "it's a!b", "~", "~root", "*", "a*", "?",
    "[a]", "{a,b}", "(a)", "a&b", "a|b", "%s", "%", "^", "@", ":", "a: b", ",", "true", "null", "0", "-1",
    "1e9",
    " a", "a ", " a ", "\ta", "a\t", "\va", "a\v", "\fa", "a\f", "a  b", "a\tb", "\xa0a\xa0", "\u3000a\u3000",
    "\x01", "\x07", "\x08", "\x1b[31m", "\x1a", "\x7f", "\x80", "\x85", "a\x85b", "\x9b", "\xad",
    "\u2028", "a\u2028b", "\u2029", "\ufeff", "\ufeffa", "a\ufeffb", "\u200b", "\u200d", "\u202ea\u202c",
    "\u2066a\u2069",
    "\xe9", "e\u0301", "\u212b", "\xc5", "A\u030a", "\ufb01", "\u1e9b\u0323", "\u0344", "\uac00",
    "\u1100\u1161", "\u2126", "\u03a9",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U00020000",
    "\U0001fffd", "\ufdcf", "\ufdf0", "\ufffd",
    "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff", "a\uffffb", "\0", "a\0", "a\0b",
    PEM, PEM.replace("\n", "\r\n"), PEM.rstrip(), PEM.replace("\n", "\\n"),
    '{"a": "it\'s \\"x\\"", "b": [1, null]}', '{"key": "a\\nb"}', "{'a': 'b'}", '{\n  "a": "$b"\n}',
    "https://user:p%40ss@example.test/a?b=c&d=e#f", "postgres://u:p$w@h/db?x='y'", "redis://:`p`@h:6379/0",
    "AbC+/dEf==", "$2b$12$notarealbcrypthash", "sk-fake-0123456789", "p@ss w0rd", 'a"b\'c`d\\e$f#g h\n',
)  # fmt: skip
_LONG_TRAPS = (
    "x" * 4096, "'" * 4096, "\\" * 4097, "$" * 4096, "\n" * 4096, "\xe9" * 4096, "a b" * 20_000, '"' * 30_000,
)  # fmt: skip
_BINARY_TRAPS = (
    b"\xff", b"\xfe\xff", b"a\x80b", b"\xc0\x80", b"\xc3", b"\xe2\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\xf5", b"\0\0", b"\x00\xff", bytes(range(256)), b"PK\x03\x04fake-keystore\x00\xff\n",
)  # fmt: skip
TRAPS = tuple(dict.fromkeys([*(text.encode() for text in (*_TEXT_TRAPS, *_LONG_TRAPS)), *_BINARY_TRAPS]))

_SIGNS = "'\"`\\$ {}#\n\ra=n"
_NASTY = (
    "'\"`\\$\n\r\t #;=!{}()&|*?~%^\v\f\x1b\x7f\x85\xa0\u2028\u2029\ufeff\u200b\u202e\u0301\u030a\xe9\u212b"
)
_FRAGMENTS = (
    "${", "}", "${K1}", "$(", "\\n", "\\r", "\\\\", "\\", "'\\''", "'\"'\"'", "\r\n", " #", "# ", "\n#",
    "\nK1=x\n",
    "export ", "K1=", "e\u0301", "\xe9", "\U0001f600", "\ufdd0", "\uffff",
    "-----BEGIN FAKE-----\n", '{"a": "b"}', "https://u:p@h/?a=b",
)  # fmt: skip

_pieces = st.one_of(
    st.sampled_from(_NASTY),
    st.sampled_from(_FRAGMENTS),
    st.sampled_from(string.ascii_letters + string.digits),
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
)
texts = st.one_of(
    st.lists(st.sampled_from(_SIGNS), max_size=8),
    st.lists(_pieces, max_size=12),
    # Once in a while, as a value of one kind of sign all over.
    st.lists(_pieces, min_size=1, max_size=3).flatmap(
        lambda few: st.lists(st.sampled_from(few), max_size=40)
    ),
).map("".join)
values = st.one_of(
    texts.map(str.encode),
    texts.map(str.encode),
    texts.map(str.encode),
    # Both forms of what Unicode takes for the same text.
    texts.map(lambda text: unicodedata.normalize("NFD", text).encode()),
    st.tuples(texts.map(str.encode), st.sampled_from([b"\0", b"\x80", b"\xc3", b"\xff"])).map(b"".join),
)


def short() -> list[bytes]:
    """Every value of up to three of the signs that mean something to a reader."""
    return [
        "".join(signs).encode() for length in range(4) for signs in itertools.product(_SIGNS, repeat=length)
    ]


def generated(count: int, *, number: int = 0) -> list[bytes]:
    """About `count` different values: the same for the same `number`, in the same version of hypothesis."""
    found: dict[bytes, None] = {}

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=values)
    def collect(value: bytes) -> None:
        found[value] = None

    collect()
    return list(found)


def corpus(count: int, *, number: int = 0) -> list[bytes]:
    """Traps, short strings and `count` generated values, each once."""
    return list(dict.fromkeys([*TRAPS, *short(), *generated(count, number=number)]))
