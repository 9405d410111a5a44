"""What axe-core finds in a page, in words."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page, state: str) -> list[str]:
    """Say what breaks a rule of axe-core's, and where.

    Args:
        page: as it is now.
        state: what the page is called in that state.
    """
    return [
        f"{state}: {each['impact']} {each['id']} {node['target']} {node['failureSummary']}"
        for each in Axe().run(page).response["violations"]
        for node in each["nodes"]
    ]
