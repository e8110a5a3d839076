"""Plain text: nothing of a feed's HTML, scripts or unseen signs is left."""

import pytest

from providers.news.plain import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Bitcoin rises", "Bitcoin rises"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("Bit<b>coin</b> &amp; co", "Bitcoin & co"),
        ("It&#8217;s &amp;amp; it &amp;lt; that", "It’s & it < that"),
        ("R&D at AT&T <3", "R&D at AT&T <3"),
        ("one <script>alert('x')</script>two", "one two"),
        ("&lt;script&gt;alert('x')&lt;/script&gt;two", "two"),
        ("<img src=x onerror=alert(1)>two", "two"),
        ("<style>p {}</style><!-- note -->two", "two"),
        ("a\n\t b\xa0 c", "a b c"),
        ("\u202egnp.exe\u202c zero\u200bwidth \x1b[31mred\x07", "gnp.exe zerowidth [31mred"),
        ("👩\u200d💻 works", "👩\u200d💻 works"),
        ("Cafe\u0301", "Café"),
        ("", ""),
        ("<p></p>", ""),
    ],
)
def test_text_is_plain(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_a_long_text_is_cut_at_a_word() -> None:
    assert plain_text("one two three four", 14) == "one two three…"
    assert plain_text("a" * 40, 10) == "a" * 9 + "…"
    assert plain_text("one two", 7) == "one two"
