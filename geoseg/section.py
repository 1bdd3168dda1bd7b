"""The base of what is read from YAML: immutable, and every key is known."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A value from YAML, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
