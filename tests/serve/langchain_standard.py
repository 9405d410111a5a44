"""langchain's standard tests over ChatOpenAI; `test_harnesses.py` runs them in another process."""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestElman(ChatModelIntegrationTests):
    """A bot that talks: no tools, no images, no schemas."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "ann",
            "base_url": os.environ["ELMAN_URL"],
            "api_key": "unused",
            "max_retries": 0,
            "stream_usage": True,
        }

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False
