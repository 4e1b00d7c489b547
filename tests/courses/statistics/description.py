"""Statistics: a table beside the notebook, pandas, a module of helpers for the tests, its own testing."""

from tests.courses.cells import MODEL, Course, Student, answer, plain, test, text

TABLE = """
name,species,island,mass,flipper
p1,Adelie,Dream,3700,190
p2,Adelie,Biscoe,3550,185
p3,Gentoo,Biscoe,5000,217
p4,Gentoo,Biscoe,5400,221
p5,Chinstrap,Dream,3800,196
p6,Chinstrap,Dream,,193
p7,Adelie,Torgersen,3900,191
p8,Gentoo,Biscoe,5200,
"""
HELPERS = '''
"""Helpers of the tests; lies beside the notebook, for students too."""

import pandas as pd

SPECIES = ("Adelie", "Chinstrap", "Gentoo")


def close(left, right, tolerance=1e-6):
    return abs(float(left) - float(right)) <= tolerance


def small_table():
    return pd.DataFrame({"species": list("aabbb"), "mass": [1.0, 3.0, 2.0, 4.0, 6.0]})


def check_columns(table, expected):
    missing = set(expected) - set(table.columns)
    assert not missing, f"columns are missing: {sorted(missing)}"
'''
NOTEBOOK = [
    text("# Penguins\nThe table lies in `penguins.csv`."),
    plain("import numpy as np\nimport pandas as pd\n\nimport checks"),
    text("## 1. Read\nRead the table into `penguins`, without rows that have no mass; number the rows anew."),
    answer("read", 'penguins = pd.read_csv("penguins.csv").dropna(subset=["mass"]).reset_index(drop=True)'),
    test(
        "test_read",
        2,
        """
        assert isinstance(penguins, pd.DataFrame)
        checks.check_columns(penguins, ["name", "species", "mass"])
        assert len(penguins) == 7
        assert penguins["mass"].notna().all()
        ### BEGIN HIDDEN TESTS
        assert list(penguins.index) == list(range(7))
        assert checks.close(penguins.mass.mean(), 4364.285714285715)
        ### END HIDDEN TESTS
    """,
    ),
    text("## 2. Means\n`mean_mass(table)`: a Series, the mean mass of each species."),
    answer(
        "means",
        """
        def mean_mass(table):
            ### BEGIN SOLUTION
            return table.groupby("species")["mass"].mean()
            ### END SOLUTION
    """,
    ),
    test(
        "test_means",
        3,
        """
        expected = pd.Series([2.0, 4.0], index=pd.Index(["a", "b"], name="species"), name="mass")
        pd.testing.assert_series_equal(mean_mass(checks.small_table()), expected)
        assert tuple(mean_mass(penguins).index) == checks.SPECIES
    """,
    ),
    text(
        "## 3. Standard scores\n`standardised(table, column)`: a copy with a new column `z`; leave the table."
    ),
    answer(
        "scores",
        """
        def standardised(table, column):
            ### BEGIN SOLUTION
            values = table[column]
            return table.assign(z=(values - values.mean()) / values.std(ddof=1))
            ### END SOLUTION
    """,
    ),
    test(
        "test_scores",
        2,
        """
        small = checks.small_table()
        got = standardised(small, "mass")
        assert "z" not in small.columns, "the table itself was changed"
        assert checks.close(got["z"].mean(), 0) and checks.close(got["z"].std(), 1)
    """,
    ),
    test(
        "test_scores_column",
        1,
        """
        got = standardised(checks.small_table().rename(columns={"mass": "weight"}), "weight")
        pd.testing.assert_frame_equal(
            got[["z"]].round(3), pd.DataFrame({"z": [-1.144, -0.104, -0.624, 0.416, 1.456]}), atol=2e-3)
    """,
    ),
    text("## 4. Heaviest\n`heaviest(table)`: a dict, species to the name of its heaviest penguin."),
    answer(
        "heaviest",
        """
        def heaviest(table):
            ### BEGIN SOLUTION
            rows = table.loc[table.groupby("species")["mass"].idxmax()]
            return dict(zip(rows["species"], rows["name"]))
            ### END SOLUTION
    """,
    ),
    test(
        "test_heaviest",
        2,
        """
        assert heaviest(penguins) == {"Adelie": "p7", "Chinstrap": "p5", "Gentoo": "p4"}
        ### BEGIN HIDDEN TESTS
        assert heaviest(penguins[penguins.island == "Dream"]) == {"Adelie": "p1", "Chinstrap": "p5"}
        ### END HIDDEN TESTS
    """,
    ),
]
COURSE = Course(
    notebooks={"ps1/penguins": NOTEBOOK},
    files={"source/ps1/penguins.csv": TABLE, "source/ps1/checks.py": HELPERS},
    students={
        "model": Student(dict.fromkeys(("read", "means", "scores", "heaviest"), MODEL)),
        "by_csv": Student(
            {
                "read": """
                import csv
                with open("penguins.csv", newline="") as lines:
                    rows = [row for row in csv.DictReader(lines) if row["mass"]]
                penguins = pd.DataFrame(rows)
                penguins["mass"] = penguins["mass"].astype(float)
                penguins.head()
            """,
                "means": """
                def mean_mass(t):
                    found = {}
                    for species, mass in zip(t["species"], t["mass"]):
                        found.setdefault(species, []).append(mass)
                    keys = sorted(found)
                    means = [sum(found[k]) / len(found[k]) for k in keys]
                    return pd.Series(means, index=pd.Index(keys, name="species"), name="mass")
            """,
                "scores": """
                def standardised(table, column):
                    new = table.copy()
                    x = new[column].to_numpy(dtype=float)
                    new["z"] = (x - np.mean(x)) / np.std(x, ddof=1)
                    return new
            """,
                "heaviest": """
                def heaviest(table):
                    best = {}
                    for _, row in table.iterrows():
                        if row.species not in best or row.mass > best[row.species][0]:
                            best[row.species] = (row.mass, row["name"])
                    return {species: name for species, (_, name) in best.items()}
            """,
            }
        ),
        "lambdas": Student(
            {
                "read": """
                    from pathlib import Path
                    path = Path.cwd() / "penguins.csv"
                    penguins = pd.read_csv(path).query("mass == mass").reset_index(drop=True)
                    print(penguins.shape)
                """,
                "means": "mean_mass = lambda table: table.pivot_table('mass', 'species')['mass']",
                "scores": """
                    z = lambda x: x.sub(x.mean()).div(x.std())
                    def standardised(table, column):
                        return pd.concat([table, z(table[column]).rename("z")], axis=1)
                """,
                "heaviest": """
                    def heaviest(table):
                        return (table.sort_values("mass").groupby("species")["name"].last()).to_dict()
                """,
            },
            before={"means": "penguins.describe()"},
            after={"scores": "standardised(penguins, 'mass').z.plot.hist if False else None"},
        ),
        "population": Student(
            {  # the wrong divisor; the index kept
                "read": 'penguins = pd.read_csv("penguins.csv").dropna(subset=["mass"])',
                "means": MODEL,
                "scores": """
                def standardised(table, column):
                    table["z"] = (table[column] - table[column].mean()) / table[column].std(ddof=0)
                    return table
            """,
                "heaviest": "def heaviest(table):\n    return table.groupby('species')['mass'].max().to_dict()",
            }
        ),
        "frame": Student(
            {  # a frame where a Series is asked; raises on other columns
                "read": 'penguins = pd.read_csv("penguins.csv")\npenguins = penguins[penguins.mass > 0]',
                "means": "def mean_mass(table):\n    return table.groupby('species')[['mass']].mean()",
                "scores": """
                def standardised(table, column):
                    values = table.mass
                    return table.assign(z=(values - values.mean()) / values.std())
            """,
                "heaviest": "def heaviest(table):\n    raise RuntimeError('no idea')",
            }
        ),
        "own_table": Student(  # a changed copy of the table is replaced by the course's
            {"read": MODEL, "means": "mean_mass = None", "scores": MODEL, "heaviest": "def heaviest(table:"},
            files={"ps1/penguins.csv": "name,species,mass\nq,Adelie,1", "ps1/checks.py": "close = print"},
        ),
        "blank": Student(),
    },
)
