"""The page's shell: its views, links, keyboard, theme, tokens, and the API away and back."""

from tests.dashboard.conftest import OpenPage
from tests.fixtures.service import Service


async def test_it_opens(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page()
    await page.sees("Ready", "header")
    assert await page.violations() == []
