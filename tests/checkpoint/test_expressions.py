"""Patterns from strangers: what peft's own matching gives, in a bounded number of steps."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.checkpoint.adapters.patterns import NamePatterns, named_by_end
from bitfit_probe.checkpoint.parsing.expressions import (
    MOST_PARTS,
    MOST_STEPS,
    Expression,
    UnreadExpressionError,
)

LEAVES = ("q_proj", "k_proj", "v_proj", "o_proj", "dense", "query", "key", "c_attn", "fc1")
#: Forms in peft's own documentation, tests and examples, and in those of others that write its files.
FORMS = (
    "{leaf}",
    "self_attn.{leaf}",
    r"self_attn\.{leaf}",
    "model.layers.{n}.self_attn.{leaf}",
    "^model.layers.{n}.self_attn.{leaf}",
    r".*\.({leaf}|{other})$",
    r".*\.{n}\.self_attn\.{leaf}",
    r"layers\.\d+\.self_attn\.{leaf}",
    r"layers\.[0-{n}]\.self_attn\.{leaf}",
    r"layers\.({n}|1{n})\..*{leaf}",
    r"(?:.*?(?:model|encoder).*?(?:self_attn|attention).*?(?:{leaf}|{other}).*?)",
    r"\bmodel\.layers\.[\d]{{1,}}\.(?:self_attn|mlp)\.(?:{leaf}|{other})",
    r".*layers\.\d{{2}}.*{leaf}",
    r"(^|.*\.){leaf}",
    r"[^.]*\.{leaf}",
    r"{leaf}|{other}",
    r"(?P<block>layers|layer)\.{n}\.\w+\.{leaf}",
    r".*",
    r"",
)
WRAPPERS = ("", "model.", "base_model.model.model.", "encoder.", "xmodel.")


def a_pattern(rng: random.Random) -> str:
    leaf, other = rng.sample(LEAVES, 2)
    return rng.choice(FORMS).format(leaf=leaf, other=other, n=rng.randrange(10))


def a_name(rng: random.Random) -> str:
    inner = rng.choice(("self_attn", "mlp", "attention", "selfxattn", "experts.3"))
    stem = rng.choice(("layers", "layer", "h"))
    name = f"{rng.choice(WRAPPERS)}{stem}.{rng.randrange(13)}.{inner}.{rng.choice(LEAVES)}"
    return rng.choice((name, name, name, name.replace(".", "_", 1), name.rpartition(".")[2], name + "\n"))


@pytest.mark.parametrize("seed", range(5))
def test_five_hundred_random_configurations_give_what_peft_gives(seed: int) -> None:
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

    rng = random.Random(seed)
    hits = [0, 0]
    for _ in range(100):
        alphas = {a_pattern(rng): value for value in range(rng.randrange(1, 6))}
        target = a_pattern(rng)
        ours, whole = NamePatterns(alphas), Expression(target)
        config = SimpleNamespace(target_modules=target)
        for name in (a_name(rng) for _ in range(20)):
            want = alphas.get(get_pattern_key(list(alphas), name))
            assert ours.look_up(name, None) == want, (alphas, name)
            targeted = bool(check_target_module_exists(config, name))
            assert whole.is_all_of(name) == targeted, (target, name)
            hits[0] += want is not None
            hits[1] += targeted
    assert min(hits) > 50  # both answers come up often


def hostile(rng: random.Random, depth: int = 0) -> str:
    """An expression whose parts can be taken in as many ways as may be."""
    kind = rng.randrange(7) if depth < 6 else 0
    inner = hostile(rng, depth + 1) if kind > 1 else ""
    return (
        rng.choice("a.b"),
        "." * rng.randrange(1, 60) + "!",
        f"({inner})*",
        f"({inner}|{hostile(rng, depth + 1)})+" if kind == 3 else "",
        f"(?:{inner}|.)" * rng.randrange(1, 5),
        f"(({inner})?){{0,{rng.randrange(1, 9)}}}",
        f".*{inner}.*",
    )[kind] + rng.choice(("", "", "Z", r"\1", "(?=a)"))


KNOWN_BOMBS = (
    "." * 60 + "!",
    "(a|.)" * 36 + "Z",
    ".*.*.*.*Z",
    "(a+)+Z",
    "(a|a)*Z",
    "((a*)*)*Z",
    "(a?){80}Z",
    "(.*a){20}Z",
)


def test_two_thousand_hostile_patterns_take_no_more_steps_than_parts_times_characters() -> None:
    rng = random.Random(0)
    name = "a" * 300
    read = 0
    for pattern in (*KNOWN_BOMBS, *(hostile(rng) for _ in range(2000))):
        try:
            expression = Expression(rf"(.*\.)?({pattern})$")
        except UnreadExpressionError:
            continue
        expression.begins(name)
        assert expression.size <= MOST_PARTS + 1
        assert expression.steps <= 2 * (expression.size + 1) * (len(name) + 1)
        read += 1
    assert read > 500


@pytest.mark.parametrize("pattern", KNOWN_BOMBS)
def test_the_known_time_bombs_are_matched(pattern: str) -> None:
    assert NamePatterns({pattern: 1}).look_up("a" * 300, None) is None


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"(q)\1", "a backreference"),
        (r"(?P<x>q)(?P=x)", "a backreference"),
        (r"(?=q)q", "a look-ahead"),
        (r"(?!q)q", "a look-ahead"),
        (r"(?<=q)q", "a look-behind"),
        (r"(?<!q)q", "a look-behind"),
        (r"(?i)q", "flags"),
        (r"(?i:q)", "flags"),
        (r"(?>q)", "an atomic group"),
        (r"(q)(?(1)a|b)", "a condition"),
        (r"(?#words)q", "a comment"),
        (r"q*+", "a possessive repetition"),
        (r"\Bq", r"\\B"),
        (r"q{5000}", "more than 1000 parts"),
        (r"q{99999}", "more than 1000 parts"),
        (r"((q{50}){50}){50}", "more than 1000 parts"),
        ("q" * 1001, "1,001 characters"),
        ("(" * 50 + "q" + ")" * 50, "more than 40 groups"),
        ("(q", "no regular expression"),
        ("q)", "no regular expression"),
        ("[q", "no regular expression"),
        ("*q", "no regular expression"),
        ("q**", "no regular expression"),
        ("[z-a]", "no regular expression"),
        ("(?P<a>q)(?P<a>q)", "no regular expression"),
        ("q\\", "no regular expression"),
    ],
)
def test_what_is_not_matched_is_refused_by_name(pattern: str, what: str) -> None:
    with pytest.raises(UnreadExpressionError, match=f"^{what}"):
        Expression(pattern)


PIECES = st.sampled_from(
    [
        *"*+?{}_1\n",
        "*?",
        "{2}",
        "{,2}",
        "{1,}",
        "{a}",
        "a",
        "b",
        ".",
        r"\.",
        r"\d",
        r"\w",
        r"\b",
        "^",
        "$",
        "[ab]",
        "[^a.]",
        "[]a]",
        "(",
        "(?:",
        ")",
        "|",
    ]
)


@given(st.lists(PIECES, max_size=10).map("".join), st.text("ab.1_\n", max_size=8))
def test_both_ways_to_match_agree_with_re(pattern: str, name: str) -> None:
    try:
        ours = Expression(pattern)
    except UnreadExpressionError as error:
        if "no regular expression" in str(error):
            with pytest.raises(re.error):
                re.compile(pattern)
        return
    assert ours.begins(name) == (re.match(pattern, name) is not None)
    assert ours.is_all_of(name) == (re.fullmatch(pattern, name) is not None)


def test_the_first_pattern_counts_be_it_a_name_or_an_expression() -> None:
    patterns = {"q_proj": 1, ".*proj": 2, "v_proj": 3, r"layers\.0\.k": 4, "layers.0.k": 5, "l.yers.1.k": 6}
    found = NamePatterns(patterns)
    names = ("a.q_proj", "a.v_proj", "layers.0.k", "layersx0.k", "layers.1.k", "layers.2.k")
    assert [found.look_up(name, None) for name in names] == [1, 2, 4, 5, 6, None]


def test_a_name_for_every_module_is_looked_up_and_not_tried() -> None:
    # As adapters with a rank a module have it: 60 layers of 128 experts.
    names = [f"model.layers.{layer}.mlp.experts.{n}.up_proj" for layer in range(60) for n in range(128)]
    patterns = NamePatterns({name: number for number, name in enumerate(names)})
    assert [patterns.look_up(f"base.{name}", None) for name in names] == list(range(len(names)))
    assert patterns.steps < 100 * len(names)


def test_all_patterns_together_are_bounded() -> None:
    names = [f"{number}" * 150 for number in range(100_000)]
    patterns = NamePatterns({f"(a|.){{{n}}}.*x": n for n in range(1, 100)})
    with pytest.raises(UnreadExpressionError, match="99 patterns that take too long"):
        [patterns.look_up(name, None) for name in names]
    one = Expression(".*.*.*Z")
    with pytest.raises(UnreadExpressionError, match="more than 4,000,000 steps"):
        [one.begins(name) for name in names]
    assert one.steps < 1.01 * MOST_STEPS


def test_the_longest_end_is_the_one_that_is_meant() -> None:
    ends = {"tokens": 1, "embed_tokens": 2, "lm_head": 3}
    assert [named_by_end(ends, name) for name in ("model.embed_tokens", "x.tokens", "head")] == [2, 1, None]
    assert named_by_end({"": 4}, "head") == 4  # every name ends with nothing, as peft's endswith has it
