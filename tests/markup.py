"""Texts with which a learner would act in the browser of the person who grades, and where they may stand."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from autograder.grading.pages import CLOSE, OPEN, executed
from autograder.grading.plan import Cell, Notebook
from autograder.grading.rebuild import Rebuilt, Step

NONE: Mapping[str, Any] = {}
ACT = "window.acted=1"
FOCUS = f'tabindex=1 onfocus="{ACT}" autofocus'
TAGS = (
    f"<script>{ACT}</script>",
    f"<\\htmlx {FOCUS}>",
    f"<\\href\\htmlx {FOCUS}>",
    f"<\\requi\\requirere{{x}}b {FOCUS}>",
    f"<x {FOCUS}>x</x>",
    f"<\tb {FOCUS}>",
    f"<\u200bb {FOCUS}>",
    f"<\x00b {FOCUS}>",
    f"<\x01b {FOCUS}>",
    f"<\x1b[31mb {FOCUS}>",
    f"<\x9b31mb {FOCUS}>",
    f"</pre></code></div><b {FOCUS}>",
    f"\n</pre>\n\n<b {FOCUS}>",
    f"</textarea></script></style></title><b {FOCUS}>",
    f"<!--><b {FOCUS}>-->",
    f"<!--\n<b {FOCUS}>",
    f"<![CDATA[ ]]><b {FOCUS}>",
    f"]]><b {FOCUS}>",
    f"<?x?><b {FOCUS}>",
    f"<img src=x onerror='{ACT}'>",
    f'<svg onload="{ACT}"><script>{ACT}</script></svg>',
    f"<svg><style><img src=x onerror={ACT}></style></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={ACT}>",
    f"<noscript><p title='</noscript><img src=x onerror={ACT}>'>",
    f"<details open ontoggle={ACT}>x</details>",
    f"<iframe srcdoc='<script>parent.{ACT}</script>'></iframe>",
    f"<iframe src='javascript:parent.{ACT}'></iframe>",
    f"<object data='data:text/html,<script>{ACT}</script>'></object>",
    f"<form action=javascript:{ACT}><button autofocus>x</button></form>",
    "<base href=//evil.example/><link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style><meta http-equiv=refresh content='0;url=//evil.example'>",
    "<input class=score id=double value=100><textarea class=comment>",
)
WRITTEN = (
    f"[press](javascript:{ACT})",
    f"[press](java&#115;cript:{ACT})",
    f"[press]( \x01javascript:{ACT})",
    f"[press](\tjava\nscript:{ACT})",
    f"[press](data:text/html,<script>{ACT}</script>)",
    f"[press][1]\n\n[1]: javascript:{ACT}",
    f"[1]\n\n[1]:\njavascript:{ACT}\n'title'",
    f"<javascript:{ACT}>",
    "<https://evil.example> https://evil.example www.evil.example a@evil.example",
    f'![x](x"onerror="{ACT}) ![x](attachment:x.svg)',
    f"&lt;script&gt;{ACT}&lt;/script&gt;",
    f"&amp;lt;b {FOCUS}&amp;gt; &#60;b {FOCUS}&#62; &#x3c;b {FOCUS}>",
    f"```\n</code></pre><b {FOCUS}>\n```",
    f"~~~html\n<b {FOCUS}>",
    f"```mermaid\ngraph TD; A[<b {FOCUS}>]\n```",
    f"```\"onfocus='{ACT}' autofocus\nx\n```",
    f"    </pre><b {FOCUS}>",
    f"$$\n</pre><b {FOCUS}>\n$$",
    f"\\begin{{x}}<b {FOCUS}>\\end{{x}}",
    f"$\\href{{javascript:{ACT}}}{{press}}$ \\(\\style{{position:fixed}}{{x}}\\)",
    f"\\[\\class{{score}}\\cssId{{double}}\\unicode{{x}}\\require{{html}}\\data{{x=<b {FOCUS}>}}\\]",
    "$\\def\\x{\\x\\x}\\x$ $\\let\\a\\href \\a{javascript:1}{x}$ $\\newcommand{\\b}{\\href}$",
    "@@0@@ $x$ @@1@@",
    f"| a | b |\n|---|---|\n| <b {FOCUS}> | x |",
    f"# <b {FOCUS}>\n> <b {FOCUS}>\n- <b {FOCUS}>",
    f"{{{{ ''.__class__ }}}} {{% raw %}}<%= {ACT} %> <b {FOCUS}>",
    f"%%html\n<b {FOCUS}>",
    f"%%javascript\n{ACT}",
    f"x{CLOSE}\n\n<b {FOCUS}>{OPEN}<b {FOCUS}>",
    f"\u202e<b {FOCUS}>\u2066\u2028<b {FOCUS}>\u2029",
)
PAYLOADS = (*TAGS, *WRITTEN)
PIECES = (
    *("\\href", "\\htmlx", "\\unicode{x}", "\\require{html}", "\\style", "\\class", "\\", "\\\\", "$", "$$"),
    *("&lt;", "&#60;", "&amp;", "&", ";", "<", ">", "</", "<!--", "-->", "]]>", "\n", "\n\n", "\t", " "),
    *("`", "```\n", "~~~\n", "</pre>", "<pre>", "</code>", "{{", "}}", "{%", '"', "'", "[", "](", "]:"),
    *("\x00", "\x0c", "\x1b[0m", "\x85", "\u2028", "\ud800", "%%html\n", "!", "#", "|", "@@0@@", "\u200b"),
)


def mutated(seed: int, rounds: int = 6) -> str:
    """A payload into which pieces of markup were put at random places."""
    chance = random.Random(seed)
    text = chance.choice(PAYLOADS)
    for _ in range(chance.randint(1, rounds)):
        place = chance.randint(0, len(text))
        text = text[:place] + chance.choice(PIECES) + text[place:]
    return text


def cell(place: int, kind: str, role: str, release: str, attachments: Mapping[str, Any] = NONE) -> Cell:
    """A cell of the instructor's notebook."""
    flags = {
        "grade_id": f"c{place}",
        "schema_version": 3,
        "points": 1.0,
        "solution": role == "answer",
        "grade": role in ("answer", "test"),
        "locked": role == "test",
        "task": False,
    }
    return Cell(
        place=place,
        kind=kind,
        role=role,
        grade_id=f"c{place}",
        id=f"c{place}",
        source=release,
        release=release,
        solution=release,
        points=1.0,
        by_hand=kind != "code",
        metadata=flags if role != "plain" else {},
        attachments=dict(attachments),
    )


def outputs(text: str) -> list[dict[str, Any]]:
    """Outputs of every kind that say a text."""
    shown = {"text/plain": text, "text/html": text, "image/svg+xml": text, "text/latex": text}
    return [
        {"output_type": "stream", "name": "stdout", "text": text},
        {"output_type": "error", "ename": text, "evalue": text, "traceback": [text, text]},
        {"output_type": "execute_result", "data": shown, "metadata": {"alt": text}},
        {
            "output_type": "display_data",
            "data": {"image/png": text},
            "metadata": {"image/png": {"alt": text}},
        },
    ]


FIRST = cell(0, "markdown", "plain", "# An *assignment* $x$")


def graded(texts: Sequence[str], first: Cell = FIRST) -> Any:
    """The executed notebook of a learner who wrote these texts wherever a learner can write."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    steps: list[Step] = [Step(first, "markdown", first.release, False)]
    results = {}
    for text in texts:
        for kind in ("code", "markdown", "raw"):
            place = len(steps)
            steps.append(Step(cell(place, kind, "answer", "..."), kind, text, True))
            steps.append(Step(None, kind, text, True))
            results[str(place)] = {"outputs": outputs(text), "why": text}
    known = tuple(step.cell for step in steps if step.cell)
    notebook = Notebook("hw", known, metadata, "")
    return executed(notebook, Rebuilt(tuple(steps), frozenset(), tuple(texts)), results)
