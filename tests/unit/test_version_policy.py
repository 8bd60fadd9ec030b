import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import StartupError
from serving.settings import from_command_line
from serving.version_policy import Rule, VersionPolicy

numbers = st.integers(1, 2**63 - 1)
rules = st.one_of(
    st.just(Rule(None)),
    st.builds(Rule, numbers),
    st.builds(
        lambda named: Rule(None, tuple(sorted(named, reverse=True))), st.sets(numbers, min_size=1, max_size=5)
    ),
)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")


@given(st.dictionaries(names, rules, max_size=4), rules, st.sampled_from(["", " "]))
def test_what_is_written_is_what_is_meant(by_model, others, blank):
    """Any policy can be written, and means the same when it is read, with blanks around its parts or without."""
    clauses = [f"{model}{blank}={blank}{rule}" for model, rule in by_model.items()]
    text = f"{blank},{blank}".join([*clauses, str(others)])
    assert VersionPolicy.parse(text) == VersionPolicy(by_model, others)
    assert re.fullmatch(r"[A-Za-z0-9_.:+=, -]+", text)  # a shell, YAML and an env file leave these alone


@given(st.text(st.sampled_from("latest:12+,=adigt .-_\n٣²"), max_size=20) | st.text(max_size=50))
def test_any_other_text_is_refused_in_words(text):
    """Nothing but ValueError, which says what was wanted, in one line of bounded length."""
    with suppress(ValueError):
        VersionPolicy.parse(text)
        return
    with pytest.raises(ValueError, match="want ") as refused:
        VersionPolicy.parse(text)
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"want latest, latest:N, all, or versions with \+ between them, as in 1\+3"),
        ("latest:0", r"'latest:0': want latest, latest:N"),
        ("latest:", "'latest:': want latest, latest:N"),
        ("latest:-1", "'latest:-1': want"),
        ("LATEST", "'LATEST': want"),
        ("newest", "'newest': want"),
        ("1,3", r"want one rule for all other models, versions as in 1\+3"),
        ("1;3", "'1;3': want"),
        ("0", "'0': want"),
        ("²", "'²': want"),
        ("9" * 5000, "'999.*…': want"),
        (str(2**63), "want"),
        ("digits=", "'digits=': want latest"),
        ("=2", "'=2': want a model's name before the ="),
        ("a/b=2", "'a/b=2': want a model's name before the ="),
        ("digits=1,digits=3", r"want one rule for 'digits', versions as in 1\+3"),
        ("all,", "'': want"),
    ],
)
def test_a_bad_policy_ends_the_start_in_one_line(text, message):
    """It names the flag, what was wanted and what came."""
    with pytest.raises(StartupError, match=message) as refused:
        from_command_line([f"--versions={text or ' '}"])
    assert str(refused.value).startswith("--versions (VAE_VERSIONS): ")
    assert "\n" not in str(refused.value)


def test_without_a_word_it_is_the_highest():
    """`--versions` that names some models leaves the default to the others."""
    assert VersionPolicy.parse(from_command_line([]).versions).of("any") == Rule(1)
    policy = VersionPolicy.parse("digits=all")
    assert (policy.of("digits"), policy.of("faces")) == (Rule(None), Rule(1))


@given(rules, st.sets(st.integers(1, 8)))
def test_versions_are_tried_from_the_highest_on(rule, there):
    """Of those that are there, each once; of named ones no others."""
    wanted = rule.wanted(there)
    assert wanted == sorted(there & set(rule.named) if rule.named else there, reverse=True)
