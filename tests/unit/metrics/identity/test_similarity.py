"""The verdict on pairwise similarity: a known world in which it misleads, and one in which it does not."""

from recsim_gen.core.results import Results
from recsim_gen.metrics.identity.similarity import compare_similarity


def told(**methods):
    results = Results("identity", {})
    for name, (found, similar) in methods.items():
        for metric, value in (("map", found), ("similarity", similar), ("similarity_others", 0.5)):
            results.row(variant=name, metric=metric, value=value, n=1, encoder="e", group="overall")
        results.row(variant=name, metric="map", value=9.0, n=1, encoder="other", group="overall")
    compare_similarity(results, "e")
    return results.verdicts.get("pairwise similarity (e)")


def test_pairs_in_the_other_order_are_counted_and_told():
    text = told(one=(0.9, 0.6), two=(0.4, 0.8), three=(0.2, 0.3), real=(0.1, 0.99))
    assert text.startswith(
        "it orders 1 of 3 pairs of methods otherwise than mAP: one finds more than two (mAP 0.900 to 0.400) "
        "and is less similar (0.600 to 0.800). Mean cosine"
    )
    assert text.endswith("real 0.990 and 0.500")


def test_where_it_agrees_that_is_said():
    assert "it orders 0 of 1 pairs of methods otherwise than mAP. " in told(one=(0.9, 0.8), two=(0.4, 0.6))


def test_a_method_alone_has_no_order_and_no_method_no_verdict():
    assert (
        told(one=(0.9, 0.8))
        == "mean cosine to pictures of its own identity and to others: one 0.800 and 0.500"
    )
    assert told(real=(0.9, 0.8)) is None
