"""/v1/models: the bots that are served, and how much may be asked of them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS
from elman.serve.limits import LIMITS, RequestLimits
from elman.serve.models import Model, state_bytes
from elman.serve.service import Served

router = APIRouter(prefix="/v1", responses=ERRORS)


class ModelFacts(BaseModel):
    """What only this server tells of a model."""

    state_bytes: int = Field(description="Size of its whole memory of a conversation.")
    limits: RequestLimits = LIMITS


class ModelObject(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["elman"] = "elman"
    elman: ModelFacts


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


@router.get("/models")
async def models(service: Served, owner: Owner) -> ModelList:
    """The bots that are served."""
    return ModelList(data=[_told(each) for each in service.models.values()])


@router.get("/models/{model}")
async def one_model(
    service: Served, owner: Owner, model: Annotated[str, Path(max_length=200)]
) -> ModelObject:
    """One of them."""
    return _told(service.model(model))


def _told(model: Model) -> ModelObject:
    facts = ModelFacts(state_bytes=state_bytes(model.bot.decoder))
    return ModelObject(id=model.name, created=model.created, elman=facts)
