"""Published sizes of the known data sets, with sources.

Counts have the names of ``checks.counts``. An entry has only what its source states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROUNDED = 0.05  # relative tolerance for rounded counts ("~150k")


@dataclass(frozen=True)
class Published:
    """Counts stated by one ``source``, with a short ``name``; ``rounded``: approximate numbers.

    ``remark`` names a possible cause of differences.
    """

    name: str
    source: str
    counts: Mapping[str, int]
    rounded: bool = False
    remark: str = ""

    def agrees(self, count: str, value: int) -> bool:
        """Return whether ``value`` agrees with the published ``count``."""
        expected = self.counts[count]
        return value == expected or (self.rounded and abs(value - expected) <= ROUNDED * expected)

    def differences(self, counts: Mapping[str, int]) -> list[str]:
        """Return ``"people 609, published 610"`` for each differing count; missing counts are ignored."""
        return [
            f"{name} {counts[name]:,}, published {'about ' * self.rounded}{expected:,}"
            for name, expected in self.counts.items()
            if name in counts and not self.agrees(name, counts[name])
        ]


RAGAR = "Ling et al., RAGAR, Table 1"
PMG_BENCH = "PMG-Bench, its README"
BENCHMARK = "Personalized Multimodal Generation Benchmark, its README"
DRAWN = "users were drawn at random, which ones is not published"

MOVIELENS_SMALL = {"choices": 100_836, "people": 610, "items": 9_742}
FLICKR_AES = Published(
    "FLICKR-AES",
    BENCHMARK,
    {"choices": 193_208, "people": 210, "items": 40_988},
    remark="all ratings are choices with --data-settings.min_score 1 only",
)
SER30K = (
    Published("SER30K", f"{PMG_BENCH}; {BENCHMARK}", {"items": 30_000}, rounded=True),
    Published("RAGAR", RAGAR, {"people": 2_230, "items": 30_739}),
)

PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "ml-100k": (
        Published("ml-100k", "GroupLens, its README", {"choices": 100_000, "people": 943, "items": 1_682}),
    ),
    "movielens": (
        Published("ml-latest-small", "GroupLens, its README", MOVIELENS_SMALL),
        Published(
            "ml-25m", "GroupLens, its README", {"choices": 25_000_095, "people": 162_541, "items": 62_423}
        ),
        Published(
            "posters_128",
            "the poster set posters_128.tar, counted",
            {
                "pictures": 9_517,
                "items without picture": 225,
                "choices of items without picture": 507,
                "groups of equal pictures": 4,
            },
        ),
        Published(
            "RAGAR",
            RAGAR,
            {"episodes": 4_689, "items": 9_742},
            remark="its users are sequences of 20: the floor rule gives 4,769, no simple rule 4,689",
        ),
    ),
    "pmg-movieposter": (Published("PMG-Bench", PMG_BENCH, {**MOVIELENS_SMALL, "pictures": 9_742}),),
    "pmg-pog": (
        Published(
            "PMG-Bench",
            PMG_BENCH,
            {"choices": 800_000, "people": 50_000, "pictures": 150_000},
            rounded=True,
        ),
    ),
    "pog": (Published("RAGAR", RAGAR, {"people": 1_000, "items": 19_242}, remark=DRAWN),),
    "pmg-ser30k": SER30K,
    "ser30k": SER30K,
    "flickr-aes": (FLICKR_AES,),
    "unified": (
        Published("FLICKR-AES", BENCHMARK, {"people": 210, "items": 40_988}),
        Published("POG", BENCHMARK, {"people": 2_000, "items": 16_100}, remark=DRAWN),
        Published("SER30K", BENCHMARK, {"items": 30_000}, rounded=True),
    ),
}


def published(name: str, counts: Mapping[str, int]) -> list[Published]:
    """Return the published counts of data set ``name`` for the editions that ``counts`` may belong to.

    A set has editions (MovieLens of 100 thousand and of 25 million ratings). An edition that agrees in no
    count at all is left out.
    """
    return [
        known
        for known in PUBLISHED.get(name, ())
        if any(count in counts and known.agrees(count, counts[count]) for count in known.counts)
    ]
