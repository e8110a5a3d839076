"""News of simulated feeds: one list of stories, each once, in plain text."""

from providers.chain import Chains
from providers.questions import Question
from providers.records import NewsItem
from tests.fixtures.simulator import Simulator
from texts.titles import title_key

NEWS = Question("news", ("*",))


async def test_all_feeds_make_one_list(chains: Chains, simulated: Simulator) -> None:
    answer = await chains.ask(NEWS, 20.0)
    stories = [record for record in answer.records if isinstance(record, NewsItem)]
    assert len(answer.served_by) >= 15
    assert len({story.id for story in stories}) == len({story.url for story in stories})
    titles = [key for story in stories if (key := title_key(story.title))]
    assert len(set(titles)) == len(titles) > 50
    assert {via for story in stories for via in story.via} <= set(answer.served_by)
    assert max(len(story.via) for story in stories) >= 5
    for story in stories:
        text = f"{story.title}{story.summary}{story.source}"
        assert "<" not in text
        assert "&amp;" not in text
        assert "utm_" not in story.url
    refused = {tried.resource: tried.skipped for tried in answer.tried}
    assert refused["news/cryptopanic"] == "no_key"


async def test_feeds_are_not_asked_again_within_their_time(
    chains: Chains, simulated: Simulator
) -> None:
    first = await chains.ask(NEWS, 20.0)
    simulated.delete("/sim/providers/requests")
    again = await chains.ask(NEWS, 3.0)
    assert (again.cached, again.records) == (True, first.records)
    assert simulated.get("/sim/providers/requests")["total"] == 0
