"""Reports in a real browser: nothing fetched, nothing wrong, every picture drawn, nothing wider than a phone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = [path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()][:1]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("study", "run", "ramp", "invalid", "failed", "predicted", "begun")
PHONE, DESK = 360, 1200
MAX_BYTES = 1_000_000


# Of this module and no longer: while it is open its event loop is the running one of this thread.
@pytest.fixture(scope="module", params=BROWSERS)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=request.param, args=list(FLAGS))
        yield opened
        opened.close()


class Opened:
    """A page, and all that it said and fetched."""

    def __init__(self, browser: Browser, path: Path, width: int = DESK, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **context)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.fetched: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()

    def widths(self) -> tuple[int, int]:
        """Of what is there, and of the window."""
        return (
            self.page.evaluate("document.documentElement.scrollWidth"),
            self.page.evaluate("document.documentElement.clientWidth"),
        )


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_quiet_and_no_wider_than_its_window(
    browser: Browser, pages: Mapping[str, Path], name: str, width: int
) -> None:
    with Opened(browser, pages[name], width) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        there, window = opened.widths()
        assert there <= window == width
        assert opened.fetched == [pages[name].as_uri()]
        assert opened.said == []
        assert opened.page.locator("h1").count() == 1
        assert pages[name].stat().st_size < MAX_BYTES


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize(
    ("name", "num"), [("study", 4), ("run", 6), ("ramp", 2), ("predicted", 3), ("failed", 0)]
)
def test_every_picture_is_drawn_with_a_name_and_its_numbers(
    browser: Browser, pages: Mapping[str, Path], name: str, num: int, width: int
) -> None:
    with Opened(browser, pages[name], width) as opened:
        sizes = opened.page.evaluate(
            """[...document.querySelectorAll('figure')].map((one) => {
                const shown = [...one.querySelectorAll('svg')].filter((svg) => svg.checkVisibility());
                const box = shown[0].getBoundingClientRect();
                const inked = [...shown[0].querySelectorAll('path, use')].filter((path) => {
                    const size = path.getBoundingClientRect();
                    return size.width + size.height > 0;
                });
                return [shown.length, box.width, box.height, inked.length, shown[0].getAttribute('aria-label').length,
                        one.querySelectorAll('details table tbody tr').length];
            })"""
        )
        assert len(sizes) == num
        for shown, drawn_width, height, inked, alt, rows in sizes:
            assert shown == 1
            assert min(drawn_width, height) > 90
            assert inked > 8
            assert alt > 20
            assert rows >= 1


def test_text_in_pictures_can_be_read_on_a_phone(browser: Browser, pages: Mapping[str, Path]) -> None:
    with Opened(browser, pages["study"], PHONE) as opened:
        smallest = opened.page.evaluate(
            """Math.min(...[...document.querySelectorAll('figure svg.narrow text')].map((text) => {
                const drawn = text.ownerSVGElement;
                const scale = drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width;
                return parseFloat(getComputedStyle(text).fontSize) * scale;
            }))"""
        )
        assert smallest >= 10


def test_what_is_in_a_picture_stays_in_it(browser: Browser, pages: Mapping[str, Path]) -> None:
    """The browser's own font may be wider than the one that the picture was laid out with."""
    for name in ("study", "run", "ramp"):
        for width in (PHONE, DESK):
            with Opened(browser, pages[name], width) as opened:
                outside = opened.page.evaluate(
                    """[...document.querySelectorAll('figure svg text')].filter((text) => {
                        const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
                        return frame.width && (box.left < frame.left - 4 || box.right > frame.right + 4);
                    }).map((text) => text.textContent)"""
                )
                assert outside == []


def test_the_table_of_trials_is_sorted_by_a_click_and_by_a_key(
    browser: Browser, pages: Mapping[str, Path]
) -> None:
    column = "[...document.querySelectorAll('table.sortable tbody tr')].map((row) => Number(row.cells[0].dataset.key))"
    with Opened(browser, pages["study"]) as opened:
        before = opened.page.evaluate(column)
        head = opened.page.locator("table.sortable th button").first
        head.click()
        assert opened.page.evaluate(column) == sorted(before) != before
        head.press("Enter")
        assert opened.page.evaluate(column) == sorted(before, reverse=True)
        rates = (
            "[...document.querySelectorAll('table.sortable tbody tr')].map((row) => row.cells[2].dataset.key)"
        )
        opened.page.locator("table.sortable th button").nth(2).click()
        keys = [float(key) for key in opened.page.evaluate(rates) if key]
        assert keys == sorted(keys)


def test_without_script_everything_is_there(browser: Browser, pages: Mapping[str, Path]) -> None:
    with Opened(browser, pages["study"], java_script_enabled=False) as opened:
        assert opened.page.locator("table.sortable tbody tr").count() == 19
        assert opened.page.locator("figure svg:visible").count() == 4


def test_in_the_dark_page_and_pictures_change_together(browser: Browser, pages: Mapping[str, Path]) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with Opened(browser, pages["study"], color_scheme=scheme) as opened:
            colours[scheme] = opened.page.evaluate(
                """['body', 'figure svg text'].map((one) => {
                    const style = getComputedStyle(document.querySelector(one));
                    return [style.backgroundColor, style.fill];
                })"""
            )
    assert colours["light"][0][0] == "rgb(255, 255, 255)"
    assert colours["dark"][0][0] == "rgb(20, 23, 27)"
    assert colours["light"][1][1] != colours["dark"][1][1]


def test_on_paper_it_is_light_and_open(browser: Browser, pages: Mapping[str, Path]) -> None:
    with Opened(browser, pages["run"], color_scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert opened.page.locator("details:not([open])").count() == 0


def test_an_invalid_run_says_so_in_the_largest_letters(browser: Browser, pages: Mapping[str, Path]) -> None:
    with Opened(browser, pages["invalid"], PHONE) as opened:
        banner = opened.page.locator(".banner strong")
        assert banner.inner_text() == "INVALID"
        size = "(one) => parseFloat(getComputedStyle(one).fontSize)"
        assert banner.evaluate(size) >= opened.page.locator("h1").evaluate(size)
        assert "fell behind" in opened.page.locator(".banner").inner_text()
