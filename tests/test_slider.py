"""The slider over n: every value is there in words, n is chosen without a script."""

import pytest
from test_page import Page

from rslib import slider
from rslib.errors import ConfigError, DataError


def estimate(mean):
    return {"mean": mean, "low": mean - 0.5, "high": mean + 0.5}


def table(gold=True):
    rows = [
        {"n": n, "proxy": estimate(k), "gold": estimate(4 - (k - 1) ** 2) if gold else None}
        | {"below_peak": {"difference": -1.0, "low": -2.0, "high": -0.4} if gold else None}
        for k, n in enumerate([1, 4, 16])
    ]
    return {"pool_size": 16, "prompts": 9, "peak_n": 4 if gold else None, "rows": rows}


def test_each_n_has_its_sentence_and_the_summary_closes():
    lines = str(slider.best_of_n_slider(table(), reward="reward <tiny>")).splitlines()
    assert lines[1] == "n = 4: reward <tiny> 1.00 [0.50, 1.50], gold 4.00 [3.50, 4.50]"
    assert lines[-1].endswith("gold is highest at n = 4 and lower at n = 16: -1.00 [-2.00, -0.40].")


def test_the_html_is_closed_escaped_and_has_no_script():
    page = Page()
    made = slider.best_of_n_slider(table(), reward="<script>x</script>")._repr_html_()
    page.feed(made)
    assert not page.open and "script" not in {tag for tag, _ in page.tags}
    buttons = [attributes for tag, attributes in page.tags if tag == "input"]
    assert [b["type"] for b in buttons] == ["radio"] * 3 and [("checked" in b) for b in buttons] == [0, 0, 1]


def test_without_gold_there_is_one_curve():
    shown = slider.best_of_n_slider(table(gold=False), start=1)
    assert "gold" not in str(shown).split("\n")[0] and shown._repr_html_().count("<polyline") == 1


def test_what_has_no_interval_or_is_no_n_is_refused():
    with pytest.raises(ConfigError, match="start is 3"):
        slider.best_of_n_slider(table(), start=3)
    without = table()
    without["rows"][0]["gold"]["low"] = None
    with pytest.raises(DataError, match="no interval"):
        slider.best_of_n_slider(without)


drive = pytest.importorskip("tests.browser")


@pytest.mark.long
@pytest.mark.skipif(not (drive.CHROMIUM and drive.DRIVER), reason="needs chromium and chromedriver")
def test_in_chromium_the_arrow_keys_choose_n_and_it_fits_a_phone(tmp_path):
    page = tmp_path / "page.html"
    made = slider.best_of_n_slider(table())._repr_html_()
    page.write_text(f"<!doctype html><meta name=color-scheme content='light dark'>{made}", encoding="utf-8")
    with drive.chromium() as driver:
        driver.get(page.as_uri())
        driver.find_element("css selector", "input:checked").send_keys(drive.Keys.ARROW_LEFT)
        shown = [p.text for p in driver.find_elements("css selector", ".rs-shown p") if p.is_displayed()]
        assert shown == ["n = 4: reward 1.00 [0.50, 1.50], gold 4.00 [3.50, 4.50]"]
        drive.emulate(driver, 400, "dark")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
