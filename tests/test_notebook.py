"""What a notebook shows of the objects that people hold, and the HTML that it is made of."""

import pytest

from embedfreeze import htmltext


def test_escape_leaves_no_markup_and_nothing_unseen() -> None:
    hostile = '<script>alert("1")</script>&\'\x00\x1b[31m\u202e\ud800\n'
    told = htmltext.escape(hostile)
    assert not set("<>\"'\x00\x1b\u202e\ud800\n") & set(told)
    assert "\\u202e\\ud800\\n" in told
    assert told.encode()
    assert htmltext.escape("plain caf\u00e9") == "plain caf\u00e9"


@pytest.mark.parametrize("hostile", ["<b>", '"><img src=x>', "a&b"])
def test_only_html_is_taken_as_it_is(hostile: str) -> None:
    safe = htmltext.escape(hostile)
    assert htmltext.cell(htmltext.Html(hostile)) == hostile
    assert htmltext.element("p", hostile, title=hostile) == f'<p title="{safe}">{safe}</p>'
    assert htmltext.join([hostile, 1], hostile) == f"{safe}{safe}1"
    shown = htmltext.panel(
        hostile,
        htmltext.table([hostile], [[hostile, hostile]], caption=hostile, numbers=[1]),
        htmltext.facts({hostile: hostile, "left out": None}),
        htmltext.code(hostile),
    )
    assert hostile not in shown
    assert shown.count(safe) == 8
    assert "left out" not in shown
