"""Plotting: functions that return axes, the current axes after a call, titles, data of lines and bars."""

from tests.courses.cells import MODEL, Course, Student, answer, plain, test, text

NOTEBOOK = [
    text("# Plots"),
    plain("%matplotlib inline\nimport matplotlib.pyplot as plt\nimport numpy as np"),
    plain("rain = {'Jan': 40, 'Feb': 35, 'Mar': 52, 'Apr': 61}"),
    text("`sine(n)` plots sin over n points of [0, 2 pi], with the title `Sine`, and returns the axes."),
    answer(
        "sine",
        """
        def sine(n):
            ### BEGIN SOLUTION
            fig, ax = plt.subplots()
            x = np.linspace(0, 2 * np.pi, n)
            ax.plot(x, np.sin(x))
            ax.set_title("Sine")
            return ax
            ### END SOLUTION
    """,
    ),
    test(
        "test_sine_data",
        2,
        """
        ax = sine(50)
        assert len(ax.lines) == 1
        x, y = ax.lines[0].get_data()
        assert len(x) == 50
        np.testing.assert_allclose(y, np.sin(x))
        plt.close("all")
    """,
    ),
    test(
        "test_sine_title",
        1,
        """
        assert sine(5).get_title().strip().lower() == "sine"
        plt.close("all")
    """,
    ),
    text("`bars(table)` draws a bar for each month into the current axes; label both axes."),
    answer(
        "bars",
        """
        def bars(table):
            ### BEGIN SOLUTION
            plt.bar(list(table), list(table.values()))
            plt.xlabel("month")
            plt.ylabel("rain (mm)")
            ### END SOLUTION
    """,
    ),
    test(
        "test_bars",
        2,
        """
        plt.figure()
        bars(rain)
        ax = plt.gca()
        assert [bar.get_height() for bar in ax.patches] == [40, 35, 52, 61]
        assert ax.get_xlabel() and ax.get_ylabel()
        ### BEGIN HIDDEN TESTS
        assert [label.get_text() for label in ax.get_xticklabels()] == ["Jan", "Feb", "Mar", "Apr"]
        ### END HIDDEN TESTS
        plt.close("all")
    """,
    ),
    text(
        "`panels()` returns a figure with two axes side by side: a scatter plot, and its legend on the right."
    ),
    answer(
        "panels",
        """
        def panels():
            ### BEGIN SOLUTION
            fig, (left, right) = plt.subplots(1, 2)
            left.scatter([1, 2, 3], [3, 1, 2], color="red")
            right.plot([0, 1], label="a")
            right.plot([1, 0], label="b", linestyle="--")
            right.legend()
            return fig
            ### END SOLUTION
    """,
    ),
    test(
        "test_panels",
        3,
        """
        figure = panels()
        assert isinstance(figure, plt.Figure)
        left, right = figure.axes
        assert left.collections[0].get_offsets().shape == (3, 2)
        assert [t.get_text() for t in right.get_legend().get_texts()] == ["a", "b"]
        assert right.lines[1].get_linestyle() == "--"
        plt.close("all")
    """,
    ),
]
IDS = ("sine", "bars", "panels")
COURSE = Course(
    notebooks={"plots/plots": NOTEBOOK},
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "pyplot": Student(
            {
                "sine": """
                    def sine(n):
                        plt.figure(figsize=(3, 2))
                        xs = [2 * np.pi * i / (n - 1) for i in range(n)]
                        plt.plot(xs, [np.sin(x) for x in xs], "r-o")
                        plt.title("Sine")
                        return plt.gca()
                """,
                "bars": """
                    def bars(table):
                        ax = plt.gca()
                        for month, mm in table.items():
                            ax.bar(month, mm, color="tab:blue")
                        ax.set(xlabel="x", ylabel="y")
                        plt.tight_layout()
                """,
                "panels": """
                    def panels():
                        f = plt.figure()
                        plt.subplot(121)
                        plt.scatter(x=[1, 2, 3], y=[1, 4, 9])
                        plt.subplot(122)
                        plt.plot([1, 2], [1, 2], "k-", label="a")
                        plt.plot([1, 2], [2, 1], "k--", label="b")
                        plt.legend(loc="best")
                        return f
                """,
            },
            after={"sine": "sine(30)\nplt.show()", "bars": "bars(rain); plt.show()"},
        ),
        "objects": Student(
            {
                "sine": """
                from matplotlib.figure import Figure
                def sine(n, title="sine "):
                    ax = Figure().add_subplot()
                    t = np.linspace(0, 2 * np.pi, num=n)
                    line, = ax.plot(t, np.sin(t), lw=2)
                    ax.set_title(title)
                    return ax
            """,
                "bars": """
                import matplotlib as mpl
                bars = lambda t: (plt.bar(t.keys(), t.values()), plt.xlabel("Month"), plt.ylabel("mm"))
            """,
                "panels": """
                def panels():
                    fig, axes = plt.subplots(nrows=1, ncols=2, sharey=False)
                    points = np.random.rand(3, 2)
                    axes[0].scatter(*points.T)
                    for label, style in zip("ab", ("-", "--")):
                        axes[1].plot(points[:, 0], ls=style, label=label)
                    axes[1].legend(title="lines")
                    return fig
            """,
            }
        ),
        "partly": Student(
            {  # cosine; a new figure; no legend
                "sine": """
                def sine(n):
                    fig, ax = plt.subplots()
                    x = np.linspace(0, 2 * np.pi, n)
                    ax.plot(x, np.cos(x))
                    plt.title("Sine")
                    return ax
            """,
                "bars": "def bars(table):\n    plt.bar(list(table), list(table.values()))",
                "panels": "def panels():\n    fig, ax = plt.subplots(1, 2)\n    ax[0].scatter([1, 2, 3], [1, 2, 3])\n    return fig",
            }
        ),
        "shows": Student(
            {
                "sine": "def sine(n):\n    plt.plot(np.sin(np.linspace(0, 2 * np.pi, n)))\n    plt.title('Sine')\n    plt.show()",
                "bars": "def bars(table):\n    plt.barh(list(table), list(table.values()))\n    plt.xlabel('a')\n    plt.ylabel('b')",
                "panels": "def panels():\n    return plt.subplots(1, 2)",
            }
        ),
        "blank": Student(),
    },
)
