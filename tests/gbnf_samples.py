"""Grammars in llama.cpp's GBNF, each with texts that it may take or not: llama.cpp itself decides which."""

ARITHMETIC = r"""root ::= (expr "=" term "\n")+
expr ::= term ([-+*/] term)*
term ::= number | "(" expr ")"
number ::= [0-9]+"""
JSON = r"""root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}"""
A_LOT = ["", "a", "aa", "aaa", "aaaa", "aaaaa", "b", "ab", "ba"]

GRAMMARS: dict[str, tuple[str, list[str]]] = {
    "a text": ('root ::= "cat"', ["cat", "ca", "cats", "Cat", ""]),
    "an empty text": ('root ::= ""', ["", "a"]),
    "texts in a row": ('root ::= "a" "b" "a"', ["aba", "ab", "abab"]),
    "alternatives": ('root ::= "a" | "bb" | "abc"', ["a", "bb", "abc", "ab", "b", "aa"]),
    "an empty alternative": ('root ::= "a" | ', ["", "a", "aa"]),
    "an empty alternative first": ('root ::= | "a"', ["", "a", "aa"]),
    "a prefix of another": ('root ::= ("a" | "ab") "c"', ["ac", "abc", "ab", "abbc"]),
    "optional": ('root ::= "a"?', A_LOT),
    "star": ('root ::= "a"*', A_LOT),
    "plus": ('root ::= "a"+', A_LOT),
    "exactly three": ('root ::= "a"{3}', A_LOT),
    "exactly none": ('root ::= "a"{0}', A_LOT),
    "at least two": ('root ::= "a"{2,}', A_LOT),
    "at least none": ('root ::= "a"{0,}', A_LOT),
    "two to four": ('root ::= "a"{2,4}', A_LOT),
    "none to two": ('root ::= "a"{0,2}', A_LOT),
    "counted brackets": ('root ::= ("a" | "b"){2}', A_LOT),
    "counted rules": ('root ::= x{1,2}\nx ::= "a" "b"?', A_LOT),
    "a count of a class": ("root ::= [ab]{2,3}", A_LOT),
    "a star of an optional": ('root ::= ("a"? "b")*', A_LOT),
    "brackets in brackets": ('root ::= (("a" | "b") "c"){1,2}', ["ac", "bc", "acbc", "ab", "acac", "acacac"]),
    "a class": ("root ::= [abc]", ["a", "c", "d", "ab", ""]),
    "a range": ("root ::= [a-f0-3]+", ["a0f3", "g", "4", "-", "A"]),
    "a class with a hyphen": ("root ::= [-+]", ["-", "+", ",", "*"]),
    "a class with a hyphen last": ("root ::= [+-]", ["-", "+", ","]),
    "not in a class": ("root ::= [^abc]", ["d", "a", "\n", "ä", ""]),
    "not in a range": ("root ::= [^a-z]+", ["A1 ", "a", "Aa", "Ä"]),
    "a class with a bracket": (r"root ::= [\[\]]+", ["[", "]", "[]", "a"]),
    "a class with a caret": ("root ::= [a^]+", ["^", "a", "b"]),
    "a class of escapes": (r"root ::= [\n\t\\]+", ["\n\t", "\\", "n", "t"]),
    "a class of bytes": (r"root ::= [\x41-\x43]+", ["ABC", "D", "x"]),
    "a class of code points": (r"root ::= [\u00e4\u00f6]+", ["äö", "ü", "a"]),
    "a wide range": (r"root ::= [ぁ-ゟ]+", ["あい", "ア", "a"]),
    "beyond 16 bits": (r"root ::= [\U0001F600-\U0001F64F]+", ["😀", "🦊", "a"]),
    "letters with accents": ('root ::= "naïve" | "日本"', ["naïve", "naive", "日本", "日"]),
    "any character": ("root ::= .", ["a", "\n", "ä", "🦊", "", "ab"]),
    "any characters": ("root ::= .+", ["a b", "a\nb", ""]),
    "an escaped quote": (r'root ::= "\"" [a-z]* "\""', ['"ab"', '""', '"', "ab"]),
    "an escaped backslash": (r'root ::= "\\" "n"', ["\\n", "\n", "\\"]),
    "an escaped line": (r'root ::= "a\nb\tc\r"', ["a\nb\tc\r", "a\\nb", "ab"]),
    "an escaped byte": (r'root ::= "\x41\x5a"', ["AZ", "az", "x41"]),
    "an escaped code point": (r'root ::= "\u00e9"', ["é", "e", "u00e9"]),
    "a slash": ('root ::= "a/b" [/]', ["a/b/", "a/b", "ab/"]),
    "characters of expressions": ('root ::= ".*+?(){}|^$" [.*+?]', [".*+?(){}|^$.", "aa", ".*+?(){}|^$a"]),
    "a hash in a text": ('root ::= "#a" # "b"', ["#a", "#ab", "a"]),
    "a hash in a class": ("root ::= [#a]+ # end", ["#a", "b"]),
    "comments": ('# first\nroot ::= "a" # "b"\n# last', ["a", "b", "ab"]),
    "rules on many lines": ('root ::= (\n  "a" |\n  "b"\n) end\nend ::= "!"?', ["a", "b!", "!", "ab"]),
    "alternatives on lines": ('root ::= "a" |\n  "b" |\n  "c"', ["a", "c", "d"]),
    "hyphens in names": ('root ::= a-rule\na-rule ::= "x" b-2\nb-2 ::= "y"', ["xy", "x"]),
    "capitals in names": ('root ::= Word\nWord ::= "x" WORD?\nWORD ::= "y"', ["x", "xy", "y"]),
    "a rule that is defined first": ('word ::= "x"\nroot ::= word word', ["xx", "x"]),
    "a rule that nobody uses": ('root ::= "a"\nother ::= "b"', ["a", "b"]),
    "recursion at the end": ('root ::= "a" root | "b"', ["b", "ab", "aab", "a", "ba"]),
    "recursion in the middle": ('root ::= "(" root ")" | "x"', ["x", "(x)", "((x))", "((x)", "()"]),
    "recursion that may stop": ('root ::= "a" root?', A_LOT),
    "two that refer to each other": (
        'root ::= "a" other?\nother ::= "b" root?',
        ["a", "ab", "aba", "b", "abb"],
    ),
    "a palindrome": ('root ::= "a" root "a" | "b" root "b" | "c"', ["c", "aca", "abcba", "abcab"]),
    "lists": ('root ::= ("- " [^\\n]+ "\\n")+', ["- a\n", "- a\n- b\n", "- \n", "a\n", "- a"]),
    "chess": (
        'root ::= "1. " move " " move "\\n"\nmove ::= (pawn | piece | castle) [+#]?\n'
        'piece ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]\npawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBQR])?\n'
        'castle ::= "O-O" "-O"?',
        ["1. e4 e5\n", "1. Nf3 O-O-O+\n", "1. e9 e5\n", "1. e4\n", "1. exd8=Q# Kd8\n"],
    ),
    "arithmetic": (ARITHMETIC, ["1+1=2\n", "(2*3)=6\n", "1=1", "1++1=2\n", "12/(3-1)=6\n7=7\n", ""]),
    "JSON": (
        JSON,
        [
            *('{"a":1}', "{}", '{"a": [true, null, -1.5e3], "b": {"c": "\\u00e9\\n"}}', "[1]", "{a:1}"),
            *('{"a":01}', '{"a": "x\ny"}', '{"a":1,}', '{"a": 1}\n'),
        ],
    ),
    "a time": (
        'root ::= h ":" m\nh ::= "2" [0-3] | [01] [0-9]\nm ::= [0-5] [0-9]',
        ["23:59", "24:00", "00:60", "9:00", "09:07"],
    ),
}
