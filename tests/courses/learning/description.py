"""Machine learning: a model class, gradients, a training loop, seeds, tensors compared."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, test, text

NOTEBOOK = [
    text("# A small network"),
    locked(
        "setup",
        """
        import torch
        from torch import nn

        torch.manual_seed(0)


        def toy_data(n=64):
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(n, 2, generator=generator)
            return x, (x[:, 0] * x[:, 1] > 0).float()
    """,
    ),
    text("`softmax(x)` over the last dimension, stable, without torch's own."),
    answer(
        "softmax",
        """
        def softmax(x):
            ### BEGIN SOLUTION
            shifted = (x - x.max(dim=-1, keepdim=True).values).exp()
            return shifted / shifted.sum(dim=-1, keepdim=True)
            ### END SOLUTION
    """,
    ),
    test(
        "test_softmax",
        2,
        """
        x = torch.tensor([[1.0, 2.0, 3.0], [1000.0, 0.0, 1000.0]])
        got = softmax(x)
        assert torch.is_tensor(got) and got.shape == x.shape and got.dtype == torch.float32
        assert torch.allclose(got, torch.softmax(x, dim=-1), atol=1e-6)
        torch.testing.assert_close(got.sum(-1), torch.ones(2))
    """,
    ),
    text(
        "`slope(f, x)`: the gradient of a scalar function f at the tensor x, by autograd; x stays as it is."
    ),
    answer(
        "slope",
        """
        def slope(f, x):
            ### BEGIN SOLUTION
            x = x.detach().clone().requires_grad_(True)
            f(x).backward()
            return x.grad
            ### END SOLUTION
    """,
    ),
    test(
        "test_slope",
        2,
        """
        x = torch.tensor([1.0, -2.0])
        assert torch.equal(slope(lambda t: (t ** 2).sum(), x), torch.tensor([2.0, -4.0]))
        assert x.grad is None and not x.requires_grad
        ### BEGIN HIDDEN TESTS
        assert torch.allclose(slope(lambda t: t.prod().sin(), x), torch.cos(x.prod()) * x.flip(0))
        ### END HIDDEN TESTS
    """,
    ),
    text("`Net(hidden)`: an nn.Module, 2 inputs, a hidden layer, one logit of shape (n,)."),
    answer(
        "net",
        """
        class Net(nn.Module):
            ### BEGIN SOLUTION
            def __init__(self, hidden):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 1))

            def forward(self, x):
                return self.layers(x).squeeze(-1)
            ### END SOLUTION
    """,
    ),
    test(
        "test_net",
        3,
        """
        net = Net(8)
        assert isinstance(net, nn.Module)
        assert sum(p.numel() for p in net.parameters()) == 2 * 8 + 8 + 8 + 1
        x, _ = toy_data(5)
        out = net(x)
        assert out.shape == (5,) and out.requires_grad
        net.zero_grad()
        out.sum().backward()
        assert all(p.grad is not None for p in net.parameters())
        net.eval()
        with torch.no_grad():
            assert torch.equal(net(x), net(x))
        assert len(net.state_dict()) == 4
    """,
    ),
    text("`train(net, x, y, steps, lr)`: full-batch training with binary cross-entropy; the list of losses."),
    answer(
        "train",
        """
        def train(net, x, y, steps, lr):
            ### BEGIN SOLUTION
            optimizer = torch.optim.Adam(net.parameters(), lr=lr)
            losses = []
            for _ in range(steps):
                loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            return losses
            ### END SOLUTION
    """,
    ),
    test(
        "test_train",
        3,
        """
        torch.manual_seed(3)
        x, y = toy_data()
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))
        before = net[0].weight.detach().clone()
        losses = train(net, x, y, steps=60, lr=0.05)
        assert len(losses) == 60 and all(isinstance(loss, float) for loss in losses)
        assert losses[-1] < 0.6 * losses[0], "it does not learn"
        assert not torch.equal(before, net[0].weight)
    """,
    ),
    test(
        "test_together",
        2,
        """
        torch.manual_seed(4)
        x, y = toy_data()
        net = Net(16)
        train(net, x, y, steps=100, lr=0.05)
        accuracy = ((net(x) > 0).float() == y).float().mean().item()
        2.0 if accuracy > 0.9 else 1.0 if accuracy > 0.7 else 0.0
    """,
    ),
]
IDS = ("softmax", "slope", "net", "train")
COURSE = Course(
    notebooks={"ml/network": NOTEBOOK},
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "functional": Student(
            {
                "softmax": "import torch.nn.functional as F\nsoftmax = lambda x: (lambda e: e / e.sum(-1, True))(torch.exp(x - x.amax(-1, True)))",
                "slope": "def slope(f, x):\n    return torch.func.grad(f)(x)",
                "net": """
                    class Net(nn.Module):
                        def __init__(self, hidden=4):
                            super().__init__()
                            self.w1 = nn.Parameter(torch.randn(2, hidden))
                            self.b1 = nn.Parameter(torch.zeros(hidden))
                            self.w2 = nn.Parameter(torch.randn(hidden) / hidden ** 0.5)
                            self.b2 = nn.Parameter(torch.zeros(()))
                        def forward(self, x):
                            return F.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2
                """,
                "train": """
                    def train(net, x, y, steps, lr):
                        def one():
                            loss = F.binary_cross_entropy_with_logits(net(x), y)
                            grads = torch.autograd.grad(loss, list(net.parameters()))
                            with torch.no_grad():
                                for p, g in zip(net.parameters(), grads):
                                    p -= lr * g.sign()
                            return float(loss)
                        return [one() for _ in range(steps)]
                """,
            },
            after={"net": "net = Net(3)\nnet(torch.zeros(1, 2))"},
        ),
        "layers": Student(
            {
                "softmax": """
                import numpy as np
                def softmax(x):
                    e = np.exp(x.numpy() - x.numpy().max(axis=-1, keepdims=True))
                    return torch.from_numpy(e / e.sum(-1, keepdims=True))
            """,
                "slope": """
                def slope(f, x):
                    y = torch.tensor(x.tolist(), requires_grad=True)
                    return torch.autograd.grad(f(y), y)[0]
            """,
                "net": """
                class Block(nn.Module):
                    def __init__(self, i, o):
                        super().__init__()
                        self.lin = nn.Linear(i, o)
                    def forward(self, x):
                        return torch.tanh(self.lin(x))
                class Net(nn.Module):
                    def __init__(self, hidden):
                        nn.Module.__init__(self)
                        self.block, self.head = Block(2, hidden), nn.Linear(hidden, 1)
                    def forward(self, x):
                        return self.head(self.block(x))[:, 0]
            """,
                "train": """
                from torch.utils.data import DataLoader, TensorDataset
                def train(net, x, y, steps, lr):
                    opt = torch.optim.AdamW(net.parameters(), lr=lr)
                    loader = DataLoader(TensorDataset(x, y), batch_size=len(x))
                    history, criterion = [], nn.BCEWithLogitsLoss()
                    while len(history) < steps:
                        for xb, yb in loader:
                            opt.zero_grad()
                            loss = criterion(net(xb), yb)
                            loss.backward()
                            opt.step()
                            history.append(loss.detach().item())
                    return history
            """,
            }
        ),
        "partly": Student(
            {  # not stable; grad left on x; the wrong shape; never zeroes the gradients
                "softmax": "def softmax(x):\n    return x.exp() / x.exp().sum(-1, keepdim=True)",
                "slope": "def slope(f, x):\n    x.requires_grad = True\n    f(x).backward()\n    return x.grad",
                "net": """
                class Net(nn.Module):
                    def __init__(self, hidden):
                        super().__init__()
                        self.net = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 1))
                    def forward(self, x):
                        return self.net(x)
            """,
                "train": MODEL,
            }
        ),
        "tensors": Student(
            {  # linear model; losses as tensors
                "softmax": MODEL,
                "slope": "def slope(f, x):\n    h = 1e-3\n    return torch.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in torch.eye(len(x))])",
                "net": "class Net(nn.Linear):\n    def __init__(self, hidden):\n        super().__init__(2, 1)\n    def forward(self, x):\n        return super().forward(x).squeeze(-1)",
                "train": """
                def train(net, x, y, steps, lr):
                    opt = torch.optim.SGD(net.parameters(), lr=lr)
                    losses = []
                    for _ in range(steps):
                        loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
                        opt.zero_grad(); loss.backward(); opt.step()
                        losses.append(loss.detach())
                    return losses
            """,
            }
        ),
        "blank": Student(),
    },
)
