from hypothesis import given
from hypothesis.strategies import text

from trivet.report.html import Markup, document, joined, prose, slug, tag


@given(text())
def test_text_never_becomes_markup(content: str) -> None:
    assert tag("p", content).count("<") == 2
    assert tag("p", title=content).count('"') == 2


def test_elements_and_attributes() -> None:
    assert (
        tag("td", "a & b", class_="number", data_key="1") == '<td class="number" data-key="1">a &amp; b</td>'
    )
    assert tag("p", None, ["x", [Markup("<b>y</b>")]], hidden=True, id=None) == "<p hidden>x<b>y</b></p>"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert joined("<", Markup("<br>")) == "&lt;<br>"
    assert slug("Is it valid?") == "is-it-valid"


def test_prose_has_code_and_keeps_numbers_and_units_together() -> None:
    assert (
        prose("run `trivet <x>`: 4 ms, × 3, 95 %")
        == "run <code>trivet &lt;x&gt;</code>: 4\xa0ms, ×\xa03, 95\xa0%"
    )


def test_a_document_has_nothing_from_elsewhere() -> None:
    page = document("a <title>", tag("p", "content"))
    assert "://" not in page
    assert "<title>a &lt;title&gt;</title>" in page
    assert "default-src 'none'" in page
