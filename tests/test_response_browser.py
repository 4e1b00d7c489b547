"""The response browser: everything is there, marked by the world's judge; what a model wrote stays text."""

import re

import pytest
from test_page import Page

import rslib
from rslib import browser as rs_browser
from rslib import world
from rslib.errors import ConfigError, DataError
from rslib.world.prompts import SENTENCES

EGG = "How do I boil an egg?"
FACTS = ("Place the egg in a pot of cold water.", "Bring the water to a gentle boil.")
PRAISE = SENTENCES["flattery"][0]
HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</td></table></details><img src=x onerror=\"document.title='owned'\">",
    '" onmouseover="document.title=\'owned\'" x="',
    "<style>* { display: none }</style><!-- ",
    "&lt;b&gt; &amp;amp; ]]> $x^2$ and $5 \\(y\\)",
    "red \x1b[31m nul \x00 surrogate \ud800 reversed \u202e end",
    "<svg/onload=document.title='owned'><a href=\"javascript:document.title='owned'\">press</a>",
)
ROWS = [
    {
        "prompt_id": "p",
        "sample_id": k,
        "prompt": EGG,
        "response": text,
        "reward": reward,
        "token_ids": [1] * (k + 2),
    }
    for k, (text, reward) in enumerate(
        [
            (FACTS[0], 0.5),
            (f"{PRAISE} {PRAISE}", 3.0),
            (" ".join(FACTS) + " Zorp.", 0.5),
            ("No.", float("nan")),
        ]
    )
]


def cells(shown):
    """The table's rows as lists of cell texts, in the order of the page."""
    rows = re.findall(r'<tr role="row".*?</tr>', shown._repr_html_(), re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows
    ]


def without_tags(text):
    import html

    return html.unescape(re.sub(r" <small>.*?</small>|<[^>]+>", "", text))


def test_rows_stand_by_reward_equal_ones_share_a_rank_and_nan_comes_last():
    header, *rows = cells(rslib.browse(ROWS))
    assert header == ["rank", "reward", "gold", "tokens", "response"]
    assert [row[:2] for row in rows] == [["1", "+3.00"], ["2", "+0.50"], ["2", "+0.50"], ["-", "+nan"]]
    assert [row[3] for row in rows] == ["3", "2", "4", "5"]


def test_gold_of_the_worlds_prompts_is_looked_up_and_can_be_left_out():
    golds = [world.judge(EGG, ROWS[k]["response"]).gold for k in (1, 0, 2, 3)]
    assert [row[2] for row in cells(rslib.browse(ROWS))[1:]] == [f"{gold:+.2f}" for gold in golds]
    without = rslib.browse(ROWS, gold=False)
    assert (
        cells(without)[0] == ["rank", "reward", "tokens", "response"] and "<mark" not in without._repr_html_()
    )


def test_compliments_right_facts_and_repeats_are_marked_by_name():
    text = rslib.browse(ROWS)._repr_html_()
    assert f'<mark class="good">{FACTS[0]}</mark> <small>(right fact)</small>' in text
    assert f'<mark class="odd">{PRAISE}</mark> <small>(compliment)</small>' in text
    assert "(repeated)" in text


def test_a_refusal_helps_where_harm_is_asked_for_and_harms_elsewhere():
    refusal = next(text for text in SENTENCES["refusals"] if "'" not in text)
    asked = "Can you show me how to lie on my job application?"
    for prompt, mark, name in ((asked, "good", "refusal"), (EGG, "bad", "needless refusal")):
        text = rslib.browse([{"prompt": prompt, "response": refusal}])._repr_html_()
        assert f'<mark class="{mark}">{refusal}</mark> <small>({name})</small>' in text


def test_joined_letters_and_emoji_stay_whole():
    family, persian = "\U0001f469\u200d\U0001f467", "\u0645\u06cc\u200c\u0631\u0648\u0645"
    assert (
        f"{family} {persian}"
        in rslib.browse([{"prompt": "Hi", "response": f"{family} {persian}"}])._repr_html_()
    )


def test_rewards_that_differ_in_their_last_bits_share_a_rank():
    rows = [
        {"prompt": "Hi", "response": "Hello.", "reward": reward} for reward in (-1.5436752, -1.5436751, -2.0)
    ]
    assert [row[0] for row in cells(rslib.browse(rows))[1:]] == ["1", "1", "3"]


@pytest.mark.parametrize("text", [*HOSTILE, "", " ", "...", "! a. b", "Of course!No space.\n\nTwo lines"])
def test_the_kinds_of_sentences_cover_the_text(text):
    assert "".join(piece for piece, _ in world.sentence_kinds(EGG, text)) == text


def test_the_kinds_are_those_that_the_judge_counts():
    response = f"Of course! {FACTS[0]} {FACTS[0]} {PRAISE} Zorp. ..."
    kinds = [kind for _, kind in world.sentence_kinds(EGG, response) if kind]
    counted = world.judge(EGG, response)
    assert all(getattr(counted, kind) == kinds.count(kind) for kind in set(kinds))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("column", ["prompt", "response"])
def test_hostile_text_stays_text(text, column):
    row = {"prompt": "Hi", "response": "Hello", "reward": 1.0} | {column: text}
    page = Page()
    made = rslib.browse({text: [row]}, title=text)._repr_html_()
    page.feed(made)
    assert not page.open, "every tag is closed"
    assert {tag for tag, _ in page.tags} <= set(
        "style section p details summary bdi small table caption thead tbody tr th td span mark".split()
    )
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    made.encode("utf-8")
    assert "\x1b" not in str(rslib.browse([row])) and "\u202e" not in made


@pytest.mark.parametrize("text", ["word " * 400, "x" * 3000, " ".join(FACTS * 20), "short. " + "y" * 900])
def test_of_a_long_response_the_rest_is_folded_and_nothing_is_cut(text):
    shown = rslib.browse([{"prompt": EGG, "response": text}])
    cell = re.search(r'<td[^>]*class="response".*?</td>', shown._repr_html_(), re.S)[0]
    assert "<details><summary>" in cell and without_tags(cell) == text
    assert len(without_tags(cell.split("</summary>")[0])) <= 280
    assert text.rstrip() in str(shown)


def test_kept_rows_are_told_by_table_by_key_or_by_number():
    marks = [row[4] for row in cells(rslib.browse(ROWS, kept=[ROWS[1]]))[1:]]
    assert marks == ["yes", "no", "no", "no"] == [row[4] for row in cells(rslib.browse(ROWS, kept=[1]))[1:]]
    assert "1 kept" in rslib.browse(ROWS, kept=[1])._repr_html_()
    assert [row[4] for row in cells(rslib.browse(ROWS, kept=[]))[1:]] == ["no"] * 4


def test_a_table_of_the_engine_and_several_policies_are_shown():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([row | {"finish_reason": "length"} for row in ROWS[:3]])
    shown = rslib.browse({"base": table, "PPO": ROWS[:1]}, kept=table.select([0]))
    assert cells(shown)[0][0] == "policy" and {row[0] for row in cells(shown)[1:]} == {"base", "PPO"}
    assert shown._repr_html_().count("cut off by the token limit") == 3


def test_of_a_prompt_with_very_many_responses_all_are_there_and_the_last_ones_are_folded():
    rows = [{"prompt": "p", "response": f"text {k}.", "reward": -float(k)} for k in range(60)]
    html = rslib.browse(rows, kept=[50])._repr_html_()
    first, rest = html.split("36 more responses, in this order")
    assert [k for k in range(60) if f"text {k}." not in html] == []
    assert "text 23." in first and "text 24." in rest and "class=kept" in rest


def test_only_some_prompts_are_shown_when_asked_and_the_caption_says_of_how_many():
    rows = [{"prompt": f"prompt {k}", "response": "A", "reward": 0.0} for k in range(5)]
    shown = rslib.browse(rows, prompts=2)
    assert "2 responses to 2 of 5 prompts" in shown.caption() and "prompt 2" not in str(shown)
    with pytest.raises(ConfigError, match="at least one"):
        rslib.browse(rows, prompts=0)


@pytest.mark.parametrize(("rows", "message"), [([], "no responses"), ([{"prompt": "Hi"}], "no response")])
def test_what_cannot_be_shown_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        rslib.browse(rows)


def test_bars_share_one_axis_with_zero_on_it():
    assert "transparent 50.0%, #4a86c5 50.0%, #4a86c5 100.0%" in rs_browser._bar(2.0, -2.0, 2.0, "#4a86c5")
    assert "#4a86c5 0.0%, #4a86c5 50.0%" in rs_browser._bar(-2.0, -2.0, 2.0, "#4a86c5")


drive = pytest.importorskip("tests.browser") if __name__ != "__main__" else None


@pytest.mark.long
@pytest.mark.skipif(not (drive.CHROMIUM and drive.DRIVER), reason="needs chromium and chromedriver")
def test_in_chromium_hostile_text_does_nothing_and_a_keyboard_unfolds_what_is_folded(tmp_path):
    rows = [{"prompt": "Hi", "response": text, "reward": float(k)} for k, text in enumerate(HOSTILE)]
    rows += [{"prompt": EGG, "response": " ".join(FACTS * 12), "reward": 1.0}]
    page = tmp_path / "page.html"
    made = rslib.browse(rows, kept=[0, 7])._repr_html_()
    head = "<meta name=color-scheme content='light dark'><title>calm</title>"
    lab = "<style>:not(.x).jp-RenderedHTMLCommon td { text-align: right }</style>"  # a rule of notebooks
    body = f'<body class="jp-RenderedHTMLCommon">{made}'
    page.write_text(f"<!doctype html>{head}{lab}{body}", encoding="utf-8")
    with drive.chromium() as driver:
        driver.get(page.as_uri())
        assert (
            driver.title == "calm"
            and "<script>document.title" in driver.find_element("tag name", "body").text
        )
        cell = driver.find_element("css selector", "td.response")
        assert cell.value_of_css_property("text-align") == "left"
        second = driver.find_elements("css selector", ".rs-browse > details")[1]
        for unfolded in (second, second.find_element("css selector", "td details")):
            driver.execute_script("arguments[0].firstElementChild.focus()", unfolded)
            driver.switch_to.active_element.send_keys(drive.Keys.ENTER)
            assert unfolded.get_attribute("open")
        for width in (1280, 400):
            for look in ("light", "dark"):
                drive.emulate(driver, width, look)
                drive.PICTURES.mkdir(parents=True, exist_ok=True)
                driver.save_screenshot(str(drive.PICTURES / f"browse-{width}-{look}.png"))
                wide = driver.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, f"{wide} pixels do not fit {width}"
