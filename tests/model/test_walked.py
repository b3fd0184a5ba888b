"""A dictionary that may be walked through while it changes."""

from __future__ import annotations

import copy
import json
import pickle

from dspyreload.model.walked import Walked


def test_it_is_a_dictionary_like_any_other() -> None:
    """Equal to one, copied, printed and written as one."""
    plain = {"a": 1, "b": 2}
    walked = Walked(plain)
    assert walked == plain
    assert (dict(walked), {**walked}, copy.copy(walked), copy.deepcopy(walked)) == (plain, plain, plain, plain)
    assert (repr(walked), json.dumps(walked)) == (repr(plain), json.dumps(plain))
    assert pickle.loads(pickle.dumps(walked)) == plain
    assert [*walked] == [*walked.keys()] == ["a", "b"]
    assert ([*walked.values()], [*walked.items()]) == ([1, 2], [("a", 1), ("b", 2)])


def test_each_of_its_walks_is_through_what_there_was_when_it_began() -> None:
    """Whatever is put in or taken out meanwhile."""
    walked = Walked({"a": 1, "b": 2})
    walks = [iter(walked), iter(walked.keys()), iter(walked.values()), iter(walked.items())]
    firsts = [next(walk) for walk in walks]
    del walked["b"]
    walked["c"] = 3
    walked["d"] = 4
    assert firsts == ["a", "a", 1, ("a", 1)]
    assert [list(walk) for walk in walks] == [["b"], ["b"], [2], [("b", 2)]]
    assert [*walked] == ["a", "c", "d"]
