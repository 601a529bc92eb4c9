"""Numbers that identify: the checksums and lengths that tell them from other numbers."""

from __future__ import annotations

_CARD_STARTS = (
    # first and last prefix, shortest and longest card: Visa, Mastercard, American Express, Diners Club,
    # JCB, Discover, UnionPay, Maestro
    (("4", "4"), (13, 19)),
    (("51", "55"), (16, 16)),
    (("2221", "2720"), (16, 16)),
    (("34", "34"), (15, 15)),
    (("37", "37"), (15, 15)),
    (("300", "305"), (14, 19)),
    (("36", "36"), (14, 19)),
    (("38", "39"), (14, 19)),
    (("3528", "3589"), (16, 19)),
    (("6011", "6011"), (16, 19)),
    (("644", "659"), (16, 19)),
    (("62", "62"), (16, 19)),
    (("50", "50"), (16, 19)),
    (("56", "58"), (16, 19)),
    (("63", "63"), (16, 19)),
    (("67", "67"), (16, 19)),
)
SHORTEST_CARD, LONGEST_CARD = 13, 19
_GROUPED = {(4, 6, 5), (4, 6, 4), (4, 4, 5), (8, 8)}

IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FO GL NL",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH CR HR LI LV",
        "22": "BG BH DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU",
        "31": "MT SC YE",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an account number by country, from SWIFT's IBAN Registry."""


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of ISO/IEC 7812-1.

    Every second digit from the right is doubled, nine taken off where that gives two digits, and the sum is
    a multiple of ten. Example: "4111111111111111" → True; with another last digit → False.
    """
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def is_card(groups: list[str]) -> bool:
    """Return whether groups of digits are the number of a payment card, in a shape in which they are written.

    Example: `["4111", "1111", "1111", "1111"]` → True; `["41", "111", "11111", "111111"]` → False.
    """
    digits, sizes = "".join(groups), tuple(map(len, groups))
    fours = all(size == 4 for size in sizes[:-1]) and sizes[-1] <= 4
    if not (len(sizes) == 1 or fours or max(sizes) <= 2 or sizes in _GROUPED):
        return False
    return passes_luhn(digits) and any(
        first <= digits[: len(first)] <= last and shortest <= len(digits) <= longest
        for (first, last), (shortest, longest) in _CARD_STARTS
    )


def is_iban(text: str) -> bool:
    """Return whether letters and digits are an account number: the country's length, and MOD 97-10.

    The first four characters go to the end, letters count from A = 10, and the number is 1 modulo 97.
    Example: "DE89370400440532013000" → True.
    """
    text = text.upper()
    if not (text.isascii() and text.isalnum()) or IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1
