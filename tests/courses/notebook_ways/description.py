"""Ways of notebooks: magics, autotests, state across cells, tests before answers, answers of many types."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, plain, test, text

AUTOTESTS = """
python3:
    setup: "from hashlib import sha1"
    hash: 'sha1({{snippet}}.encode("utf-8")+b"{{salt}}").hexdigest()'
    dispatch: "type({{snippet}})"
    normalize: "str({{snippet}})"
    check: 'assert {{snippet}} == "{{value}}", "{{message}}"'
    success: "print('all right')"
    templates:
        default:
            - test: "type({{snippet}})"
              fail: "{{snippet}} has the wrong type"
            - test: "{{snippet}}"
              fail: "{{snippet}} is wrong"
        float:
            - test: "round({{snippet}}, 2)"
              fail: "{{snippet}} is wrong in the second decimal place"
        list:
            - test: "len({{snippet}})"
              fail: "{{snippet}} has the wrong length"
            - test: "{{snippet}}"
              fail: "{{snippet}} is wrong"
"""
STATE = [
    plain("%matplotlib inline"),
    plain("%%time\nfrom collections import Counter, namedtuple\nimport itertools, re, json, datetime"),
    locked("counter", "calls = 0\nlog = []"),
    test("warm_up", 0, "assert calls == 0"),
    text("`tick()` adds one to the global `calls`, notes it in `log` and returns it."),
    answer(
        "tick",
        """
        def tick():
            ### BEGIN SOLUTION
            global calls
            calls += 1
            log.append(calls)
            return calls
            ### END SOLUTION
    """,
    ),
    test(
        "test_tick",
        2,
        """
        before = calls
        assert tick() == before + 1
        assert tick() == before + 2
        assert calls == before + 2
        assert log[-1] == calls
    """,
    ),
    test("test_tick_again", 1, "calls = 10\ntick()\nassert calls == 11 and log[-2:] == [2, 11]"),
    text("`words(text)`: a Counter of lower-case words. `dates(text)`: the set of dates like 2024-05-17."),
    answer(
        "regex",
        r"""
        ### BEGIN SOLUTION
        def words(text):
            return Counter(re.findall(r"[a-z]+", text.lower()))

        def dates(text):
            return {datetime.date.fromisoformat(found) for found in re.findall(r"\d{4}-\d\d-\d\d", text)}
        ### END SOLUTION
    """,
    ),
    test(
        "test_words",
        1,
        """
        got = words("The cat saw the Cat.")
        assert isinstance(got, Counter)
        assert got == Counter(the=2, cat=2, saw=1)
        assert got.most_common(1)[0][1] == 2 and got["dog"] == 0
    """,
    ),
    test(
        "test_dates",
        1,
        """
        got = dates("from 2024-05-17 to 2024-06-01, 2024-05-17")
        assert got == {datetime.date(2024, 5, 17), datetime.date(2024, 6, 1)}
        assert max(got) - min(got) == datetime.timedelta(days=15)
    """,
    ),
    text(
        "`primes()`: a generator without end. `half(n)`: n / 2 as a Fraction. `corner(points)`: a namedtuple "
        "`Point(x, y)` of the smallest x and y."
    ),
    answer(
        "types",
        """
        ### BEGIN SOLUTION
        from fractions import Fraction

        Point = namedtuple("Point", "x y")

        def primes():
            known = []
            for n in itertools.count(2):
                if all(n % p for p in known):
                    known.append(n)
                    yield n

        def half(n):
            return Fraction(n, 2)

        def corner(points):
            return Point(min(p[0] for p in points), min(p[1] for p in points))
        ### END SOLUTION
    """,
    ),
    test(
        "test_primes",
        2,
        """
        import types
        made = primes()
        assert isinstance(made, types.GeneratorType)
        assert [next(made) for _ in range(5)] == [2, 3, 5, 7, 11]
        assert next(made) == 13
        assert list(itertools.islice(primes(), 3)) == [2, 3, 5]
        assert list(itertools.takewhile(lambda p: p < 20, made)) == [17, 19]
    """,
    ),
    test(
        "test_types",
        2,
        """
        import fractions
        assert half(3) == fractions.Fraction(3, 2) and type(half(4)) is fractions.Fraction
        assert half(1) + half(1) == 1
        p = corner([(3, 1), (2, 5)])
        assert p == (2, 1) and p.x == 2 and p._fields == ("x", "y")
        assert Point(1, 2)._replace(x=5) == Point(5, 2)
        json.dumps({"p": p})
    """,
    ),
]
AUTO = [
    text("# Autotests"),
    answer(
        "values",
        "radius = 3\narea = 3.14159 * radius ** 2\nsquares = [n * n for n in range(4)]\nname = 'Ada'\ngood = True",
    ),
    test("auto_plain", 2, "### AUTOTEST radius; area\n### AUTOTEST squares"),
    test("auto_hashed", 2, "### HASHED AUTOTEST name\n# HASHED AUTOTEST good; len(squares)"),
    answer("function", "def triple(x):\n    ### BEGIN SOLUTION\n    return 3 * x\n    ### END SOLUTION"),
    test(
        "auto_hidden",
        2,
        """
        ### AUTOTEST triple(2)
        ### BEGIN HIDDEN TESTS
        ### HASHED AUTOTEST triple([1]); triple("a")
        ### END HIDDEN TESTS
    """,
    ),
]
DONE = dict.fromkeys(("tick", "regex", "types", "values", "function"), MODEL)
COURSE = Course(
    notebooks={"nb/state": STATE, "auto/auto": AUTO},
    files={"autotests.yml": AUTOTESTS},
    students={
        "model": Student(DONE),
        "magics": Student(
            {
                "tick": """
                    %config InlineBackend.figure_format = 'retina'
                    def tick():
                        globals()["calls"] = globals()["calls"] + 1
                        log.append(calls)
                        return calls
                """,
                "regex": r"""
                    %pylab --no-import-all inline
                    from datetime import date, datetime as dt
                    import datetime
                    from collections import defaultdict
                    def words(text):
                        c = Counter()
                        for w in re.split(r"\W+", text):
                            if w:
                                c[w.lower()] += 1
                        return c
                    def dates(t):
                        pattern = re.compile(r"(\d+)-(\d+)-(\d+)")
                        return set(date(*map(int, m.groups())) for m in pattern.finditer(t))
                """,
                "types": """
                    %%capture output
                    import fractions, typing
                    class Point(typing.NamedTuple):
                        x: float
                        y: float
                    def primes(n=2):
                        while True:
                            if not any(n % d == 0 for d in range(2, int(n ** .5) + 1)):
                                yield n
                            n += 1
                    half = lambda n: fractions.Fraction(n) / 2
                    def corner(points):
                        print("corner of", points)
                        return Point(*map(min, zip(*points)))
                """,
                "values": "radius = 3\narea = 28.2743\nsquares = list(map(lambda n: n ** 2, range(4)))\nname = 'A' + 'da'\ngood = not False",
                "function": "%time 1 + 1\ntriple = lambda x: x + x + x",
            },
            before={"tick": "%timeit -n1 -r1 sum(range(10))\n%load_ext autoreload\n%autoreload 2"},
            after={"regex": "%whos\n?words", "types": "%%time\nnext(primes())"},
        ),
        "iterators": Student(
            {
                "tick": """
                import itertools as it
                _n = it.count(1)
                def tick():
                    global calls
                    calls = calls + 1
                    log.extend([calls])
                    return calls
            """,
                "regex": """
                words = lambda text: Counter(w.strip(".,").lower() for w in text.split())
                def dates(text):
                    return frozenset(datetime.datetime.strptime(w.strip(","), "%Y-%m-%d").date()
                                     for w in text.split() if w[:2] == "20")
            """,
                "types": """
                from fractions import Fraction
                from collections import namedtuple
                Point = namedtuple("Point", ["x", "y"], defaults=[0])
                primes = lambda: (n for n in itertools.count(2) if all(n % d for d in range(2, n)))
                def half(n): return Fraction(numerator=n, denominator=2)
                def corner(points):
                    xs, ys = zip(*points)
                    return Point(x=min(xs), y=min(ys))
            """,
                "values": "import math\nradius = 3\narea = math.pi * 9\nsquares = [0, 1, 4, 9]\nname = 'Ada'\ngood = 1 == 1",
                "function": "def triple(x):\n    return x * 3",
            }
        ),
        "partly": Student(
            {
                "tick": "def tick():\n    return calls + 1",
                "regex": "def words(text):\n    return dict(Counter(text.lower().split()))\ndef dates(text):\n    return set(re.findall(r'\\d{4}-\\d\\d-\\d\\d', text))",
                "types": "def primes():\n    return iter([2, 3, 5, 7, 11, 13])\ndef half(n):\n    return n / 2\ndef corner(points):\n    return min(points)",
                "values": "radius = 3.0\narea = 28.0\nsquares = (0, 1, 4, 9)\nname = 'ada'\ngood = True",
                "function": "def triple(x):\n    return int(x) * 3",
            }
        ),
        "unset": Student(
            {  # the counter taken away; a hash not right; raises
                "tick": "calls = 5\ndef tick():\n    global calls\n    calls += 1\n    log.append(calls)\n    return calls",
                "regex": "raise SystemExit",
                "types": "def primes():\n    yield from (2, 3, 5, 7, 11, 13, 17, 19)\n    yield 23",
                "values": "radius, area = 3, 28.27431\nsquares = [0, 1, 4, 9]\nname = 'Ada '\ngood = True",
                "function": "def triple(x):\n    return x * 3 if isinstance(x, int) else None",
            }
        ),
        "blank": Student(),
    },
)
