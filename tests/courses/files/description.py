"""Files: students write what a test reads, two notebooks, sub-folders, a helper module that stays the student's."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, plain, test, text

WRITING = [
    text("# Files\n`letters/` holds three letters, `data/years.json` years of birth."),
    locked("imports", "import json\nimport os\nfrom pathlib import Path"),
    text("`longest(folder)`: the name of the longest text file in a folder."),
    answer(
        "longest",
        """
        def longest(folder):
            ### BEGIN SOLUTION
            return max(Path(folder).glob("*.txt"), key=lambda path: len(path.read_text())).name
            ### END SOLUTION
    """,
    ),
    test(
        "test_longest",
        2,
        """
        assert longest("letters") == "b.txt"
        ### BEGIN HIDDEN TESTS
        Path("more").mkdir(exist_ok=True)
        Path("more/x.txt").write_text("x" * 10)
        Path("more/y.txt").write_text("y")
        assert longest("more") == "x.txt"
        ### END HIDDEN TESTS
    """,
    ),
    text("Write `report.csv` with the columns name, born; sorted by year."),
    answer(
        "report",
        """
        ### BEGIN SOLUTION
        with open("data/years.json") as source, open("report.csv", "w") as target:
            target.write("name,born\\n")
            for name, born in sorted(json.load(source).items(), key=lambda item: item[1]):
                target.write(f"{name},{born}\\n")
        ### END SOLUTION
    """,
    ),
    test(
        "test_report",
        3,
        r"""
        assert os.path.exists("report.csv"), "no report.csv"
        lines = open("report.csv").read().splitlines()
        assert lines[0] == "name,born"
        assert lines[1:] == ["Emmy,1882", "Grace,1906", "Alan,1912"]
    """,
    ),
    text("`append_line(path, line)` adds a line to a file, which it makes if need be."),
    answer(
        "append",
        """
        def append_line(path, line):
            ### BEGIN SOLUTION
            with open(path, "a") as file:
                file.write(line + "\\n")
            ### END SOLUTION
    """,
    ),
    test(
        "test_append",
        2,
        r"""
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            target = os.path.join(folder, "log.txt")
            append_line(target, "one")
            append_line(target, "two")
            with open(target) as file:
                assert file.read() == "one\ntwo\n"
        try:
            append_line("no/such/folder/log.txt", "x")
        except FileNotFoundError:
            pass
        else:
            raise AssertionError("no FileNotFoundError")
    """,
    ),
]
HELPING = [
    plain("import helper"),
    text("Write `double` and `NAMES` in your `helper.py`; use them in `shout`."),
    answer(
        "shout",
        """
        def shout(word):
            ### BEGIN SOLUTION
            return helper.double(word.upper())
            ### END SOLUTION
    """,
    ),
    test(
        "test_helper",
        2,
        """
        assert helper.double("ab") == "abab"
        assert helper.double(4) == 8
        assert "Ada" in helper.NAMES
    """,
    ),
    test(
        "test_shout",
        2,
        """
        from helper import double
        assert shout("hey") == double("HEY") == "HEYHEY"
    """,
    ),
    test(
        "test_config",
        1,
        """
        import sys
        sys.path.insert(0, "lib")
        import settings
        assert settings.LIMIT == 10, "settings are the course's"
        assert len(shout("x") * settings.LIMIT) == 20
    """,
    ),
]
HELPER = '''
"""My helpers."""

NAMES = ["Ada", "Bo"]


def double(thing):
    return thing * 2
'''
DONE = dict.fromkeys(("longest", "report", "append", "shout"), MODEL)
COURSE = Course(
    notebooks={"io/writing": WRITING, "io/helping": HELPING},
    files={
        "source/io/letters/a.txt": "Dear A",
        "source/io/letters/b.txt": "Dear B,\nit rains.",
        "source/io/letters/c.txt": "C!",
        "source/io/data/years.json": '{"Alan": 1912, "Emmy": 1882, "Grace": 1906}',
        "source/io/helper.py": HELPER,
        "source/io/lib/settings.py": "LIMIT = 10",
    },
    config='c.Autograde.exclude_overwriting = {"io": ["helper.py"]}',
    students={
        "model": Student(DONE, files={"io/helper.py": HELPER}),
        "modules": Student(
            {
                "longest": """
                    import glob
                    def longest(folder):
                        sizes = {os.path.basename(p): os.path.getsize(p) for p in glob.glob(folder + "/*.txt")}
                        return sorted(sizes, key=sizes.get)[-1]
                """,
                "report": """
                    import csv
                    import pandas as pd
                    table = pd.read_json("data/years.json", typ="series").sort_values()
                    table.rename_axis("name").rename("born").to_csv("report.csv")
                    table
                """,
                "append": """
                    def append_line(path, line):
                        print(line, file=open(path, mode="a+"), flush=True)
                """,
                "shout": "from helper import *\nshout = lambda w: double(str.upper(w))",
            },
            files={
                "io/helper.py": "from functools import partial\nimport operator\nNAMES = {'Ada': 1}\ndouble = partial(operator.mul, 2)"
            },
        ),
        "os_walk": Student(
            {
                "longest": """
                    def longest(folder, best=("", -1)):
                        for name in os.listdir(folder):
                            with open(os.path.join(folder, name)) as f:
                                n = len(f.read())
                            if n > best[1]:
                                best = (name, n)
                        return best[0]
                """,
                "report": """
                    years = json.loads(Path("data", "years.json").read_text())
                    rows = ["name,born"] + [f"{k},{v}" for v, k in sorted((v, k) for k, v in years.items())]
                    Path("report.csv").write_text("\\n".join(rows))
                    !ls -l report.csv
                """,
                "append": """
                    def append_line(path, line):
                        before = Path(path).read_text() if Path(path).exists() else ""
                        Path(path).write_text(before + line + "\\n")
                """,
                "shout": "def shout(w):\n    return helper.double(w).upper()",
            },
            files={
                "io/helper.py": "import extra\nNAMES = extra.NAMES\ndef double(x):\n    return x + x",
                "io/extra.py": "NAMES = ('Ada',)",
                "io/lib/settings.py": "LIMIT = 99",
                "io/letters/a.txt": "A letter of my own, much longer than all the others.",
            },
        ),
        "partly": Student(
            {
                "longest": "def longest(folder):\n    return 'b.txt'",
                "report": "open('report.csv', 'w').write('name,born\\nAlan,1912\\nEmmy,1882\\nGrace,1906\\n')",
                "append": "def append_line(path, line):\n    with open(path, 'w') as f:\n        f.write(line + '\\n')",
                "shout": "def shout(word):\n    return word.upper() * 2",
            },
            files={"io/helper.py": "NAMES = ['Ada']\ndef double(s):\n    return s + 'ab'"},
        ),
        "no_helper": Student({**DONE, "report": "report = 'name,born'"}),
        "one_notebook": Student({**DONE, "append": None}, absent=("io/helping",)),
        "broken_helper": Student(DONE, files={"io/helper.py": "def double(:"}),
        "blank": Student(),
    },
)
