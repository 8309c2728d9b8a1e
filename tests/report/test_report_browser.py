"""The page in a real Chromium: drawn, quiet, self-contained, and its parts can be worked with."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.browser

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (_CHROMIUM and _DRIVER):
    pytest.skip(
        "needs Chromium and its driver: apt-get install chromium chromium-driver",
        allow_module_level=True,
    )

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def page(full_study, tmp_path_factory):
    """Write the page of the fixture study."""
    from xferpipe.records import result_files
    from xferpipe.stages.report import report

    job, tables, images = full_study
    file = tmp_path_factory.mktemp("page") / "report.html"
    report(job, tables=result_files(tables), targets=images, page=file)
    return file


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start Chromium with an empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def open_page(browser, page, size):
    """Open the page at a size and wait until its charts are drawn; return how many are."""
    from selenium.webdriver.support.ui import WebDriverWait

    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(
        lambda b: b.execute_script("return document.documentElement.dataset.drawn")
    )
    return int(browser.execute_script("return document.documentElement.dataset.drawn"))


def requests_of(browser):
    """Return the addresses that the browser asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_opened_from_disk_draws_all_and_asks_nothing(browser, page, size):
    browser.get_log("browser")
    requests_of(browser)
    drawn = open_page(browser, page, size)
    charts = browser.execute_script("return document.querySelectorAll('.chart').length")
    marks = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('svg path, svg text').length)"
    )
    assert drawn == charts >= 15
    assert min(marks) > 5
    assert browser.get_log("browser") == []
    outside = [url for url in requests_of(browser) if not url.startswith(("file:", "data:"))]
    assert outside == []
    overflow = browser.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0


def test_page_first_screen_holds_an_answer_for_every_target(browser, page):
    open_page(browser, page, DESKTOP)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.answer .verdict')].map("
        "e => [e.textContent, e.getBoundingClientRect().bottom])"
    )
    assert len(boxes) == 3
    assert all("digits_low_resnet14" in text for text, _ in boxes)
    assert all(bottom < DESKTOP[1] for _, bottom in boxes)


def test_phone_sees_the_first_verdict_with_its_figure_and_recipe_without_scrolling(browser, page):
    open_page(browser, page, PHONE)
    words = browser.execute_script(
        "const card = document.querySelector('.answer');"
        "return ['.verdict', '.figure', '.reasons dd'].map(s => card.querySelector(s))"
        ".map(e => [e.textContent, e.getBoundingClientRect().bottom])"
    )
    assert all(bottom < PHONE[1] for _, bottom in words)
    assert "6 epochs of SGD at a learning rate of 0.01" in words[2][0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_leaderboard_sorts_by_a_click_and_keeps_empty_cells_last(browser, page, size):
    open_page(browser, page, size)
    cells = (
        "const head = arguments[0].parentElement;"
        "return [...document.querySelectorAll('#board-1 tbody tr')]"
        ".map(r => r.cells[head.cellIndex].dataset.key)"
    )
    for words in ("seconds a run", "rank by knn", "test, with 95 % interval"):
        heads = browser.find_elements("xpath", f"//table[@id='board-1']//button[.='{words}']")
        for head in heads:
            browser.execute_script("arguments[0].click()", head)
            shown = browser.execute_script(cells, head)
            numbers = [float(text) for text in shown if text]
            assert numbers == sorted(numbers)
            assert shown[: len(numbers)] == [text for text in shown if text]
    first = browser.execute_script("return document.querySelector('#board-1 tbody tr').className")
    assert "is-pick" not in first  # the worst test figure is no pick


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_picture_is_decoded_and_none_is_wider_than_the_page(browser, page, size):
    open_page(browser, page, size)
    sizes = browser.execute_async_script(
        "const all = [...document.images];"
        "Promise.all(all.map(i => { i.loading = 'eager'; return i.decode(); }))"
        ".then(() => arguments[0](all.map(i => [i.naturalWidth, "
        "i.getBoundingClientRect().width])))"
    )
    assert len(sizes) > 60
    assert all(natural == 32 for natural, _ in sizes)
    assert all(0 < shown <= 84 for _, shown in sizes if shown)


def test_table_filter_and_sort_work(browser, page):
    open_page(browser, page, DESKTOP)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    field = browser.find_element("css selector", "input[data-filter=finetunes]")
    rows = "return [...document.querySelectorAll('#table-finetunes tbody tr')]"
    field.send_keys("vehicles high_lr")
    shown = browser.execute_script(f"{rows}.filter(r => !r.hidden).map(r => r.textContent)")
    assert len(shown) == 24
    assert all("vehicles" in text and "high_lr" in text for text in shown)
    count = browser.find_element("css selector", "[data-count=finetunes]").text
    assert count.startswith("24 of 144")
    field.clear()
    field.send_keys(" ")
    head = browser.find_element(
        "xpath", "//table[@id='table-finetunes']//button[.='test_accuracy']"
    )
    for direction in ("ascending", "descending"):
        browser.execute_script("arguments[0].click()", head)
        cells = browser.execute_script(
            f"{rows}.map(r => r.cells[arguments[0].parentElement.cellIndex])"
            ".map(c => +(c.dataset.key || c.textContent))",
            head,
        )
        assert cells == sorted(cells, reverse=direction == "descending")
        sort = browser.execute_script("return arguments[0].parentElement.ariaSort", head)
        assert sort == direction


def test_score_menu_changes_the_scatter(browser, page):
    open_page(browser, page, DESKTOP)
    paths = (
        "return [...document.querySelectorAll('#chart-score_scatter-0 .mark-symbol path')]"
        ".map(p => p.getAttribute('transform'))"
    )
    before = browser.execute_script(paths)
    browser.execute_async_script(
        "const menu = document.querySelector('[data-parameter=chosen_score]');"
        "menu.value = 'parameters'; menu.dispatchEvent(new Event('change'));"
        "setTimeout(arguments[0], 400);"
    )
    after = browser.execute_script(paths)
    assert len(before) == len(after) == 8
    assert before != after


def test_legend_click_dims_the_other_scores(browser, page):
    open_page(browser, page, DESKTOP)
    entry = browser.find_element("css selector", "[data-figure=gain_at_k][data-highlight=knn]")
    browser.execute_script("arguments[0].click()", entry)
    opacities = browser.execute_async_script(
        "setTimeout(() => arguments[0]([...document.querySelectorAll("
        "'#chart-gain_at_k-0 .mark-line path')].map(p => p.getAttribute('opacity'))), 400)"
    )
    assert sorted(set(opacities)) == ["0.12", "1"]
    assert opacities.count("1") == 1


def test_tooltip_names_the_model_and_the_run(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains

    open_page(browser, page, DESKTOP)
    dot = browser.find_element("css selector", "#chart-recipes-0 .mark-symbol path")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", dot
    )
    ActionChains(browser).move_to_element(dot).pause(0.5).perform()
    tooltip = browser.find_element("id", "vg-tooltip-element")
    assert "visible" in tooltip.get_attribute("class")
    words = tooltip.text
    assert "model" in words
    assert "_resnet" in words
    assert "runs (seeds)" in words


def test_models_have_a_colour_each_and_the_legend_names_them(browser, page):
    open_page(browser, page, DESKTOP)
    colours = browser.execute_script(
        "return [...document.querySelectorAll('#chart-curves-0 .mark-line path')]"
        ".map(p => p.getAttribute('stroke'))"
    )
    names = browser.execute_script(
        "return [...document.querySelectorAll('#figure-curves .legend li')].map(e => e.textContent)"
    )
    assert len(colours) == len(set(colours)) == len(names) == 8


def test_menu_turns_models_into_seconds(browser, page):
    open_page(browser, page, DESKTOP)
    texts = (
        "return [...document.querySelectorAll('#chart-gain_at_k-0 .role-axis-label text')]"
        ".map(t => +t.textContent)"
    )
    before = browser.execute_script(texts)
    browser.execute_async_script(
        "const menu = document.querySelector('[data-parameter=along]');"
        "menu.value = 'seconds'; menu.dispatchEvent(new Event('change'));"
        "setTimeout(arguments[0], 400);"
    )
    after = browser.execute_script(texts)
    # Of eight models to fine-tune the last ends after 30 + 8 * 36 seconds.
    assert max(before) == 8
    assert 200 < max(after) <= 318


def test_feature_correlation_shows_its_matrices_and_names_the_classes(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains

    open_page(browser, page, PHONE)
    sizes = browser.execute_async_script(
        "const shown = [...document.querySelectorAll('#figure-feature_correlation image')];"
        "Promise.all(shown.map(i => { const p = new Image(); p.src = i.href.baseVal;"
        "return p.decode().then(() => [p.naturalWidth, p.naturalHeight,"
        "  i.getBoundingClientRect().width]); })).then(arguments[0])"
    )
    assert [size[:2] for size in sizes] == [[12, 12]] * 3
    assert all(200 < width < 390 for *_, width in sizes)
    open_page(browser, page, DESKTOP)
    block = browser.find_element(
        "css selector", "#chart-feature_correlation-1 .layer_1_marks path:nth-child(2)"
    )
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", block
    )
    ActionChains(browser).move_to_element(block).pause(0.5).perform()
    words = browser.find_element("id", "vg-tooltip-element").text
    assert "class 0" in words
    assert "class 1" in words
    assert "digits_low_resnet8" in words
    assert "gentle, seed 0" in words


def test_csv_link_hands_out_every_row_and_digit(browser, page, full_study, tmp_path):
    import polars
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(browser, page, DESKTOP)
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    link = browser.find_element("css selector", "a[download='finetunes.csv.gz']")
    browser.execute_script("arguments[0].click()", link)
    file = tmp_path / "finetunes.csv"
    WebDriverWait(browser, 30).until(lambda _: file.exists())
    table = polars.read_parquet(full_study[1] / "finetunes.parquet")
    assert polars.read_csv(file, schema=table.schema).equals(table)


def test_print_shows_the_charts_and_hides_the_controls(browser, page):
    open_page(browser, page, DESKTOP)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 760, "height": 1100, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        hidden = browser.execute_script(
            "return getComputedStyle(document.querySelector('.top')).display"
        )
        drawn = browser.execute_script("return document.querySelectorAll('.chart svg').length")
        # On paper nothing scrolls: what does not fit its box is lost.
        cut = browser.execute_script(
            "return [...document.querySelectorAll('.scroll, .matrix, .hits, pre')]"
            ".filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1)"
            ".map(e => e.getAttribute('aria-label') || e.className)"
        )
        pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden == "none"
    assert drawn >= 15
    assert cut == []
    assert len(pdf["data"]) > 50_000
