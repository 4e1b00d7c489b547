"""Sampling through vLLM: the responses table, its own log-probabilities, and refusals; vLLM itself is a fake.

The fake keeps the signatures of vllm 0.32 (LLM, SamplingParams, RequestOutput, the completions endpoint) and
draws with our own sampler, so what comes back can be compared with the engine's own responses.
"""

import http.server
import json
import sys
import threading
import types
from dataclasses import dataclass, field

import pytest
import torch

from rslib import vllm_backend
from rslib.__main__ import main
from rslib.config import SampleConfig
from rslib.decoding import decode, shared_attention
from rslib.errors import ConfigError, ModelError
from rslib.models import load_policy
from rslib.sampling import sample
from rslib.tables import check_responses
from tests.test_decoding import PROMPTS


@dataclass(kw_only=True)
class SamplingParams:
    """The fields of vllm.SamplingParams that are used, with its defaults and its checks."""

    n: int = 1
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    detokenize: bool = True

    def __post_init__(self):
        assert 0 <= self.min_tokens <= self.max_tokens and -(2**63) <= self.seed < 2**63
        assert type(self.stop_token_ids) is list and self.ignore_eos


def drawn(policy, prompt, params):
    """Token ids and log-probabilities of one request, as our own engine draws them."""
    config = SampleConfig(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_new_tokens=params.min_tokens,
        max_new_tokens=params.max_tokens,
    )
    with shared_attention(policy.model):
        result = decode(
            policy.model,
            [tuple(prompt)],
            [0],
            seeds=[params.seed],
            limits=[params.max_tokens],
            config=config,
            eos_ids=params.stop_token_ids,
            context=policy.context,
        )
    length = int(result.lengths[0])
    return result.tokens[0, :length].tolist(), result.logprobs[0, :length].tolist()


class LLM:
    """As vllm.LLM: made from a folder, asked with token ids."""

    made: list[dict] = []
    change = staticmethod(lambda ids, logprobs: (ids, logprobs))

    def __init__(self, model, *, skip_tokenizer_init=False, dtype="auto", **kwargs):
        assert kwargs.keys() == {"max_model_len", "logprobs_mode", "enable_chunked_prefill"}
        assert kwargs["logprobs_mode"] == "raw_logprobs" and skip_tokenizer_init
        LLM.made.append({"model": model, "dtype": dtype} | kwargs)
        self.policy = load_policy(model, dtype=dtype)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True):
        results = []
        for prompt, params in zip(prompts, sampling_params, strict=True):
            assert params.logprobs == 0 and not params.detokenize
            ids, logprobs = self.change(*drawn(self.policy, prompt["prompt_token_ids"], params))
            by_token = [{i: types.SimpleNamespace(logprob=x)} for i, x in zip(ids, logprobs, strict=True)]
            output = types.SimpleNamespace(token_ids=tuple(ids), logprobs=by_token)
            results.append(types.SimpleNamespace(outputs=[output]))
        return results


@pytest.fixture
def vllm(monkeypatch):
    """A module `vllm` in the process, and the constructor's calls."""
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", [])
    vllm_backend._ENGINES.clear()
    yield LLM
    vllm_backend._ENGINES.clear()


@pytest.fixture(scope="module")
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


SETTINGS = [
    {},
    {"temperature": 0.0, "n": 1},
    {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_new_tokens": 3, "max_new_tokens": 6},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_requests_give_the_table_of_our_own_engine(vllm, policy, settings):
    settings = {"n": 3, "seed": 4} | settings
    ours = sample(policy, PROMPTS, show_progress=False, **settings)
    theirs = sample(policy, PROMPTS, backend="vllm", show_progress=False, **settings)
    check_responses(theirs)
    assert theirs.features == ours.features
    for name in ("prompt_id", "sample_id", "seed", "token_ids", "response", "finish_reason"):
        assert theirs[name][:] == ours[name][:], name
    assert theirs["logprob"][:] == pytest.approx(ours["logprob"][:], abs=1e-4)


def test_an_engine_serves_all_shards_of_its_policy_and_leaves_with_it(vllm, model_folder):
    policy = load_policy(str(model_folder("llama")))
    for _ in range(2):
        sample(policy, PROMPTS[:2], n=2, backend="vllm", show_progress=False)
    assert vllm.made == [
        {
            "model": policy.path,
            "dtype": "float32",
            "max_model_len": policy.context,
            "logprobs_mode": "raw_logprobs",
            "enable_chunked_prefill": False,
        }
    ]
    del policy
    assert not len(vllm_backend._ENGINES)


def test_a_prompt_near_the_end_of_the_context_gets_what_room_is_left(vllm, policy):
    texts = ("Hi! " * count for count in range(policy.context))
    prompt = next(text for text in texts if policy.context - len(policy.encode(text)) < 8)
    room = policy.context - len(policy.encode(prompt))
    table = sample(policy, [prompt], n=2, min_new_tokens=8, backend="vllm", show_progress=False)
    assert {len(ids) for ids in table["token_ids"]} == {room} and set(table["finish_reason"]) == {"length"}


def test_the_log_probabilities_of_another_model_are_refused(vllm, policy, monkeypatch):
    monkeypatch.setattr(vllm, "change", staticmethod(lambda ids, x: (ids, [v + 0.5 for v in x])))
    with pytest.raises(ModelError, match="another model") as caught:
        sample(policy, PROMPTS, n=2, backend="vllm", show_progress=False)
    assert "raw_logprobs" in str(caught.value)


def test_a_response_that_ended_for_no_reason_is_refused(vllm, policy, monkeypatch):
    monkeypatch.setattr(vllm, "change", staticmethod(lambda ids, x: (ids[:1], x[:1])))
    with pytest.raises(ModelError, match="before its limit"):
        sample(policy, PROMPTS, n=2, min_new_tokens=3, backend="vllm", show_progress=False)


def test_without_vllm_the_error_says_how_to_get_it(policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    vllm_backend._ENGINES.clear()
    with pytest.raises(ModelError) as caught:
        sample(policy, PROMPTS, backend="vllm", show_progress=False)
    assert 'pip install "rslib-course[vllm]"' in str(caught.value)


def test_a_policy_that_vllm_cannot_load_is_named(vllm, policy, monkeypatch):
    def refuse(self, model, **options):
        raise ValueError("no room for the KV cache")

    monkeypatch.setattr(vllm, "__init__", refuse)
    with pytest.raises(ModelError, match="no room for the KV cache") as caught:
        sample(policy, PROMPTS, backend="vllm", show_progress=False)
    assert policy.path in str(caught.value)


def test_an_unknown_backend_is_refused_with_the_nearest_one(policy):
    with pytest.raises(ConfigError, match="vllm"):
        sample(policy, PROMPTS, backend="vlm", show_progress=False)


# A server ----------------------------------------------------------------------------------------------


@pytest.fixture
def server(policy):
    """A vLLM server's completions endpoint: its address, and the requests that came."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(dict(body))
            wrong = self.path != "/v1/completions" or not body.pop("return_token_ids")
            prompt = body.pop("prompt")
            with torch.random.fork_rng(), lock:
                ids, logprobs = drawn(policy, prompt, SamplingParams(**body))
            choice = {"index": 0, "token_ids": ids, "logprobs": {"token_logprobs": logprobs}}
            self.send_response(400 if wrong else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [choice]}).encode())

        def log_message(self, *_):
            pass

    lock = threading.Lock()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}", asked
        http_server.shutdown()


def test_a_server_is_asked_token_by_token_and_gives_the_same_table(server, policy):
    url, asked = server
    ours = sample(policy, PROMPTS, n=2, show_progress=False)
    theirs = sample(
        policy, PROMPTS, n=2, backend="vllm", vllm_url=f"{url}/", batch_size=4, show_progress=False
    )
    assert theirs["token_ids"][:] == ours["token_ids"][:] and theirs["seed"][:] == ours["seed"][:]
    assert {request["seed"] for request in asked} == set(ours["seed"][:])
    # No default of the server's or of a generation_config may decide a token.
    named = {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "min_tokens", "stop_token_ids"}
    assert all(named <= request.keys() for request in asked)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere"])
def test_a_server_that_does_not_answer_is_named(policy, url):
    with pytest.raises(ModelError, match="gave no tokens") as caught:
        sample(policy, PROMPTS[:1], n=1, backend="vllm", vllm_url=url, show_progress=False)
    assert url in str(caught.value) and "vllm serve" in str(caught.value)


def test_a_server_that_knows_no_token_ids_is_refused_with_its_words(policy, server):
    with pytest.raises(ModelError, match="gave no tokens"):
        sample(
            policy,
            PROMPTS[:1],
            n=1,
            backend="vllm",
            vllm_url=f"{server[0]}/elsewhere",
            show_progress=False,
        )


# The command line -----------------------------------------------------------------------------------------


def test_the_command_line_samples_with_vllm_and_the_folder_keeps_the_backends_apart(vllm, tmp_path, capsys):
    base = ["sample", "--prompts", "2", "--n", "2", "--max-new-tokens", "8", "--out", str(tmp_path / "vllm")]
    assert main([*base, "--backend", "vllm"]) == 0
    assert main([*base, "--backend", "vllm"]) == 0
    assert "cached" in capsys.readouterr().out and len(vllm.made) == 1
    assert main(base) == 1
    assert "backend" in capsys.readouterr().err
