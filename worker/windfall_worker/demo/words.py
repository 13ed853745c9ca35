"""The words in the demo tasks: short lists of real ones, and a generator of pronounceable made-up ones.

Made-up words keep the model from memorising the lists: it has to learn the task instead.
"""

# ruff: noqa: SIM905 - lists of words read better as running text

from random import Random
from typing import Final

WORDS: Final = tuple(
    """
    apple river stone window garden candle winter summer bridge castle coffee cookie copper cotton cousin dragon
    engine falcon feather finger flower forest friend guitar hammer harbor island jacket jungle kettle kitten ladder
    lemon lizard magnet market marble meadow mirror monkey morning mountain needle number orange otter paper parrot
    pencil pepper pickle pillow planet pocket potato prince puzzle rabbit ribbon rocket saddle sailor salmon school
    shadow silver spider spring square stream street sugar sunset table temple thunder ticket tiger timber tomato
    towel tunnel turtle valley velvet violin walnut water whale wheat wizard wolf wonder yellow zebra anchor arrow
    autumn bacon badger basket beach berry bird blanket boat book bottle bread bucket butter cabin camel camera
    carrot chair cheese cherry clock cloud coast corner crab crown dance desert diamond dinner doctor dolphin door
    dream eagle earth elbow fabric farm field fire fish flag fox frog ghost glass goat gold grape green hand heart
    helmet honey horse house iron jewel judge juice key king kiwi lamp lantern leaf letter light lion lunch maple
    melon milk moon mouse music nest night north ocean olive onion owl panda peach pear piano plum pond queen quilt
    radio rain red road robin rope rose salt sand sea seed sheep ship shoe silk sky snow soap song soup star storm
    sun swan tea tent tiny toad tree truck tulip vase wagon wall wind wing wool yarn cat dog big old new blue
    """.split()
)

NAMES: Final = tuple(
    """
    Maria John Anna Peter Lucy Omar Nina Carlos Emma Felix Grace Hugo Ines Jonas Karim Laura Marco Nora Oscar Paula
    Quinn Rosa Samuel Tara Ursula Victor Wendy Xavier Yara Zoe Alice Bruno Clara David Elena Frank Greta Henry Iris
    Julia Kevin Lena Miguel Noah Olivia Pablo Ruth Simon Teresa Umar Vera Walter Yusuf Amir Bella Chen Diana Erik
    """.split()
)

CITIES: Final = tuple(
    """
    Lisbon Paris London Berlin Madrid Rome Vienna Oslo Dublin Prague Tokyo Kyoto Osaka Seoul Lima Quito Bogota Cairo
    Nairobi Lagos Accra Tunis Delhi Mumbai Hanoi Manila Sydney Perth Boston Chicago Denver Dallas Miami Seattle
    Toronto Ottawa Havana Athens Sofia Riga Porto Seville Milan Naples Turin Lyon Geneva Zurich Munich Hamburg Bergen
    Helsinki Warsaw Krakow Budapest Belgrade Zagreb Ankara Beirut Amman Doha Dubai Muscat
    """.split()
)

SUBJECTS: Final = tuple(
    """
    food hotel movie book service room coffee music weather show game train meal staff view concert phone product
    story trip flight breakfast park museum app car class beach soup lesson garden painting
    """.split()
)

# The three lists have no word in common, so that one word decides the sentiment.
FEELINGS: Final = {
    "positive": tuple(
        """
        great wonderful excellent lovely amazing fantastic superb perfect delightful brilliant good beautiful
        charming impressive marvelous outstanding pleasant splendid terrific fabulous
        """.split()
    ),
    "negative": tuple(
        """
        awful terrible horrible bad disappointing dreadful poor boring disgusting annoying unpleasant dirty ugly
        broken miserable nasty useless rude painful pathetic
        """.split()
    ),
    "neutral": tuple(
        """
        average ordinary okay normal standard typical usual moderate regular common plain medium basic acceptable
        adequate unremarkable fair passable middling conventional
        """.split()
    ),
}

_ONSETS: Final = (*"bcdfghjklmnprstvwyz", "st", "tr", "br", "pl", "gr", "sh", "ch", "fl", "kr", "th")
_VOWELS: Final = (*"aeiouaeiou", "ea", "ou", "ai", "oo")
_CODAS: Final = ("", "", "", *"nrstlmkpdg", "ck", "nd", "st", "x", "ng")


def made_up_word(rng: Random, shortest: int = 3, longest: int = 8) -> str:
    """A lower-case pronounceable word of `shortest` to `longest` letters."""
    length = rng.randint(shortest, longest)
    word = ""
    while len(word) < length:
        word += rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
    return word[:length]


def any_word(rng: Random) -> str:
    """A word of three to eight letters: made up three times out of four, else a real one."""
    return made_up_word(rng) if rng.random() < 0.75 else rng.choice(WORDS)


def any_name(rng: Random) -> str:
    """A first name, made up two times out of three."""
    return made_up_word(rng).capitalize() if rng.random() < 0.67 else rng.choice(NAMES)


def any_city(rng: Random) -> str:
    """A city, made up two times out of three."""
    return made_up_word(rng, 4).capitalize() if rng.random() < 0.67 else rng.choice(CITIES)
