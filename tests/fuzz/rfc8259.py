"""Cases of RFC 8259, by its sections: what is JSON, what is none, and what a reader may take or leave.

Names, numbers and texts are listed as values; each also stands in a list and as the value of a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["EITHER", "RIGHT", "WRONG", "placed"]

# 2: structural characters, insignificant white space, and what no token begins with.
_WRONG_TEXTS = re.split(
    r"\n|  +",
    r"""
[  ]  {  }  [ }  { ]  {[}  {]  [1  [1}  {"a":1]  [1] ]  [1]]  }}  ,  :  [,]  [,1]  [ , 1]  [1,]  ["",]  [1,,]
["a",,]  [1,,2]  [1 , , 2]
["":1]  [1:2]  ["a",  [1,2,}  [[1]]]  {}}  []]  {}{}  [][]  []{}  {} {}  [1] 2  1 2  {}x  [1]x  [1],  [""],  {}1
[]1  1[]  1{}  1]  ""[]  "a"[]
{"a":1}#  {"a":1}#{}  {"a":1}/**/  {"a":1}/**//  {"a":1}//  {"a":1}/  {"a":1}/*  {"a":1}/*x*/  {"a":/*x*/1}  #{}
//[]  /**/[]  [//  [/**/1]
{"a" 1}  {"a" b}  {"a"}  {"a":}  {"a":1,}  {"a":1,,}  {"a":1,,,,}  {"a":1 "b":2}  {"a":1,,"b":2}  {"a":1;"b":2}
{"a":1,"b"}  {"a":1 2}  {"a":1} 2
{"a"::1}  {"a",1}  {"a";1}  {"a":1:2}  {"a":1} "x"  {,}  {,  {:1}  {:  {[:1}  {1:1}  {9999E99:1}  {null:1}
{null:null,null:null}  {{}}  {{}:1}  {[]:1}
{a:1}  {a:"b"}  {a: 'b'}  {'a':1}  {'a'  {"a":'b'}  {"a":"b",c}  {"a":"b",  {"a":"b" c}  {"a":"b""c":1}  {"a"{}}
{"a"[]}  {"a":[}  {"a":{]  {]
{"  {"a  {"a"  {"a":  {"":  {"a":1  {"a":"b"  {"a":"b  {"a":1,  {"a":tru  {"a":True}  {"a":NaN}  {"a":-Infinity}
{"a":(1)}  {"a":1}}  {"a":true}:
["  ["a"  ["a  ["a]  ['  ['a'  ['a']  [1,  [[  [{}  [{"a":[  [{"a":[{"a":[{"a":  [{  [{]  [{"a"]}  ["\{["\{["\{
[1,2  [1;2]  [1; 2]  [1 2]  [1 000.0]
[1 true]  [true false]  [1"a"]  ["a"1]  ["a""b"]  [3[4]]  [[][]]  [{}{}]  ["a", truth]  [a  [u]  [*]  *  [x  abc  aå
[\u000A""]  [\n]  \n
<null>  <.>  [<null>]  =  (  )  (1)  [(1)]  &  %  ~  `  ^  ?  !  @  $  |  _  ;  'a'  ''  undefined  [undefined]  ...
2@  [2@]  ]1[  }{
nul  fals  tru  [nul]  [fals]  [tru]  [false, nul  [true, fals  [false, tru  truex  [truex]  nulll  TRUE  True
FALSE  False  NULL  Null  None
[None]  [TRUE]  [True]  NaN  -NaN  [NaN]  [-NaN]  Infinity  -Infinity  [Infinity]  [-Infinity]  Inf  +Inf  [+Inf]
inf  nan
""".strip(),
)
_WRONG_TEXTS += [
    "", " ", "\t\r\n", "[1\n2]", '{"a" "b"}', '{"a": 1 2}', "[1] 2", "{} {}", "[\n1,\n2", "[1,\n", "[ ", "{ ",
    "[\v1]", "[\f]",
    "\f[]", "\u00a0[]", "[\u00a0]", "\u2028[]", "\u2060[]", "[\u2060]", "\u3000{}", "[\ufeff]", "{}\ufeff",
    "\ufeff\ufeff{}", "\ufeff", "\u00e9", "[\u00e9]",
    "\U0001f600", '{"\U0001f600"}', "{\U0001f600:1}", "[\x00]", "{}\x00", '{"a":1}\x00', "\x00{}", "[1]\x1a", "\\n",
    "[\\u000a]", '[\\u0020"a"]', "\\u005b]",
    "[" * 100_000, "]" * 1000, '{"a":' * 50_000, '[{"a":' * 50_000, "[" * 999 + "1", "true false", "null,", "1 2",
    '"a" "b"', "\u201ca\u201d", "[\u201ca\u201d]",
    '{"a": 1 // one\n}', '{"a": 1 # one\n}', "<!-- -->{}", "﹛﹜", "[1\uff0c2]", "{\u2018a\u2019: 1}", '{"a"\uff1a1}',
]  # fmt: skip

# 6: numbers.
_WRONG_NUMBERS = r"""
01 -01 00 -00 012 -012 0123 1.0.0 0.1.2 1..2 1. -1. 0. -0. .1 -.1 .123 .e1 .-1 -.e1 1.e1 2.e+3 2.e-3 0.e1 9.e+ 1e 1E
1e+ 1e- 1E+ 0e 0E
0e+ 0E+ 0E- 1.0e 1.0e+ 1.0e- 0.3e 0.3e+ 1ee2 1eE2 1e2e3 1e1.5 1e+-1 1e0x1 +1 +0 ++1 -+1 +-1 --1 - -- -a -foo -1-
1- 1+ 1+2 1-2 1*2
0x1 0x0 0xG 0X1 0b1 0o7 1_000 1,000.0,
1'000 123abc 1a 1.2a -1x 1e1x 1ex 1.8011670033376514H-308 1L 1f 0.1f 1% $1 #1 1/2 Infinity1 1Infinity -Inf
-infinity infinity +Infinity +NaN NaN1 1.5. 10.e 1e1. 1e.1 -e1 e1 E1 -.  1..
""".split()  # noqa: SIM905
_WRONG_NUMBERS += [
    "\uff11",
    "1\uff10",
    "\u0661",
    "1\u0660",
    "\u00bd",
    "\u00b2",
    "1\u2212",
    "\u22121",
    "-\u0661",
    "- 1",
    "1 .5",
    "1. 5",
    "1 e5",
    "-\n1",
    "1e 5",
]

# 7: strings.
_WRONG_STRINGS = [
    '"', '"a', '"a\\"', '"\\', '"\\"', '"""', '"a"b"', '"a""', "'a'", "a", "a b", '\\"a"', '"a\\', '"\\\\\\"',
    '"a"x', '""x', "\\u0061", '\\"a\\"',
    *(f'"\\{c}"' for c in "aceghijklmopqsvwxyzACBFNRTUX0123789'`&?-+.:;#{}[]() \u00e9\U0001f600"),
    *(f'"\\u{c}"' for c in ("", "0", "00", "000", "00A", "g000", "00g0", "-123", "+123", " 123", "0x4")),
    '"\\u{41}"', '"\\u\u0660\u0660\u0660\u0660"',
    '"\\u', '"\\u0', '"\\u00', '"\\u000', '"\\u0000', '"\\U0041"', '"\\uD834\\u"', '"\\uD834\\uD"',
    '"\\uD834\\uDd1"', '"\\uD834\\x"', '"\\uD834\\', '"\\uD800\\uD800\\x"', '"\\uqqqq"',
    '"\\uD800\\u"', '"\\uD800\\u1"', '"\\uD800\\u1x"', '"\\\n"', '"\\\t"', '"\\\x00"', '"\\x00"', '"\\u{1F600}"',
    *(f'"{chr(code)}"' for code in range(0x20)), *(f'"a{chr(code)}b"' for code in (0, 9, 10, 13, 0x1B, 0x1F)),
]  # fmt: skip

# 8.1: UTF-8 and nothing else.
_WRONG_BYTES = [
    b"\xff", b"[\xff]", b"\xc3", b"[\xc3]", b"[1\xe5]", b"[1e\xe5]", b"[1e1\xe5]", b"[-\xe5]", b"[0\xe5\n]",
    b"[a\xe5]", b'["\\\xe5"]', b'["\\u\xe5"]', b'["\\u00\xe5"]',
    b'{"\xb9":"0",}', b"{}\xff", b"\xff{}", b"\xef", b"\xef\xbb", b"\xef\xbb{}", b"\xef\xbb\xbf",
    b"\xef\xbb\xbf\xef\xbb\xbf{}", b"\xfe\xff", b"\xff\xfe", b"\x80", b"\xe9",
]  # fmt: skip

# 8.2 and 8.1: what a decoder may take, with a character in its place, or leave.
EITHER: list[bytes] = [
    *(b'"' + part + b'"' for part in (
        b"\xff", b"\x80", b"\x81", b"\xe9", b"\xc3", b"\xc0\xaf", b"\xc0\x80", b"\xe0\xff", b"\xe0\x80\x80",
        b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xf4\xbf\xbf\xbf",
        b"\xf8\x88\x80\x80\x80", b"\xfc\x83\xbf\xbf\xbf\xbf", b"\xfc\x80\x80\x80\x80\x80",
        b"\xe6\x97\xa5\xd1\x88\xfa", b"\xf0\x9f\x98",
    )),
    *(f'"{part}"'.encode() for part in (
        r"\ud800", r"\udc00", r"\udfaa", r"\uDADA", r"\uD888\u1234", r"\uD800\n", r"\uD800\uD800\n", r"\uD800abc",
        r"\ud800abc", r"\uDd1e\uD834", r"\ud83d\ud83d\ude00", r"\udead", r"\ud800\ud800",
    )),
    *map(str.encode, (
        "1e400", "-1e400", "1e9999", "-1e+9999", "1e-400", "-1e-400", "1e-10000", "123.456e-789",
        "0.4e0066999999999999999999999999999999999999999999999999999999", "1.5e+9999",
        "9" * 25, "-" + "9" * 25, "-123123123123123123123123123123", "1" + "0" * 400, "9" * 5000, "0." + "1" * 5000,
        '{"\\uDFAA":0}', "[" * 500 + "]" * 500, '{"a":' * 400 + "1" + "}" * 400,
    )),
    b'\xef\xbb\xbf{}', "[\"é\"]".encode("utf-16"), "[\"é\"]".encode("utf-16-le"), "[\"é\"]".encode("utf-16-be"),
    "[1]".encode("utf-32"), "[1]".encode("utf-32-be"),
]  # fmt: skip

_RIGHT_NUMBERS = r"""
0 -0 0.0 -0.0 0e0 0e+1 0E-1 0e1 1 -1 9 10 123 -123 1.5 -1.5 123.456789 1e5 1E5 1e+5 1e-5 1E+2 1E-2 1.5e22 123.456e78
123e65 123e45 20e1 1e0 1e00 1e01 1E-0
-0.000000000000000000000000000000000000000000000000000000000000000000000000000001 1.0 0.1 1e308 -1.0e+28 1.0e-28
2147483648 9007199254740993 18446744073709551615 -9223372036854775808
""".split()  # noqa: SIM905
_RIGHT_STRINGS = [
    '""', '" "', '"a"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\u0041\\u00e9\\u0821"',
    '"\\u0012"', '"\\uFFFF"', '"\\uDBFF\\uDFFF"', '"\\ud83d\\ude39\\ud83d\\udc8d"',
    '"\\uD834\\uDD1E"', '"\\\\u0000"', '"\\\\a"', '"\\\\n"', '"\\u0022"', '"\\u005C"', '"\\u002c"', '"\\u000a"',
    '"\\u00A0"', '"\\u200B"', '"\\u2064"', '"\\uFDD0"', '"\\uFFFE"', '"\\uD83F\\uDFFE"', '"\\uDBFF\\uDFFE"',
    '"/* */ // #"', '"\u00e9"', '"\u2028\u2029"', '"\u03c0\u2342\u3268"', '"\U0001f600"', '"\U0001bfff"',
    '"\U0010ffff"', '"\uffff"', '"\x7f"', '"a\x7fa"', '"\ufeff"', '"\u2060"', '"\u202e"', '"' + "x" * 5000 + '"',
    '"{}[]:,"', '"NaN"', '"\'"', '"\\uA66D"', '"\\u0061\\u30af"', '"new\\u000Aline"',
]  # fmt: skip
_RIGHT_TEXTS = [
    "true", "false", "null", "[]", "{}", "[[]]", "[{}]", '{"a":{}}', "[[] ]", "[ ]", "{ }", "[1]", "[1,2]", '[""]',
    '["a","b"]', "[true,false,null]", '[null,1,"1",{},[]]', "[1,null,null,null,2]",
    '{"":0}', '{"":""}', '{"a":1}', '{"a":1,"b":2}', '{"a":{"a":{"a":1}}}', '{"a":[1,{"b":[]}]}', '{"a\\u0000b":1}',
    '{"\\u043f":"\u043f"}', '{"a":1,"A":2}', '{"a":[],"b":[]}', '{"min":-1.0e+28,"max":1.0e+28}',
    " [1]", "[1] ", "[1]\n", "[1\n]", "\t{\r\n \"a\" :\t1 ,\n\"b\":2}\r\n", "[\n]", " 1 ", "\n\"a\"\n", "[ 4]",
    "[" * 150 + "]" * 150, '{"a":\n"b"\n}', '[1 , 2 , [ ] , { "a" : [ ] } ]',
]  # fmt: skip


def placed(values: Iterable[str]) -> Iterator[bytes]:
    """Give each value by itself, in a list, and under a name."""
    for value in values:
        for form in ("%s", "[%s]", '{"a": %s}'):
            yield (form % value).encode("utf-8", "surrogatepass")


WRONG: list[bytes] = [
    *dict.fromkeys(
        (*(text.encode() for text in _WRONG_TEXTS), *placed((*_WRONG_NUMBERS, *_WRONG_STRINGS)), *_WRONG_BYTES)
    )
]
RIGHT: list[bytes] = [
    *dict.fromkeys((*(text.encode() for text in _RIGHT_TEXTS), *placed((*_RIGHT_NUMBERS, *_RIGHT_STRINGS))))
]
